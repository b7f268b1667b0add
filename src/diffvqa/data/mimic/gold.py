"""Chest ImaGenome's gold annotations: the boxes that people drew in 1,000 images, and the sentences said of them.

Its comparisons of two images are left out: they are not written in the grammar of difference answers.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from diffvqa.data.image_rows import ImageRow, studies_of
from diffvqa.data.mending import fit_box
from diffvqa.data.mimic.folders import find_folder, require_folder
from diffvqa.data.mimic.jpg import read_images
from diffvqa.data.problems import nothing_left
from diffvqa.data.reader import PHYSIONET, Dataset, Reader
from diffvqa.data.rows import read_rows
from diffvqa.errors import InputError
from diffvqa.records import Cohort, Problem, Region, Source

PARTS = ("imagenome", "jpg")
"""The names under which the two datasets may be given."""

BOXES = "gold_bbox_coordinate_annotations_1000images.csv"
SENTENCES = "gold_object_attribute_with_coordinates.txt"

_CORNERS = ("original_x1", "original_y1", "original_x2", "original_y2")

_Cells = list[tuple[Source, str, list[str]]]
"""(where, name of the region, x1 y1 x2 y2) of each box of one image."""


def read(parent: Path) -> Cohort:
    """Chest ImaGenome and MIMIC-CXR-JPG under a parent folder, found by PhysioNet's own names.

    Raises InputError if one of them is not there.
    """
    imagenome, jpg = find_folder(parent, "gold"), find_folder(parent, "jpg")
    if imagenome is None or jpg is None:
        lacking = "chest-imagenome with its gold_dataset" if imagenome is None else "mimic-cxr-jpg with its metadata"
        raise InputError(
            f"imagenome-gold: no {lacking} under the folder given; give the folder that holds both, "
            "or name the folders: imagenome-gold:imagenome=PATH,jpg=PATH"
        )
    return _assemble(imagenome, jpg)


def read_parts(imagenome: Path | None = None, jpg: Path | None = None) -> Cohort:
    """The same from folders given one by one, each the root of its dataset or one version of it.

    Raises InputError if one is not given or does not hold what its name says.
    """
    if imagenome is None or jpg is None:
        missing = "imagenome" if imagenome is None else "jpg"
        raise InputError(f"imagenome-gold: {missing}=PATH is missing; both folders are needed")
    return _assemble(
        require_folder(imagenome, "gold", "imagenome-gold:imagenome"), require_folder(jpg, "jpg", "imagenome-gold:jpg")
    )


def _assemble(imagenome: Path, jpg: Path) -> Cohort:
    """Every study is for test, without report and labels: what it is for is its boxes."""
    problems: list[Problem] = []
    gold = imagenome / "gold_dataset"
    boxes = _read_boxes(gold / BOXES, problems)
    images = read_images(jpg, (), problems, only=boxes.keys())
    if not images:
        raise nothing_left(f"imagenome-gold: in MIMIC-CXR-JPG none of the {len(boxes)} images of {BOXES}", problems)
    for image_id, cells in boxes.items():
        if image_id not in images:
            reason = "the image of the box is not among those read"
            problems.extend(Problem("box_without_image", where, reason) for where, *_ in cells)
    sentences = _read_sentences(gold, boxes, problems)
    studies = studies_of(
        images.values(), lambda row: _regions(boxes[row.image_id], row, sentences.get(row.image_id, {}), problems)
    )
    return Cohort(studies, problems=tuple(problems))


def _read_boxes(table: Path, problems: list[Problem]) -> dict[str, _Cells]:
    """Image -> its boxes as they are written, the first of each region."""
    boxes: dict[str, dict[str, tuple[Source, str, list[str]]]] = defaultdict(dict)
    for number, row in read_rows(table, ("image_id", "bbox_name", *_CORNERS), problems):
        where = Source(table.name, number)
        image_id, name = row["image_id"].removesuffix(".dcm"), sys.intern(row["bbox_name"])
        if not (image_id and name):
            problems.append(Problem("row_incomplete", where, "an image or a region is missing"))
        elif name in boxes[image_id]:
            problems.append(Problem("box_duplicated", where, f"{name}: the first box is kept"))
        else:
            boxes[image_id][name] = (where, name, [row[corner] for corner in _CORNERS])
    return {image_id: list(of_image.values()) for image_id, of_image in boxes.items()}


def _read_sentences(
    gold: Path, boxes: Mapping[str, _Cells], problems: list[Problem]
) -> dict[str, dict[str, dict[str, None]]]:
    """Image -> region -> the sentences said of it, each once; empty if there is no table of them that can be used."""
    columns = ("image_id", "bbox", "sentence")
    try:
        rows = list(read_rows(gold / SENTENCES, columns, problems, separator="\t"))
    except InputError as error:
        there = ", ".join(sorted(path.name for path in gold.glob("gold_*")))
        reason = f"the boxes alone are read, for {error}; tables found: {there}"
        problems.append(Problem("part_missing", Source(SENTENCES), reason))
        return {}
    named = {image_id: {name for _, name, _ in cells} for image_id, cells in boxes.items()}
    sentences: dict[str, dict[str, dict[str, None]]] = defaultdict(lambda: defaultdict(dict))
    lacking: set[tuple[str, str]] = set()
    for number, row in rows:
        image_id, region = row["image_id"].removesuffix(".dcm"), row["bbox"]
        sentence = sys.intern(" ".join(row["sentence"].split()))
        if not (image_id and region and sentence):
            where = Source(SENTENCES, number)
            problems.append(Problem("row_incomplete", where, "an image, a region or a sentence is missing"))
        elif region in named.get(image_id, ()):
            sentences[image_id][region][sentence] = None
        elif (image_id, region) not in lacking:
            lacking.add((image_id, region))
            reason = f"{region}: text on a region that has no box"
            problems.append(Problem("region_without_box", Source(SENTENCES, number), reason))
    return sentences


def _regions(
    cells: _Cells, image: ImageRow, sentences: Mapping[str, Iterable[str]], problems: list[Problem]
) -> Iterator[Region]:
    for where, name, corners in cells:
        box = fit_box(corners, *image.size, where, problems)
        if box is not None:
            yield Region(box, name, tuple(sentences.get(name, ())))


READER = Reader(
    kind="imagenome-gold",
    description="Chest ImaGenome's gold boxes and sentences on MIMIC-CXR-JPG, all for test (PhysioNet)",
    read=read,
    parts=PARTS,
    read_parts=read_parts,
    datasets=(Dataset("imagenome-gold", "Chest ImaGenome, gold annotations", PHYSIONET, equalised=True),),
    patients="mimic",
)
