"""A training step of a tiny captioner with glibc's allocator as it is, and told to keep freed memory.

    python benchmarks/allocator.py

Runs itself in a process of its own for either kind, by turns. Ends with one JSON line: seconds a step (median of the
runs' medians), peak memory, and the ratio as-is / kept.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time

import torch

from diffvqa.models.captioner import Captioner, CaptionerConfig
from diffvqa.training.memory import keep_freed_memory

IMAGES, LENGTH, STEPS, WARM_UP, RUNS = 32, 240, 12, 3, 3


def measure(keep: bool) -> dict[str, float]:
    """Seconds a step and peak memory of this process."""
    if keep:
        keep_freed_memory()
    vision = {"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 3}
    decoder = {"n_embd": 128, "n_layer": 2, "n_head": 2, "vocab_size": 700, "n_positions": 192}
    model = Captioner(CaptionerConfig({**vision, "image_size": 128, "patch_size": 16, "num_channels": 1}, decoder))
    model.set_attn_implementation("eager")
    model.train()
    batch = {
        "pixel_values": torch.randn(IMAGES, 1, 128, 128),
        "input_ids": torch.randint(4, 700, (IMAGES, LENGTH)),
        "position_ids": torch.arange(LENGTH).repeat(IMAGES, 1) % 60,
        "text_index": torch.arange(LENGTH).repeat(IMAGES, 1) // 60,
        "parallel": torch.zeros(IMAGES, LENGTH, dtype=torch.bool),
        "labels": torch.randint(4, 700, (IMAGES, LENGTH)),
    }
    optimiser = torch.optim.AdamW(model.parameters())
    times = []
    for _ in range(STEPS + WARM_UP):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(**batch).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": statistics.median(times[WARM_UP:]), "gibibytes": peak}


def main() -> None:
    if len(sys.argv) == 2:
        print(json.dumps(measure(sys.argv[1] == "kept")))
        return
    runs: dict[str, list[dict[str, float]]] = {"as_is": [], "kept": []}
    for _ in range(RUNS):
        for kind, found in runs.items():
            done = subprocess.run([sys.executable, __file__, kind], check=True, capture_output=True, text=True)
            found.append(json.loads(done.stdout))
    seconds = {kind: statistics.median(run["seconds"] for run in found) for kind, found in runs.items()}
    result = {
        "benchmark": "allocator",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "seconds_a_step": {kind: round(value, 4) for kind, value in seconds.items()},
        "peak_gibibytes": {kind: round(max(run["gibibytes"] for run in found), 2) for kind, found in runs.items()},
        "as_is_over_kept": round(seconds["as_is"] / seconds["kept"], 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
