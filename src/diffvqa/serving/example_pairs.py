"""Synthetic pairs to try the page with: drawn when they are asked for, of no patient."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache

from PIL import Image as PillowImage

from diffvqa.findings import changes_between, write_changes
from diffvqa.phantom.cohort import Patient
from diffvqa.phantom.rendering import render
from diffvqa.phantom.sets import draw_from

SIZE = 768
"""Pixels of the longer side."""

SEED = 0
IMAGES = ("prior", "current")


@dataclass(frozen=True, slots=True)
class Example:
    """Two studies of a patient of a test set. studies: which, prior and current."""

    title: str
    test_set: str
    patient: int
    studies: tuple[int, int]


EXAMPLES = {
    "change": Example("A clear change", "change", 2492, (0, 1)),
    "none": Example("No change", "acquisition", 0, (0, 1)),
    "acquisition": Example("No change, taken differently", "acquisition", 6, (0, 4)),
}
"""Chosen by what is true of them, not by what a model makes of them."""


def truth_of(name: str) -> str:
    """The true change in an example, as a difference answer."""
    patient, (prior, current) = _patient(name), EXAMPLES[name].studies
    return write_changes(changes_between(patient.visits[prior].levels, patient.visits[current].levels))


@cache
def draw_example(name: str, image: str) -> bytes:
    """The picture of an example as a PNG file. image: prior or current."""
    patient = _patient(name)
    visit = patient.visits[EXAMPLES[name].studies[IMAGES.index(image)]]
    file = io.BytesIO()
    pixels = render(patient.body, visit.lesions, visit.pictures[0].acquisition, visit.devices)
    PillowImage.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


@cache
def _patient(name: str) -> Patient:
    example = EXAMPLES[name]
    return draw_from(example.test_set, SEED, example.patient, SIZE)
