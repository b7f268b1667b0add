"""Puts a finished model into the package as phantom-small, in half precision: python tools/ship.py MODEL STORE

What it answers rests on the halved weights, so how far it can be trusted is measured again with them.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from diffvqa.data.store import Store
from diffvqa.inference.features import encode_store
from diffvqa.inference.hub import PHANTOM_SMALL, model_folder
from diffvqa.inference.measure_trust import draw_sample, measure_trust
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.folder import load_folder
from diffvqa.progress import progress_bar
from diffvqa.sealed_folder import RECORD, seal

KEPT = (
    "config.json", "log.jsonl", "model.safetensors", "preprocessor_config.json", RECORD, "tokenizer.json",
    "tokenizer_config.json",
)  # fmt: skip
PLACES = ("store", "encoder", "out")
"""Settings that name folders of the machine where the model was made: only their own names are kept."""


def ship(model: Path, store: Path) -> None:
    """Write the model's files into the package, halved, and measure its trust on the store."""
    out = model_folder(PHANTOM_SMALL)
    shutil.rmtree(out, ignore_errors=True)
    for part in ("", "captioner"):
        copy_halved(model / part, out / part)
    loaded, opened = load_folder(DifferenceModel, out, "model"), Store.open(store)
    sample = draw_sample(opened, loaded.model.config.priors)
    with tempfile.TemporaryDirectory() as scratch, progress_bar("encode images") as progress:
        features = encode_store(loaded, opened, sample.images, Path(scratch), loaded.digest, progress)
        measure_trust(loaded, opened, sample, features)
    seal(out)


def copy_halved(model: Path, out: Path) -> None:
    """Copy a folder's model in half precision, without the paths of the machine where it was made."""
    out.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        shutil.copyfile(model / name, out / name)
    weights = load_file(out / "model.safetensors")
    halved = {key: value.half() if value.dtype == torch.float32 else value for key, value in weights.items()}
    save_file(halved, out / "model.safetensors", {"format": "pt"})
    record = json.loads((out / RECORD).read_text(encoding="utf-8"))
    places = {key: record["config"].get(key) for key in PLACES}
    record["config"] |= {key: Path(place).name for key, place in places.items() if isinstance(place, str)}
    (out / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    seal(out)


if __name__ == "__main__":
    ship(*map(Path, sys.argv[1:]))
