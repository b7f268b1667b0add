"""Grounding: how well a predicted box covers what a phrase or region names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from diffvqa.boxes import Box, intersection_over_union
from diffvqa.evaluation.intervals import Tally, mean_of
from diffvqa.evaluation.predictions import GROUNDING_TASKS, Prediction

THRESHOLD = 0.5
"""The intersection over union from which a box counts as right."""

_COLUMNS = ("one", "iou", "right")


def overlap(prediction: Prediction) -> float:
    """The best intersection over union of the first predicted box with any reference box, 0 without a box.

    Only the first box counts, so that predicting more boxes cannot raise a score.
    """
    return best_overlap(prediction.boxes[0], prediction.reference_boxes) if prediction.boxes else 0.0


def best_overlap(corners: Sequence[float], references: Sequence[Box]) -> float:
    """The best intersection over union of what lies between these corners with any box; without area it is 0."""
    x1, y1, x2, y2 = corners
    if x2 <= x1 or y2 <= y1:
        return 0.0
    box = Box(x1, y1, x2, y2)
    return max(intersection_over_union(box, reference) for reference in references)


def tally_grounding(predictions: Sequence[Prediction]) -> dict[str, Tally]:
    """Task -> mean IoU and accuracy at IoU 0.5, for each grounding task in the file.

    Counts: n, and without_box, the lines on which no box was predicted (they score 0).
    """
    tallies = {}
    for task in GROUNDING_TASKS:
        rows = [prediction for prediction in predictions if prediction.task == task]
        if not rows:
            continue
        counts = {"n": len(rows), "without_box": sum(not prediction.boxes for prediction in rows)}
        tallies[task] = tally_overlaps([row.id for row in rows], [overlap(row) for row in rows], counts)
    return tallies


def tally_overlaps(ids: Sequence[str], overlaps: Sequence[float], counts: Mapping[str, int]) -> Tally:
    """Mean IoU and accuracy at IoU 0.5 of these rows."""
    found = np.array(overlaps)
    columns = np.stack([np.ones(len(found)), found, found >= THRESHOLD], axis=1)
    formulas = {"iou": mean_of(_COLUMNS, "iou"), f"accuracy_{THRESHOLD}": mean_of(_COLUMNS, "right")}
    return Tally(tuple(ids), columns, formulas, counts)
