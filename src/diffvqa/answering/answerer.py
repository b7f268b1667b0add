"""Two radiographs and a question to an answer."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffvqa import __version__
from diffvqa.answering import comparable
from diffvqa.answering.answer import CANNOT_ANSWER, CANNOT_COMPARE, Answer, FoundBox, ModelVersion
from diffvqa.answering.grounding import load_captioner, propose_boxes, write_boxes
from diffvqa.answering.image_findings import name_findings, why_no_findings
from diffvqa.answering.inference import answer_questions, encoder_of
from diffvqa.answering.radiograph import Radiograph, intensity_of, read_radiograph
from diffvqa.boxes import Box
from diffvqa.errors import InputError
from diffvqa.findings import ABNORMALITIES_QUESTION, DIFFERENCE_QUESTION, SHOWN_IN, Change, read_changes
from diffvqa.models.captioner import Captioner
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.folder import ModelFolder, load_folder, weights_digest
from diffvqa.records import Pair
from diffvqa.tasks.text import encode_prompt, referring_prompt

LONGEST_QUESTION = 500

CHANGE = "what has changed"
"""Questions that begin so take two images."""

PathLike = str | os.PathLike[str]


class Answerer:
    """A model folder, loaded once, that answers questions about image files."""

    def __init__(
        self,
        difference: ModelFolder[DifferenceModel],
        captioner: ModelFolder[Captioner] | None,
        no_boxes_reason: str | None = "the model holds no captioner",
    ) -> None:
        self.difference, self.captioner, self.no_boxes_reason = difference, captioner, no_boxes_reason
        self.no_findings_reason = why_no_findings(difference.path)
        self.version = ModelVersion(difference.path.resolve().name, weights_digest(difference.path)[:12], __version__)

    @classmethod
    def from_pretrained(cls, folder: PathLike) -> Answerer:
        """Load a folder that `diffvqa finetune` has written. Raises InputError if it is none."""
        return cls(load_folder(DifferenceModel, os.fspath(folder), "MODEL"), *load_captioner(Path(folder)))

    def __call__(
        self,
        current: PathLike,
        prior: PathLike | Sequence[PathLike] | None = None,
        question: str | None = None,
        beams: int = 1,
        trust_order: bool = False,
        trust_identity: bool = False,
    ) -> Answer:
        """Answer a question about a radiograph and what came before it (PNG, JPEG or DICOM files).

        prior: one file, or the nearest and those before it, of which the model takes as many as it was trained with.
        beams: of the beam search; 1 is greedy. trust_order, trust_identity: go on where DICOM headers say that the
        prior is the later one, or that the patients differ. Raises InputError, naming the argument.
        """
        paths = self._named(current, prior)
        question = _asked(question, alone="prior" not in paths)
        radiographs = {name: read_radiograph(path, f"--{name.split()[0]}") for name, path in paths.items()}
        for (name, one), (other, another) in itertools.combinations(radiographs.items(), 2):
            if np.array_equal(one.stored, another.stored):
                raise InputError(f"--{name} and --{other} show the same picture; give different radiographs")
        headers = {name: radiograph.header for name, radiograph in radiographs.items()}
        remarks = (
            *comparable.check_identity(headers, trust_identity),
            *comparable.check_order(headers, trust_order),
            *comparable.check_views(headers),
            *comparable.check_orientation(headers),
        )
        # What the pictures themselves say against an answer belongs here too.
        reasons = comparable.why_not(headers)
        if reasons:
            return self._no_answer(question, "; ".join(reasons), remarks, alone=len(paths) == 1)
        return self._answer(question, radiographs, remarks, beams)

    @property
    def size(self) -> int:
        """The side of the model's square input, in pixels."""
        return self.difference.model.config.vision_config.image_size

    def _named(self, current: PathLike, prior: PathLike | Sequence[PathLike] | None) -> dict[str, PathLike]:
        """The files by their names: current, prior, prior 2 and so on."""
        priors = [prior] if isinstance(prior, str | os.PathLike) else list(prior or ())
        taken = self.difference.model.config.priors
        if len(priors) > taken:
            raise InputError(f"--prior was given {len(priors)} times, but the model takes {taken} at the most")
        paths = {"current": current}
        for number, path in enumerate(priors, start=1):
            paths["prior" if number == 1 else f"prior {number}"] = path
        for (name, one), (other, another) in itertools.combinations(paths.items(), 2):
            if _same_file(one, another):
                raise InputError(f"--{name} and --{other} are the same file; give different radiographs")
        return paths

    def _no_answer(self, question: str, reason: str, remarks: tuple[str, ...], alone: bool) -> Answer:
        text = CANNOT_ANSWER if alone else CANNOT_COMPARE
        return Answer(question, text, reason, None, None, None, reason, None, reason, remarks, self.version)

    def _answer(
        self, question: str, radiographs: Mapping[str, Radiograph], remarks: tuple[str, ...], beams: int
    ) -> Answer:
        features = _encode(self.difference, radiographs)
        pair = Pair("current", *list(radiographs)[1:2], earlier=tuple(radiographs)[2:])
        written = answer_questions(self.difference, [(pair, question)], features, beams=beams)[0]
        readings = read_changes(written.text)
        changes = tuple(sorted(readings[0], key=lambda change: change.finding)) if readings else None
        findings, findings_reason = None, self.no_findings_reason
        if findings_reason is None:
            alone = {image: features[image] for image in ("current", "prior") if image in features}
            findings, findings_reason = name_findings(self.difference, alone, beams)
        boxes = self._boxes(changes or (), findings or {}, radiographs, features)
        return Answer(
            question=question,
            text=written.text,
            reason=None,
            changes=changes,
            confidence=written.confidence,
            findings=findings,
            findings_reason=findings_reason,
            boxes=boxes,
            boxes_reason=self.no_boxes_reason if boxes is None else None,
            remarks=remarks,
            model=self.version,
        )

    def _boxes(
        self,
        changes: Iterable[Change],
        findings: Mapping[str, Sequence[str]],
        radiographs: Mapping[str, Radiograph],
        features: Mapping[str, np.ndarray],
    ) -> tuple[FoundBox, ...] | None:
        """Where each changed finding is, in the image that shows it (for a change of level in both), then the others.

        None without a captioner.
        """
        if self.captioner is None:
            return None
        asked = {(image, change.finding): "change" for change in changes for image in SHOWN_IN[change.kind]}
        for image, names in findings.items():
            for name in names:
                asked.setdefault((image, name), "finding")
        asked = {(image, name): kind for (image, name), kind in asked.items() if image in radiographs}
        if not asked:
            return ()
        if self._captioner_sees_otherwise:
            features = _encode(self.captioner, radiographs)
        boxes = ground(self.captioner, list(asked), radiographs, features)
        return tuple(FoundBox(image, name, box, asked[image, name]) for (image, name), box in boxes.items())

    @property
    def _captioner_sees_otherwise(self) -> bool:
        """Whether the captioner knows the encoder as stage 1 left it, or other grey values."""
        trained = bool(self.difference.model.config.trainable_blocks)
        return trained or intensity_of(self.captioner.processor) != intensity_of(self.difference.processor)


