"""A hospital's own tables: one of images, and if there are any one of boxes and one of questions (docs/table.md)."""

from __future__ import annotations

import functools
import math
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from diffvqa.boxes import Box
from diffvqa.cells import has_words, read_number
from diffvqa.data import splits
from diffvqa.data.image_rows import ImageRow, span_of, studies_of
from diffvqa.data.mending import fit_box
from diffvqa.data.paths import inside, written_alike
from diffvqa.data.people import People
from diffvqa.data.problems import nothing_left
from diffvqa.data.reader import Dataset, Reader
from diffvqa.data.rows import Row, find_table, read_rows
from diffvqa.errors import InputError
from diffvqa.images.header import Header, is_chest, is_radiograph, require_suitable
from diffvqa.images.moments import moment_of
from diffvqa.images.orientation import UPRIGHT
from diffvqa.images.shape import UnreadableImage
from diffvqa.images.undecoded import NO_HEADER, size_and_header
from diffvqa.images.views import LATERAL, view_of
from diffvqa.records import QUESTION_TYPES, Cohort, Pair, Problem, Question, Region, Source, Study

TABLES = ("images", "boxes", "questions")
PARTS = (*TABLES, "root", "encoding")
"""The names under which the tables, the folder that paths of images are relative to, and the encoding are given."""

SPLITS = {
    "train": "train", "val": "validate", "valid": "validate", "validate": "validate", "validation": "validate",
    "test": "test",
}  # fmt: skip
"""The words for a split that a table may hold, in upper or lower case, and ours."""

_NO_TABLES = (
    "table: no images.csv, images.csv.gz or images.parquet in the folder given; give the folder that holds it, "
    "or name the tables: table:images=FILE,boxes=FILE,questions=FILE,root=FOLDER"
)

NO_FILE = "no such file; paths are relative to the folder of the table, or to that given as root=FOLDER"

_Read = Callable[..., Iterator[Row]]
"""`read_rows` for tables of the encoding given."""

_Regions = dict[tuple[str | None, Box], dict[str, None]]
"""(name, box) -> the phrases, each once, of one image."""


def read(folder: Path) -> Cohort:
    """The tables images, boxes and questions of a folder: .csv, else .csv.gz, else .parquet.

    Raises InputError as `read_parts` does.
    """
    if not folder.is_dir():
        raise InputError(_NO_TABLES)
    return read_parts(root=folder)


def read_parts(
    images: Path | None = None,
    boxes: Path | None = None,
    questions: Path | None = None,
    root: Path | None = None,
    encoding: str | None = None,
) -> Cohort:
    """The cohort of up to three tables; paths of images are relative to `root`, else to the folder of their table.

    Without `images` the tables are those in the folder `root`. encoding: of tables of text that are not in Unicode.
    Raises InputError for a table that is not there, lacks a column or is in another encoding, and if no image can be
    used.
    """
    for name, table in (("images", images), ("boxes", boxes), ("questions", questions)):
        if table is not None and table.is_dir():
            raise InputError(f"table:{name}: expected a file, found a folder; name the table itself")
    if root is not None and not root.is_dir():
        raise InputError("table:root: expected a folder, found a file; name the folder that paths are relative to")
    if images is None:
        found = {name: find_table(root, f"{name}.csv", f"{name}.csv.gz", f"{name}.parquet") for name in TABLES if root}
        images, boxes, questions = (
            found.get("images"),
            boxes or found.get("boxes"),
            questions or found.get("questions"),
        )
    if images is None:
        missing = "table: images=FILE is missing; the table of images is needed whatever else is given"
        raise InputError(_NO_TABLES if root else missing)
    read = functools.partial(read_rows, encoding=encoding)
    problems: list[Problem] = []
    reports: dict[str, str] = {}
    rows = _read_images(read, images, root or images.parent, reports, problems)
    regions = _read_boxes(read, boxes, rows, problems) if boxes else {}
    _compare_splits(rows.values(), problems)
    studies = studies_of(
        rows.values(),
        lambda row: _regions(regions.get(row.image_id, {})),
        lambda row: reports.get(row.study_id, ""),
    )
    asked = tuple(_read_questions(read, questions, studies, problems)) if questions else ()
    return Cohort(studies, asked, tuple(problems))


