"""What a model's folder says of its training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from diffvqa.errors import InputError


def read_training(folder: Path) -> dict[str, Any]:
    """The record of the training of the difference model in a folder, its settings under "config".

    Raises InputError if there is none, or one of a training that was not finished.
    """
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        settings = run["config"]
        if run["finished"] and isinstance(settings["questions"], dict) and {"priors", "seed"} <= settings.keys():
            return run
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        pass  # whatever is wrong with it, the advice is the same
    raise InputError(
        "there is no finished model in this folder (its run.json is missing, damaged, or of a training that was "
        "stopped); give one that `diffvqa finetune` has written",
        argument="model",
    )
