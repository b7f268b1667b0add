"""Scores of what probes of an encoder predict: areas under the curve and boxes, with intervals over patients."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffvqa.boxes import Box
from diffvqa.errors import InputError
from diffvqa.evaluation.box_scores import best_overlap, tally_overlaps
from diffvqa.evaluation.intervals import Resamples, interval_around, resample_patients, score_tally
from diffvqa.evaluation.predictions import read_lines
from diffvqa.files import write_text

WAYS = {"findings": ("present",), "changes": ("appeared", "vanished")}
"""The classes after the first one, by probe of labels."""

FEWEST_PATIENTS = 5
"""An area needs as many patients of either class: an interval over fewer would be narrower than what is known."""

_OLD_KEYS = {"said": "predicted", "right": "target"}
"""Keys of older files, with those of today."""

Rows = Sequence[Mapping[str, Any]]


def score_probe(folder: str | Path, replicates: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Score `probe_predictions.jsonl` of a folder; write `probe.json` there.

    {"findings", "changes": {pooling: {"n", "patients", "mean": score, "names": {name: {way: score}}}},
     "boxes": {"n", "patients", "iou", "accuracy_0.5", "mean_box": {"iou", "accuracy_0.5"}, "names": {name: ...}}}
    A score is {"value", "low", "high"} with a 95 % interval over patients, or None where it is not defined; of labels
    it is the area under the receiver operating characteristic, with "n" rows that have the label, of "n_patients". It
    is None where fewer than FEWEST_PATIENTS have the label, or lack it. The mean is over the labels that have an area.
    What could not be probed is {"reason"}. changes also has "changed": the area for whether anything appeared or
    vanished.
    Raises InputError for a line that no probe has written.
    """
    folder = Path(folder)
    parts: dict[tuple[str, str | None], list[Mapping[str, Any]]] = defaultdict(list)
    scores: dict[str, Any] = {}
    for number, row in read_lines(folder / "probe_predictions.jsonl"):
        row = {_OLD_KEYS.get(key, key): value for key, value in row.items()}
        if "reason" in row:
            scores[row["probe"]] = {"reason": row["reason"]}
        elif row.get("probe") in (*WAYS, "boxes"):
            parts[row["probe"], row.get("pooling")].append(row)
        else:
            raise InputError(
                f"probe_predictions.jsonl, line {number}: field `probe`: expected findings, changes or boxes"
            )
    for (kind, pooling), rows in parts.items():
        if kind == "boxes":
            scores[kind] = _boxes(rows, replicates, seed)
        else:
            scores.setdefault(kind, {})[pooling] = _labels(rows, WAYS[kind], replicates, seed)
    write_text(folder / "probe.json", json.dumps(scores, indent=1) + "\n")
    return scores


def _labels(rows: Rows, ways: Sequence[str], replicates: int, seed: int) -> dict[str, Any]:
    resamples = resample_patients({row["id"]: row["subject_id"] for row in rows}, replicates, seed)
    patients = np.array([resamples.patient_of[row["id"]] for row in rows])
    names: dict[str, dict[str, Any]] = {}
    values, drawn = [], []
    for name in rows[0]["target"]:
        target = np.array([row["target"][name] for row in rows])
        names[name] = {}
        for number, way in enumerate(ways):
            predicted = np.array([row["predicted"][name][number] for row in rows])
            names[name][way], resampled = _area(predicted, target == number + 1, patients, resamples)
            if names[name][way] is not None:
                values.append(names[name][way]["value"])
                drawn.append(resampled)
    found = {
        "n": len(rows),
        "patients": len(set(patients)),
        # A resample may lack a rare finding: it then has the mean of the others.
        "mean": interval_around(float(np.mean(values)), _mean_of_known(np.array(drawn))) if values else None,
        "names": names,
    }
    if len(ways) > 1:
        any_predicted = np.array([max(sum(of_name) for of_name in row["predicted"].values()) for row in rows])
        any_target = np.array([row["changed"] for row in rows])
        found["changed"], _ = _area(any_predicted, any_target, patients, resamples)
    return found


def _mean_of_known(drawn: np.ndarray) -> np.ndarray:
    """Means over names, (resamples,), of those resamples that have any: (names, resamples)."""
    return np.nanmean(drawn[:, np.isfinite(drawn).any(axis=0)], axis=0)


def _area(
    predicted: np.ndarray, target: np.ndarray, patients: np.ndarray, resamples: Resamples
) -> tuple[dict[str, float] | None, np.ndarray]:
    """The area under the curve with its interval, and that of each resample; None of too few patients."""
    value, drawn = weighted_auc(predicted, target, resamples.draws[:, patients])
    have, have_not = len(set(patients[target])), len(set(patients[~target]))
    if min(have, have_not) < FEWEST_PATIENTS:
        return None, drawn
    return {**interval_around(value, drawn), "n": int(target.sum()), "n_patients": have}, drawn


def weighted_auc(predicted: np.ndarray, target: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """The area under the receiver operating characteristic, of all rows and of resamples; equal scores count half.

    predicted, target: (rows,). weights: (resamples, rows), how often each row was drawn. NaN where a class is missing.
    """
    every = np.concatenate([np.ones((1, len(predicted))), weights])
    order = np.argsort(predicted, kind="stable")
    _, first, group = np.unique(predicted[order], return_index=True, return_inverse=True)
    good, bad = every[:, order] * target[order], every[:, order] * ~target[order]
    tied = np.add.reduceat(bad, first, axis=1)
    below = np.cumsum(tied, axis=1) - tied
    pairs = (good * (below + tied / 2)[:, group]).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        areas = pairs / (good.sum(1) * bad.sum(1))
    return float(areas[0]), areas[1:]


def _boxes(rows: Rows, replicates: int, seed: int) -> dict[str, Any]:
    resamples = resample_patients({row["id"]: row["subject_id"] for row in rows}, replicates, seed)
    names = dict.fromkeys(row["name"] for row in rows)
    return {
        "n": len(rows),
        "patients": len(set(resamples.patient_of.values())),
        **_overlap(rows, "predicted", resamples),
        "mean_box": _overlap(rows, "mean_box", resamples),
        "names": {
            name: {
                "n": len(of_name := [row for row in rows if row["name"] == name]),
                **_overlap(of_name, "predicted", resamples),
                "mean_box": _overlap(of_name, "mean_box", resamples),
            }
            for name in names
        },
    }


def _overlap(rows: Rows, field: str, resamples: Resamples) -> dict[str, Any]:
    overlaps = [best_overlap(row[field], [Box(*box) for box in row["target"]]) for row in rows]
    return score_tally(tally_overlaps([row["id"] for row in rows], overlaps, {}), resamples)
