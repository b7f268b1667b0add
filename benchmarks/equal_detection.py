"""How many unchanged pairs two systems call changed where both find as many changed pairs of one test set.

    python benchmarks/equal_detection.py NAME=EVALUATION NAME=EVALUATION

EVALUATION: a folder of `diffvqa evaluate` by a model with a `change_threshold`. The threshold of each system is the one
at which it finds .9 of the changed pairs of this very set, again in each of 1,000 resamples of patients: the rates are
points of the systems' ROC curves, and no choice of a threshold for later use. Ends with one JSON line: the rates, the
areas under the curves, and their differences, first minus second, with 95 % intervals.
"""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from index import device
from sklearn.metrics import roc_auc_score

from diffvqa.evaluation.predictions import read_lines

DETECTED, REPLICATES = 0.9, 1000

Row = tuple[str, bool, float]


def read_rows(folder: Path) -> dict[str, Row]:
    """Each difference question: its patient, whether anything has changed, and how probable the system finds that."""
    rows = (row for _, row in read_lines(folder / "predictions.jsonl") if "changed" in row)
    return {row["id"]: (row["subject_id"], bool(row["reference_changes"]), row["changed"]) for row in rows}


def scores_of(is_changed: np.ndarray, probable: np.ndarray) -> np.ndarray:
    """The share of unchanged pairs called changed where DETECTED of the changed ones are, and the area."""
    threshold = np.quantile(probable[is_changed], 1 - DETECTED, method="lower")
    return np.array([(probable[~is_changed] >= threshold).mean(), roc_auc_score(is_changed, probable)])


def described(value: float, drawn: np.ndarray) -> Mapping[str, float]:
    """A value with its interval."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"value": round(float(value), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def main() -> None:
    """Compare two systems."""
    names, folders = zip(*(one.split("=", 1) for one in sys.argv[1:]), strict=True)
    first, second = map(read_rows, map(Path, folders))
    ids = sorted(first.keys() & second.keys())
    patients = np.array([first[one][0] for one in ids])
    is_changed = np.array([first[one][1] for one in ids])
    probable = [np.array([rows[one][2] for one in ids]) for rows in (first, second)]
    places = [np.flatnonzero(patients == one) for one in np.unique(patients)]
    random, drawn = np.random.default_rng(0), []
    for _ in range(REPLICATES):
        chosen = np.concatenate([places[one] for one in random.integers(len(places), size=len(places))])
        drawn.append([scores_of(is_changed[chosen], one[chosen]) for one in probable])
    values, resampled = np.array([scores_of(is_changed, one) for one in probable]), np.array(drawn)
    found: dict[str, Mapping[str, Mapping[str, float]]] = {}
    for column, score in enumerate((f"false_changes_at_{DETECTED}", "auroc")):
        found[score] = {
            name: described(values[place, column], resampled[:, place, column]) for place, name in enumerate(names)
        }
        differences = resampled[:, 0, column] - resampled[:, 1, column]
        found[score] |= {"difference": described(values[0, column] - values[1, column], differences)}
    about = {"date": datetime.date.today().isoformat(), "device": device(), "pairs": len(ids), "patients": len(places)}
    print(json.dumps({"benchmark": "equal_detection", **about, "scores": found}))


if __name__ == "__main__":
    main()
