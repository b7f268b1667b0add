"""Readers of a table cell or a header element: a missing value, a number, or a person."""

from __future__ import annotations

import re
from typing import Any

MISSING = frozenset({
    "na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "#ref!", "#value!", "#name?", "#null!", "#num!", "#div/0!",
})  # fmt: skip
"""How programs write that there is no value, in upper or lower case; Python's own `None` is the other."""

NOBODY = "no patient is named"

_PLACEHOLDER = re.compile(
    r"\W*(?:none|unknown|undefined|missing|no ?name|anon(?:ymous|ymi[sz]ed)?|de-?identified|redacted|removed|deleted|"
    r"x{3,})\W*",
    re.IGNORECASE,
)
"""Words that stand in the place of a person's identifier, and are the same for all."""

_NARROW = re.compile("#+")
"""The text that a spreadsheet shows for a number in too narrow a column."""

_REPLACED = ("\ufffd", "?")
"""Marks that programs put for a character that they could not write or read."""

_SHORTENED = re.compile(r"[+-]?\d+([.,]\d*)?e[+-]?\d+", re.IGNORECASE)
_COMMA = re.compile(r"[+-]?\d*,\d+")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_FRACTION = re.compile(r"(\d{16,})\.0*")
_FIFTEEN_DIGITS = re.compile(r"[1-9]\d{14}0{2,}")
"""The form that spreadsheets give to longer numbers."""

_SEXES = {
    "M": ("M", "MALE", "MAN", "BOY", "MASC", "MASCULINE", "MASCULIN", "MASCULINO", "MASCHIO", "MÄNNLICH", "MAENNLICH",
          "HOMME", "HOMBRE", "MANNELIJK"),
    "F": ("F", "FEMALE", "WOMAN", "GIRL", "FEM", "FEMININE", "FEMININ", "FEMENINO", "FEMININO", "FEMMINA", "W",
          "WEIBLICH", "FEMME", "MUJER", "VROUW", "VROUWELIJK"),
}  # fmt: skip
_SEX_OF_WORD = {word: sex for sex, words in _SEXES.items() for word in words}


def said(text: str) -> str:
    """A cell's text without the blanks around it; "" where it says that a value is missing."""
    text = text.strip()
    return "" if text == "None" or text.lower() in MISSING or _NARROW.fullmatch(text) else text


def has_words(text: str) -> bool:
    """Whether a text has a letter or a digit, or what was left of one."""
    return any(one.isalnum() or one == "\ufffd" for one in text)


def read_number(cell: Any) -> float:
    """A number, or the one that a text writes, with a point or a comma before its decimals.

    Raises ValueError or TypeError for what is none, and for `1,234`, which may be either of two numbers.
    """
    if isinstance(cell, str) and _COMMA.fullmatch(cell.strip()) and not _THOUSANDS.fullmatch(cell.strip()):
        cell = cell.replace(",", ".")
    return float(cell)


def why_nobody(identifier: str) -> str | None:
    """Why a text cannot be the key of a person, for another one may have it too; None if it can."""
    if not said(identifier) or not has_words(identifier) or _PLACEHOLDER.fullmatch(identifier):
        return NOBODY
    if any(mark in identifier for mark in _REPLACED):
        return "characters of the patient's identifier were replaced by others"
    # Spreadsheets write long numbers as 1.23E+17, and Parquet's floating point holds 15 digits for sure.
    if any(form.fullmatch(identifier.strip()) for form in (_SHORTENED, _FRACTION, _FIFTEEN_DIGITS)):
        return "the patient's identifier is a long number that was rounded"
    return None


def read_sex(text: str) -> str:
    """M or F, from the letter or the word; "" for all else."""
    return _SEX_OF_WORD.get(text.strip().upper(), "")
