"""How many unchanged pairs systems call changed where all find as many changed pairs of the test split.

    python benchmarks/equal_detection.py STUDY CELL [CELL ...]

STUDY: the folder of `diffvqa study`. The threshold of a system is the one at which it finds .9 of the changed pairs of
its evaluation *test*, again in each of 1,000 resamples of patients. Nobody could choose it beforehand: the rates are
points of the systems' ROC curves. The same thresholds are then put to the unchanged pairs of the study's other test
sets. Ends with one JSON line: rates, areas under the curves, and the first cell's minus each other's, with 95 %
intervals.
"""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from index import device
from sklearn.metrics import roc_auc_score

from diffvqa.evaluation.predictions import read_lines

DETECTED, REPLICATES, MAIN = 0.9, 1000, "test"


@dataclass(frozen=True)
class Pairs:
    """The difference questions of a test set. probable: (systems, pairs), how probable each finds any change."""

    patients: np.ndarray
    is_changed: np.ndarray
    probable: np.ndarray

    def resampled(self, random: np.random.Generator) -> Pairs:
        """The pairs of as many patients, drawn with replacement."""
        names, of = np.unique(self.patients, return_inverse=True)
        drawn = random.integers(len(names), size=len(names))
        order = np.argsort(of, kind="stable")
        first = np.searchsorted(of[order], np.arange(len(names) + 1))
        chosen = np.concatenate([order[first[one] : first[one + 1]] for one in drawn])
        return Pairs(self.patients[chosen], self.is_changed[chosen], self.probable[:, chosen])


def read_pairs(folders: Sequence[Path]) -> Pairs:
    """The pairs that all systems were asked about, by the folders of their evaluations."""
    systems = []
    for folder in folders:
        rows = (row for _, row in read_lines(folder / "predictions.jsonl") if "changed" in row)
        systems.append({row["id"]: row for row in rows})
    ids = sorted(set.intersection(*map(set, systems)))
    first = systems[0]
    return Pairs(
        np.array([first[one]["subject_id"] for one in ids]),
        np.array([bool(first[one]["reference_changes"]) for one in ids]),
        np.array([[rows[one]["changed"] for one in ids] for rows in systems]),
    )


def scores_of(sets: Mapping[str, Pairs]) -> dict[str, np.ndarray]:
    """Each score, (systems,): of a set the share of unchanged pairs called changed, and of MAIN the area."""
    main = sets[MAIN]
    thresholds = np.quantile(main.probable[:, main.is_changed], 1 - DETECTED, axis=1, method="lower")
    scores = {
        f"{name}/false_changes": (one.probable[:, ~one.is_changed] >= thresholds[:, None]).mean(1)
        for name, one in sets.items()
    }
    return {**scores, f"{MAIN}/auroc": np.array([roc_auc_score(main.is_changed, one) for one in main.probable])}


def described(value: float, drawn: np.ndarray) -> Mapping[str, float]:
    """A value with its interval."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"value": round(float(value), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def main() -> None:
    """Compare the cells of a study."""
    study, cells = Path(sys.argv[1]), sys.argv[2:]
    names = sorted(one.name for one in (study / "cells" / cells[0] / "evaluations").iterdir())
    folders = {name: [study / "cells" / cell / "evaluations" / name for cell in cells] for name in names}
    sets = {name: read_pairs(found) for name, found in folders.items()}
    # Without unchanged pairs there are no false changes.
    sets = {name: pairs for name, pairs in sets.items() if not pairs.is_changed.all()}
    random = np.random.default_rng(0)
    values = scores_of(sets)
    resampled = [scores_of({name: one.resampled(random) for name, one in sets.items()}) for _ in range(REPLICATES)]
    scores: dict[str, Any] = {}
    for score, of_systems in values.items():
        drawn = np.array([one[score] for one in resampled])
        scores[score] = {
            "cells": {cell: described(of_systems[place], drawn[:, place]) for place, cell in enumerate(cells)},
            "differences": {
                cell: described(of_systems[0] - of_systems[place], drawn[:, 0] - drawn[:, place])
                for place, cell in enumerate(cells)
                if place
            },
        }
    counts = {name: [int((~one.is_changed).sum()), len(set(one.patients))] for name, one in sets.items()}
    about = {"date": datetime.date.today().isoformat(), "device": device(), "unchanged pairs, patients": counts}
    print(json.dumps({"benchmark": "equal_detection", "detected": DETECTED, **about, "scores": scores}))


if __name__ == "__main__":
    main()
