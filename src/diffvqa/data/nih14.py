"""NIH ChestX-ray14: single images with labels and some boxes, patients followed up in a known order."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from diffvqa.data import splits
from diffvqa.data.mending import edges, fit_box, fit_to_file
from diffvqa.data.paths import is_plain_name
from diffvqa.data.people import People
from diffvqa.data.problems import nothing_left
from diffvqa.data.reader import Dataset, Reader
from diffvqa.data.rows import columns_found, find_table, identifier, names_in, naming, read_cells, read_rows
from diffvqa.errors import InputError
from diffvqa.findings import DIFFERENCE_QUESTION, changes_between, write_changes
from diffvqa.images.undecoded import NO_HEADER, image_size
from diffvqa.records import Cohort, Image, Pair, Problem, Question, Region, Source, Study

FRONTAL = ("AP", "PA")
LABELS = {
    **{
        label: label.lower().replace("_", " ")
        for label in (
            "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Hernia", "Infiltration",
            "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax",
        )
    },
    "Effusion": "pleural effusion",
    "Infiltrate": "infiltration",
}  # fmt: skip
"""The labels of the release (and of its box list) in the words of the answers."""

NO_FINDING = "No Finding"

SIDE = 1024
"""Width and height of all images of the release, pixels; its boxes are in these."""

_Boxes = list[tuple[Source, str, list[str]]]
"""An image's boxes: each with its row, its finding, and [x, y, w, h] in pixels of the release."""


def read(folder: Path) -> Cohort:
    """The images of the release that lie in `folder`, each a study of its own, and their follow-ups as questions.

    Two consecutive frontal images of a patient make one difference question on the labels that came or went.
    Raises InputError if the table of images is missing or lacks a column.
    """
    table = find_table(folder, "Data_Entry_2017*.csv")
    if table is None:
        raise InputError("nih14: no Data_Entry_2017.csv (or _v2020) in the folder given; name the folder that holds it")
    problems: list[Problem] = []
    files = _image_files(folder)
    test_subjects = _test_subjects(folder, table)
    boxes = _read_boxes(folder, problems)
    studies: list[Study] = []
    ages: dict[str, tuple[Source, float | None]] = {}
    people = People()
    seen: set[str] = set()
    columns = ("Image Index", "Finding Labels", "Follow-up #", "Patient ID", "View Position")
    for number, row in read_rows(table, columns, problems, ("Patient Age", "Patient Gender")):
        where = Source(table.name, number)
        name, labels, follow_up, subject_id, view = (row[column] for column in columns)
        follow_up, subject_id = identifier(follow_up), identifier(subject_id)
        if name in seen:
            problems.append(Problem("row_duplicated", where, "the image has a row already"))
            continue
        seen.add(name)
        if not (name and labels and follow_up.isdecimal()):
            reason = "an image, its labels or a whole number as follow-up is missing"
            problems.append(Problem("row_incomplete", where, reason))
        elif fault := people.fault(subject_id, where, sex=row.get("Patient Gender", "")):
            problems.append(fault)
        elif not is_plain_name(name):
            problems.append(Problem("path_outside", where, "the name of the image leads to another folder"))
        elif name not in files:
            problems.append(Problem("image_missing", where, "no such file in images/ or images_001/images/"))
        elif view not in FRONTAL:
            problems.append(Problem("study_without_frontal", where, "the view position is neither AP nor PA"))
        elif (size := image_size(files[name])) is None:
            problems.append(Problem("image_unreadable", where, NO_HEADER))
        else:
            findings = tuple(dict.fromkeys(_findings(labels, where, problems)))
            image = Image(name, files[name], *size, view)
            if name in boxes:
                image = _with_boxes(image, boxes.pop(name), problems)
            report = f"findings: {', '.join(findings)}." if findings else "no finding."
            split = _split(subject_id, test_subjects)
            study_id = name.removesuffix(".png")
            ages[study_id] = where, _years(row.get("Patient Age", ""))
            studies.append(Study(study_id, subject_id, float(follow_up), split, (image,), report, findings))
    for where, *_ in itertools.chain.from_iterable(boxes.values()):
        problems.append(Problem("box_without_image", where, "the image of the box is not among those read"))
    if not studies:
        raise nothing_left(f"nih14: none of the {len(seen)} images of {table.name}", problems)
    questions = tuple(_follow_ups(studies, ages, problems))
    return Cohort(tuple(studies), questions, tuple(problems))


def _years(age: str) -> float | None:
    """An age as 58, 058Y, 010M, 006W or 011D in years; None if it is none."""
    match = re.fullmatch(r"(\d{1,3})(?:\.0*)?([YMWD]?)", age.upper())
    return int(match[1]) / {"M": 12, "W": 52.18, "D": 365.25}.get(match[2], 1) if match else None


def _image_files(folder: Path) -> dict[str, Path]:
    """The files of images/ and of images_001/images/ and its like, by name: one listing a folder, no look at each."""
    folders = [folder / "images", *sorted(folder.glob("images_*/images"))]
    return {path.name: path for images in folders if images.is_dir() for path in images.iterdir()}


