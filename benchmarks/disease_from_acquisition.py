"""How well a study's models tell disease from acquisition, whatever share of pairs they call changed.

    python benchmarks/disease_from_acquisition.py STUDY

STUDY: a folder that `diffvqa study` has written, whose tests have the sets `change` and `acquisition_large`. Pairs are
ranked by how sure a model is that something has changed: those that it calls changed by its confidence, and below them
those that it calls unchanged, the surest last. Ends with one JSON line: for each cell the area under the curve (AUC) of
pairs in which disease differs (`change`) against those in which nothing has changed (`acquisition_large`), .5 being
chance, with its 95 % interval over patients, the share of the former that is found where 1 and 5 % of the latter are
called changed, and the shares of the latter that the model itself calls changed: of repeats, which are taken alike, and
of those in which one factor of acquisition differs.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

import numpy as np
from sklearn.metrics import roc_auc_score

from diffvqa.evaluation.changes import Judged, judge
from diffvqa.evaluation.groups import REPEAT
from diffvqa.evaluation.predictions import read_predictions

REPLICATES = 1000


def by_patient(judged: Iterable[Judged]) -> list[np.ndarray]:
    """How sure the model is that something has changed, pair by pair, for each patient."""
    found = defaultdict(list)
    for one in judged:
        confidence = one.prediction.confidence
        found[one.prediction.subject_id].append(1 + confidence if one.said else 1 - confidence)
    return [np.array(sure) for sure in found.values()]


def area(changed: list[np.ndarray], unchanged: list[np.ndarray]) -> float:
    scores = np.concatenate([*changed, *unchanged])
    return roc_auc_score(np.arange(len(scores)) < sum(map(len, changed)), scores)


def called_changed(judged: Iterable[Judged]) -> float:
    return round(fmean(not one.right for one in judged), 3)


def scores_of(evaluations: Path) -> dict[str, float | list[float]]:
    progressed, alike = (
        judge(read_predictions(evaluations / name / "predictions.jsonl")) for name in ("change", "acquisition_large")
    )
    changed, unchanged = by_patient(progressed), by_patient(alike)
    random = np.random.default_rng(0)

    def drawn(patients: list[np.ndarray]) -> list[np.ndarray]:
        return [patients[place] for place in random.integers(len(patients), size=len(patients))]

    areas = [area(drawn(changed), drawn(unchanged)) for _ in range(REPLICATES)]
    limits = np.quantile(np.concatenate(unchanged), [0.99, 0.95])
    found = [float((np.concatenate(changed) > limit).mean()) for limit in limits]
    low, high = np.quantile(areas, [0.025, 0.975])
    return {
        "auc": round(area(changed, unchanged), 3),
        "interval": [round(float(low), 3), round(float(high), 3)],
        "found at .01": round(found[0], 3),
        "found at .05": round(found[1], 3),
        "repeats called changed": called_changed(one for one in alike if one.prediction.group == REPEAT),
        "others called changed": called_changed(one for one in alike if one.prediction.group != REPEAT),
    }


def main() -> None:
    result = {}
    for path in sorted(Path(sys.argv[1]).glob("cells/*/cell.json")):
        result[path.parent.name] = scores_of(path.parent / "evaluations")
        print(path.parent.name, result[path.parent.name])
    print(json.dumps(result))


if __name__ == "__main__":
    main()
