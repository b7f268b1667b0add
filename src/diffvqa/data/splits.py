"""Splits by patient, and what patients of one split do in another."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from diffvqa.records import Cohort

if TYPE_CHECKING:
    from diffvqa.data.store import Store

TRAIN_SHARE, VALIDATE_SHARE = 0.7, 0.1
"""Shares of the patients; the rest is for test."""


def split_of(subject_id: str, seed: int = 0) -> str:
    """The split of a patient: train (70 %), validate (10 %) or test (20 %), the same on every machine."""
    place = _place(subject_id, seed)
    if place < TRAIN_SHARE:
        return "train"
    return "validate" if place < TRAIN_SHARE + VALIDATE_SHARE else "test"


def train_or_validate(subject_id: str, seed: int = 0) -> str:
    """Train or validate, seven to one, for a patient of a dataset that names its own test patients."""
    return "train" if _place(subject_id, seed) < TRAIN_SHARE / (TRAIN_SHARE + VALIDATE_SHARE) else "validate"


def _place(subject_id: str, seed: int) -> float:
    """Where a patient falls between 0 and 1: a hash, for Python's own differs from run to run."""
    digest = hashlib.sha256(f"{seed}:{subject_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_by_patient(cohort: Cohort, seed: int) -> Cohort:
    """The cohort with every study and question in the split of its patient by this seed, whatever its dataset says."""
    return replace(
        cohort,
        studies=tuple(replace(study, split=split_of(study.subject_id, seed)) for study in cohort.studies),
        questions=tuple(replace(one, split=split_of(one.subject_id, seed)) for one in cohort.questions),
    )


def shared_patients(source: Cohort | Store) -> int:
    """How many patients have questions in more than one split, or images in more than one."""
    of_images, of_questions = defaultdict(set), defaultdict(set)
    for item in source.studies if isinstance(source, Cohort) else source.images:
        of_images[item.subject_id].add(item.split)
    for question in source.questions:
        of_questions[question.subject_id].add(question.split)
    return len({subject for splits in (of_images, of_questions) for subject, found in splits.items() if len(found) > 1})


def pretraining_images(store: Store) -> tuple[list[int], int]:
    """Positions of the images to pretrain on, and how many were left out for their patient's sake.

    These are the images of train studies, without those of patients with a question in validate or test:
    an encoder must not have seen the patients that the questions are scored on.
    """
    held_out = {question.subject_id for question in store.questions if question.split != "train"}
    train = [position for position, image in enumerate(store.images) if image.split == "train"]
    kept = [position for position in train if store.images[position].subject_id not in held_out]
    return kept, len(train) - len(kept)
