"""Cells that differ by their seed alone, as one system, and its scores as means over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from diffvqa.evaluation.names import SCORES, find_score
from diffvqa.study.study_config import LENGTH, MAIN, OBJECTIVE, SEED, SIZE, short_titles

F1, RECALL, FALSE_CHANGES = "changes/f1", "changes/recall", "changes/false_change_rate"

MODEL = "model"
"""The system of a cell that is no control."""

COLUMNS = {
    F1: SCORES["f1"],
    RECALL: SCORES["recall"],
    "changes/detection_rate": SCORES["detection_rate"],
    FALSE_CHANGES: SCORES["false_change_rate"],
    "changes/induced_change_rate": SCORES["induced_change_rate"],
    "changes/flagged_changed": SCORES["flagged_changed"],
    "changes/flagged_unchanged": SCORES["flagged_unchanged"],
    "grounding/AREF/accuracy_0.5": SCORES["aref_accuracy"],
    "grounding/CAREF/accuracy_0.5": "CAREF accuracy",
    "findings/mean/mean": "Findings, mean pooling (AUC)",
    "findings/attention/mean": "Findings, attention (AUC)",
    "changes/mean/changed": "Anything came or went, mean pooling (AUC)",
    "changes/attention/changed": "Anything came or went, attention (AUC)",
    "changes/attention/mean": "Each change, attention (AUC)",
    "boxes/accuracy_0.5": "Regions, accuracy at IoU 0.5",
    "boxes/mean_box/accuracy_0.5": "Mean training box, the same",
}
"""The scores that are shown, by their path in an evaluation's metrics, and the title of each."""


@dataclass(frozen=True)
class Mean:
    """A score's mean over the seeds that have it, and how many seeds there are in all.

    low, high: of 95 % intervals over patients, the mean over seeds too. As the seeds were asked about the same patients
    that is the interval of the mean, or somewhat wider. lowest, highest: the seeds'.
    """

    value: float
    low: float
    high: float
    lowest: float
    highest: float
    seeds: int
    seeds_in_all: int


@dataclass(frozen=True)
class System:
    """The cells that differ by their seed alone. name: what sets them apart from the others of the study."""

    name: str
    settings: Mapping[str, Any]
    cells: Sequence[Mapping[str, Any]]

    def mean(self, evaluation: str, path: str, of: str = MODEL) -> Mean | None:
        """A score's mean over the cells that have it; of: MODEL, or the name of a control."""
        place = [evaluation, *([MODEL] if of == MODEL else ["controls", of]), *path.split("/")]
        found = [find_score(cell["evaluations"], place) for cell in self.cells]
        scores = [score for score in found if score is not None]
        if not scores:
            return None
        # The exact mean: a rounded one of equal seeds may lie outside of them.
        value, low, high = (mean(score[part] for score in scores) for part in ("value", "low", "high"))
        values = [score["value"] for score in scores]
        return Mean(value, low, high, min(values), max(values), len(scores), len(self.cells))

    @property
    def images_seen(self) -> int:
        """How many images its encoder saw in training, one seed's."""
        return self.cells[0]["images_seen"]

    @property
    def seconds(self) -> float | None:
        """The duration of stage 1, as a mean over seeds; None if it is not known."""
        known = [cell["seconds"]["pretrain"] for cell in self.cells if cell["seconds"]["pretrain"] is not None]
        return sum(known) / len(known) if known else None


def systems_of(results: Sequence[Mapping[str, Any]]) -> list[System]:
    """The finished cells, those of one system together, in the study's order."""
    finished = [result for result in results if "error" not in result]
    axes = [axis for axis in (results[0]["settings"] if results else {}) if axis != SEED]
    several = _with_several_values(axes, [result["settings"] for result in results])
    several = several or [axis for axis in axes if axis == OBJECTIVE]
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for result in finished:
        groups.setdefault(str({axis: result["settings"][axis] for axis in axes}), []).append(result)
    return [
        System(
            _in_words(cells[0]["settings"], several) or "the study's one system",
            {axis: cells[0]["settings"][axis] for axis in axes},
            cells,
        )
        for cells in groups.values()
    ]


def learning_curves(systems: Sequence[System]) -> dict[str, list[System]]:
    """Systems that differ by the length of pretraining alone, by what sets them apart from the others."""
    axes = [axis for axis in (systems[0].settings if systems else {}) if axis != LENGTH]
    several = _with_several_values(axes, [system.settings for system in systems])
    curves: dict[str, list[System]] = {}
    for system in systems:
        curves.setdefault(_in_words(system.settings, several), []).append(system)
    return curves


def _with_several_values(axes: Sequence[str], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    return [axis for axis in axes if len({str(one[axis]) for one in settings}) > 1]


def _in_words(settings: Mapping[str, Any], axes: Sequence[str]) -> str:
    return ", ".join(_value_in_words(axis, title, settings[axis]) for axis, title in short_titles(axes).items())


def _value_in_words(axis: str, title: str, value: Any) -> str:
    if isinstance(value, Mapping):
        value = " + ".join(f"{part} {name}" for name, part in value.items())
    elif isinstance(value, list):
        value = " + ".join(str(one) for one in value) or "none"
    if axis == SIZE:
        return f"{value} pixels"
    return f"{title} {value}" if "." in axis else str(value)


@dataclass(frozen=True)
class Column:
    """A column of an evaluation's table: a score by its path, of that evaluation or of another one."""

    evaluation: str
    path: str
    title: str


def columns_of(systems: Sequence[System], evaluation: str) -> list[Column]:
    """The scores that any system has in an evaluation.

    A set without true changes takes recall from the test split, because false changes mean nothing without recall.
    """
    found = [
        Column(evaluation, path, title)
        for path, title in COLUMNS.items()
        if any(one.mean(evaluation, path) for one in systems)
    ]
    paths = {column.path for column in found}
    if FALSE_CHANGES in paths and RECALL not in paths:
        found.append(Column(MAIN, RECALL, f"{COLUMNS[RECALL]} ({MAIN})"))
    return found
