"""The changes between two images of a patient, each with its box: a pretraining task on pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from diffvqa.boxes import Box
from diffvqa.findings import NOTHING_CHANGED, Change, names_finding
from diffvqa.tasks.image_texts import Phrase
from diffvqa.tasks.text import SEPARATOR, Text, encode, encode_segment

_PREFIX = "Change:"
_NEXT = ";"


def place_findings(findings: Iterable[str], phrases: Sequence[Phrase]) -> dict[str, Box]:
    """The box of each finding in an image: the smallest box of a phrase that names the finding and does not deny it.

    A finding that no phrase names has no entry. Boxes are in the phrases' unit.
    """
    named = {finding: [one.box for one in phrases if names_finding(one.phrase, finding)] for finding in findings}
    return {finding: min(boxes, key=lambda box: box.area) for finding, boxes in named.items() if boxes}


def change_text(
    changes: Iterable[Change], prior: Mapping[str, str], current: Mapping[str, str], tokenizer: Any, maximum: int
) -> Text:
    """The changes from a prior to a current image, each with its box: where it is missing, its box in the prior image.

    prior, current: where each image shows the findings, boxes as text. A change of unknown place stands without a box.
    As many changes as fit into `maximum` tokens, in alphabetical order; the first always.
    """
    segments: list[str] = []
    for change in sorted(changes):
        box = (prior if change.kind == "missing" else current).get(change.finding)
        more = [*([_NEXT] if segments else []), f" {_describe(change)}"]
        more += [] if box is None else [SEPARATOR, f" {box}"]
        if segments and _length(tokenizer, [*segments, *more]) > maximum:
            break
        segments += more
    return Text((_PREFIX,), tuple(segments or [f" {NOTHING_CHANGED.rstrip('.')}"]))


def _describe(change: Change) -> str:
    if change.kind == "level":
        return f"{change.finding} from {change.before} to {change.after}"
    return f"{change.kind} {change.finding}"


def _length(tokenizer: Any, segments: Sequence[str]) -> int:
    prefix, target = encode(tokenizer, Text((_PREFIX,), ("",)), 1 << 30)
    return len(prefix) + len(target) + sum(len(encode_segment(tokenizer, segment)) for segment in segments)
