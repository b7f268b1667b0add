"""Readers of a table cell or a header element: a missing value, a number, or a person."""

from __future__ import annotations

import re
from typing import Any

MISSING = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "nat", "null"})
"""How programs write that there is no value, in upper or lower case; Python's own `None` is the other."""

NOBODY = "no patient is named"

_PLACEHOLDERS = frozenset({"none", "unknown", "anonymous", "anonymized", "anonymised", "?", "-"})
"""Words that stand in the place of a person's identifier, and are the same for all."""

_REPLACED = ("\ufffd", "?")
"""What programs leave of a character that they could not write or read."""

_SHORTENED = re.compile(r"[+-]?\d+([.,]\d*)?e[+-]?\d+", re.IGNORECASE)
_COMMA = re.compile(r"[+-]?\d*,\d+")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_FRACTION = re.compile(r"(\d{16,})\.0*")


def said(text: str) -> str:
    """A cell's text without the blanks around it; "" where it says that a value is missing."""
    text = text.strip()
    return "" if text == "None" or text.lower() in MISSING else text


def read_number(cell: Any) -> float:
    """A number, or the one that a text writes, with a point or a comma before its decimals.

    Raises ValueError or TypeError for what is none, and for `1,234`, which may be either of two numbers.
    """
    if isinstance(cell, str) and _COMMA.fullmatch(cell.strip()) and not _THOUSANDS.fullmatch(cell.strip()):
        cell = cell.replace(",", ".")
    return float(cell)


def why_nobody(identifier: str) -> str | None:
    """Why a text cannot be the key of a person, for another one may have it too; None if it can."""
    if not said(identifier) or identifier.strip().lower() in _PLACEHOLDERS:
        return NOBODY
    if any(mark in identifier for mark in _REPLACED):
        return "characters of the patient's identifier were replaced by others"
    # Spreadsheets write long numbers as 1.23E+17, and Parquet's floating point holds 15 digits for sure.
    if _SHORTENED.fullmatch(identifier.strip()) or _FRACTION.fullmatch(identifier.strip()):
        return "the patient's identifier is a long number that was rounded"
    return None


def read_sex(text: str) -> str:
    """M or F, from the letter or the word; "" for all else."""
    return {"M": "M", "MALE": "M", "F": "F", "FEMALE": "F"}.get(text.strip().upper(), "")
