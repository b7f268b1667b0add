"""Boxes that a captioner writes after prompts, in pixels of its square, on images that are encoded already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from transformers import LogitsProcessor, LogitsProcessorList

from diffvqa.boxes import Box, intersection_over_union
from diffvqa.errors import InputError, printable
from diffvqa.inference.asking import Progress, in_batches, require_numbers
from diffvqa.models.captioner import Captioner
from diffvqa.models.folder import ModelFolder
from diffvqa.tasks.box_grammar import Allowed, box_grammar
from diffvqa.tasks.box_text import Notation
from diffvqa.tasks.collate import collate_prompts
from diffvqa.tasks.text import encode_prompt, phrase_and_box, reading_prompt

SAME_BOX = 0.5
"""Two boxes with at least this intersection over union are one box, written twice."""

CANDIDATES = 64
"""Texts that are sampled, or beams, where several boxes are asked for: many differ in a figure only."""

READINGS = 64
"""Phrases that are read out of an image, so that findings which it may show are among them."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposed box, in pixels of the model's square, and its share of the texts that were written, 0 to 1."""

    box: Box
    share: float


class AllowedTokens(LogitsProcessor):
    """Gives the tokens that may not follow a score of minus infinity.

    allowed: (number of the prompt, tokens written after it) -> the tokens that may follow. prompt_length: that all
    prompts are padded to. beams: of each prompt. transformers' own (`prefix_allowed_tokens_fn`) goes to the device and
    back for every text, which on a GPU takes longer than all else.
    """

    def __init__(self, allowed: Allowed, prompt_length: int, beams: int) -> None:
        self.allowed, self.prompt_length, self.beams = allowed, prompt_length, beams

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Scores (texts, vocabulary), of texts (texts, length). Raises InputError where one is no number."""
        require_numbers(scores)
        forbidden = np.ones(tuple(scores.shape), dtype=bool)
        for row, written in enumerate(input_ids[:, self.prompt_length :].tolist()):
            forbidden[row, self.allowed(row // self.beams, written)] = False
        kept = scores.masked_fill(torch.from_numpy(forbidden).to(scores.device), -torch.inf)
        return cast(torch.FloatTensor, kept)


def notation_of(folder: ModelFolder[Captioner]) -> Notation:
    """The notation of a captioner's boxes."""
    config = folder.model.config
    return Notation(config.box_bins, config.location_tokens, config.region_box_first)


def write_boxes(
    folder: ModelFolder[Captioner],
    prompts: Sequence[tuple[str, tuple[str, ...]]],
    features: Mapping[str, np.ndarray],
    progress: Progress | None = None,
    cluster: str | None = None,
) -> list[tuple[str, Box | None]]:
    """The text that the captioner writes after each (image identifier, prompt), and the box in it.

    The box is in pixels of the model's square; decoding is constrained so that it is always well formed. cluster: the
    address of a Ray cluster that writes. Raises InputError if a prompt is longer than the texts that the captioner was
    trained on.
    """
    return in_batches(_write_batch, folder, prompts, (features,), progress, cluster)


def _write_batch(
    folder: ModelFolder[Captioner], prompts: Sequence[tuple[str, tuple[str, ...]]], features: Mapping[str, np.ndarray]
) -> list[tuple[str, Box | None]]:
    texts = _texts(folder, _write_constrained(folder, prompts, features).sequences)
    return [(" ".join(text.split()), _box_in(folder, text)) for text in texts]


