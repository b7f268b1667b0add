"""The boxes of findings: a captioner reads out phrases with boxes, and phrases that name a finding place it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diffvqa.boxes import Box, intersection_over_union, smallest_apart
from diffvqa.findings import names_finding, sides_named
from diffvqa.inference.asking import Progress, in_batches
from diffvqa.inference.box_writing import SAME_BOX, read_out
from diffvqa.models.captioner import Captioner
from diffvqa.models.folder import ModelFolder

SELDOM = 0.2
"""A place that fewer than this share of the phrases on a finding give is none."""

SEED = 0


@dataclass(frozen=True, slots=True)
class FindingBox:
    """A box of a finding in pixels of the model's square, and the captioner's phrase for it."""

    box: Box
    phrase: str


Places = dict[tuple[str, str], tuple[FindingBox, ...]]
"""(image, finding) -> its boxes; none where the captioner reads out nothing of it."""


def find_boxes(
    captioner: ModelFolder[Captioner],
    asked: Mapping[str, Collection[str]],
    features: Mapping[str, np.ndarray],
    progress: Progress | None = None,
    cluster: str | None = None,
) -> Places:
    """The boxes of findings in images; asked: image -> findings, features: image -> its patch tokens.

    A captioner has learnt phrases such as "moderate left pleural effusion", not bare names. So it is let read out
    phrases of its own, drawn with one seed for every image, and those that name a finding are counted.
    """
    images = [image for image, findings in asked.items() if findings]
    read = in_batches(_read_images, captioner, images, (features,), progress, cluster)
    return {
        (image, finding): _places([one for one in found if names_finding(one.phrase, finding)])
        for image, found in zip(images, read, strict=True)
        for finding in asked[image]
    }


def _read_images(
    captioner: ModelFolder[Captioner], images: Sequence[str], features: Mapping[str, np.ndarray]
) -> list[list[FindingBox]]:
    """The phrases of each image; one image at a time, so that its random draws depend on no other image."""
    return [[FindingBox(box, text) for text, box in read_out(captioner, features[image], SEED)] for image in images]


def _places(read: Sequence[FindingBox]) -> tuple[FindingBox, ...]:
    """The smallest boxes that the most frequent sides of these phrases have in common, the most frequent first."""
    if not read:
        return ()
    (sides, _), *_ = Counter(sides_named(one.phrase) for one in read).most_common()
    agreed = [one for one in read if sides_named(one.phrase) == sides]
    counted = {}
    for group in _groups(agreed):
        if len(group) >= SELDOM * len(agreed):
            middle = np.median([one.box.as_tuple() for one in group], axis=0)
            (phrase, _), *_ = Counter(one.phrase for one in group).most_common()
            counted[FindingBox(Box(*middle.tolist()), phrase)] = len(group)
    smallest = smallest_apart(one.box for one in counted)
    return tuple(sorted((one for one in counted if one.box in smallest), key=lambda one: -counted[one]))


def _groups(read: Sequence[FindingBox]) -> list[list[FindingBox]]:
    """Readings whose boxes are one box, written again and again; the largest group first."""
    alike = np.array([[intersection_over_union(a.box, b.box) >= SAME_BOX for b in read] for a in read])
    groups, left = [], np.ones(len(read), dtype=bool)
    while left.any():
        leader = int(np.where(left, (alike & left).sum(1), 0).argmax())
        members = alike[leader] & left
        groups.append([read[place] for place in np.flatnonzero(members).tolist()])
        left &= ~members
    return groups
