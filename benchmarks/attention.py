"""Plain against fused attention on this processor, forward and backward, at the shapes of configs/tiny.

    python benchmarks/attention.py

Ends with one JSON line: milliseconds (median of the repeats) and the ratio fused / plain.
"""

from __future__ import annotations

import json
import statistics
import time

import torch
from torch.nn import functional

IMAGES, HEADS, LENGTH, WIDTH, REPEATS = 32, 2, 240, 64, 15


def plain(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Attention as it is written down."""
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5 + mask
    return scores.softmax(-1) @ value


def fused(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Attention as torch fuses it."""
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def seconds(attention, tensors: list[torch.Tensor], mask: torch.Tensor) -> float:
    start = time.perf_counter()
    attention(*tensors, mask).sum().backward()
    return time.perf_counter() - start


def main() -> None:
    result: dict[str, object] = {
        "benchmark": "attention",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        shape = (IMAGES, HEADS, LENGTH, WIDTH)
        tensors = [torch.randn(shape, dtype=dtype, requires_grad=True) for _ in range(3)]
        mask = torch.zeros(IMAGES, 1, LENGTH, LENGTH, dtype=dtype)
        times: dict[str, list[float]] = {"plain": [], "fused": []}
        for repeat in range(REPEATS + 2):
            for kind, attention in (("plain", plain), ("fused", fused)):
                took = seconds(attention, tensors, mask)
                if repeat >= 2:  # the first runs warm up
                    times[kind].append(took)
        medians = {kind: statistics.median(found) for kind, found in times.items()}
        result[name] = {kind: round(median * 1000, 2) for kind, median in medians.items()}
        result[f"{name}_fused_over_plain"] = round(medians["fused"] / medians["plain"], 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
