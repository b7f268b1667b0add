"""MIMIC-CXR-JPG: which frontal images there are, of which study, when, in which split, and the study's labels."""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Container, Sequence
from pathlib import Path

from diffvqa.data.image_rows import ImageRow, span_of
from diffvqa.data.paths import is_plain_name
from diffvqa.data.people import People
from diffvqa.data.rows import find_table, identifier, read_rows
from diffvqa.errors import InputError
from diffvqa.images.moments import moment_of
from diffvqa.images.undecoded import NO_HEADER, image_size
from diffvqa.records import Problem, Source

FRONTAL = ("AP", "PA")
SPLITS = {"train": "train", "val": "validate", "valid": "validate", "validate": "validate", "test": "test"}
"""The words for a split that occur in the four datasets, and ours."""

SAME_FINDING = {"Airspace Opacity": "Lung Opacity"}
"""Findings that have other names in the radiologists' table than in the labeller's."""


def read_images(
    root: Path, avoid: Container[str], problems: list[Problem], only: Collection[str] | None = None
) -> dict[str, ImageRow]:
    """The frontal images of a release (whole or partial) by identifier, in the order of its metadata table.

    avoid: identifiers of images that are for test alone. only: identifiers of the images to read, if not all are
    wanted; these are then for test, and nothing is said of the others. Adds to `problems`. Raises InputError for a
    missing table or column.
    """
    table = _table(root, "metadata")
    splits = _read_splits(root, problems) if only is None else dict.fromkeys(only, "test")
    # One listing a folder, not a look at each file; a partial release lacks whole patients.
    names = functools.lru_cache(maxsize=1024)(_names)
    images: dict[str, ImageRow] = {}
    seen: set[str] = set()
    people = People()
    frontal: dict[str, Source | None] = {}  # study -> None, or the row of its first image while none is frontal
    columns = ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime")
    for number, row in read_rows(table, columns, problems, ("Rows", "Columns")):
        where = Source(table.name, number)
        image_id, view = row["dicom_id"], row["ViewPosition"]
        if only is not None and image_id not in only:
            continue
        subject_id, study_id = identifier(row["subject_id"]), identifier(row["study_id"])
        if not image_id:
            problems.append(Problem("row_incomplete", where, "an image is missing"))
            continue
        if fault := people.fault(subject_id, where):
            problems.append(fault)
            continue
        if not study_id:
            problems.append(Problem("image_without_study", where, "the image belongs to no study"))
            continue
        if not (is_plain_name(image_id) and is_plain_name(subject_id) and is_plain_name(study_id)):
            problems.append(Problem("path_outside", where, "an identifier that leads to another folder"))
            continue
        if image_id in seen:
            problems.append(Problem("row_duplicated", where, "the image has a row already"))
            continue
        seen.add(image_id)
        if view not in FRONTAL:
            frontal.setdefault(study_id, where)
            continue
        frontal[study_id] = None
        folder = root / "files" / f"p{subject_id[:2]}" / f"p{subject_id}" / f"s{study_id}"
        name = f"{image_id}.jpg"
        if folder.parent.name not in names(folder.parent.parent) or name not in names(folder):
            problems.append(Problem("image_missing", where, "no such file as files/p10/p10000032/s50414267/IMAGE.jpg"))
        elif (span := span_of_cells(row["StudyDate"], row["StudyTime"])) is None:
            problems.append(Problem("date_unreadable", where, "expected dates as 21800506 and times as 213014.531"))
        elif (split := "test" if image_id in avoid else splits.get(image_id)) is None:
            problems.append(Problem("split_unknown", where, "the split table puts the image in no known split"))
        elif (size := _size(row) or image_size(folder / name)) is None:
            problems.append(Problem("image_unreadable", where, NO_HEADER))
        else:
            path = folder / name
            order, until = span
            images[image_id] = ImageRow(where, image_id, subject_id, study_id, path, size, view, order, split, until)
            if image_id in avoid:
                reason = "a gold patient of Chest ImaGenome: for test alone, and without the silver scene graph"
                problems.append(Problem("image_avoided", where, reason))
    for first in frontal.values():
        if first is not None:
            problems.append(Problem("study_without_frontal", first, "no image of the study is AP or PA"))
    return images


def span_of_cells(date: str, time: str = "") -> tuple[float, float] | None:
    """The earliest and the latest time of a date (21800506) and a time (213014.531); None if they cannot be read.

    In seconds since the year 1. A time that is missing is any of the day.
    """
    if time:
        # Spreadsheets drop the zeros that early times begin with.
        whole, point, fraction = time.partition(".")
        time = " " + whole.zfill(6) + point + fraction
    moment = moment_of(identifier(date) + time.removesuffix("."))
    return span_of(moment) if moment else None


def read_findings(root: Path, problems: list[Problem]) -> dict[str, tuple[str, ...]]:
    """Study -> its positive CheXpert labels in lower case; empty if the release's table of labels is not there.

    Where radiologists labelled a study (2.1.0: those of the test split), their labels count.
    """
    labels = (
        "Airspace Opacity", "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum",
        "Fracture", "Lung Lesion", "Lung Opacity", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax",
        "Support Devices",
    )  # fmt: skip
    of_labeller, of_radiologists = (
        _labels(path, labels, problems) if (path := find_table(root, *patterns)) else {}
        for patterns in (("mimic-cxr-2.0.0-chexpert.csv*", "mimic-cxr-*-chexpert.csv*"), ("*-test-set-labeled.csv*",))
    )
    return of_labeller | of_radiologists


def _labels(path: Path, labels: Sequence[str], problems: list[Problem]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for _, row in read_rows(path, ("study_id",), problems, labels):
        positive = (SAME_FINDING.get(label, label).lower() for label in labels if row.get(label) in ("1", "1.0"))
        found.setdefault(identifier(row["study_id"]), tuple(positive))
    return found


def _table(root: Path, name: str) -> Path:
    path = find_table(root, f"mimic-cxr-*-{name}.csv.gz", f"mimic-cxr-*-{name}.csv")
    if path is None:
        raise InputError(f"mimic:jpg: no mimic-cxr-2.0.0-{name}.csv.gz in the folder of MIMIC-CXR-JPG; fetch it too")
    return path


def _read_splits(root: Path, problems: list[Problem]) -> dict[str, str]:
    table = _table(root, "split")
    splits: dict[str, str] = {}
    for number, row in read_rows(table, ("dicom_id", "split"), problems):
        if row["dicom_id"] in splits:
            problems.append(Problem("row_duplicated", Source(table.name, number), "the image has a row already"))
        elif row["split"] in SPLITS:
            splits[row["dicom_id"]] = SPLITS[row["split"]]
    return splits


def _names(folder: Path) -> frozenset[str]:
    """The names in a folder; none if the folder is missing."""
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()


def _size(row: dict[str, str]) -> tuple[int, int] | None:
    try:
        size = int(float(row["Columns"])), int(float(row["Rows"]))
    except (KeyError, ValueError, OverflowError):
        return None
    return size if min(size) > 0 else None
