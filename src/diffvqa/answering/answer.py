"""What an answer is: text, changes, findings, boxes, what to know of them, and the model that gave them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from diffvqa.boxes import Box
from diffvqa.findings import Change

CANNOT_COMPARE, CANNOT_ANSWER = "cannot compare", "cannot answer"
"""The text where the radiographs allow no answer: several, or one."""

NOTICE = "Research use only. Not a medical device. Not for diagnosis."
"""On every answer, in whatever form it is given."""

DEPRECATED = {"unlikeness": "out_of_distribution", "remarks": "warnings"}
"""Old keys of JSON answers and the new ones; for one release an answer holds both, with equal values."""


@dataclass(frozen=True, slots=True)
class FoundBox:
    """A box in pixels of the source file: which image (prior or current), what it shows, and why it is shown.

    kind: of a finding that has changed, or of one that is named in this image. phrase: what the captioner says there,
    with level and side.
    """

    image: str
    label: str
    box: Box
    kind: Literal["change", "finding"] = "change"
    phrase: str = ""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """The model that answered: its name (folder or hub), the beginning of its weights' digest, our version."""

    name: str
    version: str
    diffvqa: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model says of the radiographs. Whatever is None has its reason beside it.

    reason: why the radiographs allow no answer; the text is then CANNOT_COMPARE (or CANNOT_ANSWER), and all else None.
    changes: None also where the text is not in the grammar of difference answers. confidence, 0 to 1: where it is
    calibrated, how often such an answer was right on the validation split; else the mean (geometric) probability of the
    text's tokens; None also for a question in free words. findings: by image, current and prior. out_of_distribution:
    the score of the same images (inference.input_check), 1 being the limit of the training data; None where it was not
    measured. warnings: what a reader should know before relying on the answer.
    """

    question: str
    text: str
    reason: str | None
    changes: tuple[Change, ...] | None = None
    confidence: float | None = None
    calibrated: bool = False
    findings: Mapping[str, tuple[str, ...]] | None = None
    findings_reason: str | None
    boxes: tuple[FoundBox, ...] | None = None
    boxes_reason: str | None
    out_of_distribution: Mapping[str, float] | None
    warnings: tuple[str, ...]
    model: ModelVersion

    def as_dict(self) -> dict[str, Any]:
        """The answer as plain values, as answer.schema.json says; boxes as [x1, y1, x2, y2].

        Raises ValueError for a number that is not finite, which JSON does not have.
        """
        plain = asdict(self)
        for found in plain["boxes"] or ():
            found["box"] = tuple(found["box"].values())
        plain = json.loads(json.dumps(plain, allow_nan=False))  # lists in the place of tuples
        return {**plain, **{old: plain[new] for old, new in DEPRECATED.items()}, "notice": NOTICE}
