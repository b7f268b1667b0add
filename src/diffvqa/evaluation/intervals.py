"""Scores with intervals: additive counts per row, a function of their sums, and a bootstrap over patients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
"""The share of the resamples that lies inside an interval."""

BLOCK = 500
"""Resamples that are worked on at once, at the full width of numbers: all of them take gigabytes for many patients."""

Patient = str | tuple[str, str]
"""Who is drawn in a bootstrap, by a name that is one patient's alone."""

Formula = Callable[[np.ndarray], np.ndarray]
"""A function of sums, (..., columns), that gives a score, (...); NaN where the score is not defined."""


@dataclass(frozen=True)
class Tally:
    """The counts that score a set of rows, and any resample of them.

    ids: one a row. columns: shape (rows, columns), quantities that add up over rows.
    formulas: each score as a function of the summed columns.
    counts: plain numbers that go beside the scores.
    """

    ids: tuple[str, ...]
    columns: np.ndarray
    formulas: Mapping[str, Formula]
    counts: Mapping[str, int]

    def of(self, ids: set[str]) -> Tally:
        """The same for the rows of these ids only; the counts are left out."""
        keep = [position for position, identifier in enumerate(self.ids) if identifier in ids]
        return Tally(tuple(self.ids[position] for position in keep), self.columns[keep], self.formulas, {})


@dataclass(frozen=True)
class Resamples:
    """The number of times each patient is drawn in each bootstrap resample, the same for every system.

    patient_of: row id -> position of its patient. draws: shape (replicates, patients), small whole numbers.
    """

    patient_of: Mapping[str, int]
    draws: np.ndarray

    def sums(self, tally: Tally) -> np.ndarray:
        """The columns of a tally summed over each resample, shape (replicates, columns)."""
        of_patients = self.of_patients(tally)
        sums = [self.draws[start : start + BLOCK] @ of_patients for start in range(0, len(self.draws), BLOCK)]
        return np.concatenate(sums)

    def of_patients(self, tally: Tally) -> np.ndarray:
        """The columns of a tally summed over the rows of each patient, shape (patients, columns)."""
        patients = np.array([self.patient_of[identifier] for identifier in tally.ids], dtype=np.intp)
        found = np.zeros((self.draws.shape[1], tally.columns.shape[1]))
        np.add.at(found, patients, tally.columns)
        return found


def resample_patients(patients: Mapping[str, Patient], replicates: int, seed: int) -> Resamples:
    """Draw patients with replacement, as many as there are, `replicates` times; rows follow their patient.

    patients: row id -> patient. The draws depend on the seed and the set of patients only, not on the order of rows.
    """
    ordered = sorted(set(patients.values()))
    position = {patient: index for index, patient in enumerate(ordered)}
    shares = np.full(len(ordered), 1 / len(ordered))
    random, draws = np.random.default_rng(seed), np.empty((replicates, len(ordered)), dtype=np.uint16)
    for start in range(0, replicates, BLOCK):
        block = draws[start : start + BLOCK]
        block[:] = random.multinomial(len(ordered), shares, size=len(block))
    return Resamples({identifier: position[patient] for identifier, patient in patients.items()}, draws)


def score_tally(tally: Tally, resamples: Resamples) -> dict[str, dict[str, float] | None]:
    """Every score of a tally as {"value", "low", "high"}; None where it is not defined.

    low and high are percentiles of the bootstrap over patients (resamples in which it is not defined are left out).
    """
    totals, drawn = tally.columns.sum(axis=0), resamples.sums(tally)
    return {name: interval_of(formula(totals), formula(drawn)) for name, formula in tally.formulas.items()}


def difference(first: Tally, second: Tally, name: str, resamples: Resamples) -> dict[str, float] | None:
    """First minus second in one score over the rows that both have, with the interval of the paired difference.

    The result has a fourth entry, "n": the number of rows compared. None where there is nothing to compare.
    """
    common = set(first.ids) & set(second.ids)
    if not common:
        return None
    first, second = first.of(common), second.of(common)
    value = first.formulas[name](first.columns.sum(axis=0)) - second.formulas[name](second.columns.sum(axis=0))
    drawn = first.formulas[name](resamples.sums(first)) - second.formulas[name](resamples.sums(second))
    interval = interval_of(value, drawn)
    return None if interval is None else {**interval, "n": len(common)}


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The quotient, NaN where the denominator is zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def ratio_of(numerator: int, denominator: int) -> Formula:
    """The quotient of two columns, by their positions."""
    return lambda sums: ratio(sums[..., numerator], sums[..., denominator])


def mean_of(columns: Sequence[str], name: str) -> Formula:
    """The mean over rows of one column; the column "one" holds a 1 for every row."""
    return ratio_of(columns.index(name), columns.index("one"))


def interval_of(score: np.ndarray, drawn: np.ndarray) -> dict[str, float] | None:
    """A score with the limits of its interval, from the score itself and that of each resample; None if undefined."""
    return interval_around(float(score), drawn) if np.isfinite(score) else None


def interval_around(score: float, drawn: np.ndarray) -> dict[str, float]:
    """The same for a score that is defined."""
    drawn, value = drawn[np.isfinite(drawn)], round(score, 10)
    if drawn.size == 0:
        return {"value": value, "low": value, "high": value}
    low, high = (round(float(limit), 10) for limit in np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    # An interval holds its value. The calibration error is a sum of absolute values: it is larger in resamples.
    return {"value": value, "low": min(low, value), "high": max(high, value)}
