"""Changes: precision, recall and F1 without regard to their order, and false changes on unchanged pairs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from diffvqa.evaluation.intervals import Tally, ratio
from diffvqa.evaluation.predictions import QUESTION_TASK, Prediction
from diffvqa.findings import Change, read_changes

Readings = tuple[frozenset[Change], ...]
"""All that a text can mean; none at all if it is not in the grammar."""

_COLUMNS = ("matched", "predicted", "reference", "unchanged", "false")


def is_difference(prediction: Prediction) -> bool:
    """Whether a line answers a difference question: by its type, or, without one, by what its reference says."""
    if prediction.task != QUESTION_TASK:
        return False
    if prediction.question_type is not None:
        return prediction.question_type == "difference"
    return bool(reference_readings(prediction))


def reference_readings(prediction: Prediction) -> Readings:
    """The changes there are: those given, or every reading of every reference."""
    if prediction.reference_changes is not None:
        return (prediction.reference_changes,)
    return tuple(dict.fromkeys(itertools.chain.from_iterable(read_changes(text) for text in prediction.references)))


def predicted_readings(prediction: Prediction) -> Readings:
    """The changes a system says there are: those given, or every reading of its answer."""
    if prediction.changes is not None:
        return (prediction.changes,)
    return read_changes(prediction.answer)


def best_agreement(predicted: Readings, reference: Readings) -> tuple[frozenset[Change], frozenset[Change]]:
    """The reading of the prediction and the reading of the reference that agree best (at least one of each).

    Best is the highest F1 of the two sets, two empty sets agreeing fully; the first of equals is taken.
    """

    def agreement(pair: tuple[frozenset[Change], frozenset[Change]]) -> float:
        size = len(pair[0]) + len(pair[1])
        return 2 * len(pair[0] & pair[1]) / size if size else 1.0

    return max(itertools.product(predicted, reference), key=agreement)


def tally_changes(predictions: Sequence[Prediction]) -> Tally | None:
    """The changes of all difference questions whose reference can be read; None if there is no such question.

    A predicted change matches if finding and kind agree, for a level also before and after. Precision, recall and F1
    are micro-averaged over pairs. Where a text has several readings, the pair of readings that agrees best counts.
    An answer that cannot be read misses all changes of its pair; on an unchanged pair it counts as one false change.
    The false-change rate is the share of unchanged pairs with any predicted change.
    Counts: n, pairs_changed, pairs_unchanged, unreadable (answers), reference_unreadable (pairs left out).
    """
    rows = [prediction for prediction in predictions if is_difference(prediction)]
    scored = [(prediction, reference) for prediction in rows if (reference := reference_readings(prediction))]
    if not scored:
        return None
    columns = np.array([_count(predicted_readings(prediction), reference) for prediction, reference in scored])
    unchanged = int(columns[:, _COLUMNS.index("unchanged")].sum())
    counts = {
        "n": len(scored),
        "pairs_changed": len(scored) - unchanged,
        "pairs_unchanged": unchanged,
        "unreadable": sum(not predicted_readings(prediction) for prediction, _ in scored),
        "reference_unreadable": len(rows) - len(scored),
    }
    formulas = {"precision": _precision, "recall": _recall, "f1": _f1, "false_change_rate": _false_change_rate}
    return Tally(tuple(prediction.id for prediction, _ in scored), columns, formulas, counts)


def _count(predicted: Readings, reference: Readings) -> list[float]:
    """The columns of one pair. It is unchanged if no reading of its reference holds a change."""
    unchanged = not any(reference)
    if not predicted:
        # The length of the shortest reading: a missed change is counted once however it may be read.
        missed = min(len(reading) for reading in reference)
        return [0.0, float(unchanged), float(missed), float(unchanged), float(unchanged)]
    said, true = best_agreement(predicted, reference)
    false = unchanged and bool(said)
    return [float(len(said & true)), float(len(said)), float(len(true)), float(unchanged), float(false)]


def _precision(sums: np.ndarray) -> np.ndarray:
    return ratio(sums[..., 0], sums[..., 1])


def _recall(sums: np.ndarray) -> np.ndarray:
    return ratio(sums[..., 0], sums[..., 2])


def _f1(sums: np.ndarray) -> np.ndarray:
    return ratio(2 * sums[..., 0], sums[..., 1] + sums[..., 2])


def _false_change_rate(sums: np.ndarray) -> np.ndarray:
    return ratio(sums[..., 4], sums[..., 3])
