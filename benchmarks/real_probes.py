"""What frozen encoders know of real radiographs: `diffvqa probe` of each on several splits of the same patients.

    python benchmarks/real_probes.py OUT NAME=ENCODER=STORES [NAME=ENCODER=STORES ...]

ENCODER: as `diffvqa probe` takes it; the first is compared with each of the others. STORES: a folder of stores of the
same data, each with another `--split-seed` and of the encoder's size. OUT: a folder for the probes; the same command
goes on there. A score is the mean over the splits of the area under the curve, itself a mean over the names that the
test split has enough of. Intervals: 1,000 resamples of patients, the same in every split and for every encoder. Ends
with one JSON line.
"""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from index import device

from diffvqa.evaluation.predictions import read_lines
from diffvqa.evaluation.probe_scores import FEWEST_PATIENTS, WAYS, weighted_auc
from diffvqa.training.probe import PREDICTIONS, probe

REPLICATES = 1000

Row = Mapping[str, Any]


def rows_of(folder: Path) -> dict[str, list[Row]]:
    """The predictions of probes of labels, by what was probed and how the tokens were pooled."""
    found: dict[str, list[Row]] = {}
    for _, row in read_lines(folder / PREDICTIONS):
        if row["probe"] in WAYS and "reason" not in row:
            found.setdefault(f"{row['probe']}/{row['pooling']}", []).append(row)
    return found


def areas_of(kind: str, rows: Sequence[Row], weight_of: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The areas of one split, (1 + REPLICATES,) each: the mean over names, and whether anything has changed."""
    patients = [row["subject_id"] for row in rows]
    weights = np.stack([weight_of[one] for one in patients], axis=1)

    def area(predicted: Sequence[float], target: Sequence[bool]) -> np.ndarray | None:
        there = {one for one, is_there in zip(patients, target, strict=True) if is_there}
        if min(len(there), len(set(patients) - there)) < FEWEST_PATIENTS:
            return None
        value, drawn = weighted_auc(np.array(predicted), np.array(target), weights)
        return np.array([value, *drawn])

    found = []
    for number, _ in enumerate(WAYS[kind]):
        for name in rows[0]["target"]:
            one = area(
                [row["predicted"][name][number] for row in rows], [row["target"][name] == number + 1 for row in rows]
            )
            found += [] if one is None else [one]
    areas = {"mean": np.nanmean(found, axis=0)} if found else {}
    if kind == "changes":
        predicted = [max(sum(of_name) for of_name in row["predicted"].values()) for row in rows]
        changed = area(predicted, [row["changed"] for row in rows])
        areas |= {} if changed is None else {"changed": changed}
    return areas


def described(drawn: np.ndarray) -> Mapping[str, float]:
    """The first value, with the interval of the others."""
    low, high = np.nanquantile(drawn[1:], [0.025, 0.975])
    return {"value": round(float(drawn[0]), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def main() -> None:
    """Probe every encoder on every store, and compare."""
    out, *given = sys.argv[1:]
    rows: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for one in given:
        name, encoder, stores = one.split("=")
        for store in sorted(Path(stores).iterdir()):
            folder = Path(out, f"{name}-{store.name}")
            if not (folder / PREDICTIONS).exists():  # the last that a probe writes
                probe(encoder, store, folder)
            rows[name, store.name] = rows_of(folder)
    encoders, splits = (list(dict.fromkeys(names)) for names in zip(*rows, strict=True))
    first = encoders[0]
    patients = sorted({row["subject_id"] for found in rows.values() for part in found.values() for row in part})
    random = np.random.default_rng(0)
    draws = random.multinomial(len(patients), [1 / len(patients)] * len(patients), size=REPLICATES)
    weight_of = dict(zip(patients, draws.T, strict=True))
    scores: dict[str, dict[str, Any]] = {}
    for probed in next(iter(rows.values())):
        of_encoder: dict[str, dict[str, np.ndarray]] = {}
        for name in encoders:
            kind = probed.split("/")[0]
            areas = [areas_of(kind, rows[name, split][probed], weight_of) for split in splits]
            for score in ("mean", "changed"):
                if all(score in one for one in areas):
                    of_encoder.setdefault(score, {})[name] = np.nanmean([one[score] for one in areas], axis=0)
        for score, drawn in of_encoder.items():
            scores[f"{probed}/{score}"] = {
                "areas": {name: described(one) for name, one in drawn.items()},
                "differences": {name: described(drawn[first] - one) for name, one in drawn.items() if name != first},
            }
    about = {"date": datetime.date.today().isoformat(), "device": device(), "splits": len(splits)}
    tested = {probed: sum(len(rows[first, split][probed]) for split in splits) for probed in rows[first, splits[0]]}
    about |= {"patients": len(patients), "tested": tested}
    print(json.dumps({"benchmark": "real_probes", **about, "scores": scores}))


if __name__ == "__main__":
    main()
