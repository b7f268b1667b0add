"""All tasks of an image in one pass over it against one task an example, which encodes the image for every text.

    python benchmarks/multitask.py            the laptop's size: configs/tiny
    python benchmarks/multitask.py paper      the paper's widths, of fewer layers

Forward and backward of stage 1. Ends with one JSON line: texts supervised a second each way (median of the repeats),
their ratio, and the geometry.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch

from diffvqa.tasks.collate import pack_texts
from diffvqa.tasks.text import Text
from diffvqa.training.config import PretrainConfig, load_config
from diffvqa.training.objectives import CAPTIONING
from diffvqa.training.pretraining_model import build_encoder, build_model, make_head_context

CONFIGS = Path(__file__).parents[1] / "configs"
SIZES = {
    "tiny": {"pixels": 128, "images": 8, "vocabulary": 700, "fewer": []},
    "paper": {
        "pixels": 224,
        "images": 2,
        "vocabulary": 50_258,
        "fewer": ["encoder.num_hidden_layers=3", "decoder.n_layer=2"],
    },
}
REPEATS = 9
# A caption, and phrases with a box: lengths in tokens of the prefix and of the target, with start and end.
TEXTS = [(2, 60), (2, 22), (2, 22), (8, 22)]


class Tokenizer:
    """The part of a tokenizer that a model and its batches need: texts are numbers, each a token."""

    bos_token_id, eos_token_id, pad_token_id, mask_token_id = 1, 2, 0, 3

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = vocabulary

    def __len__(self) -> int:
        return self.vocabulary

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        return [int(number) for number in text.split()]


def batch(images: int, texts_an_image: int, size: dict, channels: int, tokenizer: Tokenizer, longest: int) -> dict:
    """Random pictures with so many texts each, of the kinds in TEXTS in turn: the same texts either way."""
    random = np.random.default_rng(0)

    def text(number: int) -> Text:
        drawn = (random.integers(4, size["vocabulary"], length - 1).tolist() for length in TEXTS[number])
        prefix, target = (" ".join(map(str, tokens)) for tokens in drawn)
        return Text((prefix,), (target,))

    kinds = iter(range(images * texts_an_image))
    rows = [[text(next(kinds) % len(TEXTS)) for _ in range(texts_an_image)] for _ in range(images)]
    pixels = torch.randn(images, channels, size["pixels"], size["pixels"])
    return {"pixel_values": pixels, CAPTIONING: pack_texts(rows, tokenizer, longest)}


def seconds(model: torch.nn.Module, inputs: dict) -> float:
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(**inputs).loss
    loss.backward()
    return time.perf_counter() - start


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "tiny"
    size = SIZES[name]
    config = load_config(PretrainConfig, CONFIGS / name / "pretrain.yaml", size["fewer"])
    tokenizer = Tokenizer(size["vocabulary"])
    encoder = build_encoder(config, size["pixels"])
    model = build_model(config, encoder, make_head_context(config, encoder, tokenizer, [])).train()
    # Training does the same: plain attention is faster in bf16 on the CPU (benchmarks/attention.py).
    model.set_attn_implementation("eager")
    images, channels = size["images"], encoder.config.num_channels
    ways = {
        "one pass": batch(images, len(TEXTS), size, channels, tokenizer, config.text_tokens),
        "one task": batch(images * len(TEXTS), 1, size, channels, tokenizer, config.text_tokens),
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for repeat in range(REPEATS + 2):
        for way, inputs in ways.items():
            took = seconds(model, inputs)
            if repeat >= 2:  # the first runs warm up
                times[way].append(took)
    texts = images * len(TEXTS)
    rates = {way: texts / statistics.median(found) for way, found in times.items()}
    result = {
        "benchmark": "multitask",
        "geometry": {
            "config": name,
            "pixels": size["pixels"],
            "images_in_one_pass": images,
            "texts_an_image": len(TEXTS),
            "encoder_layers": encoder.config.num_hidden_layers,
            "encoder_width": encoder.config.hidden_size,
            "decoder_layers": config.decoder["n_layer"],
            "decoder_width": config.decoder["n_embd"],
        },
        "device": f"CPU, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "texts_a_second_one_pass": round(rates["one pass"], 2),
        "texts_a_second_one_task": round(rates["one task"], 2),
        "ratio": round(rates["one pass"] / rates["one task"], 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
