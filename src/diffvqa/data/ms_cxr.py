"""MS-CXR: phrases with boxes, drawn by radiologists on images of MIMIC-CXR-JPG."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from diffvqa.boxes import Box
from diffvqa.data.mending import fit_box
from diffvqa.data.mimic.folders import find_folder, require_folder
from diffvqa.data.mimic.jpg import SPLITS, seconds_of
from diffvqa.data.reader import PHYSIONET, Dataset, Reader
from diffvqa.data.rows import find_table, read_rows
from diffvqa.errors import InputError
from diffvqa.images.undecoded import NO_HEADER, image_size
from diffvqa.records import Cohort, Image, Problem, Region, Source, Study

PARTS = ("boxes", "jpg")
"""The names under which the table of boxes and the images may be given."""

PATH = re.compile(r"files/p\d+/p(\d+)/s(\d+)/[^/\\]+\.(?:jpg|dcm)")
"""An image in the tree of MIMIC-CXR-JPG, or of MIMIC-CXR, where names end in .dcm; its groups: patient and study."""


@dataclass(slots=True)
class _Sketch:
    """An image while its rows are read; size: in pixels of its file. A box said twice with one phrase is kept once."""

    path: Path
    size: tuple[int, int]
    subject_id: str
    study_id: str
    split: str
    findings: dict[str, None] = field(default_factory=dict)
    boxes: dict[tuple[Box, str], None] = field(default_factory=dict)
    size_differs: bool = False


def read(parent: Path) -> Cohort:
    """MS-CXR with its images, both under a parent folder, found by PhysioNet's own names, newest version of each.

    Raises InputError if one of them is not there.
    """
    boxes, images = find_folder(parent, "boxes"), find_folder(parent, "images")
    if boxes is None or images is None:
        missing = "ms-cxr with its MS_CXR_Local_Alignment_v1.1.0.csv" if boxes is None else "mimic-cxr-jpg"
        raise InputError(
            f"ms-cxr: no {missing} under the folder given; give the folder that holds ms-cxr and mimic-cxr-jpg, "
            "or name the folders: ms-cxr:boxes=PATH,jpg=PATH"
        )
    return _assemble(boxes, images)


def read_parts(boxes: Path | None = None, jpg: Path | None = None) -> Cohort:
    """The same from two folders, each the root of its dataset or one version of it.

    Raises InputError if one is not given, and for a folder that does not hold what its name says.
    """
    if boxes is None or jpg is None:
        missing = "boxes" if boxes is None else "jpg"
        raise InputError(f"ms-cxr: {missing}=PATH is missing; both are needed, written ms-cxr:boxes=PATH,jpg=PATH")
    return _assemble(require_folder(boxes, "boxes", "ms-cxr:boxes"), require_folder(jpg, "images", "ms-cxr:jpg"))


def _assemble(boxes: Path, root: Path) -> Cohort:
    table = find_table(boxes, "MS_CXR_Local_Alignment_v*.csv", "MS_CXR_Local_Alignment_v*.csv.gz")
    if table is None:
        raise InputError("ms-cxr: no MS_CXR_Local_Alignment_v1.1.0.csv (or .csv.gz) beside the other files of MS-CXR")
    problems: list[Problem] = []
    sketches = _read_boxes(table, root, problems)
    seconds, views = _read_times(root, sketches, problems)
    by_study: dict[str, list[str]] = defaultdict(list)
    for image_id in seconds:
        by_study[sketches[image_id].study_id].append(image_id)
    studies = []
    for study_id, image_ids in by_study.items():
        of_study = [sketches[image_id] for image_id in image_ids]
        studies.append(
            Study(
                study_id=study_id,
                subject_id=of_study[0].subject_id,
                order=min(seconds[image_id] for image_id in image_ids),
                split=of_study[0].split,
                images=tuple(
                    Image(
                        image_id,
                        sketch.path,
                        *sketch.size,
                        view=views.get(image_id, ""),
                        regions=tuple(Region(box, phrases=(phrase,)) for box, phrase in sketch.boxes),
                    )
                    for image_id, sketch in zip(image_ids, of_study, strict=True)
                ),
                findings=tuple(dict.fromkeys(finding for sketch in of_study for finding in sketch.findings)),
            )
        )
    if not studies:
        raise InputError(
            f"ms-cxr: no image of {table.name} can be used; "
            "expected files as files/p10/p10000032/s50414267/IMAGE.jpg in the folder of MIMIC-CXR-JPG"
        )
    return Cohort(tuple(studies), (), tuple(problems))


def _read_boxes(table: Path, root: Path, problems: list[Problem]) -> dict[str, _Sketch]:
    """Image -> what the rows of the table say of it, of the images that are there."""
    sketches: dict[str, _Sketch] = {}
    unusable: set[str] = set()
    seen: set[tuple[str, ...]] = set()
    without_split = False
    columns = ("category_name", "label_text", "dicom_id", "path", "x", "y", "w", "h")
    for number, row in read_rows(table, columns, problems, ("image_width", "image_height", "split")):
        where = Source(table.name, number)
        image_id, phrase = row["dicom_id"], " ".join(row["label_text"].split())
        without_split |= "split" not in row
        key = tuple(row.values())
        if key in seen:
            problems.append(Problem("row_duplicated", where, "the same row stands above"))
            continue
        seen.add(key)
        if not (image_id and phrase):
            problems.append(Problem("row_incomplete", where, "an image or a phrase is missing"))
            continue
        if image_id in unusable:
            problems.append(Problem("box_without_image", where, "the image of the box is not among those read"))
            continue
        if image_id not in sketches:
            found = _sketch(row, root)
            if not isinstance(found, _Sketch):
                unusable.add(image_id)
                problems.append(Problem(found[0], where, found[1]))
                continue
            sketches[image_id] = found
        sketch = sketches[image_id]
        if row["category_name"]:
            sketch.findings[row["category_name"].lower()] = None
        scale = _scale(row, sketch.size)
        if scale != (1.0, 1.0) and not sketch.size_differs:
            sketch.size_differs = True
            problems.append(Problem("size_differs", where, "the file has another size than the row says: scaled"))
        box = fit_box(_corners(row, *scale), *sketch.size, where, problems)
        if box is not None:
            sketch.boxes[box, phrase] = None
    if without_split:
        problems.append(Problem("part_missing", Source(table.name), "no column 'split': every image is for test"))
    return sketches


def _sketch(row: dict[str, str], root: Path) -> _Sketch | tuple[str, str]:
    """An image without its boxes yet, or the kind of problem and the reason why it cannot be used."""
    given = row["path"].replace("\\", "/")
    match = PATH.fullmatch(given)
    if match is None:
        if ".." in PurePosixPath(given).parts or PurePosixPath(given).is_absolute():
            return "path_outside", "the path leads out of the folder of MIMIC-CXR-JPG"
        return "row_incomplete", "expected a path as files/p10/p10000032/s50414267/IMAGE.jpg"
    split = SPLITS.get(row.get("split", "test").lower())
    if split is None:
        return "split_unknown", f"expected one of {', '.join(SPLITS)}"
    path = (root / given).with_suffix(".jpg")
    if not path.is_file():
        return "image_missing", "the image file is not there"
    size = image_size(path)
    if size is None:
        return "image_unreadable", NO_HEADER
    return _Sketch(path, size, match[1], match[2], split)


def _scale(row: dict[str, str], size: tuple[int, int]) -> tuple[float, float]:
    """From pixels of the image that the row speaks of to those of the file; 1 where the row states no size."""
    try:
        width, height = float(row["image_width"]), float(row["image_height"])
    except (KeyError, ValueError):
        return 1.0, 1.0
    return (size[0] / width, size[1] / height) if width > 0 and height > 0 else (1.0, 1.0)


def _corners(row: dict[str, str], across: float, down: float) -> tuple[float, ...]:
    """x1, y1, x2, y2 in pixels of the file; empty for what is not four numbers."""
    try:
        x, y, width, height = (float(row[name]) for name in ("x", "y", "w", "h"))
    except ValueError:
        return ()
    return x * across, y * down, (x + width) * across, (y + height) * down


def _read_times(
    root: Path, sketches: dict[str, _Sketch], problems: list[Problem]
) -> tuple[dict[str, float], dict[str, str]]:
    """Image -> when it was taken, in seconds, and image -> view, from the metadata of MIMIC-CXR-JPG.

    Without that table all times are 0 and no view is known; an image whose time cannot be read has none.
    """
    seconds: dict[str, float] = dict.fromkeys(sketches, 0.0)
    views: dict[str, str] = {}
    table = find_table(root, "mimic-cxr-*-metadata.csv.gz", "mimic-cxr-*-metadata.csv")
    if table is None:
        reason = "no metadata of MIMIC-CXR-JPG: the order of studies and the views are not known"
        problems.append(Problem("part_missing", Source("mimic-cxr-2.0.0-metadata.csv.gz"), reason))
        return seconds, views
    for number, row in read_rows(table, ("dicom_id", "ViewPosition", "StudyDate", "StudyTime"), problems):
        image_id = row["dicom_id"]
        if image_id not in sketches:
            continue
        views[image_id] = row["ViewPosition"]
        moment = seconds_of(row["StudyDate"], row["StudyTime"])
        if moment is not None:
            seconds[image_id] = moment
        elif seconds.pop(image_id, None) is not None:
            reason = "expected dates as 21800506 and times as 213014.531"
            problems.append(Problem("date_unreadable", Source(table.name, number), reason))
    return seconds, views


READER = Reader(
    kind="ms-cxr",
    description="MS-CXR: phrases with boxes on images of MIMIC-CXR-JPG (PhysioNet)",
    read=read,
    parts=PARTS,
    read_parts=read_parts,
    datasets=(Dataset("ms-cxr", "MS-CXR", PHYSIONET, equalised=True),),
    patients="mimic",
)
