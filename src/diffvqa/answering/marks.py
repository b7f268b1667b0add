"""The marks of an answer, one for each box, as structured reports and key images show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from diffvqa.answering.answer import Answer
from diffvqa.boxes import Box
from diffvqa.findings import SHOWN_IN, Change, difference


@dataclass(frozen=True, slots=True)
class Mark:
    """A box, in pixels of the source file, in the current or the prior image, and the change that it shows.

    change: None where nothing has changed. found: False where the box is the whole image, because nothing has changed
    or because no box was found.
    """

    image: str
    box: Box
    change: Change | None
    found: bool


def marks_of(answer: Answer, sizes: Mapping[str, tuple[int, int]]) -> tuple[Mark, ...]:
    """The marks of an answer about a pair; none where it says nothing that can be compared.

    sizes: width and height in pixels of the images "current" and "prior". A change without a box gets the whole image
    as its mark, because some viewers show nothing otherwise.
    """
    if answer.changes is None:
        return ()
    whole = {image: Box(0, 0, *sizes[image]) for image in ("current", "prior")}
    if not answer.changes:
        return tuple(Mark(image, box, None, found=False) for image, box in whole.items())
    marks = []
    for change in answer.changes:
        for image in SHOWN_IN[change.kind]:
            # An answer that names a finding twice has its box twice.
            found = {
                one.box: None
                for one in answer.boxes or ()
                if (one.image, one.label, one.kind) == (image, change.finding, "change")
            }
            marks += [Mark(image, box, change, found=bool(found)) for box in found or (whole[image],)]
    return tuple(marks)


def why_not_compared(answer: Answer) -> str | None:
    """Why an answer has no changes, not even none of them; None where it has."""
    if answer.reason:
        return answer.reason
    return "the model's words do not say which findings have changed" if answer.changes is None else None


def describe(mark: Mark) -> str:
    """A mark in words, such as "edema: increased, mild to severe"."""
    if mark.change is None:
        return difference(None)
    levels = f", {mark.change.before} to {mark.change.after}" if mark.change.kind == "level" else ""
    return f"{mark.change.finding}: {difference(mark.change)}{levels}" + ("" if mark.found else ", place not found")
