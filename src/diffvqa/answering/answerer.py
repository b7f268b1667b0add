"""Two radiographs and a question to an answer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from diffvqa import __version__
from diffvqa.answering.answer import CANNOT_ANSWER, CANNOT_COMPARE, Answer, FoundBox, ModelVersion
from diffvqa.answering.case import CHANGE, Case, Encoded, make_case, read_question
from diffvqa.answering.image_files import Given, name_files, read_files
from diffvqa.boxes import Box
from diffvqa.errors import InputError
from diffvqa.findings import SHOWN_IN, Change, read_changes
from diffvqa.images.intensities import intensity_of
from diffvqa.images.radiograph import Radiograph, StoredFrame
from diffvqa.inference.asking import Written, answer_questions, encoder_of
from diffvqa.inference.grounding import load_captioner, propose_boxes, write_boxes
from diffvqa.inference.hub import model_folder
from diffvqa.inference.image_findings import contradict, name_findings, why_no_findings
from diffvqa.inference.trust import load_trust
from diffvqa.models.captioner import Captioner
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.folder import ModelFolder, load_folder, weights_digest
from diffvqa.records import Pair
from diffvqa.tasks.text import encode_prompt, referring_prompt

PathLike = str | os.PathLike[str]


class Answerer:
    """A model folder, loaded once, that answers questions about image files."""

    def __init__(
        self,
        difference: ModelFolder[DifferenceModel],
        captioner: ModelFolder[Captioner] | None,
        no_boxes_reason: str | None = "the model holds no captioner",
    ) -> None:
        digest = weights_digest(difference.path)
        self.difference, self.captioner, self.no_boxes_reason = difference, captioner, no_boxes_reason
        self.no_findings_reason = why_no_findings(difference.path)
        self.trust = load_trust(difference.path, digest)
        self.version = ModelVersion(difference.path.resolve().name, digest[:12], __version__)

    @classmethod
    def from_pretrained(cls, source: PathLike) -> Answerer:
        """Load a folder that `diffvqa finetune` has written, or one of the hub's (owner/name). Raises InputError."""
        folder = model_folder(source)
        answerer = cls(load_folder(DifferenceModel, folder, "MODEL"), *load_captioner(folder))
        if folder != Path(source):
            answerer.version = replace(answerer.version, name=os.fspath(source))
        return answerer

    def __call__(
        self,
        current: Given,
        prior: Given | Sequence[Given] | None = None,
        question: str | None = None,
        beams: int = 1,
        trust_order: bool = False,
        trust_identity: bool = False,
    ) -> Answer:
        """Answer a question about a radiograph and what came before it: PNG, JPEG or DICOM, paths or contents.

        prior: one file, or the nearest and those before it, of which the model takes as many as it was trained with.
        beams: of the beam search; 1 is greedy. trust_order, trust_identity: go on where DICOM headers say that the
        prior is the later one, or that the patients differ. Raises InputError, naming the argument.
        """
        files = name_files(current, prior)
        priors, taken = len(files) - 1, self.difference.model.config.priors
        if priors > taken:
            raise InputError(f"--prior was given {priors} times, but the model takes {taken} at the most")
        read_question(question, alone=not priors)
        radiographs = read_files(files)
        images = dict(zip(radiographs, self.encode(list(radiographs.values())), strict=True))
        return self.answer([make_case(images, question, trust_order, trust_identity)], beams)[0]

    @property
    def size(self) -> int:
        """The side of the model's square input, in pixels."""
        return self.difference.model.config.vision_config.image_size

    def encode(self, radiographs: Sequence[Radiograph]) -> list[Encoded]:
        """Radiographs as the model sees them, at once; of them only what answers need is kept."""
        tokens = captioner_tokens = _encode(self.difference, radiographs)
        if self.captioner and self._captioner_sees_otherwise:
            captioner_tokens = _encode(self.captioner, radiographs)
        check = self.trust.input_check
        unlikeness = check.unlikeness(np.stack(tokens)).tolist() if check else [None] * len(radiographs)
        return [
            Encoded(one.header, one.frame, one.digest, *seen)
            for one, *seen in zip(radiographs, tokens, captioner_tokens, unlikeness, strict=True)
        ]

    def answer(self, cases: Sequence[Case], beams: int = 1) -> list[Answer]:
        """The answers to cases, in their order, written in batches."""
        asked = [case for case in cases if case.reason is None]
        asked_images = dict.fromkeys(image for case in asked for image in case.images.values())
        keys = {image: str(number) for number, image in enumerate(asked_images)}
        features = {key: image.tokens for image, key in keys.items()}
        questions = [(_pair(case, keys), case.question) for case in asked]
        written = answer_questions(self.difference, questions, features, beams=beams) if asked else []
        changes = [_changes(one.text) for one in written]
        findings = self._findings(asked, keys, features, beams)
        boxes = self._boxes(asked, changes, [found or {} for found, _ in findings], keys)
        answers = iter(
            self._assemble(case, one, *rest, beams)
            for case, one, *rest in zip(asked, written, changes, findings, boxes, strict=True)
        )
        return [next(answers) if case.reason is None else self._no_answer(case) for case in cases]

    def _no_answer(self, case: Case) -> Answer:
        text = CANNOT_ANSWER if len(case.images) == 1 else CANNOT_COMPARE
        return Answer(
            question=case.question,
            text=text,
            reason=case.reason,
            changes=None,
            confidence=None,
            calibrated=False,
            findings=None,
            findings_reason=case.reason,
            boxes=None,
            boxes_reason=case.reason,
            unlikeness=_unlikeness(case),
            remarks=case.remarks,
            model=self.version,
        )

    def _assemble(
        self,
        case: Case,
        written: Written,
        changes: tuple[Change, ...] | None,
        findings: tuple[dict[str, tuple[str, ...]] | None, str | None],
        boxes: tuple[FoundBox, ...] | None,
        beams: int,
    ) -> Answer:
        remarks = case.remarks
        if changes is not None and "prior" in (findings[0] or {}) and contradict(changes, findings[0]):
            remarks += ("the findings named in each image contradict the changes: they are answers of their own",)
        # The scale was measured on greedy answers to questions about changes.
        scale = self.trust.confidence if beams == 1 and case.question.startswith(CHANGE) else None
        return Answer(
            question=case.question,
            text=written.text,
            reason=None,
            changes=changes,
            confidence=scale.probability(written.confidence) if scale else written.confidence,
            calibrated=scale is not None,
            findings=findings[0],
            findings_reason=findings[1],
            boxes=boxes,
            boxes_reason=self.no_boxes_reason if boxes is None else None,
            unlikeness=_unlikeness(case),
            remarks=remarks,
            model=self.version,
        )

    def _findings(
        self, cases: Sequence[Case], keys: Mapping[Encoded, str], features: Mapping[str, np.ndarray], beams: int
    ) -> list[tuple[dict[str, tuple[str, ...]] | None, str | None]]:
        """For each case what is named in its current and its prior image, or None with the reason."""
        if self.no_findings_reason is not None:
            return [(None, self.no_findings_reason)] * len(cases)
        alone = [
            {name: keys[case.images[name]] for name in ("current", "prior") if name in case.images} for case in cases
        ]
        wanted = dict.fromkeys(key for images in alone for key in images.values())
        named = name_findings(self.difference, {key: features[key] for key in wanted}, beams) if wanted else {}
        found = []
        for images in alone:
            unread = [name for name, key in images.items() if named[key] is None]
            if unread:
                reason = f"what the model wrote about the findings of the {unread[0]} image is no list of names"
                found.append((None, reason))
            else:
                found.append(({name: named[key] for name, key in images.items()}, None))
        return found

    def _boxes(
        self,
        cases: Sequence[Case],
        changes: Sequence[Iterable[Change] | None],
        findings: Sequence[Mapping[str, Sequence[str]]],
        keys: Mapping[Encoded, str],
    ) -> list[tuple[FoundBox, ...] | None]:
        """For each case where each changed finding is, in the images that show it, then the others that are named.

        None without a captioner.
        """
        if self.captioner is None:
            return [None] * len(cases)
        asked = [_shown(*one) for one in zip(cases, changes, findings, strict=True)]
        wanted = {
            (keys[case.images[image]], name): case.images[image].frame
            for case, shown in zip(cases, asked, strict=True)
            for image, name in shown
        }
        features = {key: image.captioner_tokens for image, key in keys.items()}
        boxes = ground(self.captioner, wanted, features)
        return [
            tuple(
                FoundBox(image, name, boxes[keys[case.images[image]], name], kind)
                for (image, name), kind in shown.items()
                if (keys[case.images[image]], name) in boxes
            )
            for case, shown in zip(cases, asked, strict=True)
        ]

    @property
    def _captioner_sees_otherwise(self) -> bool:
        """Whether the captioner knows the encoder as stage 1 left it, or other grey values."""
        trained = bool(self.difference.model.config.trainable_blocks)
        return trained or intensity_of(self.captioner.processor) != intensity_of(self.difference.processor)


