"""False changes of a system at the threshold with which it finds nine of ten changed pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffvqa.evaluation.changes import judge
from diffvqa.evaluation.intervals import BLOCK, Resamples, Tally, ratio_of
from diffvqa.evaluation.predictions import Prediction

AT_EQUAL_DETECTION = "false_change_rate_at_90"

DETECTION = 0.9
"""The share of changed pairs that is found."""


@dataclass(frozen=True)
class Pairs:
    """The probability of a change that a system gives to pairs, the most probable first.

    ids: of the pairs. probability: shape (pairs,).
    """

    ids: tuple[str, ...]
    probability: np.ndarray

    def drawn_up_to(self, resamples: Resamples, block: slice) -> np.ndarray:
        """How many pairs are drawn up to each place, in a block of resamples, (resamples, pairs)."""
        patients = [resamples.patient_of[identifier] for identifier in self.ids]
        return np.cumsum(resamples.draws[block][:, patients], axis=1, dtype=np.int64)


@dataclass(frozen=True)
class Threshold:
    """The highest probability of a change that finds DETECTION of the changed pairs. drawn: that of each resample."""

    value: float
    drawn: np.ndarray


def changed_and_unchanged(predictions: Sequence[Prediction]) -> tuple[Pairs, Pairs] | None:
    """The changed and the unchanged pairs; None if some pair has no probability of a change."""
    judged = judge(predictions)
    rows = [(one.prediction.id, one.prediction.changed, one.unchanged) for one in judged]
    known = [(identifier, changed, unchanged) for identifier, changed, unchanged in rows if changed is not None]
    if not known or len(known) < len(rows):
        return None
    ordered = sorted(known, key=lambda row: -row[1])

    def pairs(is_unchanged: bool) -> Pairs:
        chosen = [(identifier, changed) for identifier, changed, unchanged in ordered if unchanged == is_unchanged]
        return Pairs(tuple(one for one, _ in chosen), np.array([probability for _, probability in chosen]))

    return pairs(False), pairs(True)


def find_threshold(changed: Pairs, resamples: Resamples) -> Threshold | None:
    """The threshold for changed pairs; NaN in resamples without such a pair, None if there is none at all."""
    if not changed.ids:
        return None
    once = np.arange(1, len(changed.ids) + 1)[None]
    drawn = [_lowest_found(changed, changed.drawn_up_to(resamples, block)) for block in _blocks(resamples)]
    return Threshold(float(_lowest_found(changed, once)[0]), np.concatenate(drawn))


def tally_flagged(unchanged: Pairs, threshold: float) -> Tally | None:
    """The unchanged pairs that a threshold flags; None if there is no unchanged pair."""
    if not unchanged.ids:
        return None
    columns = np.stack([np.ones(len(unchanged.ids)), unchanged.probability >= threshold], axis=1)
    return Tally(unchanged.ids, columns, {AT_EQUAL_DETECTION: ratio_of(1, 0)}, {"pairs_unchanged": len(unchanged.ids)})


def flagged_in_resamples(unchanged: Pairs, threshold: Threshold, resamples: Resamples) -> np.ndarray:
    """The share of the unchanged pairs of each resample that its own threshold flags, (resamples,)."""
    shares = []
    for block in _blocks(resamples):
        weights = unchanged.drawn_up_to(resamples, block)
        # Probabilities fall, and searchsorted wants them to rise.
        flagged = np.searchsorted(-unchanged.probability, -threshold.drawn[block], side="right")
        found = np.where(flagged > 0, weights[np.arange(len(weights)), flagged - 1], 0)
        total = weights[:, -1]
        defined = (total > 0) & np.isfinite(threshold.drawn[block])
        shares.append(np.divide(found, total, out=np.full(len(total), np.nan), where=defined))
    return np.concatenate(shares)


def _blocks(resamples: Resamples) -> list[slice]:
    return [slice(start, start + BLOCK) for start in range(0, len(resamples.draws), BLOCK)]


def _lowest_found(changed: Pairs, weights: np.ndarray) -> np.ndarray:
    """The probability of the last pair that makes up DETECTION of all, in each resample; NaN where none is drawn."""
    total = weights[:, -1]
    # Argmax gives the first place where enough is found; a product such as .9 * 10 is rounded.
    last = np.argmax(weights >= DETECTION * total[:, None] - 1e-9, axis=1)
    return np.where(total > 0, changed.probability[last], np.nan)
