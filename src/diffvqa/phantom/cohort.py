"""Patients of the synthetic cohort: who they are, when they came, what they had and how it was taken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from diffvqa.findings import Change, changes_between
from diffvqa.phantom.acquisition import USUAL, Acquisition, Spread, draw_acquisition
from diffvqa.phantom.anatomy import Body, draw_body
from diffvqa.phantom.course import STILL, State, draw_course
from diffvqa.phantom.devices import Device, draw_devices, draw_own_devices
from diffvqa.phantom.pathology import Lesion

SECOND_IMAGE = 0.04
"""The share of studies that hold a second frontal image, of the same disease."""

CRITICAL = 0.3
"""The share of patients in intensive care: more devices, and more often a collapsed lung."""

_BODY, _COURSE, _CALENDAR, _PICTURE, _NAME, _SPLIT, _WARD, _DEVICES, _OWN_DEVICES, _SECOND = range(10)
"""Purposes of generators: the seed, the patient's index and the purpose make a stream."""

_MANY = 10_000_000
"""How many patient or study numbers there are (eight digits, the first one fixed)."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of a study."""

    dicom_id: str
    acquisition: Acquisition


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that a test set tests. group: its name in tables; factor and strength of the acquisition."""

    group: str | None = None
    factor: str | None = None
    strength: int | None = None


@dataclass(frozen=True, slots=True)
class Encounter:
    """A study before it has a number and a date: its findings by name, how each image was taken, and devices."""

    findings: State
    acquisitions: tuple[Acquisition, ...]
    devices: tuple[Device, ...]
    condition: Condition = Condition()


@dataclass(frozen=True, slots=True)
class Visit:
    """One study: its findings by name, its images, the devices in all of them, and what a test set tries with it."""

    study_id: int
    time: datetime
    findings: State
    pictures: tuple[Picture, ...]
    devices: tuple[Device, ...]
    condition: Condition = Condition()

    @property
    def lesions(self) -> tuple[Lesion, ...]:
        return tuple(self.findings.values())

    @property
    def levels(self) -> dict[str, str | None]:
        """Finding -> its level in words."""
        return {name: lesion.word for name, lesion in self.findings.items()}


@dataclass(frozen=True, slots=True)
class Patient:
    """One patient; a function of (seed, index) and of the images' size. split: train, validate or test.

    baseline: whether all studies are compared with the first one alone, not each with every one before.
    """

    subject_id: int
    index: int
    split: str
    age: int
    body: Body
    visits: tuple[Visit, ...]
    baseline: bool = False

    def priors(self, order: int) -> tuple[Visit, ...]:
        """The studies that the one of that order is compared with."""
        return self.visits[: min(order, 1) if self.baseline else order]


def generator_for(seed: int, index: int, *purpose: int) -> np.random.Generator:
    """The stream of random numbers of one patient for one purpose."""
    return np.random.default_rng([seed, index, *purpose])


def draw_patient(seed: int, index: int, size: int, still: float = STILL) -> Patient:
    """The patient of that index in the cohort of that seed; images' longer side is `size` pixels.

    still: the chance that nothing changes from one study to the next.
    """
    states = draw_course(course_generator(seed, index), is_critical(seed, index), still)
    return assemble(seed, index, draw_encounters(seed, index, states, size), _split(seed, index))


def course_generator(seed: int, index: int) -> np.random.Generator:
    """The stream that a patient's course of disease is drawn from."""
    return generator_for(seed, index, _COURSE)


def is_critical(seed: int, index: int) -> bool:
    """Whether the patient is in intensive care."""
    return bool(generator_for(seed, index, _WARD).random() < CRITICAL)


def draw_encounters(
    seed: int,
    index: int,
    states: Iterable[State],
    size: int,
    spread: Spread = USUAL,
    condition: Condition = Condition(),
) -> list[Encounter]:
    """Studies of a patient with these findings, each taken in its own way, with the devices of its day."""
    encounters = []
    for order, findings in enumerate(states):
        images = 2 if generator_for(seed, index, _SECOND, order).random() < SECOND_IMAGE else 1
        acquisitions = tuple(
            draw_acquisition(size, generator_for(seed, index, _PICTURE, order, number), spread)
            for number in range(images)
        )
        devices = devices_of(seed, index, order, acquisitions[0].view)
        encounters.append(Encounter(findings, acquisitions, devices, condition))
    return encounters


def devices_of(seed: int, index: int, order: int, view: str, attempt: int = 0) -> tuple[Device, ...]:
    """The devices of a patient in the study of that order; another attempt draws others."""
    own = draw_own_devices(generator_for(seed, index, _OWN_DEVICES))
    generator = generator_for(seed, index, _DEVICES, order, attempt)
    return draw_devices(own, view, is_critical(seed, index), generator)


def assemble(seed: int, index: int, encounters: Sequence[Encounter], split: str, baseline: bool = False) -> Patient:
    """A patient with these studies, given a body, numbers and dates."""
    calendar = generator_for(seed, index, _CALENDAR)
    time = datetime(int(calendar.integers(2110, 2200)), 1, 1) + timedelta(days=int(calendar.integers(365)))
    age = int(calendar.integers(22, 91))
    visits = []
    for order, encounter in enumerate(encounters):
        time = time.replace(hour=int(calendar.integers(24)), minute=int(calendar.integers(60)))
        time = time.replace(second=int(calendar.integers(60)), microsecond=1000 * int(calendar.integers(1000)))
        pictures = tuple(
            Picture(_dicom_id(generator_for(seed, index, _NAME, order, number)), acquisition)
            for number, acquisition in enumerate(encounter.acquisitions)
        )
        study_id = _number(seed, 1, 8 * index + order, 50_000_000)
        visits.append(Visit(study_id, time, encounter.findings, pictures, encounter.devices, encounter.condition))
        time += timedelta(days=1 + int(calendar.exponential(60)))
    return Patient(
        subject_id=_number(seed, 0, index, 10_000_000),
        index=index,
        split=split,
        age=age,
        body=draw_body(generator_for(seed, index, _BODY)),
        visits=tuple(visits),
        baseline=baseline,
    )


def true_changes(prior: Visit, current: Visit) -> list[Change]:
    """The true changes between two studies of a patient."""
    return changes_between(prior.levels, current.levels)


def steps_of(change: Change, prior: Visit, current: Visit) -> int:
    """The number of levels by which a finding changed; an absent finding lies a level below the lowest."""
    before, after = (visit.findings.get(change.finding) for visit in (prior, current))
    return abs((after.level if after else -1) - (before.level if before else -1))


def _number(seed: int, kind: int, index: int, first: int) -> int:
    """An eight-digit number, another for every index below ten million."""
    offset = int(np.random.default_rng([seed, kind]).integers(_MANY))
    # The factor has no divisor in common with ten million, so no two indices meet.
    return first + (offset + index * 6_180_339) % _MANY


def _dicom_id(generator: np.random.Generator) -> str:
    return "-".join(f"{int(word):08x}" for word in generator.integers(2**32, size=5))


def _split(seed: int, index: int) -> str:
    """The split of a patient: seven of every ten in a row for training, one for validation, two for testing."""
    block, place = divmod(index, 10)
    slot = int(generator_for(seed, block, _SPLIT).permutation(10)[place])
    return "train" if slot < 7 else "validate" if slot == 7 else "test"
