"""The calibration of confidences: do they match accuracy, and do they separate right answers from wrong ones?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from diffvqa.evaluation.changes import Judged
from diffvqa.evaluation.intervals import Formula, Tally, mean_of, ratio, ratio_of

BINS = 10
SHARES = (100, 80, 60, 40, 20)
"""Percentages of the answers, the most confident ones, of which the accuracy is given."""


@dataclass(frozen=True)
class Bin:
    """The answers with a confidence above `low` up to `high` (0 lies in the first bin)."""

    low: float
    high: float
    tally: Tally


@dataclass(frozen=True)
class Calibration:
    """The scores of all answers that have a confidence, and the bins that hold any of them."""

    tally: Tally
    bins: tuple[Bin, ...]


def tally_calibration(judged: Sequence[Judged]) -> Calibration | None:
    """The confidence of answers to difference questions; None where no answer has one.

    An answer is right if it says all that has changed and nothing else. Scores: ece, the expected calibration error
    over ten bins of equal width (Guo et al. 2017); auroc, of the confidence for being right; selective_N, the accuracy
    of the N % most confident answers. Counts: n, right. The most confident answers of a resample are those of the whole
    set. AUROC is taken to first order, from the placements of the whole set (DeLong et al. 1988).
    """
    rows = [one for one in judged if one.prediction.confidence is not None]
    if not rows:
        return None
    identifiers = tuple(one.prediction.id for one in rows)
    confidence = np.array([one.prediction.confidence for one in rows])
    right = np.array([float(one.right) for one in rows])
    # The bin of each; an edge belongs to the bin below it.
    place = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], confidence)

    columns: list[np.ndarray] = []
    formulas: dict[str, Formula] = {}

    def add(column: np.ndarray) -> int:
        columns.append(np.asarray(column, dtype=float))
        return len(columns) - 1

    occupied = sorted(set(place.tolist()))
    members = [add(place == index) for index in occupied]
    gaps = [add((place == index) * (confidence - right)) for index in occupied]
    formulas["ece"] = lambda sums: ratio(np.abs(sums[..., gaps]).sum(axis=-1), sums[..., members].sum(axis=-1))
    formulas["auroc"] = _auroc_formula(confidence, right > 0, add)
    for share in SHARES:
        chosen = most_confident(confidence, share / 100)
        formulas[f"selective_{share}"] = ratio_of(add(chosen * right), add(chosen))
    counts = {"n": len(rows), "right": int(right.sum())}
    tally = Tally(identifiers, np.stack(columns, axis=1), formulas, counts)
    return Calibration(tally, tuple(_bin(index, place == index, identifiers, confidence, right) for index in occupied))


def most_confident(confidence: np.ndarray, share: float) -> np.ndarray:
    """The part of each answer in that share of the most confident: 1 or 0, or between them for ties at the limit."""
    wanted = share * len(confidence)
    _, inverse, sizes = np.unique(-confidence, return_inverse=True, return_counts=True)
    before = np.cumsum(sizes) - sizes
    return np.clip((wanted - before) / sizes, 0, 1)[inverse]


def placements(of: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The share of the other values below each value; equal values count half."""
    ordered = np.sort(among)
    below, not_above = np.searchsorted(ordered, of, "left"), np.searchsorted(ordered, of, "right")
    return (below + not_above) / (2 * len(among))


def _auroc_formula(confidence: np.ndarray, right: np.ndarray, add: Callable[[np.ndarray], int]) -> Formula:
    if right.all() or not right.any():
        return lambda sums: np.full(sums.shape[:-1], np.nan)
    placed = np.zeros(len(right))
    placed[right] = placements(confidence[right], confidence[~right])
    placed[~right] = 1 - placements(confidence[~right], confidence[right])
    whole = placed[right].mean()
    of_right = ratio_of(add(placed * right), add(right))
    of_wrong = ratio_of(add(placed * ~right), add(~right))
    return lambda sums: np.clip(of_right(sums) + of_wrong(sums) - whole, 0, 1)


def _bin(index: int, inside: np.ndarray, identifiers: Sequence[str], confidence: np.ndarray, right: np.ndarray) -> Bin:
    names = ("one", "confidence", "accuracy")
    columns = np.stack([np.ones(inside.sum()), confidence[inside], right[inside]], axis=1)
    formulas = {name: mean_of(names, name) for name in names[1:]}
    kept = tuple(identifier for identifier, keep in zip(identifiers, inside, strict=True) if keep)
    return Bin(index / BINS, (index + 1) / BINS, Tally(kept, columns, formulas, {"n": len(kept)}))
