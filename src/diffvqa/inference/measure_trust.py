"""What is measured of a finished model on its validation split, so that its answers say how far to trust them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from diffvqa.data.history import with_earlier
from diffvqa.data.index import StoredImage
from diffvqa.data.splits import pretraining_images
from diffvqa.data.store import Store
from diffvqa.files import write_text
from diffvqa.findings import read_changes
from diffvqa.inference.asking import Progress, answer_questions, encoder_of
from diffvqa.inference.confidence import ConfidenceScale, fit_confidence
from diffvqa.inference.input_check import InputCheck, fit_input_check, save_input_check
from diffvqa.inference.trust import FOLDER, RECORD, read_record
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.folder import ModelFolder, load_folder, weights_digest
from diffvqa.progress import progress_bar
from diffvqa.records import Question

QUESTIONS, TRAINING_IMAGES, VALIDATION_IMAGES = 1000, 2000, 1000
"""At the most; drawn where there are more."""

FEWEST_QUESTIONS, FEWEST_IMAGES = 50, 50
"""With fewer nothing is measured, and the model says so."""

BATCH = 64


def measure_trust(folder: Path, store_folder: Path, seed: int = 0) -> None:
    """Measure a finetuned model on the store that it was trained on, into its folder, unless that has been done.

    The confidence scale comes from difference questions of the validation split, the input check from images that can
    be pretrained on, with its limit from validation images. Raises InputError.
    """
    digest = weights_digest(folder)
    if read_record(folder).get("weights") == digest:
        return
    model, store = load_folder(DifferenceModel, folder, "MODEL"), Store.open(store_folder)
    random = np.random.default_rng(seed)
    trust = folder / FOLDER
    trust.mkdir(exist_ok=True)
    with progress_bar("measure the input check") as progress:
        check, images = _check_inputs(model, store, random, progress)
    if check:
        save_input_check(check, trust)
    with progress_bar("measure the confidence") as progress:
        scale, answers = _scale_confidence(model, store, random, progress)
    record = {
        "weights": digest,
        "store": store.fingerprint,
        "input_check": {**images, "measured": check is not None},
        "confidence": {**answers, "scale": asdict(scale) if scale else None},
    }
    write_text(trust / RECORD, json.dumps(record, indent=2))


def _check_inputs(
    model: ModelFolder[DifferenceModel], store: Store, random: np.random.Generator, progress: Progress
) -> tuple[InputCheck | None, dict[str, int]]:
    """The check, or None where there are too few images, and how many it was made from."""
    train = [store.images[position] for position in pretraining_images(store)[0]]
    validate = [image for image in store.images if image.split == "validate"]
    drawn = {
        "train": _draw(train, TRAINING_IMAGES, random),
        "validate": _draw(validate, VALIDATION_IMAGES, random),
    }
    counts = {f"{split}_images": len(images) for split, images in drawn.items()}
    if min(counts.values()) < FEWEST_IMAGES:
        return None, counts
    total, encode = sum(counts.values()), encoder_of(model)
    tokens: dict[str, list[np.ndarray]] = {split: [] for split in drawn}
    done = 0
    for split, images in drawn.items():
        for start in range(0, len(images), BATCH):
            part = [_pixels(store, image) for image in images[start : start + BATCH]]
            tokens[split].append(encode(part).astype(np.float16))
            done += len(part)
            progress(done, total)
    return fit_input_check(*(np.concatenate(tokens[split]) for split in ("train", "validate"))), counts


def _scale_confidence(
    model: ModelFolder[DifferenceModel], store: Store, random: np.random.Generator, progress: Progress
) -> tuple[ConfidenceScale | None, dict[str, int]]:
    """The scale, or None where there are too few answers, and how many there were and were right."""
    known = [
        one
        for one in store.questions
        if one.split == "validate" and one.type == "difference" and read_changes(one.answer)
    ]
    questions = with_earlier(_draw(known, QUESTIONS, random), store, model.model.config.priors - 1)
    if len(questions) < FEWEST_QUESTIONS:
        return None, {"answers": len(questions), "right": 0}
    encode = encoder_of(model)
    wanted = sorted({image for one in questions for image in one.pair.images})
    features = {}
    for start in range(0, len(wanted), BATCH):
        part = wanted[start : start + BATCH]
        pixels = [store.pixels(store.index[image]) for image in part]
        features.update(zip(part, encode(pixels).astype(np.float16), strict=True))
    written = answer_questions(model, [(one.pair, one.text) for one in questions], features, progress)
    right = np.array([_right(answer.text, one) for answer, one in zip(written, questions, strict=True)])
    scale = fit_confidence(np.array([answer.confidence for answer in written]), right)
    return scale, {"answers": len(questions), "right": int(right.sum())}


def _right(text: str, question: Question) -> bool:
    """Whether an answer says all that has changed, and nothing else, in any of its readings."""
    return bool(set(read_changes(text)) & set(read_changes(question.answer)))


def _draw(items: Sequence, count: int, random: np.random.Generator) -> list:
    chosen = random.permutation(len(items))[:count]
    return [items[index] for index in sorted(chosen)]


def _pixels(store: Store, image: StoredImage) -> np.ndarray:
    return store.pixels(store.index[image.image_id])
