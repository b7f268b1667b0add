"""The record of a model's training in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffvqa.errors import InputError
from diffvqa.runs import read_record
from diffvqa.sealed_folder import RECORD


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


def types_taught(folder: Path) -> frozenset[str] | None:
    """The types of the questions that the model in a folder was trained on: those that its store had.

    A model of an older version does not say so; its configured types count. None where the folder has no record of a
    finished training.
    """
    try:
        run = read_training(folder)
    except InputError:
        return None
    counts = run.get("questions_by_type")
    return frozenset(kind for kind, count in (counts or run["config"]["questions"]).items() if count)
