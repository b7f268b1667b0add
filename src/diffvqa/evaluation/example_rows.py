"""Examples for the report: pairs of pictures with question and answer, and single pictures with a phrase and boxes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from diffvqa.errors import InputError
from diffvqa.evaluation.predictions import BadField, is_number, read_lines

Row = TypeVar("Row")

MOST = 1e9
_PNG_START = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class MarkedBox:
    """A box on a picture: x1, y1, x2, y2 in pixels of the picture, what it shows, and whose it is."""

    corners: tuple[float, float, float, float]
    label: str
    kind: Literal["predicted", "reference"]


@dataclass(frozen=True, slots=True)
class Picture:
    """The bytes of a PNG file, its width and height in pixels, and the boxes on it."""

    png: bytes
    width: int
    height: int
    boxes: tuple[MarkedBox, ...]


@dataclass(frozen=True, slots=True)
class Example:
    """A prior and a current picture with a question, its reference and an answer; confidence from 0 to 1, or None."""

    prior: Picture
    current: Picture
    question: str
    reference: str
    answer: str
    confidence: float | None


@dataclass(frozen=True, slots=True)
class PhraseExample:
    """A phrase that was looked for in a picture, on which the predicted and the reference boxes are marked."""

    picture: Picture
    phrase: str


def read_examples(folder: Path) -> list[Example]:
    """The examples of an evaluation folder, from `examples.jsonl` and the PNG files it names; none without that file.

    Raises InputError, naming line and field, for a line or a picture that cannot be read.
    """
    return _read_rows(folder, "examples.jsonl", _read_example)


def read_phrases(folder: Path) -> list[PhraseExample]:
    """The same for single pictures with a phrase, from `phrases.jsonl`."""
    return _read_rows(folder, "phrases.jsonl", _read_phrase)


def _read_rows(folder: Path, name: str, read: Callable[[Mapping, Path], Row]) -> list[Row]:
    if not (folder / name).exists():
        return []
    examples = []
    for number, row in read_lines(folder / name):
        try:
            examples.append(read(row, folder))
        except BadField as error:
            raise InputError(f"{name}, line {number}: field `{error.field}`: {error}") from error
    return examples


def _read_phrase(row: Mapping, folder: Path) -> PhraseExample:
    phrase = _text(row, "phrase")
    return PhraseExample(_read_picture(row, "picture", row.get("boxes") or [], folder), phrase)


def _read_example(row: Mapping, folder: Path) -> Example:
    boxes = row.get("boxes") or {}
    if not isinstance(boxes, dict):
        raise BadField("boxes", 'expected {"prior": [...], "current": [...]}, found another form.')
    confidence = row.get("confidence")
    if confidence is not None and not is_number(confidence, MOST):
        raise BadField("confidence", "expected a number or null.")
    question, reference, answer = (_text(row, name) for name in ("question", "reference", "answer"))
    return Example(
        prior=_read_picture(row, "prior", boxes.get("prior") or [], folder),
        current=_read_picture(row, "current", boxes.get("current") or [], folder),
        confidence=confidence,
        question=question,
        reference=reference,
        answer=answer,
    )


def _text(row: Mapping, field: str) -> str:
    text = row.get(field)
    if not isinstance(text, str):
        raise BadField(field, "expected a text.")
    return text


def _read_picture(row: Mapping, field: str, boxes: object, folder: Path) -> Picture:
    name = row.get(field)
    if not isinstance(name, str) or not name:
        raise BadField(field, "expected the name of a PNG file in the evaluation folder.")
    path = (folder / name).resolve()
    # The report is made to be handed on: nothing from outside its folder may get into it.
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise BadField(field, "expected a PNG file inside the evaluation folder, found none.")
    png = path.read_bytes()
    if not png.startswith(_PNG_START) or len(png) < 24:
        raise BadField(field, "expected a PNG file, found another kind.")
    width, height = struct.unpack(">II", png[16:24])
    if not width or not height:
        raise BadField(field, "expected a PNG file with pixels, found none.")
    if not isinstance(boxes, list):
        raise BadField("boxes", "expected a list of boxes for each picture.")
    return Picture(png, width, height, tuple(_read_box(box) for box in boxes))


def _read_box(value: object) -> MarkedBox:
    if not isinstance(value, dict):
        raise BadField("boxes", "expected objects with label, box and kind.")
    corners, label, kind = value.get("box"), value.get("label"), value.get("kind")
    if not isinstance(corners, list) or len(corners) != 4 or not all(is_number(corner, MOST) for corner in corners):
        raise BadField("boxes", "expected `box` as [x1, y1, x2, y2] in pixels of the picture.")
    if kind not in ("predicted", "reference"):
        raise BadField("boxes", "expected `kind` to be predicted or reference.")
    x1, y1, x2, y2 = map(float, corners)
    return MarkedBox((x1, y1, x2, y2), label if isinstance(label, str) else "", kind)
