"""The kinds of problems that reading a dataset finds, and the list of those found."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from diffvqa.errors import InputError
from diffvqa.files import replacing, require_plain, writing_to
from diffvqa.images.header import FOR_PROCESSING, UNSUITABLE
from diffvqa.records import Image, Problem, Source

FAULTS = {
    "answer_empty": "a question without an answer (empty, NaN, NA or null) is skipped",
    "box_clipped": "a box reaches beyond its image: the part inside is kept",
    "box_dropped": "a box no larger than a pixel, outside its image or not made of four numbers is skipped",
    "box_duplicated": "a region has a second box in one image: the first is kept",
    "box_without_image": "a box of an image that was not read is skipped",
    "date_unreadable": "an image whose date or time cannot be read is skipped",
    "follow_up_reversed": "a patient is younger at the later follow-up: no question is asked about the two images",
    "image_missing": "an image whose file is missing is skipped",
    "image_unreadable": "a file that is damaged, cut short, turned, mirrored or not shaped as a radiograph is skipped",
    "image_unsuitable": "an image that is not a usual frontal chest radiograph, by its header or row, is skipped",
    "image_without_study": "an image without a study is skipped",
    "pair_of_one_study": "a question whose prior and current image belong to one study is skipped",
    "pair_of_two_patients": "a question about images of two patients is skipped",
    "pair_reversed": "the prior image is the later one: the question is skipped, or turned round",
    "patient_missing": "an image without a patient is skipped",
    "patient_of_two_people": "an image is skipped if a row or file before gives its patient another birth date or sex",
    "patient_unreadable": "an image whose patient has a masked or rounded identifier is skipped",
    "path_outside": "a path or an identifier that leads out of the dataset's folder is skipped",
    "question_without_image": "a question about an image that was not read is skipped",
    "report_missing": "a study has no report",
    "report_unreadable": "a report that is damaged or cannot be opened is left out",
    "row_duplicated": "a row that is already in the table is skipped",
    "row_incomplete": "a row that lacks a required value is skipped",
    "scene_graph_missing": "an image has no scene graph, and therefore no regions",
    "scene_graph_unreadable": "a scene graph that is damaged or cut short is skipped",
    "size_differs": "an image has another size than its dataset says: its boxes are scaled or left out",
    "split_unknown": "a row without a split, or with an unknown split, is skipped",
    "study_in_two_splits": "an image in another split than the first image of its study gets the split of the first",
    "study_of_two_patients": "an image of a study that already belongs to another patient is skipped",
    "study_without_image": "a row without an image is skipped",
    "text_undecodable": "a report is not valid UTF-8: a replacement character stands for each invalid byte",
}
"""Faults of a dataset. `--strict` refuses a dataset that has any."""

NOTES = {
    "change_unstated": "a dataset does not fully state what changed between two images: no question asks it",
    "image_avoided": "an image of a gold patient of Chest ImaGenome is used for test only, without its silver regions",
    "image_derived": "an image whose header says that it is derived from another picture is kept",
    "image_for_processing": "an image whose header says that it is for processing, not for presentation, is kept",
    "label_unknown": "a label that the reader does not know is kept as it is written",
    "pair_tied": "prior and current image have the same time, or only the same day: the given order is kept",
    "part_missing": "a table or dataset that others build on is missing",
    "question_type_unknown": "a question of an unknown type is kept",
    "region_without_box": "text about a region without a box is skipped",
    "split_differs": "Chest ImaGenome puts the image in another split: the split of MIMIC-CXR is kept",
    "study_without_frontal": "a study without a frontal image is skipped",
}
"""Notes on what sound releases hold too. They are counted, and `--strict` does not refuse them."""

_COLUMNS = ("kind", "file", "row", "reason")

COSTS_AN_IMAGE = frozenset({
    "date_unreadable", "image_missing", "image_unreadable", "image_unsuitable", "image_without_study",
    "patient_missing", "patient_of_two_people", "patient_unreadable", "path_outside", "row_duplicated",
    "row_incomplete", "split_unknown", "study_of_two_patients", "study_without_frontal", "study_without_image",
})  # fmt: skip
"""Kinds that leave out an image. Their reasons quote nothing from the data."""


def nothing_left(what: str, problems: Sequence[Problem]) -> InputError:
    """The error that nothing of a dataset can be used, with how often each fault was met, and what was expected.

    what: of which nothing is left, such as `nih14: none of the 3 images`.
    """
    counts = Counter(problem.kind for problem in problems if problem.kind in COSTS_AN_IMAGE)
    expected = {problem.kind: problem.reason for problem in reversed(problems)}
    why = "; ".join(f"{kind} {count} ({expected[kind]})" for kind, count in counts.most_common())
    return InputError(f"{what} can be used: {why or 'the table has no rows'}")


def left_out(image: Image, reason: str) -> Problem:
    """The problem of an image whose file could not be taken, for a reason that reading it gave."""
    if reason.startswith(UNSUITABLE):
        return Problem("image_unsuitable", Source(image.file), reason)
    return Problem("image_unreadable", Source(image.file), reason)


def notes(image: Image, remarks: Iterable[str]) -> Iterator[Problem]:
    """The notes on an image that is kept, by the remarks of the reader of its file."""
    for remark in remarks:
        if remark == FOR_PROCESSING:
            yield Problem("image_for_processing", Source(image.file), remark)
        else:
            yield Problem("image_derived", Source(image.file), remark)


def refuse_faults(problems: Iterable[Problem]) -> None:
    """Raises InputError that counts the faults among the problems, if there are any."""
    faults = Counter(problem.kind for problem in problems if problem.kind not in NOTES)
    if faults:
        counts = ", ".join(f"{kind} {count}" for kind, count in sorted(faults.items()))
        raise InputError(
            f"the sources have faults: {counts}; mend them, or leave it away to skip them", argument="strict"
        )


def require_place(path: Path) -> None:
    """Raises InputError where a list of problems would take the place of something else."""
    with writing_to("problems"):
        require_plain(path)
    # Path.exists would raise for a folder that may not be entered, and name it.
    if os.path.exists(path):
        with writing_to("problems"), open(path, "rb") as file:
            head = file.readline(100)
        if head.strip() not in (b"", ",".join(_COLUMNS).encode()):
            raise InputError("a file of another kind stands there; give another path", argument="problems")


def write_problems(path: Path, problems: Iterable[Problem]) -> None:
    """Write problems.csv, whole or not at all: kind, file, row, reason; readable to its owner only."""
    with (
        replacing(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        os.chmod(temporary, 0o600)
        rows = csv.writer(file)
        rows.writerow(_COLUMNS)
        rows.writerows((one.kind, one.source.file, one.source.row or "", one.reason) for one in problems)


def count_kinds(problems: Iterable[Problem]) -> dict[str, int]:
    """How many problems there are of each kind, in alphabetical order."""
    return dict(sorted(Counter(problem.kind for problem in problems).items()))
