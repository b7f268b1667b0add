"""The pretraining tasks: which texts an image teaches (Cap, AREF, GCAP, CAREF)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from diffvqa.boxes import Box
from diffvqa.tasks import text


@dataclass(frozen=True, slots=True)
class Phrase:
    """Something said of a place in an image: its box in the image as the model sees it, the region's name or None."""

    phrase: str
    box: Box
    region: str | None


@dataclass(frozen=True, slots=True)
class Seen:
    """What texts are drawn from: an image's report and phrases, and how they are written."""

    report: str
    phrases: list[Phrase]
    write_box: Callable[[Box], str]
    region_box_first: bool = False


@dataclass(frozen=True, slots=True)
class Drawn:
    """A text drawn for an image: its task, and whether it is predicted in parallel."""

    task: str
    text: text.Text
    parallel: bool


@dataclass(frozen=True, slots=True)
class Task:
    """A task: what in an image it can be taught with, and the text that one of these makes."""

    candidates: Callable[[Seen], Sequence[Any]]
    write: Callable[[Seen, Any], text.Text]


TASKS: dict[str, Task] = {
    "Cap": Task(
        lambda seen: [seen.report] if seen.report.strip() else [],
        lambda seen, report: text.caption(report),
    ),
    "AREF": Task(
        lambda seen: seen.phrases,
        lambda seen, drawn: text.referring(drawn.phrase, seen.write_box(drawn.box)),
    ),
    "GCAP": Task(
        lambda seen: seen.phrases,
        lambda seen, drawn: text.grounded_captioning(seen.write_box(drawn.box), drawn.phrase),
    ),
    "CAREF": Task(
        lambda seen: [phrase for phrase in seen.phrases if phrase.region],
        lambda seen, drawn: text.region_referring(
            drawn.region, drawn.phrase, seen.write_box(drawn.box), seen.region_box_first
        ),
    ),
}
"""Each task by its name."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """Which texts an image teaches in one pass.

    texts: how many of each task; of 1.5 every other image has two. parallel: the share of a task predicted in parallel.
    last_part_only: tasks whose loss is on the last part alone. one_task: one text an image, its task drawn by the
    weights in `texts`.
    """

    texts: Mapping[str, float]
    parallel: Mapping[str, float] = field(default_factory=dict)
    last_part_only: tuple[str, ...] = ()
    one_task: bool = False


def draw_texts(seen: Seen, mixture: Mixture, random: np.random.Generator) -> list[Drawn]:
    """The texts of one image for one pass over it; fewer than the mixture asks for where the image has not so many."""
    candidates = {task: TASKS[task].candidates(seen) for task in mixture.texts}
    drawn = []
    for task, count in _counts(mixture, candidates, random).items():
        there = candidates[task]
        for place in random.choice(len(there), min(count, len(there)), replace=False):
            written = TASKS[task].write(seen, there[place])
            if task in mixture.last_part_only:
                written = text.last_part_only(written)
            drawn.append(Drawn(task, written, bool(random.random() < mixture.parallel.get(task, 0.0))))
    return drawn


def _counts(mixture: Mixture, candidates: Mapping[str, Sequence[Any]], random: np.random.Generator) -> dict[str, int]:
    """How many texts of each task are to be drawn."""
    weights = {task: weight for task, weight in mixture.texts.items() if weight > 0 and len(candidates[task])}
    if mixture.one_task and weights:
        shares = np.array(list(weights.values()))
        return {list(weights)[random.choice(len(shares), p=shares / shares.sum())]: 1}
    return {task: int(count) + int(random.random() < count % 1) for task, count in weights.items()}
