"""Changes: precision, recall and F1 without regard to their order, and false changes on unchanged pairs."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np

from diffvqa.evaluation.groups import REPEAT, factor_and_strength
from diffvqa.evaluation.intervals import Tally, ratio, ratio_of
from diffvqa.evaluation.predictions import QUESTION_TASK, Prediction
from diffvqa.findings import Change, difference, read_changes

INDUCED = "induced_change_rate"

Readings = tuple[frozenset[Change], ...]
"""All that a text can mean; none at all if it is not in the grammar."""


@dataclass(frozen=True, slots=True)
class Judged:
    """An answer to a difference question beside its reference, in the readings of the two that agree best.

    said: None for an answer that cannot be read; true is then the shortest reading of the reference.
    unchanged: no reading of the reference holds a change.
    """

    prediction: Prediction
    said: frozenset[Change] | None
    true: frozenset[Change]
    unchanged: bool

    @property
    def right(self) -> bool:
        """Whether the answer says all that has changed, and nothing else."""
        return self.said == self.true


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


def best_agreement(predicted: Readings, reference: Readings) -> tuple[frozenset[Change], frozenset[Change]]:
    """The reading of the prediction and the reading of the reference that agree best (at least one of each).

    Best is the highest F1 of the two sets, two empty sets agreeing fully; the first of equals is taken.
    """

    def agreement(pair: tuple[frozenset[Change], frozenset[Change]]) -> float:
        size = len(pair[0]) + len(pair[1])
        return 2 * len(pair[0] & pair[1]) / size if size else 1.0

    return max(itertools.product(predicted, reference), key=agreement)


def judge(predictions: Sequence[Prediction]) -> list[Judged]:
    """The answers to all difference questions whose reference can be read, in their order."""
    judged = []
    for prediction in predictions:
        reference = reference_readings(prediction) if is_difference(prediction) else ()
        if not reference:
            continue
        # The given readings, or every reading of the answer.
        predicted = read_changes(prediction.answer) if prediction.changes is None else (prediction.changes,)
        if predicted:
            said, true = best_agreement(predicted, reference)
        else:
            # The shortest reading: a missed change is counted once however it may be read.
            said, true = None, min(reference, key=len)
        judged.append(Judged(prediction, said, true, unchanged=not any(reference)))
    return judged


def tally_changes(predictions: Sequence[Prediction]) -> Tally | None:
    """The changes of all difference questions whose reference can be read; None if there is no such question.

    A predicted change matches if finding and kind agree, for a level also before and after. Precision, recall and F1
    are micro-averaged over pairs. If a text has several readings, the pair of readings that agrees best counts. An
    answer that cannot be read misses all changes of its pair; on an unchanged pair it counts as one false change. The
    false-change rate is the share of unchanged pairs with any predicted change. The detection rate is that share of
    changed pairs, whether the change is right or not; an answer that cannot be read predicts none there. The
    induced-change rate is the false-change rate among pairs that differ in one factor of acquisition. Only patients
    count whose repeat is rightly called unchanged. It is defined where groups are called so. The coarse F1 counts a
    change of level as right whose direction is, as radiologists grade: new, worse, unchanged, better, resolved.
    flagged_changed is the share of changed pairs that are flagged, among pairs that say so; flagged_unchanged is that
    of unchanged pairs. Counts: n, pairs_changed, pairs_unchanged, pairs_taken_otherwise (those of the induced-change
    rate), unreadable (answers), reference_unreadable (pairs left out).
    """
    judged = judge(predictions)
    if not judged:
        return None
    told = _told_repeats(judged)
    rows = [[*_count(one), *_induced_and_detected(one, told), *_coarse(one), *_flagged(one)] for one in judged]
    columns = np.array(rows, dtype=float)
    unchanged = sum(one.unchanged for one in judged)
    counts = {
        "n": len(judged),
        "pairs_changed": len(judged) - unchanged,
        "pairs_unchanged": unchanged,
        "pairs_taken_otherwise": int(columns[:, 5].sum()),
        "unreadable": sum(one.said is None for one in judged),
        "reference_unreadable": sum(map(is_difference, predictions)) - len(judged),
    }
    formulas = {
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "coarse_f1": lambda sums: f1(sums[..., 9:12]),
        "detection_rate": ratio_of(8, 7),
        "false_change_rate": ratio_of(4, 3),
        INDUCED: ratio_of(6, 5),
        "flagged_changed": ratio_of(13, 12),
        "flagged_unchanged": ratio_of(15, 14),
    }
    return Tally(tuple(one.prediction.id for one in judged), columns, formulas, counts)


def tally_order(predictions: Sequence[Prediction], exchanged: Sequence[Prediction]) -> Tally | None:
    """The changes of the answers against those to the images exchanged, turned round: F1 is the order consistency."""
    turned = {one.id: one for one in exchanged}
    return tally_changes(
        [
            replace(one, references=(turned[one.id].answer,), reference_changes=turned[one.id].changes)
            for one in predictions
            if one.id in turned
        ]
    )


def on_the_same_repeats(tallies: Sequence[Tally]) -> list[Tally]:
    """Tallies of the same questions, with the induced-change rate of those pairs alone that it is of in all of them.

    Each tells other repeats: compared as they are, one that errs with the difficult patients throughout would win.
    """
    rows = [dict(zip(tally.ids, tally.columns[:, 5], strict=True)) for tally in tallies]
    common = []
    for tally in tallies:
        asked = np.array([min(row.get(identifier, 0.0) for row in rows) for identifier in tally.ids])
        columns = tally.columns.copy()
        columns[:, 5], columns[:, 6] = asked, columns[:, 6] * asked
        counts = {**tally.counts, "pairs_taken_otherwise": int(asked.sum())}
        common.append(replace(tally, columns=columns, counts=counts))
    return common


def _count(one: Judged) -> list[float]:
    """The first five columns of one pair."""
    if one.said is None:
        return [0, one.unchanged, len(one.true), one.unchanged, one.unchanged]
    false = one.unchanged and bool(one.said)
    return [len(one.said & one.true), len(one.said), len(one.true), one.unchanged, false]


def _told_repeats(judged: Sequence[Judged]) -> set[Hashable]:
    """The patients whose repeats are all rightly said to have no change."""
    repeats: dict[Hashable, bool] = {}
    for one in judged:
        if one.unchanged and one.prediction.group == REPEAT:
            patient = one.prediction.patient
            repeats[patient] = repeats.get(patient, True) and one.right
    return {patient for patient, right in repeats.items() if right}


def _induced_and_detected(one: Judged, told: Set[Hashable]) -> list[float]:
    """The next four columns of one pair.

    Whether it differs from a repeat that was told in its acquisition alone, and has a change all the same; whether
    something has changed, and whether any change is stated of such a pair.
    """
    varied = one.prediction.group is not None and factor_and_strength(one.prediction.group) is not None
    asked = one.unchanged and varied and one.prediction.patient in told
    return [asked, asked and not one.right, not one.unchanged, not one.unchanged and bool(one.said)]


def _coarse(one: Judged) -> list[float]:
    """The next three columns of one pair: changes that match but for the words of their levels, stated, reference."""
    stated, true = ({(change.finding, difference(change)) for change in side or ()} for side in (one.said, one.true))
    return [len(stated & true), len(stated) if one.said is not None else one.unchanged, len(true)]


def _flagged(one: Judged) -> list[float]:
    """The last four columns of a pair: it is changed and known to be flagged or not, it is flagged; so if unchanged."""
    flagged = one.prediction.flagged
    known = flagged is not None
    changed = [known and not one.unchanged, bool(flagged) and not one.unchanged]
    return [*changed, known and one.unchanged, bool(flagged) and one.unchanged]


precision, recall = ratio_of(0, 1), ratio_of(0, 2)
"""The share of the predicted changes that match, and of the reference changes that are matched.

Columns from the first: matched, predicted, reference.
"""


def f1(sums: np.ndarray) -> np.ndarray:
    """The harmonic mean of the two, from the same columns; not defined where nothing has changed."""
    return np.where(sums[..., 2] > 0, ratio(2 * sums[..., 0], sums[..., 1] + sums[..., 2]), np.nan)
