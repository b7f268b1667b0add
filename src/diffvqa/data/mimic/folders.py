"""The places of PhysioNet's datasets: under PhysioNet's names, with or without a folder for the version."""

from __future__ import annotations

import re
from pathlib import Path

from diffvqa.data.reader import SYNTHETIC
from diffvqa.errors import InputError

NAMES = {
    "jpg": ("mimic-cxr-jpg",),
    "reports": ("mimic-cxr", "mimic-cxr-reports", "mimic-cxr-reports.zip"),
    "imagenome": ("chest-imagenome",),
    "diffvqa": ("medical-diff-vqa",),
    "images": ("mimic-cxr-jpg",),
    "boxes": ("ms-cxr",),
    "gold": ("chest-imagenome",),
}
"""Names of the datasets in PhysioNet's tree; `gold` is the part of Chest ImaGenome that people annotated."""

MARKS = {
    "jpg": ("mimic-cxr-*-metadata.csv*",),
    "reports": ("mimic-cxr-reports.zip", "mimic-cxr-reports", "files"),
    "imagenome": ("silver_dataset/scene_graph*", "scene_graph*"),
    "diffvqa": ("mimic_pair_questions.csv*",),
    # MS-CXR needs the images alone; the `mimic` reader needs the metadata too (`jpg`).
    "images": ("mimic-cxr-*-metadata.csv*", "files"),
    "boxes": ("MS_CXR_Local_Alignment_v*.csv*",),
    "gold": ("gold_dataset/gold_bbox_coordinate_annotations_1000images.csv",),
}
"""Files of each dataset; a folder that holds one of them is that dataset."""

_SAYS_SYNTHETIC = "SYNTHETIC.txt"
_VERSION = re.compile(r"\d+(\.\d+)*")


def find_folder(parent: Path, part: str) -> Path | None:
    """The folder of a dataset under a parent, as downloads leave it (`physionet.org/files/...` too), or None."""
    places = [base / name for base in _bases(parent) for name in NAMES[part]]
    if part not in ("reports", "images"):
        # The parent may itself be the dataset; but other datasets, and PhysioNet's tree, have a folder `files` too.
        places.append(parent)
    return next((found for place in places if (found := _version(place, part)) is not None), None)


def require_folder(path: Path, part: str, argument: str) -> Path:
    """The folder itself, or its highest version, that holds the dataset.

    Raises InputError, which names the argument that gave the folder, if neither does.
    """
    found = _version(path, part)
    if found is None:
        raise InputError(f"{argument}: the folder given holds no {' or '.join(MARKS[part])}; give {NAMES[part][0]}")
    return found


def with_version(folder: Path, part: str) -> str:
    """PhysioNet's name for the dataset in a folder, with its version if the folder is named after one.

    One that says that it only has the layout of that dataset is called so.
    """
    name = f"{NAMES[part][0]} {folder.name}" if _VERSION.fullmatch(folder.name) else NAMES[part][0]
    return f"{name} {SYNTHETIC}" if (folder / _SAYS_SYNTHETIC).is_file() else name


def _bases(parent: Path) -> tuple[Path, ...]:
    return (parent, parent / "physionet.org" / "files", parent / "files")


def _version(place: Path, part: str) -> Path | None:
    if place.is_file():
        return place if part == "reports" and place.suffix == ".zip" else None
    if not place.is_dir():
        return None
    versions = [path for path in place.iterdir() if path.is_dir() and _VERSION.fullmatch(path.name)]
    versions.sort(key=lambda path: [int(number) for number in path.name.split(".")], reverse=True)
    for folder in (*versions, place):
        if any(next(folder.glob(mark), None) is not None for mark in MARKS[part]):
            return folder
    return None
