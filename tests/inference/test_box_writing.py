"""Boxes from captioners that have learnt nothing: always well formed, whatever the notation and the prompt."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import SiglipImageProcessorPil

from diffvqa.boxes import Box
from diffvqa.inference.box_writing import (
    Proposal,
    _different,
    _write_constrained,
    notation_of,
    propose_boxes,
    write_boxes,
)
from diffvqa.inference.grounding import load_captioner
from diffvqa.models.captioner import Captioner, CaptionerConfig
from diffvqa.models.folder import ModelFolder
from diffvqa.tasks.box_text import add_location_tokens
from diffvqa.tasks.text import phrase_and_box, referring_prompt, region_prompt
from diffvqa.tasks.tokenizer import train_tokenizer

SIZE, BINS = 32, 60
VISION = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
    "image_size": SIZE, "patch_size": 16, "num_channels": 1,
}  # fmt: skip
PROMPTS = [referring_prompt("left pleural effusion"), region_prompt("left lung"), region_prompt("spine")]


@pytest.fixture(scope="module", params=itertools.product((False, True), (False, True)), ids=str)
def untrained(request):
    location_tokens, box_first = request.param
    tokenizer = train_tokenizer(["ARef Region: left lung : there is an effusion : 1 2 3 4"] * 9, 320)
    if location_tokens:
        add_location_tokens(tokenizer, BINS)
    decoder = {
        "n_embd": 24, "n_layer": 1, "n_head": 2, "vocab_size": len(tokenizer), "n_positions": 96, "bos_token_id": 1,
        "eos_token_id": 2, "pad_token_id": 0, "initializer_range": 0.5,
    }  # fmt: skip
    torch.manual_seed(0)
    model = Captioner(CaptionerConfig(VISION, decoder, BINS, location_tokens, box_first, text_tokens=40)).eval()
    processor = SiglipImageProcessorPil(size={"height": SIZE, "width": SIZE}, image_mean=[0.5], image_std=[0.5])
    return ModelFolder(model, tokenizer, processor, Path("nowhere"), "MODEL")


@pytest.fixture(scope="module")
def features():
    return {"image": np.random.default_rng(0).normal(size=(4, 32)).astype(np.float32)}


def test_a_thousand_samples_are_a_thousand_boxes(untrained, features):
    prompts = [("image", prompt) for prompt in itertools.islice(itertools.cycle(PROMPTS), 1000)]
    torch.manual_seed(0)
    written = _write_constrained(untrained, prompts, features, do_sample=True, top_k=0)
    texts = [untrained.tokenizer.decode(row, skip_special_tokens=True) for row in written.sequences.tolist()]
    boxes = [phrase_and_box(text, SIZE, notation_of(untrained))[1] for text in texts]
    assert len(boxes) == 1000
    assert None not in boxes
    assert len(set(boxes)) > 300


@pytest.mark.parametrize("how", [{"by": "samples", "seed": 3}, {"by": "beams"}], ids=str)
def test_several_boxes_differ_and_the_likeliest_comes_first(untrained, features, how):
    for prompt in PROMPTS[:2]:
        found = propose_boxes(untrained, prompt, features["image"], 4, **how)
        assert found == propose_boxes(untrained, prompt, features["image"], 4, **how)
        assert 1 <= len(found) <= 4
        shares = [one.share for one in found]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) <= 1 + 1e-6


def test_a_batch_of_eight_equals_eight_batches_of_one(untrained, features):
    features = {str(n): np.random.default_rng(n).normal(size=(4, 32)).astype(np.float32) for n in range(8)}
    asked = [(str(n), PROMPTS[n % 3]) for n in range(8)]
    assert write_boxes(untrained, asked, features) == [
        found for one in asked for found in write_boxes(untrained, [one], features)
    ]


def test_a_box_written_over_again_adds_to_the_first():
    a, near_a, b = Box(0, 0, 10, 10), Box(0, 0, 10, 9), Box(20, 20, 30, 30)
    found = _different([Proposal(near_a, 0.2), Proposal(b, 0.25), Proposal(a, 0.2), Proposal(a, 0.1)])
    assert [(one.box, pytest.approx(one.share)) for one in found] == [(a, 0.5), (b, 0.25)]


def test_a_captioner_without_phrases_is_not_asked_for_boxes(tmp_path, untrained):
    captioner, reason = load_captioner(tmp_path)
    assert captioner is None
    assert "no captioner" in reason
    untrained.model.config.tasks, kept = ["Cap"], untrained.model.config.tasks
    for part in (untrained.model, untrained.tokenizer, untrained.processor):
        part.save_pretrained(tmp_path / "captioner")
    untrained.model.config.tasks = kept
    captioner, reason = load_captioner(tmp_path)
    assert captioner is None
    assert "only Cap" in reason
