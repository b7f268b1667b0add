"""The model that answers a question about two radiographs."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from diffvqa import __version__
from diffvqa.answering.answer import CANNOT_ANSWER, CANNOT_COMPARE, Answer, FoundBox, ModelVersion
from diffvqa.answering.case import FREE_WORDS, Case, make_case, read_question
from diffvqa.answering.image_files import Given, name_files
from diffvqa.answering.wordings import question_type, why_not_asked
from diffvqa.errors import InputError
from diffvqa.findings import SHOWN_IN, Change, read_changes
from diffvqa.images.radiograph import read_radiograph
from diffvqa.inference.asking import WrittenAnswer, answer_questions
from diffvqa.inference.finding_boxes import find_boxes
from diffvqa.inference.image_findings import contradict, name_findings, why_no_findings
from diffvqa.inference.model import EncodedImage, FinetunedModel
from diffvqa.records import Pair

SYNTHETIC_ONLY = "the model was trained on synthetic patients only: its answers about real patients mean nothing"

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class _Findings:
    """The findings named in each image of a case, or None with the reason."""

    by_image: Mapping[str, tuple[str, ...]] | None
    reason: str | None


class Answerer:
    """A finetuned model that answers questions about image files."""

    def __init__(self, model: FinetunedModel) -> None:
        self.model = model

    @classmethod
    def from_pretrained(cls, source: PathLike) -> Answerer:
        """Load a model: a folder written by `finetune`, `phantom-small`, or a hub name (owner/name).

        Raises InputError if there is no such model, or if it is damaged.
        """
        return cls(FinetunedModel.load(source))

    @property
    def version(self) -> ModelVersion:
        """The name and version of the model."""
        return ModelVersion(self.model.name, self.model.digest[:12], __version__)

    def __call__(
        self,
        current: Given,
        prior: Given | Sequence[Given] | None = None,
        question: str | None = None,
        beams: int = 1,
        trust_order: bool = False,
        trust_identity: bool = False,
    ) -> Answer:
        """Answer a question about a radiograph, alone or compared with prior ones.

        current: a PNG, JPEG or DICOM file: its path, or its content as bytes. prior: one file or several, the nearest
        first; the model takes as many as it was trained with. question: if None, what has changed, or what one image
        shows. beams: width of the beam search; 1 is greedy. trust_order: continue even if DICOM headers say that the
        prior is the later one. trust_identity: continue even if DICOM headers say that the patients differ.

        Raises InputError, which names the argument.
        """
        files = name_files(current, prior)
        priors, taken = len(files) - 1, self.model.priors
        if priors > taken:
            raise InputError(
                f"given {priors} times, but the model takes {taken} at the most; give fewer", argument="prior"
            )
        read_question(question, alone=not priors)
        radiographs = {name: read_radiograph(file, name) for name, file in files.items()}
        images = dict(zip(radiographs, self.model.encode_radiographs(list(radiographs.values())), strict=True))
        return self.answer([make_case(images, question, trust_order, trust_identity)], beams)[0]

    def answer(self, cases: Sequence[Case], beams: int = 1) -> list[Answer]:
        """Answer several cases in batches; the answers are in the order of the cases."""
        cases = [replace(case, reason=case.reason or why_not_asked(case.question, self.model.taught)) for case in cases]
        asked = [case for case in cases if case.reason is None]
        asked_images = dict.fromkeys(image for case in asked for image in case.images.values())
        keys = {image: str(number) for number, image in enumerate(asked_images)}
        features = {key: image.tokens for image, key in keys.items()}
        questions = [(_pair(case, keys), case.question) for case in asked]
        written = answer_questions(self.model.difference, questions, features, beams=beams) if asked else []
        changes = [_changes(case, one.text) for case, one in zip(asked, written, strict=True)]
        findings = self._findings(asked, keys, features, beams)
        boxes = self._boxes(asked, changes, [named.by_image or {} for named in findings], keys)
        answers = iter(
            self._assemble(case, words, changed, named, found, beams)
            for case, words, changed, named, found in zip(asked, written, changes, findings, boxes, strict=True)
        )
        return [next(answers) if case.reason is None else self._no_answer(case) for case in cases]

    def _of_the_model(self) -> Sequence[str]:
        """Warnings about the model itself, the same for every question."""
        return (SYNTHETIC_ONLY,) if self.model.synthetic else ()

    def _no_answer(self, case: Case) -> Answer:
        return Answer(
            question=case.question,
            text=CANNOT_ANSWER if len(case.images) == 1 else CANNOT_COMPARE,
            reason=case.reason,
            findings_reason=case.reason,
            boxes_reason=case.reason,
            out_of_distribution=_out_of_distribution(case),
            warnings=(*case.warnings, *self._of_the_model()),
            model=self.version,
        )

    def _assemble(
        self,
        case: Case,
        written: WrittenAnswer,
        changes: tuple[Change, ...] | None,
        findings: _Findings,
        boxes: tuple[FoundBox, ...] | None,
        beams: int,
    ) -> Answer:
        warnings = (*case.warnings, *self._of_the_model())
        named = findings.by_image
        if changes is not None and named is not None and "prior" in named and contradict(changes, named):
            warnings += ("the findings of the images contradict the changes: the model names both in separate answers",)
        # The scale was measured on greedy answers to questions about changes.
        kind = question_type(case.question)
        scale = self.model.trust.confidence if beams == 1 and kind == "difference" else None
        return Answer(
            question=case.question,
            text=written.text,
            reason=None,
            changes=changes,
            confidence=scale.probability(written.confidence) if scale else written.confidence if kind else None,
            calibrated=scale is not None,
            findings=named,
            findings_reason=findings.reason,
            boxes=boxes,
            boxes_reason=self.model.no_boxes_reason if boxes is None else None,
            out_of_distribution=_out_of_distribution(case),
            warnings=warnings,
            model=self.version,
        )

    def _findings(
        self, cases: Sequence[Case], keys: Mapping[EncodedImage, str], features: Mapping[str, np.ndarray], beams: int
    ) -> list[_Findings]:
        """The findings that the model names in the current and the prior image of each case."""
        reason = why_no_findings(self.model.taught)
        if reason is not None:
            return [_Findings(None, reason)] * len(cases)
        # Findings and boxes would be taken for part of an answer of which nothing is known.
        alone = [
            {name: keys[case.images[name]] for name in ("current", "prior") if name in case.images}
            if question_type(case.question)
            else {}
            for case in cases
        ]
        wanted = dict.fromkeys(key for images in alone for key in images.values())
        named = name_findings(self.model.difference, {key: features[key] for key in wanted}, beams) if wanted else {}
        found = []
        for images in alone:
            by_image = {name: names for name, key in images.items() if (names := named[key]) is not None}
            unread = [
                f"the model's text about the {name} image is no list of findings"
                for name in images
                if name not in by_image
            ]
            reason = unread[0] if unread else None if images else FREE_WORDS
            found.append(_Findings(None, reason) if reason else _Findings(by_image, None))
        return found

    def _boxes(
        self,
        cases: Sequence[Case],
        changes: Sequence[Iterable[Change] | None],
        findings: Sequence[Mapping[str, Sequence[str]]],
        keys: Mapping[EncodedImage, str],
    ) -> list[tuple[FoundBox, ...] | None]:
        """The boxes of each case: first those of changed findings, then those of the other findings.

        None if the model has no captioner.
        """
        if self.model.captioner is None:
            return [None] * len(cases)
        asked = [_shown(*one) for one in zip(cases, changes, findings, strict=True)]
        wanted: dict[str, dict[str, None]] = defaultdict(dict)
        for case, shown in zip(cases, asked, strict=True):
            for image, name in shown:
                wanted[keys[case.images[image]]][name] = None
        features = {key: image.captioner_tokens for image, key in keys.items()}
        found = find_boxes(self.model.captioner, wanted, features)
        size = self.model.captioner.image_size
        return [
            tuple(
                FoundBox(image, name, box, kind, one.phrase)
                for (image, name), kind in shown.items()
                for one in found[keys[case.images[image]], name]
                if (box := case.images[image].frame.out_of_square(one.box, size))
            )
            for case, shown in zip(cases, asked, strict=True)
        ]


def _pair(case: Case, keys: Mapping[EncodedImage, str]) -> Pair:
    """What the question is asked of.

    Models have learnt questions of other types of one image, and write anything where they are shown two.
    """
    current, *priors = (keys[image] for image in case.images.values())
    if question_type(case.question) not in (None, "difference"):
        return Pair(current)
    return Pair(current, priors[0] if priors else None, earlier=tuple(priors[1:]))


def _changes(case: Case, text: str) -> tuple[Change, ...] | None:
    readings = read_changes(text) if question_type(case.question) == "difference" else ()
    return tuple(sorted(readings[0])) if readings else None


def _shown(
    case: Case, changes: Iterable[Change] | None, findings: Mapping[str, Sequence[str]]
) -> dict[tuple[str, str], Literal["change", "finding"]]:
    """The (image, finding) that have boxes, and why: what has changed, then what else is named."""
    shown: dict[tuple[str, str], Literal["change", "finding"]] = {
        (image, change.finding): "change" for change in changes or () for image in SHOWN_IN[change.kind]
    }
    for image, names in findings.items():
        for name in names:
            shown.setdefault((image, name), "finding")
    return {(image, name): kind for (image, name), kind in shown.items() if image in case.images}


def _out_of_distribution(case: Case) -> dict[str, float] | None:
    found = {name: image.out_of_distribution for name, image in case.images.items() if name in ("current", "prior")}
    known = {name: round(value, 3) for name, value in found.items() if value is not None and math.isfinite(value)}
    return known if len(known) == len(found) else None
