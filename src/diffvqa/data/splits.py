"""Splits by patient."""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from dataclasses import replace

from diffvqa.records import SPLITS, Cohort

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
    """The place of a patient between 0 and 1, from a hash that is the same in every run."""
    digest = hashlib.sha256(f"{seed}:{subject_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_by_patient(cohort: Cohort, seed: int) -> Cohort:
    """The cohort with every study and question in the split of its patient by this seed, whatever its dataset says."""
    return replace(
        cohort,
        studies=tuple(replace(study, split=split_of(study.subject_id, seed)) for study in cohort.studies),
        questions=tuple(replace(one, split=split_of(one.subject_id, seed)) for one in cohort.questions),
    )


def shared_patients(cohort: Cohort) -> dict[str, int]:
    """How many patients occur on both sides, for each pair of splits, and for pretraining and evaluation.

    A pair of splits shares a patient with images in both, or with questions in both. Pretraining and evaluation share
    one with images to pretrain on and with questions in validate or test. `any`: how many are shared by any two splits.
    """
    images, questions = defaultdict(set), defaultdict(set)
    for study in cohort.studies:
        images[study.subject_id].add(study.split)
    for question in cohort.questions:
        questions[question.subject_id].add(question.split)
    patients = images.keys() | questions.keys()
    shared = {}
    every = set()
    for pair in itertools.combinations(SPLITS, 2):
        found = {one for one in patients if images[one].issuperset(pair) or questions[one].issuperset(pair)}
        shared["-".join(pair)] = len(found)
        every |= found
    evaluated = {one for one in patients if "train" in images[one] and questions[one] - {"train"}}
    return {"any": len(every), **shared, "pretraining-evaluation": len(evaluated)}
