"""VinDr-CXR: single images with boxes that three readers drew; nobody is followed up."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from diffvqa.boxes import Box, intersection_over_union, mean_box
from diffvqa.data import splits
from diffvqa.data.mending import fit_box, scale_to
from diffvqa.data.paths import is_plain_name
from diffvqa.data.problems import nothing_left
from diffvqa.data.reader import PHYSIONET, Dataset, Reader
from diffvqa.data.rows import find_table, read_rows
from diffvqa.errors import InputError
from diffvqa.images.undecoded import NO_HEADER, image_size
from diffvqa.records import Cohort, Image, Problem, Region, Source, Study
from diffvqa.workers import usable_cores

TABLES = {
    "train": ("annotations/annotations_train.csv", "annotations_train.csv", "train.csv"),
    "test": ("annotations/annotations_test.csv", "annotations_test.csv"),
}
"""Folder of images -> where its table lies: as PhysioNet has it, or (`train.csv`) as Kaggle has it."""

SUFFIXES = (".dicom", ".dcm", ".png", ".jpg", ".jpeg")
"""The endings of image files; an image with several files is read from the first of these."""

LABELS = {
    **{
        label: label.lower()
        for label in (
            "Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture", "Consolidation",
            "Edema", "Emphysema", "Infiltration", "Lung Opacity", "Lung cavity", "Lung cyst", "Mediastinal shift",
            "Other lesion", "Pleural effusion", "Pleural thickening", "Pneumothorax", "Rib fracture",
        )
    },
    "Enlarged PA": "enlarged pulmonary artery",
    "ILD": "interstitial lung disease",
    "Nodule/Mass": "nodule or mass",
    "Pulmonary fibrosis": "fibrosis",
}  # fmt: skip
"""The classes of boxes (PhysioNet's 22, of which Kaggle has 14) in the words of the answers."""

NO_FINDING = "no finding"

SAME_BOX = 0.5
"""Overlap (IoU) from which two readers' boxes of one class mean the same thing.

At one half the boxes share at least half of each of them. So two boxes that each agree with a third one meet inside it,
and a group can hardly reach from one lesion to the next; it is also the usual threshold of a hit in scores.
"""

_CORNERS = ("x_min", "y_min", "x_max", "y_max")
_KNOWN = {label.lower(): finding for label, finding in LABELS.items()}


@dataclass(slots=True)
class _Annotated:
    """An image of the tables with its file; boxes: (where, reader, finding, corners as text), as drawn."""

    path: Path
    split: str
    stated: tuple[str, str]
    where: Source
    boxes: list[tuple[Source, str, str, tuple[str, ...]]] = field(default_factory=list)


def read(folder: Path) -> Cohort:
    """The annotated images of the release (of PhysioNet or of Kaggle) that lie in `folder`.

    Each is a patient and a study of its own, for the release names no patients; so there are no pairs and no questions.
    Boxes of several readers are fused, see `fuse`. Raises InputError if both tables are missing, or a column is.
    """
    tables = {name: table for name, patterns in TABLES.items() if (table := find_table(folder, *patterns))}
    if not tables:
        raise InputError(
            "vindr: no annotations/annotations_train.csv, annotations/annotations_test.csv or train.csv in the folder "
            "given; name the folder that holds it"
        )
    problems: list[Problem] = []
    images: dict[str, _Annotated | None] = {}
    for name, table in tables.items():
        _read_table(table, name, _image_files(folder / name), images, problems)
    there = {image_id: image for image_id, image in images.items() if image is not None}
    # Headers lie all over the disk: several threads wait for them at once.
    with ThreadPoolExecutor(max_workers=min(8, usable_cores())) as pool:
        sizes = list(pool.map(lambda image: image_size(image.path), there.values()))
    studies: list[Study] = []
    for (image_id, image), size in zip(there.items(), sizes, strict=True):
        if size is None:
            problems.append(Problem("image_unreadable", image.where, NO_HEADER))
            continue
        regions = tuple(_regions(image, size, problems))
        findings = tuple(dict.fromkeys(phrase for region in regions for phrase in region.phrases))
        report = f"findings: {', '.join(findings)}." if findings else "no finding."
        record = Image(image_id, image.path, *size, regions=regions)
        studies.append(Study(image_id, image_id, 0.0, image.split, (record,), report, findings))
    if not studies:
        names = " and ".join(table.name for table in tables.values())
        raise nothing_left(f"vindr: none of the {len(images)} images of {names}", problems)
    return Cohort(tuple(studies), problems=tuple(problems))


def fuse(boxes: list[Box]) -> list[Box]:
    """The boxes of one class in one image with those that mean the same thing made one, by the means of their corners.

    Two boxes mean the same thing if their overlap is at least SAME_BOX, directly or through boxes between them; so the
    order of the boxes does not matter to which are fused. A box that one reader alone drew is kept.
    """
    groups: list[list[Box]] = []
    for box in boxes:
        same = [group for group in groups if any(intersection_over_union(box, one) >= SAME_BOX for one in group)]
        groups = [group for group in groups if group not in same]
        groups.append([one for group in same for one in group] + [box])
    return [mean_box(group) for group in groups]


def _image_files(folder: Path) -> dict[str, Path]:
    """Identifier of an image -> its file, by one listing of the folder."""
    found = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES] if folder.is_dir() else []
    # The last of one name stays.
    found.sort(key=lambda path: (SUFFIXES.index(path.suffix.lower()), path), reverse=True)
    return {path.stem: path for path in found}


