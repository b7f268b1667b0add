"""A step of stage 1 with ViT-L/14 in bf16: how much of the rate of plain matrix products it reaches.

    python benchmarks/training_step.py 224        or 384; on a GPU the whole model, on the CPU two layers of each kind

Forward, backward and AdamW on made batches with four texts an image. Ends with one JSON line: seconds a step, images a
second, the matrix rate measured in the same run, and the share of it that the model's own operations reach.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from diffvqa.training.config import PretrainConfig, load_config
from diffvqa.training.objectives import CAPTIONING
from diffvqa.training.pretraining_model import build_encoder, build_model, make_head_context

CONFIG = Path(__file__).parents[1] / "configs" / "vitl384" / "pretrain.yaml"
VOCABULARY, TEXTS, TOKENS, REPEATS = 50_258, 4, 40, 10


class Tokenizer:
    """The part of a tokenizer that a model is built from."""

    bos_token_id = eos_token_id = pad_token_id = 50_256

    def __len__(self) -> int:
        return VOCABULARY


def batch(images: int, pixels: int, device: torch.device) -> dict:
    length = TEXTS * TOKENS
    ids = torch.randint(0, VOCABULARY, (images, length), device=device)
    return {
        "pixel_values": torch.randn(images, 3, pixels, pixels, device=device),
        CAPTIONING: {
            "labels": ids.roll(-1, 1),
            "input_ids": ids,
            "position_ids": torch.arange(TOKENS, device=device).repeat(images, TEXTS),
            "text_index": torch.arange(length, device=device).div(TOKENS, rounding_mode="floor").repeat(images, 1),
            "parallel": torch.zeros(images, length, dtype=torch.bool, device=device),
        },
    }


def median_seconds(work, device: torch.device) -> float:
    times = []
    for repeat in range(REPEATS + 3):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if repeat >= 3:  # the first runs warm up
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def matrix_rate(device: torch.device) -> float:
    """Operations a second of a large product in bf16."""
    side = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(side, side, dtype=torch.bfloat16, device=device) for _ in range(2))
    return 2 * side**3 / median_seconds(lambda: a @ b, device)


def main() -> None:
    pixels = int(sys.argv[1]) if len(sys.argv) > 1 else 224
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    fewer = [] if device.type == "cuda" else ["encoder.num_hidden_layers=2", "decoder.n_layer=2"]
    images = {"cuda": {224: 64, 384: 24}, "cpu": {224: 2, 384: 1}}[device.type][pixels]
    config = load_config(PretrainConfig, CONFIG, [*fewer, f"encoder.image_size={pixels}"])
    encoder = build_encoder(config, pixels)
    model = build_model(config, encoder, make_head_context(config, encoder, Tokenizer(), [])).to(device).train()
    if device.type == "cpu":
        model.set_attn_implementation("eager")
    optimiser = torch.optim.AdamW(model.parameters(), fused=device.type == "cuda")
    inputs = batch(images, pixels, device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            loss = model(**inputs).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    with FlopCounterMode(display=False) as counter:
        step()
    operations = counter.get_total_flops()
    rate, seconds = matrix_rate(device), median_seconds(step, device)
    result = {
        "benchmark": "training_step",
        "geometry": {
            "pixels": pixels,
            "images": images,
            "texts_an_image": TEXTS,
            "encoder_layers": encoder.config.num_hidden_layers,
            "encoder_width": encoder.config.hidden_size,
            "decoder_layers": config.decoder["n_layer"],
            "decoder_width": config.decoder["n_embd"],
        },
        "device": torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "seconds_a_step": round(seconds, 4),
        "images_a_second": round(images / seconds, 2),
        "matrix_teraflops": round(rate / 1e12, 3),
        "share_of_matrix_rate": round(operations / seconds / rate, 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
