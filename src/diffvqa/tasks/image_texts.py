"""The pretraining tasks: which texts an image teaches (Cap, AREF, GCAP, CAREF)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from diffvqa.boxes import Box
from diffvqa.findings import Change
from diffvqa.tasks import text
from diffvqa.tasks.box_text import Notation, box_to_text


@dataclass(frozen=True, slots=True)
class Phrase:
    """Something said of a place in an image: its box in pixels, and the region's name or None."""

    phrase: str
    box: Box
    region: str | None = None


@dataclass(frozen=True, slots=True)
class ImageTexts:
    """The texts of an image of `size` x `size` pixels as the model sees it, and the notation of boxes in it.

    phrases: with boxes in these pixels. findings: None where they are unknown. changes: those between the two images of
    its pair.
    """

    report: str
    phrases: Sequence[Phrase]
    size: int
    notation: Notation
    findings: Collection[str] | None = None
    changes: frozenset[Change] = frozenset()

    def write_box(self, box: Box) -> str:
        """A box in pixels of the image, as text."""
        return box_to_text(box, self.size, self.notation)


@dataclass(frozen=True, slots=True)
class Task:
    """A task: what in an image it can be taught with, and the text that one of these makes."""

    candidates: Callable[[ImageTexts], Sequence[Any]]
    write: Callable[[ImageTexts, Any], text.Text]


TASKS: dict[str, Task] = {
    "Cap": Task(
        lambda image: [image.report] if image.report.strip() else [],
        lambda image, report: text.caption(report),
    ),
    "AREF": Task(
        lambda image: image.phrases,
        lambda image, drawn: text.referring(drawn.phrase, image.write_box(drawn.box)),
    ),
    "GCAP": Task(
        lambda image: image.phrases,
        lambda image, drawn: text.grounded_captioning(image.write_box(drawn.box), drawn.phrase),
    ),
    "CAREF": Task(
        lambda image: [phrase for phrase in image.phrases if phrase.region],
        lambda image, drawn: text.region_referring(
            drawn.region, drawn.phrase, image.write_box(drawn.box), image.notation.region_box_first
        ),
    ),
}
"""Each task by its name."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """Which texts an image teaches in one pass.

    texts: how many of each task; of 1.5 every other image has two. weights: of a task's target tokens in the loss, 1
    where not given. parallel: the share of a task predicted in parallel. last_part_only: tasks whose loss is on the
    last part alone. one_task: one text an image, its task drawn by the shares in `texts`. phrases: how many phrases a
    contrast of places takes.
    """

    texts: Mapping[str, float]
    weights: Mapping[str, float] = field(default_factory=dict)
    parallel: Mapping[str, float] = field(default_factory=dict)
    last_part_only: tuple[str, ...] = ()
    one_task: bool = False
    phrases: int = 0


def draw_texts(image: ImageTexts, mixture: Mixture, random: np.random.Generator) -> list[text.Text]:
    """The texts of one image for one pass over it; fewer than the mixture asks for where the image has not so many."""
    candidates = {task: TASKS[task].candidates(image) for task in mixture.texts}
    drawn = []
    for task, count in _counts(mixture, candidates, random).items():
        possible = candidates[task]
        for place in random.choice(len(possible), min(count, len(possible)), replace=False):
            written = TASKS[task].write(image, possible[place])
            if task in mixture.last_part_only:
                written = text.last_part_only(written)
            parallel = bool(random.random() < mixture.parallel.get(task, 0.0))
            drawn.append(replace(written, parallel=parallel, weight=mixture.weights.get(task, 1.0)))
    return drawn


def draw_phrases(image: ImageTexts, mixture: Mixture, random: np.random.Generator) -> list[Phrase]:
    """Draw different phrases of an image, as many as the mixture asks for or as there are, without full stops."""
    count = min(mixture.phrases, len(image.phrases))
    drawn = [image.phrases[place] for place in random.choice(len(image.phrases), count, replace=False)]
    return [replace(one, phrase=text.plain_phrase(one.phrase)) for one in drawn]


def _counts(mixture: Mixture, candidates: Mapping[str, Sequence[Any]], random: np.random.Generator) -> dict[str, int]:
    """How many texts of each task are to be drawn."""
    weights = {task: weight for task, weight in mixture.texts.items() if weight > 0 and len(candidates[task])}
    if mixture.one_task and weights:
        shares = np.array(list(weights.values()))
        return {list(weights)[random.choice(len(shares), p=shares / shares.sum())]: 1}
    return {task: int(count) + int(random.random() < count % 1) for task, count in weights.items()}
