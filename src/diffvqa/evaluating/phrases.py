"""The captioner's boxes of phrases and named regions in the images of a split, as lines of predictions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diffvqa.boxes import Box, clip
from diffvqa.data.index import StoredImage
from diffvqa.evaluating.prediction_rows import Row
from diffvqa.inference.asking import Progress
from diffvqa.inference.box_writing import write_boxes
from diffvqa.models.captioner import Captioner
from diffvqa.models.folder import ModelFolder
from diffvqa.tasks.text import referring_prompt, region_prompt

PROMPTS_AN_IMAGE = 4
"""Phrases, and regions, that are grounded in one image; drawn where it has more."""


def predict_grounding(
    folder: ModelFolder[Captioner],
    images: Sequence[StoredImage],
    features: Mapping[str, np.ndarray],
    seed: int,
    progress: Progress | None = None,
    cluster: str | None = None,
) -> list[Row]:
    """The captioner's rows: the box of a phrase (AREF) and the phrase and box of a named region (CAREF).

    cluster: the address of a Ray cluster that writes them.
    """
    asked = [one for image in images for one in grounding_prompts(image, folder.model.config.tasks, seed)]
    prompts = [(one.image.image_id, one.prompt) for one in asked]
    boxes = write_boxes(folder, prompts, features, progress, cluster)
    return [one.row(text, box) for one, (text, box) in zip(asked, boxes, strict=True)]


def source_box(image: StoredImage, box: Box | None) -> Box | None:
    """A box in the store's square, in pixels of the source file, clipped to it."""
    return None if box is None else clip(image.frame.out_of(box), image.width, image.height)


@dataclass(frozen=True)
class GroundingPrompt:
    """A phrase (AREF) or a region (CAREF) of an image that the captioner is asked for, and its boxes.

    number: among those of this image and task, so that its row has one id whatever else a captioner has learnt.
    """

    image: StoredImage
    task: str
    number: int
    words: str
    prompt: tuple[str, ...]
    references: list[Box]

    def row(self, text: str, box: Box | None) -> Row:
        """The answer, its box being in the store's square, as a line of predictions."""
        found = source_box(self.image, box)
        return {
            "id": f"{self.image.image_id}/{self.task}/{self.number}",
            "task": self.task,
            "question": self.words,
            "answer": text,
            "references": [],
            "boxes": [] if found is None else [rounded(found)],
            "reference_boxes": [rounded(reference) for reference in self.references],
            "subject_id": self.image.subject_id,
        }


def grounding_prompts(image: StoredImage, tasks: Collection[str], seed: int) -> list[GroundingPrompt]:
    """The phrases and regions of an image that the captioner is asked for, for the tasks that it has learnt."""
    phrases: dict[str, list[Box]] = defaultdict(list)
    regions: dict[str, list[Box]] = defaultdict(list)
    for region in image.regions:
        for phrase in region.phrases:
            phrases[phrase].append(region.box)
        if region.name and region.phrases:
            regions[region.name].append(region.box)
    # Drawn for both tasks, learnt or not: every captioner is asked for the same.
    random = np.random.default_rng((seed, *image.image_id.encode()))
    found = []
    for task, words, prompt in (("AREF", phrases, referring_prompt), ("CAREF", regions, region_prompt)):
        names = sorted(words)
        if len(names) > PROMPTS_AN_IMAGE:
            names = [names[index] for index in sorted(random.choice(len(names), PROMPTS_AN_IMAGE, replace=False))]
        if task in tasks:
            found += [
                GroundingPrompt(image, task, number, name, prompt(name), words[name])
                for number, name in enumerate(names)
            ]
    return found


def rounded(box: Box) -> list[float]:
    """The corners of a box as a line of predictions has them."""
    return [round(value, 2) for value in box.as_tuple()]
