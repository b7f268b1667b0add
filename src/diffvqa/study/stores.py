"""The stores of a study: those that are given, and those of synthetic patients, which are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diffvqa.data import read_sources
from diffvqa.data.prepare import prepare
from diffvqa.data.store import ABOUT, Store
from diffvqa.errors import InputError
from diffvqa.phantom.course import STILL
from diffvqa.phantom.reports import AS_USUAL, Reporting
from diffvqa.phantom.sets import MANY, SETS
from diffvqa.phantom.writing import LARGEST_PICTURE, SMALLEST_PICTURE, write_cohort
from diffvqa.progress import progress_bar
from diffvqa.study.study_config import StoreSource
from diffvqa.workers import usable_cores


@dataclass(frozen=True)
class StudyStore:
    """The folder of a store, and that of the truth about its patients where they are synthetic."""

    folder: Path
    truth: Path | None = None


def check_source(name: str, source: StoreSource, sizes: Sequence[int], made_size: int) -> str | None:
    """The fingerprint of a given store; None for synthetic patients, who are to be made.

    name: that of the store in the study. sizes: pixels a side that cells see. made_size: of the pictures that are made.
    Raises InputError for a missing store, for a size that differs from the cells', for an unknown set, and for patients
    or pictures that cannot be made.
    """
    if not source.folder:
        if source.set not in (None, *SETS):
            raise InputError(f"expected one of {', '.join(SETS)}, found {source.set!r}", argument=f"{name}.set")
        if (source.patients or 0) > MANY:
            raise InputError(f"expected 1 to {MANY}, found {source.patients}", argument=f"{name}.patients")
        if not SMALLEST_PICTURE <= made_size <= LARGEST_PICTURE:
            raise InputError(
                f"expected {SMALLEST_PICTURE} to {LARGEST_PICTURE} pixels, found {made_size}; "
                "cells may see fewer, with `axes.size`",
                argument="size",
            )
        return None
    store = Store.open(source.folder, f"{name}.folder")
    if others := [size for size in sizes if size != store.size]:
        raise InputError(
            f"the store holds {store.size}-pixel images, but {{size}} is {others[0]}", argument=name, mentions=("size",)
        )
    return store.fingerprint


def check_questions(name: str, folder: Path, splits: Sequence[str]) -> None:
    """Raises InputError for a store without a question in one of the splits that a study needs."""
    found = {question.split for question in Store.open(folder).questions}
    if lacking := [split for split in splits if split not in found]:
        raise InputError(
            f"the store has no question in the split {lacking[0]}; take more patients, or another store", argument=name
        )


def study_store(source: StoreSource, size: int, folder: Path, made_size: int) -> StudyStore:
    """The store in the folder given, or one of synthetic patients, made in `folder` unless it is there.

    size: pixels a side of the store. made_size: of the patients' pictures; stores of several sizes have the same.
    """
    if source.folder:
        return StudyStore(Path(source.folder).resolve())
    cohort, workers = folder / "cohort", usable_cores()
    made = StudyStore(folder / ("store" if size == made_size else f"store_{size}"), cohort / "truth")
    if (made.folder / ABOUT).is_file():
        # `prepare` would read the cohort again, which takes a minute for every 50,000 images.
        return made
    if not cohort.exists():
        reporting = AS_USUAL if source.omitted is None else Reporting(omitted=source.omitted)
        still = STILL if source.still is None else source.still
        with progress_bar(f"synthesise {folder.name}") as progress:
            write_cohort(
                cohort, source.patients or 0, source.seed, made_size, workers, progress, source.set, reporting, still
            )
    records = read_sources([f"mimic:{cohort}"])
    with progress_bar(f"prepare {folder.name}") as progress:
        prepare(records, made.folder, size, workers=workers, progress=progress)
    return made