def _read_images(
    read: _Read, table: Path, root: Path, reports: dict[str, str], problems: list[Problem]
) -> dict[str, ImageRow]:
    """Image -> its row, in the order of the table. `reports` gets the first report of each study."""
    images: dict[str, ImageRow] = {}
    seen: set[str] = set()
    people = People()
    subject_of: dict[str, str] = {}
    frontal: dict[str, Source | None] = {}  # study -> None, or the row of its first image while all are lateral
    optional = ("study", "view", "body_part", "modality", "report", "split", "birth_date", "sex")
    for number, row in read(table, ("patient", "image"), problems, optional, either=("datetime", "order")):
        where = Source(table.name, number)
        image_id, subject_id = written_alike(row["image"]), sys.intern(row["patient"])
        study_id = row.get("study", image_id)
        if not image_id:
            problems.append(Problem("study_without_image", where, "the row names no image"))
            continue
        if image_id in seen:
            problems.append(Problem("row_duplicated", where, "the image has a row already"))
            continue
        seen.add(image_id)
        if fault := people.fault(subject_id, where, row.get("birth_date", ""), row.get("sex", "")):
            problems.append(fault)
            continue
        if not study_id:
            problems.append(Problem("image_without_study", where, "the image belongs to no study"))
            continue
        if subject_of.setdefault(study_id, subject_id) != subject_id:
            problems.append(Problem("study_of_two_patients", where, "rows above give the study to another patient"))
            continue
        report = " ".join(row.get("report", "").split())
        if report:
            reports.setdefault(study_id, report)
        view = sys.intern(row.get("view", ""))
        if view_of(view) == LATERAL:
            frontal.setdefault(study_id, where)
            continue
        frontal[study_id] = None
        if reason := _why_unsuitable(row):
            problems.append(Problem("image_unsuitable", where, reason))
            continue
        path = inside(root, image_id)
        split = SPLITS.get(row["split"].lower()) if "split" in row else splits.split_of(subject_id)
        if path is None:
            problems.append(Problem("path_outside", where, "the path of the image leads out of the folder of images"))
        elif (span := _span(row)) is None:
            problems.append(Problem("date_unreadable", where, "expected 2024-01-31T09:30 or a number as order"))
        elif split is None:
            problems.append(Problem("split_unknown", where, f"expected one of {', '.join(SPLITS)}"))
        elif not os.path.isfile(path):
            problems.append(Problem("image_missing", where, NO_FILE))
        elif (found := size_and_header(path)) is None:
            problems.append(Problem("image_unreadable", where, NO_HEADER))
        elif (header := found[1]) and (fault := people.fault_of_header(subject_id, where, header)):
            problems.append(fault)
        else:
            order, until = span
            images[image_id] = ImageRow(
                where, image_id, subject_id, study_id, path, found[0], view, order, split, until
            )
    for first in frontal.values():
        if first is not None:
            problems.append(Problem("study_without_frontal", first, "every image of the study is lateral"))
    if not images:
        raise nothing_left(f"{table.name}: none of its {len(seen)} images", problems)
    return images


def _why_unsuitable(row: Mapping[str, str]) -> str | None:
    """Why the row names no usual frontal chest radiograph, judged as a DICOM header is."""
    header = Header(
        view=view_of(row.get("view", "")),
        chest=is_chest(row.get("body_part", "")),
        radiograph=is_radiograph(row.get("modality", "")),
    )
    try:
        require_suitable(header, UPRIGHT)
    except UnreadableImage as error:
        return str(error)
    return None


def _span(row: Mapping[str, str]) -> tuple[float, float] | None:
    """The earliest and the latest time of an image, or its order twice; None if neither can be read."""
    if "datetime" in row:
        moment = moment_of(row["datetime"])
        return span_of(moment) if moment else None
    try:
        order = read_number(row["order"])
    except ValueError:
        return None
    return (order, order) if math.isfinite(order) else None


