"""Patients of the synthetic cohort: who they are, when they came, what they had and how it was taken."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from diffvqa.findings import Change, changes_between
from diffvqa.phantom.acquisition import Acquisition, draw_acquisition
from diffvqa.phantom.anatomy import Body, draw_body
from diffvqa.phantom.course import State, draw_course
from diffvqa.phantom.pathology import Lesion

SECOND_IMAGE = 0.04
"""The share of studies that hold a second frontal image, of the same disease."""

_BODY, _COURSE, _CALENDAR, _PICTURE, _NAME, _SPLIT = range(6)
"""What a generator is for: with the seed and the patient's index it makes the stream."""

_MANY = 10_000_000
"""How many patient or study numbers there are (eight digits, the first one fixed)."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of a study."""

    dicom_id: str
    acquisition: Acquisition


@dataclass(frozen=True, slots=True)
class Visit:
    """One study: its findings by name, its images, and generators' seeds for its words."""

    study_id: int
    time: datetime
    findings: State
    pictures: tuple[Picture, ...]

    @property
    def lesions(self) -> tuple[Lesion, ...]:
        return tuple(self.findings.values())

    @property
    def levels(self) -> dict[str, str | None]:
        """Finding -> its level in words."""
        return {name: lesion.word for name, lesion in self.findings.items()}


@dataclass(frozen=True, slots=True)
class Patient:
    """One patient; a function of (seed, index) and of the images' size. split: train, validate or test."""

    subject_id: int
    index: int
    split: str
    age: int
    body: Body
    visits: tuple[Visit, ...]


def generator_for(seed: int, index: int, *purpose: int) -> np.random.Generator:
    """The stream of random numbers of one patient for one purpose."""
    return np.random.default_rng([seed, index, *purpose])


def draw_patient(seed: int, index: int, size: int) -> Patient:
    """The patient of that index in the cohort of that seed; images' longer side is `size` pixels."""
    calendar = generator_for(seed, index, _CALENDAR)
    time = datetime(int(calendar.integers(2110, 2200)), 1, 1) + timedelta(days=int(calendar.integers(365)))
    age = int(calendar.integers(22, 91))
    visits = []
    for order, findings in enumerate(draw_course(generator_for(seed, index, _COURSE))):
        time = time.replace(hour=int(calendar.integers(24)), minute=int(calendar.integers(60)))
        time = time.replace(second=int(calendar.integers(60)), microsecond=1000 * int(calendar.integers(1000)))
        pictures = tuple(
            Picture(
                _dicom_id(generator_for(seed, index, _NAME, order, number)),
                draw_acquisition(size, generator_for(seed, index, _PICTURE, order, number)),
            )
            for number in range(2 if calendar.random() < SECOND_IMAGE else 1)
        )
        visits.append(Visit(_number(seed, 1, 8 * index + order, 50_000_000), time, findings, pictures))
        time += timedelta(days=1 + int(calendar.exponential(60)))
    return Patient(
        subject_id=_number(seed, 0, index, 10_000_000),
        index=index,
        split=_split(seed, index),
        age=age,
        body=draw_body(generator_for(seed, index, _BODY)),
        visits=tuple(visits),
    )


def true_changes(prior: Visit, current: Visit) -> list[Change]:
    """What changed between two studies of a patient."""
    return changes_between(prior.levels, current.levels)


def _number(seed: int, kind: int, index: int, first: int) -> int:
    """An eight-digit number, another for every index below ten million."""
    offset = int(np.random.default_rng([seed, kind]).integers(_MANY))
    # The factor has no divisor in common with ten million, so no two indices meet.
    return first + (offset + index * 6_180_339) % _MANY


def _dicom_id(generator: np.random.Generator) -> str:
    return "-".join(f"{int(word):08x}" for word in generator.integers(2**32, size=5))


def _split(seed: int, index: int) -> str:
    """Of every ten patients in a row seven are for training, one for validation, two for testing."""
    block, place = divmod(index, 10)
    slot = int(generator_for(seed, block, _SPLIT).permutation(10)[place])
    return "train" if slot < 7 else "validate" if slot == 7 else "test"