def _test_subjects(folder: Path, table: Path) -> frozenset[str] | None:
    """The patients with an image in test_list.txt, or None if the release's own lists are not there."""
    listing = folder / "test_list.txt"
    if not listing.is_file():
        return None
    names = set(listing.read_text(encoding="utf-8-sig").split())
    rows = read_rows(table, ("Image Index", "Patient ID"), [])
    return frozenset(row["Patient ID"] for _, row in rows if row["Image Index"] in names)


def _split(subject_id: str, test_subjects: frozenset[str] | None) -> str:
    if test_subjects is None:
        return splits.split_of(subject_id)
    return "test" if subject_id in test_subjects else splits.train_or_validate(subject_id)


def _findings(labels: str, where: Source, problems: list[Problem]) -> Iterator[str]:
    for label in labels.split("|"):
        label = label.strip()
        if label and label != NO_FINDING:
            if label not in LABELS:
                problems.append(Problem("label_unknown", where, f"label {label!r} is kept as it is"))
            yield LABELS.get(label, label.lower().replace("_", " "))


def _read_boxes(folder: Path, problems: list[Problem]) -> dict[str, _Boxes]:
    """Image name -> its boxes; empty without a list of boxes.

    The header of the release writes `Bbox [x,y,w,h]` without quotes, and so as four columns; the name of the
    first of them says where the numbers begin.
    """
    path = find_table(folder, "BBox_List_2017*.csv")
    boxes: dict[str, _Boxes] = defaultdict(list)
    if path is None:
        return boxes
    places: tuple[int, int, int] | None = None
    with naming(path):
        rows = list(read_cells(path))
    for number, cells in rows:
        if places is None:
            places = _places(path, names_in(cells))
            continue
        image_at, label_at, first = places
        where = Source(path.name, number)
        if len(cells) < max(image_at, label_at, first + 3) + 1:
            problems.append(Problem("row_incomplete", where, "the row ends before its last number"))
            continue
        finding = next(_findings(cells[label_at], where, problems), None)
        if finding is None:
            problems.append(Problem("row_incomplete", where, "the box has no finding"))
            continue
        boxes[cells[image_at]].append((where, finding, cells[first : first + 4]))
    return boxes


def _places(path: Path, header: Sequence[str]) -> tuple[int, int, int]:
    """The positions of the image, the finding and the first of the four numbers in a row."""
    missing = [name for name in ("Image Index", "Finding Label") if name not in header]
    first = next((at for at, name in enumerate(header) if name.startswith("Bbox [x")), None)
    if missing or first is None:
        found = columns_found(header, ("Image Index", "Finding Label"))
        raise InputError(f"{path.name}: no column {missing[0] if missing else 'Bbox [x,y,w,h]'!r}; {found}")
    return header.index("Image Index"), header.index("Finding Label"), first


def _with_boxes(image: Image, boxes: _Boxes, problems: list[Problem]) -> Image:
    """The image with its boxes, which follow where its file is a resized copy of that of the release."""
    regions = tuple(_regions(boxes, problems))
    released = replace(image, width=SIDE, height=SIDE, regions=regions)
    return fit_to_file(released, (image.width, image.height), problems)


def _regions(boxes: _Boxes, problems: list[Problem]) -> Iterator[Region]:
    for where, finding, numbers in boxes:
        box = fit_box(edges(numbers), SIDE, SIDE, where, problems)
        if box is not None:
            yield Region(box, phrases=(finding,))


def _follow_ups(
    studies: list[Study], ages: Mapping[str, tuple[Source, float | None]], problems: list[Problem]
) -> Iterator[Question]:
    """A question on each image and the one before, if the patient was not older then: of study -> (row, age)."""
    by_subject = defaultdict(list)
    for study in studies:
        by_subject[study.subject_id].append(study)
    for of_patient in by_subject.values():
        of_patient.sort(key=lambda study: (study.order, study.study_id))
        for prior, current in itertools.pairwise(of_patient):
            (_, before), (where, now) = ages[prior.study_id], ages[current.study_id]
            if before is not None and now is not None and now < before:
                reason = "the patient is younger than at the follow-up before: nothing is asked of the two"
                problems.append(Problem("follow_up_reversed", where, reason))
                continue
            changes = changes_between(dict.fromkeys(prior.findings), dict.fromkeys(current.findings))
            yield Question(
                question_id=f"{current.study_id}-difference",
                subject_id=current.subject_id,
                type="difference",
                pair=Pair(current=current.images[0].image_id, prior=prior.images[0].image_id),
                text=DIFFERENCE_QUESTION,
                answer=write_changes(changes),
                split=current.split,
            )


READER = Reader(
    kind="nih14",
    description="NIH ChestX-ray14 with its boxes; follow-ups become difference questions (open)",
    read=read,
    datasets=(
        Dataset(
            "nih14",
            "NIH ChestX-ray14",
            "open; the NIH Clinical Center is to be named and its paper cited",
            closed=False,
        ),
    ),
)
