"""Checkpoints of a run: each is sealed with the digests of its files, and only one that still has them is used."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from transformers.trainer import TRAINER_STATE_NAME

from diffvqa.files import digest_of, write_text
from diffvqa.parsing import parse_json

CHECKPOINTS = "checkpoints"
"""The folder of a run's checkpoints, in that of the run."""

SEAL = "digests.json"
"""SHA-256 by the name of each file of a checkpoint; written last, when they are all on the disk."""


def checkpoint_step(checkpoint: Path) -> int:
    """How many steps were done when a checkpoint was made."""
    return int(checkpoint.name.rpartition("-")[2])


def seal(checkpoint: Path) -> None:
    """Say that a checkpoint is whole, once all of its files are on the disk. Raises OSError if they are not."""
    digests = {}
    for path in _files(checkpoint):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        digests[path.relative_to(checkpoint).as_posix()] = digest_of(path)
    write_text(checkpoint / SEAL, json.dumps(digests, indent=1) + "\n")


def fault_of(checkpoint: Path) -> str | None:
    """The fault of a checkpoint that is incomplete or has a damaged file; None if it is whole."""
    if not (checkpoint / SEAL).is_file():
        return "it was not written to its end"
    try:
        digests = parse_json((checkpoint / SEAL).read_text(encoding="utf-8"))
        for name, digest in digests.items():
            if not (checkpoint / name).is_file():
                return f"its {name} is missing"
            if digest_of(checkpoint / name) != digest:
                return f"its {name} is damaged"
    except (OSError, ValueError, AttributeError):
        return f"its {SEAL} is damaged"
    return None if TRAINER_STATE_NAME in digests else f"its {SEAL} is damaged"


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint in a run's folder of checkpoints that is whole; None where there is none."""
    return next((path for path in _newest_first(folder) if fault_of(path) is None), None)


def checkpoint_to_go_on_from(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that can be used, and of each newer one why it cannot; these are removed.

    A run ends with the weights of its best checkpoint: without these it cannot be gone on with either.
    """
    faults: list[str] = []
    for path in _newest_first(folder):
        fault = fault_of(path)
        best = None if fault else best_of(path)
        if best and (why := fault_of(best)):
            fault = f"that of step {checkpoint_step(best)}, the best one, cannot be used: {why}"
        if not fault:
            return path, faults
        faults.append(f"that of step {checkpoint_step(path)} is not used: {fault}")
        shutil.rmtree(path)
    return None, faults


def best_of(checkpoint: Path) -> Path | None:
    """The checkpoint with the lowest loss on the validation split until one was made, itself perhaps."""
    state = parse_json((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
    best = state.get("best_model_checkpoint")
    # The name identifies it: the run's folder may have been moved.
    return checkpoint.with_name(Path(best).name) if best else None


def _files(checkpoint: Path) -> list[Path]:
    return sorted(path for path in checkpoint.rglob("*") if path.is_file() and path != checkpoint / SEAL)


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*"), key=checkpoint_step, reverse=True)