def _pair(case: Case, keys: Mapping[Encoded, str]) -> Pair:
    current, *priors = (keys[image] for image in case.images.values())
    return Pair(current, *priors[:1], earlier=tuple(priors[1:]))


def _changes(text: str) -> tuple[Change, ...] | None:
    readings = read_changes(text)
    return tuple(sorted(readings[0])) if readings else None


def _shown(
    case: Case, changes: Iterable[Change] | None, findings: Mapping[str, Sequence[str]]
) -> dict[tuple[str, str], Literal["change", "finding"]]:
    """The (image, finding) that have boxes, and why: what has changed, then what else is named."""
    shown = {(image, change.finding): "change" for change in changes or () for image in SHOWN_IN[change.kind]}
    for image, names in findings.items():
        for name in names:
            shown.setdefault((image, name), "finding")
    return {(image, name): kind for (image, name), kind in shown.items() if image in case.images}


def _unlikeness(case: Case) -> dict[str, float] | None:
    found = {name: image.unlikeness for name, image in case.images.items() if name in ("current", "prior")}
    return None if None in found.values() else {name: round(value, 3) for name, value in found.items()}


def ground(
    captioner: ModelFolder[Captioner],
    asked: Mapping[tuple[str, str], StoredFrame],
    features: Mapping[str, np.ndarray],
) -> dict[tuple[str, str], Box]:
    """The box, in pixels of the file, of each (image, phrase) of which the captioner writes one.

    asked: with the frame of each image's file. A phrase that is longer than the texts that the captioner was trained on
    has none.
    """
    config = captioner.model.config
    prompts = {(image, phrase): referring_prompt(phrase) for image, phrase in asked}
    fitting = {
        key: prompt
        for key, prompt in prompts.items()
        if len(encode_prompt(captioner.tokenizer, prompt)) <= config.text_tokens
    }
    if not fitting:
        return {}
    written = write_boxes(captioner, [(image, prompt) for (image, _), prompt in fitting.items()], features)
    found = {}
    for key, (_, box) in zip(fitting, written, strict=True):
        inside = None if box is None else asked[key].out_of_square(box, config.vision_config.image_size)
        if inside is not None:
            found[key] = inside
    return found


