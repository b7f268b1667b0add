"""The pretraining tasks: which texts an image teaches (Cap, AREF, GCAP, CAREF)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

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
    """What texts are drawn from: an image's report and phrases, and how a box is written."""

    report: str
    phrases: list[Phrase]
    write_box: Callable[[Box], str]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A text drawn for an image: its task, and whether it is predicted in parallel."""

    task: str
    text: text.Text
    parallel: bool


def _caption(seen: Seen, random: np.random.Generator) -> text.Text | None:
    return text.caption(seen.report) if seen.report.strip() else None


def _referring(seen: Seen, random: np.random.Generator) -> text.Text | None:
    drawn = _one_of(seen.phrases, random)
    return drawn and text.referring(drawn.phrase, seen.write_box(drawn.box))


def _grounded_captioning(seen: Seen, random: np.random.Generator) -> text.Text | None:
    drawn = _one_of(seen.phrases, random)
    return drawn and text.grounded_captioning(seen.write_box(drawn.box), drawn.phrase)


def _region_referring(seen: Seen, random: np.random.Generator) -> text.Text | None:
    drawn = _one_of([phrase for phrase in seen.phrases if phrase.region], random)
    return drawn and text.region_referring(drawn.region or "", drawn.phrase, seen.write_box(drawn.box))


def _one_of(phrases: list[Phrase], random: np.random.Generator) -> Phrase | None:
    return phrases[random.integers(len(phrases))] if phrases else None


TASKS: dict[str, Callable[[Seen, np.random.Generator], text.Text | None]] = {
    "Cap": _caption,
    "AREF": _referring,
    "GCAP": _grounded_captioning,
    "CAREF": _region_referring,
}
"""Each task draws one text from what is seen of an image, or None where the image has nothing for it."""


def draw_texts(
    seen: Seen, texts: Mapping[str, int], parallel: Mapping[str, float], random: np.random.Generator
) -> list[Drawn]:
    """The texts of one image for one pass over it: `texts[task]` of each task, a share `parallel[task]` in parallel."""
    drawn = []
    for task, count in texts.items():
        for _ in range(count):
            made = TASKS[task](seen, random)
            in_parallel = bool(random.random() < parallel.get(task, 0.0))
            if made is not None:
                drawn.append(Drawn(task, made, in_parallel))
    return drawn
