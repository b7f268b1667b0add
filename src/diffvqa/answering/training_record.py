"""What a model's folder says of its training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from diffvqa.errors import InputError


def training_settings(folder: Path) -> dict[str, Any]:
    """The settings that the difference model in a folder was trained with. Raises InputError if it does not say."""
    try:
        settings = json.loads((folder / "run.json").read_text(encoding="utf-8"))["config"]
        if isinstance(settings["questions"], dict) and {"priors", "seed"} <= settings.keys():
            return settings
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        pass
    raise InputError(
        "MODEL: the folder does not say what the model was trained on (run.json is missing or damaged); give one that "
        "`diffvqa finetune` has written"
    )
