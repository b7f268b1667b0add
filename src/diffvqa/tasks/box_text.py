"""Boxes as text: four integers, in figures or as tokens of their own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken

from diffvqa.boxes import Box


@dataclass(frozen=True, slots=True)
class Notation:
    """The notation of a captioner's boxes: integers 0..bins, as figures or as location tokens.

    region_box_first: of a named region the box is written before the phrase (CAREF).
    """

    bins: int = 500
    location_tokens: bool = False
    region_box_first: bool = False


def box_to_text(box: Box, size: float, notation: Notation) -> str:
    """A box in an image of size x size, as four integers 0..bins: `x1 y1 x2 y2`, or `<loc1><loc2><loc3><loc4>`.

    A box narrower than a bin is widened to one, so that what is written can be read.
    """
    bins = notation.bins
    x1, y1, x2, y2 = (min(max(round(value / size * bins), 0), bins) for value in box.as_tuple())
    x1, y1 = min(x1, bins - 1), min(y1, bins - 1)
    numbers = x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)
    if notation.location_tokens:
        return "".join(map(_location, numbers))
    return " ".join(map(str, numbers))


_FIGURES = re.compile(r"\s*(\d+) (\d+) (\d+) (\d+)\s*", re.ASCII)
_LOCATIONS = re.compile(r"\s*" + r"<loc(\d+)>\s*" * 4, re.ASCII)


def text_to_box(text: str, size: float, notation: Notation) -> Box | None:
    """The box that a text writes, in an image of size x size; None if the text is not four integers of a box."""
    match = (_LOCATIONS if notation.location_tokens else _FIGURES).fullmatch(text)
    if not match:
        return None
    x1, y1, x2, y2 = (int(value) for value in match.groups())
    if max(x2, y2) > notation.bins or x2 <= x1 or y2 <= y1:
        return None
    return Box(*(value * size / notation.bins for value in (x1, y1, x2, y2)))


def writes_box(text: str) -> bool:
    """Whether a text is four integers in either notation."""
    return bool(_FIGURES.fullmatch(text) or _LOCATIONS.fullmatch(text))


def add_location_tokens(tokenizer: Any, bins: int) -> None:
    """Give a tokenizer a token for each of the integers 0..bins. It has bins + 1 more: embeddings must follow."""
    # Special tokens would vanish when a text is decoded. The space before a box belongs to its first token.
    tokenizer.add_tokens(
        [AddedToken(_location(place), lstrip=True, normalized=False, special=False) for place in range(bins + 1)]
    )


def number_pieces(tokenizer: Any, notation: Notation) -> dict[int, str]:
    """The tokens of which boxes are written, each with what it adds to the figures of a box: ` 1 2 3 4`."""
    if notation.location_tokens:
        places = range(notation.bins + 1)
        return {tokenizer.convert_tokens_to_ids(_location(place)): f" {place}" for place in places}
    # Some tokenizers drop the space of a first token, so none is decoded alone.
    before = tokenizer.encode(":", add_special_tokens=False)[-1]
    start = len(tokenizer.decode([before]))
    added = (tokenizer.decode([before, token])[start:] for token in range(len(tokenizer)))
    return {token: text for token, text in enumerate(added) if re.fullmatch(r"[ \d]+", text, re.ASCII)}


def _location(place: int) -> str:
    return f"<loc{place}>"