def propose_boxes(
    folder: ModelFolder[Captioner],
    prompt: tuple[str, ...],
    features: np.ndarray,
    count: int,
    by: Literal["samples", "beams"] = "samples",
    seed: int = 0,
) -> list[Proposal]:
    """Up to `count` different boxes for a prompt about an image, the likeliest first.

    by: `samples`, drawn with a seed; or `beams`, of a beam search, which finds what is likeliest and mostly near one
    place. Boxes that overlap by SAME_BOX are one, with the shares of all. features: (patches, width). Raises InputError
    as `write_boxes` does.
    """
    if by == "beams":
        # Without a length penalty, scores are sums of log probabilities, not means.
        of_beams = {"num_return_sequences": CANDIDATES, "length_penalty": 0.0, "output_scores": True}
        written = _write_constrained(folder, [("image", prompt)], {"image": features}, num_beams=CANDIDATES, **of_beams)
        shares = written.sequences_scores.softmax(0).tolist()
    else:
        written = _sample(folder, prompt, features, seed, CANDIDATES)
        shares = [1 / CANDIDATES] * CANDIDATES
    boxes = [_box_in(folder, text) for text in _texts(folder, written.sequences)]
    proposals = [Proposal(box, share) for box, share in zip(boxes, shares, strict=True) if box is not None]
    return _different(proposals)[:count]


def read_out(folder: ModelFolder[Captioner], features: np.ndarray, seed: int) -> list[tuple[str, Box]]:
    """READINGS phrases that the captioner says of an image, drawn with a seed, and the boxes that it gives them.

    features: (patches, width). Boxes in pixels of the model's square.
    """
    texts = _texts(folder, _sample(folder, reading_prompt(), features, seed, READINGS).sequences)
    read = [phrase_and_box(text, folder.image_size, notation_of(folder)) for text in texts]
    return [(phrase, box) for phrase, box in read if box is not None]


def _sample(
    folder: ModelFolder[Captioner], prompt: tuple[str, ...], features: np.ndarray, seed: int, count: int
) -> Any:
    with torch.random.fork_rng([folder.model.device] if folder.model.device.type == "cuda" else []):
        torch.manual_seed(seed)
        prompts = [("image", prompt)] * count
        return _write_constrained(folder, prompts, {"image": features}, do_sample=True, top_k=0)


def _different(proposals: Sequence[Proposal]) -> list[Proposal]:
    """Proposals without repeats of likelier ones; the share of a repeat is added to the likelier one."""
    exact: dict[Box, float] = {}
    for proposal in proposals:
        exact[proposal.box] = exact.get(proposal.box, 0.0) + proposal.share
    kept: dict[Box, float] = {}
    for box, share in sorted(exact.items(), key=lambda item: -item[1]):
        same = next((other for other in kept if intersection_over_union(box, other) >= SAME_BOX), box)
        kept[same] = kept.get(same, 0.0) + share
    return [Proposal(box, share) for box, share in sorted(kept.items(), key=lambda item: -item[1])]


def _write_constrained(
    folder: ModelFolder[Captioner],
    prompts: Sequence[tuple[str, tuple[str, ...]]],
    features: Mapping[str, np.ndarray],
    **generate_kwargs: Any,
) -> Any:
    """The result of `generate` for each (image identifier, prompt); its sequences hold new tokens only."""
    config, tokenizer = folder.model.config, folder.tokenizer
    encoded = [encode_prompt(tokenizer, prompt) for _, prompt in prompts]
    longest = max(len(prompt) for prompt in encoded)
    if longest > config.text_tokens:
        raise InputError(
            f"expected at most {config.text_tokens} tokens, found {longest}; give fewer words", argument="phrase"
        )
    allowed = box_grammar(tokenizer, notation_of(folder)).constraint(
        [prompt for _, prompt in prompts], config.text_tokens
    )
    with torch.inference_mode():
        return folder.model.write(
            torch.from_numpy(np.stack([features[image] for image, _ in prompts]).astype(np.float32)),
            **collate_prompts(encoded, tokenizer.pad_token_id),
            new_tokens=config.text_tokens,
            logits_processor=LogitsProcessorList(
                [AllowedTokens(allowed, longest, generate_kwargs.get("num_beams", 1))]
            ),
            **generate_kwargs,
        )


def _texts(folder: ModelFolder[Captioner], sequences: torch.Tensor) -> list[str]:
    return [printable(folder.tokenizer.decode(row, skip_special_tokens=True)) for row in sequences.tolist()]


def _box_in(folder: ModelFolder[Captioner], text: str) -> Box | None:
    return phrase_and_box(text, folder.image_size, notation_of(folder))[1]
