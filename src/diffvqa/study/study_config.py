"""A study's settings: what every cell shares, and the axes along which cells differ."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from diffvqa.errors import InputError
from diffvqa.training.config import FinetuneConfig, PretrainConfig, StrictSettings, load_config
from diffvqa.training.pretraining_model import encoder_sizes

MAIN = "test"
"""The evaluation on the test split of the store that a cell was trained on."""

PROBE = "probe"
"""The evaluation of the frozen encoder on that split, before any language model."""

SEED, OBJECTIVE, STORE, SIZE = "seed", "objective", "store", "size"
"""Axes that are no keys of a stage: the seed of both stages, the objective of stage 1, the store, its resolution."""

_OWN_AXES = (SEED, OBJECTIVE, STORE, SIZE)

LENGTH = "pretrain.optimisation.steps"
"""The axis that a learning curve is drawn along."""

SMALLEST = 32
"""Pixels a side of the smallest store, as `diffvqa prepare` has it."""

QUESTIONS = "finetune.questions"
"""The key of the types that are trained on, and asked on the test split; axes may be that or a part of it."""

_OWN_KEYS = {
    "pretrain.seed": SEED,
    "finetune.seed": SEED,
    "pretrain.objective": OBJECTIVE,
    "pretrain.store": STORE,
    "finetune.store": STORE,
    "finetune.encoder": "pretrain.encoder",
    "pretrain.out": None,
    "finetune.out": None,
}
"""The keys of a stage that the study itself sets, and the axis to give in their place."""


class StoreSource(StrictSettings):
    """A store: the folder of one that there is, or how many synthetic patients are to be made for it.

    seed, set, omitted, still: of the synthetic patients, as `diffvqa synth` has them.
    """

    folder: str | None = Field(None, min_length=1)
    patients: PositiveInt | None = None
    seed: NonNegativeInt = 0
    set: str | None = None
    omitted: float | None = Field(None, ge=0, le=1)
    still: float | None = Field(None, ge=0, le=1)

    @model_validator(mode="after")
    def _either(self) -> StoreSource:
        if (self.folder is None) == (self.patients is None):
            raise ValueError("a store has either `folder` or `patients`")
        # Values, not which were given: a study's record has them all.
        if self.folder and self.model_dump(exclude={"folder"}, exclude_defaults=True):
            raise ValueError("a store with `folder` is there already: leave out `seed`, `set`, `omitted`, `still`")
        if self.set and self.still is not None:
            raise ValueError("the pairs of a set are what it is for: give `set` or `still`")
        return self


class StudyConfig(StrictSettings):
    """The settings of `diffvqa study`.

    pretrain, finetune: YAML files of the two stages, seen from the study's file. stores: by name, what cells are
    trained and tested on. tests: by name, further stores whose test split every cell is evaluated on. test_patients:
    how many patients of the test split of a cell's own store are asked about, drawn; all if not given. size: pixels a
    side of the pictures that are made, and of the stores where it is no axis. axes: name -> values, cells being all
    combinations; a name is `objective`, `seed`, `store`, `size` (pixels a side that the cell sees), or a key of a stage
    such as `pretrain.optimisation.steps`.
    """

    out: str
    pretrain: str
    finetune: str
    size: PositiveInt = 128
    stores: dict[str, StoreSource]
    tests: dict[str, StoreSource] = Field(default_factory=dict)
    test_patients: PositiveInt | None = None
    axes: dict[str, list[Any]]

    @field_validator("axes", mode="before")
    @classmethod
    def _by_dotted_name(cls, axes: Any) -> Any:
        """`axes.pretrain.optimisation.steps=[9]` on the command line lays a part in a part over the file's axes."""
        return _dotted(axes) if isinstance(axes, dict) else axes

    @model_validator(mode="after")
    def _can_be_run(self) -> StudyConfig:
        if not self.stores:
            raise ValueError("`stores` names none; give at least one")
        for name in (MAIN, PROBE):
            if name in self.tests:
                raise ValueError(f"`tests`: {name!r} is what every cell has on its own store; give another name")
        if both := set(self.stores) & set(self.tests):
            raise ValueError(f"`stores` and `tests` both have {', '.join(sorted(both))}; give one of them another name")
        for name in (*self.stores, *self.tests):
            if not re.fullmatch(r"[\w-]+", name):
                raise ValueError(f"{name!r} is to be the name of a folder; use letters, digits, - and _")
        for axis, values in self.axes.items():
            if not values or len(values) != len({str(value) for value in values}):
                raise ValueError(f"`axes.{axis}` needs values, each of them once")
            stage = axis.partition(".")[0]
            if axis not in _OWN_AXES and (stage not in ("pretrain", "finetune") or stage == axis):
                raise ValueError(f"`axes.{axis}`: an axis is {', '.join(_OWN_AXES)}, pretrain.KEY or finetune.KEY")
            if axis in _OWN_KEYS:
                instead = f"; give `axes.{_OWN_KEYS[axis]}`" if _OWN_KEYS[axis] else ""
                raise ValueError(f"`axes.{axis}`: the study sets that itself{instead}")
        for store in self.axes.get(STORE, ()):
            if store not in self.stores:
                raise ValueError(f"`axes.store`: there is no store {store!r}; `stores` has {', '.join(self.stores)}")
        for size in self.axes.get(SIZE, ()):
            if not isinstance(size, int) or not SMALLEST <= size <= self.size:
                raise ValueError(
                    f"`axes.size`: expected whole numbers of {SMALLEST} to {self.size}, as many pixels as the pictures "
                    f"have that are made, found {size!r}; for more give a larger `size`"
                )
        if STORE not in self.axes and len(self.stores) > 1:
            raise ValueError("`stores` has several, so `axes` needs `store`")
        return self


