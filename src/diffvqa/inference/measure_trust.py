"""Measures of trust in a finished model, from its validation split: calibration and input check."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffvqa.data.history import with_earlier
from diffvqa.data.pretraining_images import pretraining_images
from diffvqa.data.store import Store
from diffvqa.files import write_text
from diffvqa.findings import read_changes
from diffvqa.inference.asking import Progress, answer_questions
from diffvqa.inference.confidence import fit_confidence
from diffvqa.inference.input_check import fit_input_check, save_input_check
from diffvqa.inference.trust import FOLDER, RECORD, read_record
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.folder import ModelFolder, weights_digest
from diffvqa.progress import progress_bar
from diffvqa.records import Question

QUESTIONS, TRAINING_IMAGES, VALIDATION_IMAGES = 1000, 2000, 1000
"""The most questions that are asked; drawn from more."""

FEWEST_QUESTIONS, FEWEST_IMAGES = 50, 50
"""The fewest questions; with fewer, nothing is measured, and the model says so."""

FLAGGED = 0.9
"""The share of changed pairs that are flagged: a detection rate at which models can be compared."""


@dataclass(frozen=True)
class TrustSample:
    """Images by their identifiers, and questions, that a model is measured on; drawn where there are more."""

    train: Sequence[str]
    validate: Sequence[str]
    questions: Sequence[Question]

    @property
    def images(self) -> set[str]:
        """Every image that has to be encoded."""
        return {*self.train, *self.validate, *(image for one in self.questions for image in one.pair.images)}


def draw_sample(store: Store, priors: int) -> TrustSample:
    """The sample of a store: images that can be pretrained on, validation images, and validation questions.

    The questions are difference questions whose answers can be read. priors: how many earlier images the model takes.
    """
    random = np.random.default_rng(0)
    train = [store.images[position].image_id for position in pretraining_images(store)[0]]
    validate = [image.image_id for image in store.images if image.split == "validate"]
    train, validate = _draw(train, TRAINING_IMAGES, random), _draw(validate, VALIDATION_IMAGES, random)
    known = [
        one
        for one in store.questions
        if one.split == "validate" and one.type == "difference" and read_changes(one.answer)
    ]
    return TrustSample(train, validate, with_earlier(_draw(known, QUESTIONS, random), store, priors - 1))


def is_measured(folder: Path) -> bool:
    """Whether a finetuned model has been measured with the weights that it has. Raises InputError."""
    return read_record(folder).get("weights") == weights_digest(folder)


def measure_trust(
    model: ModelFolder[DifferenceModel], store: Store, sample: TrustSample, features: Mapping[str, np.ndarray]
) -> None:
    """Measure a finetuned model on a sample of the store that it was trained on, into its folder.

    features: image identifier -> patch tokens, of every image of the sample. The input check comes from the sample's
    training images, with its limit from the validation images; the confidence scale from the questions, and the
    threshold that flags FLAGGED of the changed pairs, for a model that weighs changes.
    """
    trust = model.path / FOLDER
    trust.mkdir(exist_ok=True)
    measured = min(len(sample.train), len(sample.validate)) >= FEWEST_IMAGES
    if measured:
        parts = (np.stack([features[image] for image in part]) for part in (sample.train, sample.validate))
        save_input_check(fit_input_check(*parts), trust)
    with progress_bar("measure the confidence") as progress:
        answers = _measure_answers(model, sample.questions, features, progress)
    record = {
        "weights": model.digest,
        "store": store.fingerprint,
        "input_check": {
            "train_images": len(sample.train),
            "validate_images": len(sample.validate),
            "measured": measured,
        },
        "confidence": answers,
    }
    write_text(trust / RECORD, json.dumps(record, indent=2))


def flag_threshold(probabilities: Sequence[float]) -> float | None:
    """The highest threshold that flags FLAGGED of the changed pairs or more; None where there are too few.

    probabilities: how probable any change is in each changed pair.
    """
    if len(probabilities) < FEWEST_QUESTIONS:
        return None
    return float(np.quantile(probabilities, 1 - FLAGGED, method="lower"))


def _measure_answers(
    model: ModelFolder[DifferenceModel],
    questions: Sequence[Question],
    features: Mapping[str, np.ndarray],
    progress: Progress,
) -> dict[str, Any]:
    """How many answers there were and were right, their scale, and the threshold from which on a pair is flagged."""
    if len(questions) < FEWEST_QUESTIONS:
        return {"answers": len(questions), "right": 0, "scale": None, "flag_threshold": None}
    written = answer_questions(model, [(one.pair, one.text) for one in questions], features, progress)
    right = np.array([_right(answer.text, one) for answer, one in zip(written, questions, strict=True)])
    scale = fit_confidence(np.array([answer.confidence for answer in written]), right)
    changed = [
        answer.changed
        for answer, one in zip(written, questions, strict=True)
        if answer.changed is not None and all(read_changes(one.answer))
    ]
    return {
        "answers": len(questions),
        "right": int(right.sum()),
        "scale": asdict(scale) if scale else None,
        "flag_threshold": flag_threshold(changed),
    }


def _right(text: str, question: Question) -> bool:
    """Whether an answer says all that has changed, and nothing else, in any of its readings."""
    return bool(set(read_changes(text)) & set(read_changes(question.answer)))


def _draw(items: Sequence, count: int, random: np.random.Generator) -> list:
    chosen = random.permutation(len(items))[:count]
    return [items[index] for index in sorted(chosen)]
