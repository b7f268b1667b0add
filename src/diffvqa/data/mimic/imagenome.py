"""Chest ImaGenome: the scene graph of each image, read as regions with their boxes and what is said of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

from diffvqa.boxes import Box
from diffvqa.data.image_rows import ImageRow
from diffvqa.data.mending import fit_box
from diffvqa.data.mimic.jpg import SPLITS
from diffvqa.data.paths import UNREADABLE_MEMBER, members_inside, open_archive, read_member
from diffvqa.data.rows import find_table, read_rows
from diffvqa.errors import InputError
from diffvqa.parsing import parse_json
from diffvqa.records import NO_REGIONS, Problem, Region, Regions, Source

_SUFFIX = "_SceneGraph.json"
_CORNERS = ("original_x1", "original_y1", "original_x2", "original_y2")

NOT_SEEN = ("history",)
"""Sections whose phrases tell why the image was taken, not what it shows."""


def images_to_avoid(root: Path, problems: list[Problem]) -> frozenset[str]:
    """The images of the 500 patients of the gold annotations, which the dataset asks to leave out; may be none."""
    folders = ("silver_dataset/splits/", "silver_dataset/", "splits/", "")
    path = find_table(root, *(f"{folder}images_to_avoid.csv" for folder in folders))
    rows = read_rows(path, ("dicom_id",), problems) if path else ()
    return frozenset(row["dicom_id"].removesuffix(".dcm") for _, row in rows)


def compare_splits(root: Path, images: Mapping[str, ImageRow], avoid: Container[str], problems: list[Problem]) -> None:
    """Adds a `split_differs` to `problems` for each of `images` that Chest ImaGenome's own tables put in another split.

    avoid: identifiers of images that are for test alone, and not compared. Tables that are not there are passed over.
    Raises InputError for a missing column.
    """
    differing: set[str] = set()
    for name in ("train", "valid", "test"):
        folders = ("silver_dataset/splits", "splits")
        path = find_table(root, *(f"{folder}/{name}.csv{packed}" for folder in folders for packed in ("", ".gz")))
        if path is None:
            continue
        for number, row in read_rows(path, ("dicom_id",), problems):
            image_id = row["dicom_id"].removesuffix(".dcm")
            image = images.get(image_id)
            if image is None or image_id in avoid or image_id in differing or image.split == SPLITS[name]:
                continue
            differing.add(image_id)
            reason = sys.intern(f"{SPLITS[name]}, where MIMIC-CXR has {image.split}")
            problems.append(Problem("split_differs", Source(path.name, number), reason))


def read_regions(
    root: Path, images: Mapping[str, ImageRow], avoid: Container[str], problems: list[Problem]
) -> dict[str, Regions]:
    """Image -> its regions, boxes in pixels of the JPEG file, for those of `images` that have a scene graph.

    avoid: identifiers of images whose scene graph is not to be read. Adds to `problems`. Raises InputError for an
    archive that cannot be opened.
    """
    images = {image_id: row for image_id, row in images.items() if image_id not in avoid}
    regions: dict[str, Regions] = {}
    for image_id, raw in _scene_graphs(root, images, problems):
        where = Source(f"{image_id}{_SUFFIX}")
        try:
            graph = parse_json(raw) if raw is not None else None
        except ValueError:
            graph = None
        if not isinstance(graph, dict):
            problems.append(Problem("scene_graph_unreadable", where, "not a JSON object"))
            regions[image_id] = NO_REGIONS
            continue
        regions[image_id] = Regions.of(_regions(graph, images[image_id], where, problems))
    for image_id in images:
        if image_id not in regions:
            problems.append(
                Problem("scene_graph_missing", Source(f"{image_id}{_SUFFIX}"), "the image has no scene graph")
            )
    return regions


def _scene_graphs(
    root: Path, images: Mapping[str, ImageRow], problems: list[Problem]
) -> Iterator[tuple[str, bytes | None]]:
    """(image, content) of the scene graphs of known images, from the folder if it was unpacked, else the archive."""
    for base in (root / "silver_dataset", root):
        folder, archive = base / "scene_graph", base / "scene_graph.zip"
        if folder.is_dir():
            yield from _from_folder(folder, images)
            return
        if archive.is_file():
            yield from _from_archive(archive, images, problems)
            return
    raise InputError("mimic:imagenome: neither scene_graph.zip nor a folder scene_graph in silver_dataset; fetch one")


def _from_folder(folder: Path, images: Mapping[str, ImageRow]) -> Iterator[tuple[str, bytes | None]]:
    for parent, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            image_id = name.removesuffix(_SUFFIX)
            if name.endswith(_SUFFIX) and image_id in images:
                try:
                    yield image_id, Path(parent, name).read_bytes()
                except OSError:
                    yield image_id, None


def _from_archive(
    path: Path, images: Mapping[str, ImageRow], problems: list[Problem]
) -> Iterator[tuple[str, bytes | None]]:
    with open_archive(path) as archive:
        for member in members_inside(archive, path.name, _SUFFIX, problems):
            image_id = member.rsplit("/", 1)[-1].removesuffix(_SUFFIX)
            if image_id in images:
                try:
                    yield image_id, read_member(archive, member)
                except UNREADABLE_MEMBER:
                    yield image_id, None


def _regions(graph: dict[str, Any], image: ImageRow, where: Source, problems: list[Problem]) -> Iterator[Region]:
    boxes: dict[str, Box | None] = {}  # None for a region whose box was dropped
    for item in _entries(graph, "objects"):
        name = str(item.get("bbox_name") or "").strip()
        if not name:
            problems.append(Problem("box_dropped", where, "an object without a region's name"))
        elif name in boxes:
            problems.append(Problem("box_duplicated", where, f"{name}: the first box is kept"))
        else:
            corners = [item.get(corner) for corner in _CORNERS]
            # A cohort has millions of regions and a few dozen names: each name is kept once.
            boxes[sys.intern(name)] = fit_box(corners, *image.size, where, problems)
    phrases: dict[str, list[str]] = {}
    once: dict[str, str] = {}  # a sentence is written again for every region that it speaks of
    for item in _entries(graph, "attributes"):
        name = str(item.get("bbox_name") or "").strip()
        if item.get(name) is not True:
            continue
        if name not in boxes:
            problems.append(Problem("region_without_box", where, f"{name}: text on a region that has no box"))
            continue
        phrases.setdefault(name, []).extend(once.setdefault(phrase, phrase) for phrase in _phrases(item))
    for name, box in boxes.items():
        if box is not None:
            yield Region(box, name, tuple(dict.fromkeys(phrases.get(name, ()))))


def _entries(graph: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = graph.get(key)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _phrases(item: dict[str, Any]) -> Iterator[str]:
    phrases = item.get("phrases")
    sections = item.get("sections")
    if not isinstance(phrases, list):
        return
    if not isinstance(sections, list) or len(sections) != len(phrases):
        sections = [""] * len(phrases)
    for phrase, section in zip(phrases, sections, strict=True):
        text = " ".join(str(phrase).split())
        if text and section not in NOT_SEEN:
            yield text