def _read_table(
    table: Path, name: str, files: dict[str, Path], images: dict[str, _Annotated | None], problems: list[Problem]
) -> None:
    """Add the images of a table to `images`, with their boxes; None for an image whose file is not there."""
    seen: set[int] = set()
    others = frozenset(images)
    # Copies of the release with smaller images tell the size that the boxes refer to.
    for number, row in read_rows(table, ("image_id", "class_name", *_CORNERS), problems, ("rad_id", "width", "height")):
        where = Source(table.name, number)
        image_id, label = row["image_id"], row["class_name"]
        key = hash(tuple(row.values()))
        if not (image_id and label):
            problems.append(Problem("row_incomplete", where, "an image or a class is missing"))
        elif not is_plain_name(image_id):
            problems.append(Problem("path_outside", where, "the name of the image leads to another folder"))
        elif image_id in others:
            problems.append(Problem("row_duplicated", where, "the image stands in the table of the train images"))
        elif key in seen:
            problems.append(Problem("row_duplicated", where, "the same row stands above"))
        else:
            seen.add(key)
            if image_id not in images and image_id in files:
                split = "test" if name == "test" else splits.train_or_validate(image_id)
                stated = (row.get("width", ""), row.get("height", ""))
                images[image_id] = _Annotated(files[image_id], split, stated, where)
            elif image_id not in images:
                images[image_id] = None
                reason = f"no such file as {name}/IMAGE.dicom in the folder given"
                problems.append(Problem("image_missing", where, reason))
            image = images[image_id]
            if image is not None and label.lower() != NO_FINDING:
                if label.lower() not in _KNOWN:
                    problems.append(Problem("label_unknown", where, f"label {label!r} is kept as it is"))
                finding = _KNOWN.get(label.lower(), label.lower())
                corners = tuple(row[column] for column in _CORNERS)
                image.boxes.append((where, row.get("rad_id", ""), finding, corners))


def _regions(image: _Annotated, size: tuple[int, int], problems: list[Problem]) -> Iterator[Region]:
    """The boxes of an image, those of its readers fused, class by class."""
    scale = scale_to(size, image.stated)
    if scale != (1.0, 1.0):
        stated = "x".join(f"{float(side):g}" for side in image.stated)
        reason = f"{stated} in the table, {size[0]}x{size[1]} in the file"
        problems.append(Problem("size_differs", image.where, reason))
    drawn: dict[str, list[Box]] = {}
    consensus: dict[str, list[Box]] = {}
    for where, reader, finding, corners in image.boxes:
        box = fit_box(corners, *size, where, problems, scale)
        if box is not None:
            drawn.setdefault(finding, [])
            # The boxes of the test images have no reader: three agreed on them, and they are kept as they are.
            (drawn if reader else consensus).setdefault(finding, []).append(box)
    for finding, boxes in drawn.items():
        phrases = (finding,)
        for box in (*fuse(boxes), *consensus.get(finding, ())):
            yield Region(box, phrases=phrases)


READER = Reader(
    kind="vindr",
    description="VinDr-CXR with its readers' boxes; single images, no questions (PhysioNet or Kaggle)",
    read=read,
    datasets=(Dataset("vindr", "VinDr-CXR", f"{PHYSIONET}, or the rules of the Kaggle competition"),),
)
