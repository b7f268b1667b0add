"""The measures of trust in a model (measure_trust), as its folder stores them."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from diffvqa.errors import InputError
from diffvqa.inference.confidence import ConfidenceScale
from diffvqa.inference.input_check import InputCheck, load_input_check
from diffvqa.parsing import parse_json

FOLDER, RECORD = "trust", "trust.json"


@dataclass(frozen=True, slots=True)
class Trust:
    """The measures of trust in a model; None for those that are missing.

    flag_threshold: a pair is flagged from this probability of any change on.
    """

    confidence: ConfidenceScale | None = None
    flag_threshold: float | None = None
    input_check: InputCheck | None = None


def load_trust(folder: Path, digest: str) -> Trust:
    """The measures of trust in the weights of that digest; none if they were taken of others. Raises InputError."""
    record = read_record(folder)
    if record.get("weights") != digest:
        return Trust()
    try:
        scale, flagged = record["confidence"]["scale"], record["confidence"].get("flag_threshold")
        return Trust(
            _scale(scale["slope"], scale["intercept"]) if scale else None,
            None if flagged is None else _finite(flagged),
            load_input_check(folder / FOLDER) if record["input_check"]["measured"] else None,
        )
    except (LookupError, TypeError, ValueError) as error:
        raise _damaged() from error


def _scale(*numbers: float) -> ConfidenceScale:
    return ConfidenceScale(*map(_finite, numbers))


def _finite(number: float) -> float:
    if not isfinite(number := float(number)):
        raise ValueError("not finite")
    return number


def read_record(folder: Path) -> dict[str, Any]:
    """The record of the measures in a model folder; empty if there is none. Raises InputError."""
    try:
        record = parse_json((folder / FOLDER / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _damaged() from error
    if not isinstance(record, dict):
        raise _damaged()
    return record


def _damaged() -> InputError:
    return InputError(
        f"{FOLDER}/{RECORD} is damaged, so that the trust in its answers is not known; copy the model again, or "
        f"delete {FOLDER}/ and run `diffvqa finetune` on the folder again",
        argument="model",
    )
