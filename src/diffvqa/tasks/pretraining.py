"""The pretraining tasks: which texts an image teaches (Cap, AREF, GCAP, CAREF)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from diffvqa.boxes import Box
from diffvqa.tasks import text


@dataclass(frozen=True, slots=True)
class Phrase:
    """Something said of a place in an image: the box as text, the region's name where it has one."""

    phrase: str
    box: str
    region: str | None


@dataclass(frozen=True, slots=True)
class Drawn:
    """A text drawn for an image: its task, and whether it is predicted in parallel."""

    task: str
    text: text.Text
    parallel: bool


def _caption(report: str, phrases: list[Phrase], random: np.random.Generator) -> text.Text | None:
    return text.caption(report) if report.strip() else None


def _referring(report: str, phrases: list[Phrase], random: np.random.Generator) -> text.Text | None:
    if not phrases:
        return None
    drawn = phrases[random.integers(len(phrases))]
    return text.referring(drawn.phrase, drawn.box)


def _grounded_captioning(report: str, phrases: list[Phrase], random: np.random.Generator) -> text.Text | None:
    if not phrases:
        return None
    drawn = phrases[random.integers(len(phrases))]
    return text.grounded_captioning(drawn.box, drawn.phrase)


def _region_referring(report: str, phrases: list[Phrase], random: np.random.Generator) -> text.Text | None:
    named = [phrase for phrase in phrases if phrase.region]
    if not named:
        return None
    drawn = named[random.integers(len(named))]
    assert drawn.region is not None
    return text.region_referring(drawn.region, drawn.phrase, drawn.box)


TASKS: dict[str, Callable[[str, list[Phrase], np.random.Generator], text.Text | None]] = {
    "Cap": _caption,
    "AREF": _referring,
    "GCAP": _grounded_captioning,
    "CAREF": _region_referring,
}
"""Each task draws one text from an image's report and phrases, or None where the image has nothing for it."""


def phrases_of(regions: list[tuple[Box, str | None, tuple[str, ...]]], size: int, bins: int) -> list[Phrase]:
    """The phrases of an image from its regions (box in pixels of the size x size image, name, phrases)."""
    return [
        Phrase(phrase, text.box_to_text(box, size, bins), name) for box, name, phrases in regions for phrase in phrases
    ]


def draw_texts(
    report: str,
    phrases: list[Phrase],
    texts: Mapping[str, int],
    parallel: Mapping[str, float],
    random: np.random.Generator,
) -> list[Drawn]:
    """The texts of one image for one pass over it: `texts[task]` of each task, a share `parallel[task]` in parallel."""
    drawn = []
    for task, count in texts.items():
        for _ in range(count):
            made = TASKS[task](report, phrases, random)
            in_parallel = bool(random.random() < parallel.get(task, 0.0))
            if made is not None:
                drawn.append(Drawn(task, made, in_parallel))
    return drawn