def _dotted(nested: Mapping[Any, Any]) -> dict[Any, Any]:
    """The same with `part.key` in place of mappings in mappings; of two values of one name the later."""
    flat: dict[Any, Any] = {}
    for name, value in nested.items():
        inside = {f"{name}.{key}": found for key, found in _dotted(value).items()} if isinstance(value, dict) else {}
        flat |= inside or {name: value}
    return flat


@dataclass(frozen=True)
class Cell:
    """One run of the study: its name, its value on every axis, its store's name, and the pixels a side that it sees.

    encoder: the name of the cell whose encoder it takes, the first of those whose pretraining is the same.
    """

    name: str
    values: Mapping[str, Any]
    store: str
    size: int
    encoder: str = field(compare=False)

    def overrides(self, stage: str) -> list[str]:
        """The overrides of the file of a stage, `pretrain` or `finetune`."""
        laid = {}
        for axis, value in self.values.items():
            first, _, key = axis.partition(".")
            if axis == SEED:
                laid["seed"] = value
            elif axis == OBJECTIVE and stage == "pretrain":
                laid["objective"] = value
            elif first == stage and key:
                laid[key] = value
        return [f"{key}={yaml.safe_dump(value, default_flow_style=True).strip()}" for key, value in laid.items()]


def cells_of(config: StudyConfig) -> list[Cell]:
    """All cells, seeds outermost: a study that is stopped early has seen every setting equally often.

    A cell is named by its objective, seed and store, where they are axes, and by its values on axes that have several.
    """
    axes = sorted(config.axes, key=lambda axis: axis != SEED)
    naming = [axis for axis, given in config.axes.items() if axis in (OBJECTIVE, SEED, STORE) or len(given) > 1]
    titles = short_titles(naming)
    cells = []
    encoders: dict[str, str] = {}
    for values in itertools.product(*(config.axes[axis] for axis in axes)):
        chosen = dict(zip(axes, values, strict=True))
        name = "_".join(_in_a_name(axis, title, chosen[axis]) for axis, title in titles.items())
        store, size = chosen.get(STORE) or next(iter(config.stores)), chosen.get(SIZE) or config.size
        name = name or "only"
        pretraining = {axis: value for axis, value in chosen.items() if not axis.startswith("finetune.")}
        encoder = encoders.setdefault(str(pretraining), name)
        cells.append(Cell(name, chosen, store, size, encoder))
    return cells


def short_titles(axes: Sequence[str]) -> dict[str, str]:
    """Each axis by the last part of its name, or by its first part too where several share the last."""
    last = [axis.rpartition(".")[2] for axis in axes]
    return {
        axis: part if last.count(part) == 1 else f"{axis.partition('.')[0]} {part}"
        for axis, part in zip(axes, last, strict=True)
    }


def _in_a_name(axis: str, title: str, value: Any) -> str:
    word = re.sub(r"[^\w+.-]+", "-", str(value)).strip("-")
    return word if axis in (OBJECTIVE, STORE) else f"{title.replace(' ', '-')}-{word}"


def read_study(path: Path, overrides: list[str]) -> StudyConfig:
    """The study in a YAML file, with `key=value` laid over it; the stages' files are looked for beside it.

    Raises InputError, also where a cell's settings would be refused by its stage.
    """
    config = load_config(StudyConfig, path, overrides)
    here = Path(path).parent
    # Paths are absolute, because machines of a cluster work in folders of their own.
    before = {"pretrain": config.pretrain, "finetune": config.finetune}
    stages = {stage: str((here / found).resolve()) for stage, found in before.items()}
    config = config.model_copy(update={"out": str(Path(config.out).resolve()), **stages})
    for stage, found in stages.items():
        if not Path(found).is_file():
            raise InputError(
                f"there is no file {before[stage]!r} in the folder of the study's own file; "
                "give a path relative to that folder",
                argument=stage,
            )
    cells = cells_of(config)
    names = [cell.name for cell in cells]
    if shared := {name for name in names if names.count(name) > 1}:
        raise InputError(
            f"several cells would have the folder {min(shared)}; give values that differ in letters or digits",
            argument="axes",
        )
    for cell, stage in itertools.product(cells, stages):
        advice = ""
        try:
            settings = stage_config(config, cell, stage, "none")
            if stage == "pretrain" and not isinstance(settings.encoder, str):
                advice = " (keys of pretrain: in its file, or axes.pretrain.KEY=[VALUE])"
                # Before any store is made: whether a new encoder can see the cell's pictures.
                encoder_sizes(settings, cell.size)
        except InputError as error:
            raise InputError(f"cell {cell.name}, {stage}: {error.render('`{}`'.format)}{advice}") from error
    return config


def stage_config(config: StudyConfig, cell: Cell, stage: str, store: str) -> Any:
    """The settings of a stage of a cell. The encoder lies in the folder of the cell that trained it."""
    cells = Path(config.out) / "cells"
    encoder = cells / cell.encoder / "encoder"
    if stage == "pretrain":
        return load_config(
            PretrainConfig, config.pretrain, [f"store={store}", f"out={encoder}", *cell.overrides(stage)]
        )
    settings = [f"store={store}", f"out={cells / cell.name / 'model'}", f"encoder={encoder}"]
    return load_config(FinetuneConfig, config.finetune, [*settings, *cell.overrides(stage)])