def ground(
    captioner: ModelFolder[Captioner],
    asked: Sequence[tuple[str, str]],
    radiographs: Mapping[str, Radiograph],
    features: Mapping[str, np.ndarray],
) -> dict[tuple[str, str], Box]:
    """The box, in pixels of the file, of each (image, phrase) of which the captioner writes one.

    A phrase that is longer than the texts that the captioner was trained on has none.
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
    for (image, phrase), (_, box) in zip(fitting, written, strict=True):
        inside = None if box is None else radiographs[image].out_of_square(box, config.vision_config.image_size)
        if inside is not None:
            found[image, phrase] = inside
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
    features, prompt = _encode(captioner, {"image": radiograph}), referring_prompt(phrase)
    if count == 1:
        found = [(box, None) for _, box in write_boxes(captioner, [("image", prompt)], features) if box]
    else:
        proposed = propose_boxes(captioner, prompt, features["image"], count, by, seed)
        found = [(one.box, one.share) for one in proposed]
    inside = [(radiograph.out_of_square(box, size), share) for box, share in found]
    return [ProposedBox(box, share) for box, share in inside if box is not None]


def _encode(folder: ModelFolder, radiographs: Mapping[str, Radiograph]) -> dict[str, np.ndarray]:
    """Patch tokens of each radiograph as a folder's model sees it."""
    size, intensity = folder.model.config.vision_config.image_size, intensity_of(folder.processor)
    squares = [radiograph.square(size, intensity) for radiograph in radiographs.values()]
    return dict(zip(radiographs, encoder_of(folder)(squares), strict=True))


def _asked(question: str | None, alone: bool) -> str:
    """The question as the model is asked it. Raises InputError if it cannot be, of one image (alone) or several."""
    if question is None:
        return ABNORMALITIES_QUESTION if alone else DIFFERENCE_QUESTION
    question = " ".join(question.lower().split())
    if not question or len(question) > LONGEST_QUESTION:
        raise InputError(f"--question must have 1 to {LONGEST_QUESTION} characters, found {len(question)}")
    if alone and question.startswith(CHANGE):
        raise InputError("--question is about a change, which takes two radiographs; give --prior too")
    return question


def _same_file(a: PathLike, b: PathLike) -> bool:
    return Path(a).exists() and Path(b).exists() and os.path.samefile(a, b)