@dataclass(frozen=True, slots=True)
class ProposedBox:
    """A box in pixels of the source file; where there were several to choose from, its share of them, 0 to 1."""

    box: Box
    share: float | None


def ground_phrase(
    captioner: ModelFolder[Captioner],
    radiograph: Radiograph,
    phrase: str,
    count: int = 1,
    by: str = "samples",
    seed: int = 0,
) -> list[ProposedBox]:
    """Up to `count` boxes of a phrase in a radiograph, in pixels of its file, the likeliest first.

    One box is written greedily; several are told apart among samples, drawn with a seed, or beams. Raises InputError if
    the captioner has not learnt to write boxes.
    """
    if "AREF" not in captioner.model.config.tasks:
        raise InputError(
            f"MODEL has learnt no boxes of phrases, only {', '.join(captioner.model.config.tasks)}; give one that was "
            "pretrained with AREF"
        )
    size = captioner.model.config.vision_config.image_size
    features, prompt = {"image": _encode(captioner, [radiograph])[0]}, referring_prompt(phrase)
    if count == 1:
        found = [(box, None) for _, box in write_boxes(captioner, [("image", prompt)], features) if box]
    else:
        proposed = propose_boxes(captioner, prompt, features["image"], count, by, seed)
        found = [(one.box, one.share) for one in proposed]
    inside = [(radiograph.frame.out_of_square(box, size), share) for box, share in found]
    return [ProposedBox(box, share) for box, share in inside if box is not None]


def _encode(folder: ModelFolder, radiographs: Sequence[Radiograph]) -> list[np.ndarray]:
    """Patch tokens of each radiograph as a folder's model sees it: (patches, width) each."""
    size, intensity = folder.model.config.vision_config.image_size, intensity_of(folder.processor)
    tokens = encoder_of(folder)([radiograph.square(size, intensity) for radiograph in radiographs])
    # Copies: whoever keeps one of them must not keep the memory of all.
    return [one.copy() for one in tokens]
