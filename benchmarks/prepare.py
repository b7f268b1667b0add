"""Making a store against plain decoding at full size, and reading it against the fastest training step.

    python benchmarks/prepare.py

On one core. Decoding: JPEG files of 2544 x 3056 pixels as MIMIC-CXR-JPG has them, made here, into squares of 224 and
256 pixels. Reading: images with their regions, drawn at random from a store of 2,000, against the encoder of
configs/tiny alone, forward, backward and update: what any objective needs at the least. Ends with one JSON line:
milliseconds an image or images a second (medians of the repeats), and ratios.
"""

from __future__ import annotations

import datetime
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from index import device
from PIL import Image as PillowImage

from diffvqa.boxes import Box
from diffvqa.data.prepare import prepare
from diffvqa.data.store import Store
from diffvqa.images import read_squares
from diffvqa.records import Cohort, Image, Region, Study
from diffvqa.training.config import PretrainConfig, load_config
from diffvqa.training.pretraining_model import build_encoder

WIDTH, HEIGHT, SIZES = 2544, 3056, (224, 256)
FILES, REPEATS = 6, 7
STORED, SIDE, REGIONS, BATCH = 2000, 128, 30, 8
CONFIG = Path(__file__).parents[1] / "configs" / "tiny" / "pretrain.yaml"


def write_radiograph(path: Path, seed: int) -> None:
    """Broad shades, ribs, and the grain of a detector: about the 1.5 MB that a file of MIMIC-CXR-JPG has on average."""
    random = np.random.default_rng(seed)
    shades = PillowImage.fromarray(random.integers(30, 220, (9, 7), np.uint8)).resize((WIDTH, HEIGHT), 3)
    ribs = 18 * np.sin(np.linspace(0, 60, HEIGHT))[:, None] * np.ones((1, WIDTH))
    grain = random.normal(0, 1.6, (HEIGHT, WIDTH))
    pixels = np.clip(np.asarray(shades, np.float32) + ribs + grain, 0, 255).astype(np.uint8)
    PillowImage.fromarray(pixels).save(path, quality=95)


def decode_whole(path: Path) -> None:
    """The ordinary way: all pixels, and each size resampled from them."""
    with PillowImage.open(path) as image:
        image.load()
        for size in SIZES:
            inner = (round(WIDTH * size / HEIGHT), size)
            square = PillowImage.new("L", (size, size))
            square.paste(image.resize(inner, PillowImage.Resampling.BILINEAR), ((size - inner[0]) // 2, 0))
            np.asarray(square)


def decode_only(path: Path) -> None:
    """All pixels, and nothing done with them: what no way of resampling can be faster than at full size."""
    with PillowImage.open(path) as image:
        image.load()


def seconds_of(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure_decoding(folder: Path) -> dict[str, float]:
    """Either way in turn on the same files, so that a slower moment of the machine meets both."""
    paths = [folder / f"{number}.jpg" for number in range(FILES)]
    for number, path in enumerate(paths):
        write_radiograph(path, number)
    ways = {"prepare": lambda path: read_squares(path, SIZES), "whole": decode_whole, "decode_only": decode_only}
    times = {name: [] for name in ways}
    for repeat in range(REPEATS + 1):
        for path in paths:
            for name, way in ways.items():
                seconds = seconds_of(lambda way=way, path=path: way(path))
                if repeat:  # the first warms up
                    times[name].append(1000 * seconds)
    median = {name: statistics.median(found) for name, found in times.items()}
    return {
        "file_bytes": round(statistics.mean(path.stat().st_size for path in paths)),
        "prepare_ms": round(median["prepare"], 1),
        "whole_ms": round(median["whole"], 1),
        "decode_only_ms": round(median["decode_only"], 1),
        "ratio": round(median["whole"] / median["prepare"], 2),
    }


def make_store(folder: Path) -> Store:
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), np.uint8)
    PillowImage.fromarray(noise).save(folder / "image.png")
    regions = tuple(Region(Box(n, n, n + 20, n + 30), f"region {n}", (f"what is said of {n}",)) for n in range(REGIONS))
    studies = tuple(
        Study(f"s{n}", f"p{n}", 0.0, "train", (Image(f"i{n}", folder / "image.png", SIDE, SIDE, "PA", regions),))
        for n in range(STORED)
    )
    prepare(Cohort(studies), folder / "store", SIDE)
    return Store.open(folder / "store")


def measure_reading(folder: Path) -> dict[str, float]:
    store = make_store(folder)
    encoder = build_encoder(load_config(PretrainConfig, CONFIG, ["store=none", "out=none"]), SIDE)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-4)
    pixels = torch.randn(BATCH, encoder.config.num_channels, SIDE, SIDE)
    places = np.random.default_rng(1).integers(0, STORED, 2000)

    def read() -> None:
        for place in places:
            image = store.images[place]
            len(image.regions)
            store.larger_pixels(place)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = encoder(pixels).last_hidden_state.float().square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    rates = {"read": [], "step": []}
    for repeat in range(REPEATS + 1):
        found = {"read": len(places) / seconds_of(read), "step": BATCH / seconds_of(step)}
        for name, rate in found.items():
            if repeat:
                rates[name].append(rate)
    median = {name: statistics.median(found) for name, found in rates.items()}
    return {
        "read_images_a_second": round(median["read"]),
        "step_images_a_second": round(median["step"]),
        "ratio": round(median["read"] / median["step"], 1),
    }


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        decoding, reading = measure_decoding(Path(folder)), measure_reading(Path(folder))
    about = {"date": datetime.date.today().isoformat(), "device": device(), "threads": 1}
    print(json.dumps({"benchmark": "prepare", **about, "decoding": decoding, "reading": reading}))


if __name__ == "__main__":
    main()
