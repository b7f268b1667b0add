"""Changes taken apart: by finding, by kind, by how far they go, and by the groups that the file names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from diffvqa.evaluation.changes import Judged, f1, precision, recall, tally_changes
from diffvqa.evaluation.groups import REPEAT, factor_and_strength
from diffvqa.evaluation.intervals import Formula, Tally
from diffvqa.evaluation.predictions import Prediction
from diffvqa.findings import Change

LEVEL = "level"
KINDS = (LEVEL, "added", "missing")

ELSEWHERE = "in no reference"
"""The entry of all stated changes whose finding changes in no reference."""

_COLUMNS = ("matched", "predicted", "reference")


def tally_findings(judged: Sequence[Judged]) -> dict[str, Tally]:
    """Finding -> precision, recall and F1 of its changes, the most frequent in the references first.

    Counts: matched, predicted, reference, all in changes. Answers that cannot be read state no finding.
    """
    known = {change.finding for one in judged for change in one.true}
    tallies = _tally_labels(
        judged, lambda _, change: change.finding if change.finding in known else ELSEWHERE, _ALL_SCORES
    )
    return dict(sorted(tallies.items(), key=lambda item: (item[0] == ELSEWHERE, -item[1].counts["reference"], item[0])))


def tally_kinds(judged: Sequence[Judged]) -> dict[str, Tally]:
    """Kind of change -> the same."""
    tallies = _tally_labels(judged, lambda _, change: change.kind, _ALL_SCORES)
    return {kind: tallies[kind] for kind in KINDS if kind in tallies}


def tally_steps(judged: Sequence[Judged]) -> dict[str, Tally]:
    """Number of steps of severity -> recall of the reference changes of that many, where it is known.

    A plain number counts findings that appeared or vanished. `level N` counts changes of level, whose levels before and
    after must be right. There is no precision, because a change that is only stated has no steps.
    """

    def steps(one: Judged, change: Change) -> str | None:
        known = one.prediction.reference_steps.get(change)
        if known is None:
            return None
        return f"{LEVEL} {known}" if change.kind == LEVEL else str(known)

    tallies = _tally_labels(judged, steps, {"recall": recall})
    return {
        label: tallies[label] for label in sorted(tallies, key=_place_of_steps) if tallies[label].counts["reference"]
    }


def tally_groups(predictions: Sequence[Prediction]) -> dict[str, Tally]:
    """Group -> the change scores of its difference questions, by factor and strength where the name has them.

    The repeats of a factor's own patients are its strength 0. Other patients would not do, because patients differ in
    how often a change is stated. The induced-change rate is missing, because it spans several groups.
    """
    groups: dict[str, list[Prediction]] = defaultdict(list)
    factors: dict[Hashable, set[str]] = defaultdict(set)
    for prediction in predictions:
        if prediction.group is not None:
            groups[prediction.group].append(prediction)
            if parts := factor_and_strength(prediction.group):
                factors[prediction.patient].add(parts[0])
    for prediction in groups.get(REPEAT, ()):
        for factor in factors[prediction.patient]:
            groups[f"{factor} 0"].append(prediction)
    tallies = {group: tally_changes(groups[group]) for group in sorted(groups, key=_place_of_group)}
    return {group: _without_induced(tally) for group, tally in tallies.items() if tally is not None}


def _without_induced(tally: Tally) -> Tally:
    formulas = {name: formula for name, formula in tally.formulas.items() if name != "induced_change_rate"}
    counts = {name: count for name, count in tally.counts.items() if name != "pairs_taken_otherwise"}
    return replace(tally, formulas=formulas, counts=counts)


_ALL_SCORES: Mapping[str, Formula] = {"precision": precision, "recall": recall, "f1": f1}


def _tally_labels(
    judged: Sequence[Judged], label_of: Callable[[Judged, Change], str | None], formulas: Mapping[str, Formula]
) -> dict[str, Tally]:
    """Label -> its changes; only the rows that have any are kept, the others would add nothing to a sum."""
    rows: dict[str, dict[str, np.ndarray]] = defaultdict(lambda: defaultdict(lambda: np.zeros(len(_COLUMNS))))
    for one in judged:
        said = one.said or frozenset()
        for column, changes in enumerate((said & one.true, said, one.true)):
            for change in changes:
                label = label_of(one, change)
                if label is not None:
                    rows[label][one.prediction.id][column] += 1
    tallies = {}
    for label, counted in rows.items():
        columns = np.stack(list(counted.values()))
        counts = dict(zip(_COLUMNS, map(int, columns.sum(axis=0)), strict=True))
        tallies[label] = Tally(tuple(counted), columns, formulas, counts)
    return tallies


def _place_of_steps(label: str) -> tuple[bool, int]:
    return label.startswith(LEVEL), int(label.removeprefix(LEVEL))


def _place_of_group(group: str) -> tuple[bool, str, float]:
    factor, strength = factor_and_strength(group) or (group, 0.0)
    return group != REPEAT, factor, strength
