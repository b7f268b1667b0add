"""What a model's folder says of its training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffvqa.errors import InputError
from diffvqa.runs import RECORD, read_record


def read_training(folder: Path) -> dict[str, Any]:
    """The record of the training of the difference model in a folder, its settings under "config".

    Raises InputError if there is none, or one of a training that was not finished.
    """
    run = read_record(folder / RECORD)
    match run:
        case {"finished": True, "config": {"questions": dict(), "priors": _, "seed": _}}:
            return run
    raise InputError(
        "there is no finished model in this folder (its run.json is missing, damaged, or of a training that was "
        "stopped); give one that `diffvqa finetune` has written",
        argument="model",
    )
