"""MS-CXR: phrases with boxes, drawn by radiologists on images of MIMIC-CXR-JPG."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from diffvqa.boxes import Box
from diffvqa.data.image_rows import ImageRow, studies_of
from diffvqa.data.mending import edges, fit_box, scale_to
from diffvqa.data.mimic.folders import find_folder, require_folder
from diffvqa.data.mimic.jpg import SPLITS, span_of_cells
from diffvqa.data.paths import written_alike
from diffvqa.data.problems import nothing_left
from diffvqa.data.reader import PHYSIONET, Dataset, Reader
from diffvqa.data.rows import find_table, read_rows
from diffvqa.errors import InputError
from diffvqa.images.undecoded import NO_HEADER, image_size
from diffvqa.records import Cohort, Problem, Region, Source

PARTS = ("boxes", "jpg")
"""The names under which the table of boxes and the images may be given."""

PATH = re.compile(r"files/p\d+/p(\d+)/s(\d+)/[^/\\]+\.(?:jpg|dcm)")
"""An image in the tree of MIMIC-CXR-JPG, or of MIMIC-CXR, where names end in .dcm; its groups: patient and study."""


@dataclass(slots=True)
class _Sketch:
    """An image while its rows are read. A box said twice with one phrase is kept once."""

    image: ImageRow
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
    images = _with_times(root, {image_id: sketch.image for image_id, sketch in sketches.items()}, problems)
    findings: dict[str, dict[str, None]] = defaultdict(dict)
    for image_id, image in images.items():
        findings[image.study_id] |= sketches[image_id].findings
    studies = studies_of(
        images.values(),
        lambda row: [Region(box, phrases=(phrase,)) for box, phrase in sketches[row.image_id].boxes],
        findings=findings,
    )
    if not studies:
        raise nothing_left(f"ms-cxr: no image of {table.name}", problems)
    return Cohort(studies, (), tuple(problems))


def _read_boxes(table: Path, root: Path, problems: list[Problem]) -> dict[str, _Sketch]:
    """Image -> what the rows of the table say of it, of the images that are there."""
    sketches: dict[str, _Sketch] = {}
    unusable: set[str] = set()
    without_split = False
    columns = ("category_name", "label_text", "dicom_id", "path", "x", "y", "w", "h")
    optional = ("image_width", "image_height", "split")
    for number, row in read_rows(table, columns, problems, optional, once=True):
        where = Source(table.name, number)
        image_id, phrase = row["dicom_id"], " ".join(row["label_text"].split())
        without_split |= "split" not in row
        if not (image_id and phrase):
            problems.append(Problem("row_incomplete", where, "an image or a phrase is missing"))
            continue
        if image_id in unusable:
            problems.append(Problem("box_without_image", where, "the image of the box is not among those read"))
            continue
        if image_id not in sketches:
            found = _image(row, root, where)
            if not isinstance(found, ImageRow):
                unusable.add(image_id)
                problems.append(Problem(found[0], where, found[1]))
                continue
            sketches[image_id] = _Sketch(found)
        sketch, size = sketches[image_id], sketches[image_id].image.size
        if row["category_name"]:
            sketch.findings[row["category_name"].lower()] = None
        scale = scale_to(size, (row.get("image_width", ""), row.get("image_height", "")))
        if scale != (1.0, 1.0) and not sketch.size_differs:
            sketch.size_differs = True
            problems.append(Problem("size_differs", where, "the file has another size than the row says: scaled"))
        box = fit_box(edges(row[name] for name in ("x", "y", "w", "h")), *size, where, problems, scale)
        if box is not None:
            sketch.boxes[box, phrase] = None
    if without_split:
        problems.append(Problem("part_missing", Source(table.name), "no column 'split': every image is for test"))
    return sketches


def _image(row: dict[str, str], root: Path, where: Source) -> ImageRow | tuple[str, str]:
    """An image without its view and time yet, or the kind of problem and the reason why it cannot be used."""
    given = written_alike(row["path"])
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
        return "image_missing", "no such file in the folder of MIMIC-CXR-JPG"
    size = image_size(path)
    if size is None:
        return "image_unreadable", NO_HEADER
    return ImageRow(where, row["dicom_id"], match[1], match[2], path, size, "", 0.0, split)


def _with_times(root: Path, images: dict[str, ImageRow], problems: list[Problem]) -> dict[str, ImageRow]:
    """The images with their views and when they were taken, in seconds, from the metadata of MIMIC-CXR-JPG.

    Without that table all times are 0 and no view is known; an image whose time cannot be read is left out.
    """
    table = find_table(root, "mimic-cxr-*-metadata.csv.gz", "mimic-cxr-*-metadata.csv")
    if table is None:
        reason = "no metadata of MIMIC-CXR-JPG: the order of studies and the views are not known"
        problems.append(Problem("part_missing", Source("mimic-cxr-2.0.0-metadata.csv.gz"), reason))
        return images
    timed = dict(images)
    for number, row in read_rows(table, ("dicom_id", "ViewPosition", "StudyDate", "StudyTime"), problems):
        image_id = row["dicom_id"]
        if image_id not in images:
            continue
        span = span_of_cells(row["StudyDate"], row["StudyTime"])
        if span is not None:
            timed[image_id] = replace(images[image_id], view=row["ViewPosition"], order=span[0], until=span[1])
        elif timed.pop(image_id, None) is not None:
            reason = "expected dates as 21800506 and times as 213014.531"
            problems.append(Problem("date_unreadable", Source(table.name, number), reason))
    return timed


READER = Reader(
    kind="ms-cxr",
    description="MS-CXR: phrases with boxes on images of MIMIC-CXR-JPG (PhysioNet)",
    read=read,
    parts=PARTS,
    read_parts=read_parts,
    datasets=(Dataset("ms-cxr", "MS-CXR", PHYSIONET, equalised=True),),
    patients="mimic",
)