def _read_boxes(
    read: _Read, table: Path, images: Mapping[str, ImageRow], problems: list[Problem]
) -> dict[str, _Regions]:
    regions: dict[str, _Regions] = defaultdict(dict)
    columns = ("image", "x1", "y1", "x2", "y2")
    for number, row in read(table, columns, problems, either=("phrase", "region"), once=True):
        where, image_id = Source(table.name, number), written_alike(row["image"])
        name, phrase = (sys.intern(" ".join(row.get(column, "").split())) for column in ("region", "phrase"))
        if image_id not in images:
            problems.append(Problem("box_without_image", where, "the image of the box is not among those read"))
        elif not (name or phrase):
            problems.append(Problem("row_incomplete", where, "the box has neither a phrase nor a region"))
        else:
            corners = (row["x1"], row["y1"], row["x2"], row["y2"])
            box = fit_box(corners, *images[image_id].size, where, problems)
            if box is not None:
                # Rows of the same box and name are one region of which several things are said.
                phrases = regions[image_id].setdefault((name or None, box), {})
                phrases.update({phrase: None} if phrase else {})
    return regions


def _compare_splits(images: Iterable[ImageRow], problems: list[Problem]) -> None:
    split_of: dict[str, str] = {}
    for row in images:
        split = split_of.setdefault(row.study_id, row.split)
        if row.split != split:
            reason = f"{row.split}, where the study's first image is in {split}"
            problems.append(Problem("study_in_two_splits", row.where, reason))


def _regions(regions: _Regions) -> list[Region]:
    return [Region(box, name, tuple(phrases)) for (name, box), phrases in regions.items()]


def _read_questions(
    read: _Read, table: Path, studies: tuple[Study, ...], problems: list[Problem]
) -> Iterator[Question]:
    study_of = {image.image_id: study for study in studies for image in study.images}
    columns = ("prior", "current", "question", "answer")
    for number, row in read(table, columns, problems, ("split", "type"), once=True):
        where = Source(table.name, number)
        prior, current = written_alike(row["prior"]) or None, written_alike(row["current"])
        text, answer = " ".join(row["question"].split()), " ".join(row["answer"].split())
        kind, split = row.get("type", "").lower() or _kind(prior, answer), row.get("split", "").lower()
        if not has_words(answer):
            problems.append(Problem("answer_empty", where, "the row has no answer"))
        elif not (text and current):
            problems.append(Problem("row_incomplete", where, "the row has no question or no current image"))
        elif kind == "difference" and prior is None:
            problems.append(Problem("row_incomplete", where, "a difference question without a prior image"))
        elif split and split not in SPLITS:
            problems.append(Problem("split_unknown", where, f"expected one of {', '.join(SPLITS)}"))
        elif not {current, prior or current} <= study_of.keys():
            reason = "an image of the question is not among those read"
            problems.append(Problem("question_without_image", where, reason))
        elif prior is not None and study_of[prior] is study_of[current]:
            problems.append(Problem("pair_of_one_study", where, "prior and current image are of one study"))
        elif prior is not None and study_of[prior].subject_id != study_of[current].subject_id:
            problems.append(Problem("pair_of_two_patients", where, "the two images belong to different patients"))
        else:
            if kind not in QUESTION_TYPES:
                problems.append(Problem("question_type_unknown", where, f"type {kind!r} is kept"))
            study = study_of[current]
            yield Question(
                question_id=f"{current}-{number}",
                subject_id=study.subject_id,
                type=sys.intern(kind),
                pair=Pair(current=current, prior=prior),
                text=sys.intern(text),
                answer=sys.intern(answer),
                split=SPLITS.get(split, study.split),
                source=where,
            )


def _kind(prior: str | None, answer: str) -> str:
    """The type of a question whose row gives none."""
    if prior is not None:
        return "difference"
    return "presence" if answer.lower().rstrip(".") in ("yes", "no") else "abnormality"


READER = Reader(
    kind="table",
    description="a hospital's own tables of images, boxes and questions (docs/table.md)",
    read=read,
    parts=PARTS,
    words=("encoding",),
    read_parts=read_parts,
    datasets=(Dataset("table", "a hospital's own tables", "the hospital's"),),
)
