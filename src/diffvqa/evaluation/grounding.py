"""Grounding: how well a predicted box covers what a phrase or region names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffvqa.boxes import Box, intersection_over_union
from diffvqa.evaluation.intervals import Tally, mean_of
from diffvqa.evaluation.predictions import GROUNDING_TASKS, Prediction

THRESHOLD = 0.5
"""The intersection over union from which a box counts as right."""

_COLUMNS = ("one", "iou", "right")


def overlap(prediction: Prediction) -> float:
    """The best intersection over union of the first predicted box with any reference box, 0 without a box.

    Only the first box counts, so that predicting more boxes cannot raise a score. A box without area covers nothing.
    """
    if not prediction.boxes:
        return 0.0
    x1, y1, x2, y2 = prediction.boxes[0]
    if x2 <= x1 or y2 <= y1:
        return 0.0
    box = Box(x1, y1, x2, y2)
    return max(intersection_over_union(box, reference) for reference in prediction.reference_boxes)


def tally_grounding(predictions: Sequence[Prediction]) -> dict[str, Tally]:
    """Task -> mean IoU and accuracy at IoU 0.5, for each grounding task in the file.

    Counts: n, and without_box, the lines on which no box was predicted (they score 0).
    """
    tallies = {}
    for task in GROUNDING_TASKS:
        rows = [prediction for prediction in predictions if prediction.task == task]
        if not rows:
            continue
        overlaps = np.array([overlap(prediction) for prediction in rows])
        columns = np.stack([np.ones(len(rows)), overlaps, overlaps >= THRESHOLD], axis=1)
        formulas = {"iou": mean_of(_COLUMNS, "iou"), f"accuracy_{THRESHOLD}": mean_of(_COLUMNS, "right")}
        counts = {"n": len(rows), "without_box": sum(not prediction.boxes for prediction in rows)}
        tallies[task] = Tally(tuple(prediction.id for prediction in rows), columns, formulas, counts)
    return tallies
