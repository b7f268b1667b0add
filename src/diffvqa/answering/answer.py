"""The fields of an answer: text, changes, findings, boxes, warnings, and the model that gave them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from diffvqa.boxes import Box
from diffvqa.findings import Change

CANNOT_COMPARE, CANNOT_ANSWER = "cannot compare", "cannot answer"
"""The text if the radiographs allow no answer: for several radiographs, and for one."""

NOTICE = "Research use only. Not a medical device. Not for diagnosis."
"""The notice that every answer shows, in any form."""

DEPRECATED = {"unlikeness": "out_of_distribution", "remarks": "warnings"}
"""Old keys of JSON answers with their new names. An answer holds both for one release."""


@dataclass(frozen=True, slots=True)
class FoundBox:
    """A box of a finding, in pixels of the source file.

    image: `current` or `prior`. label: the finding. box: the place of the finding. kind: `change` if the finding has
    changed, else `finding`. phrase: the captioner's words for this box, with level and side.
    """

    image: str
    label: str
    box: Box
    kind: Literal["change", "finding"] = "change"
    phrase: str = ""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """The model that answered.

    name: its folder or hub name. version: the beginning of the SHA-256 of its weights. diffvqa: version of the program.
    """

    name: str
    version: str
    diffvqa: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer of a model to a question about radiographs. A field that is None has its reason beside it.

    question: the question as the model was asked it. text: the model's text, or CANNOT_COMPARE or CANNOT_ANSWER.
    reason: why there is no answer, or None. changes: the changes that the text states; None if the text does not follow
    the grammar of difference answers. confidence, 0 to 1: if calibrated, how often such answers were right on the
    validation split; if not, the geometric mean of the token probabilities; None for a question outside the words of
    Medical-Diff-VQA. calibrated: whether the confidence is calibrated. findings: the findings of the current and the
    prior image. findings_reason: why findings are None. boxes: the boxes of changes and of other findings.
    boxes_reason: why boxes are None. out_of_distribution: the score of each image, above 1 a warning, above 1.5 no
    answer; None if it was not measured. warnings: what a reader should know before relying on the answer.
    model: the model that answered.
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
        """The answer as plain values, in the form of answer.schema.json; a box is [x1, y1, x2, y2].

        Raises ValueError for a number that is not finite, which JSON cannot hold.
        """
        plain = asdict(self)
        for found in plain["boxes"] or ():
            found["box"] = tuple(found["box"].values())
        plain = json.loads(json.dumps(plain, allow_nan=False))  # lists in the place of tuples
        return {**plain, **{old: plain[new] for old, new in DEPRECATED.items()}, "notice": NOTICE}
