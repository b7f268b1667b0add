"""MIMIC-CXR-JPG with what PhysioNet holds on it: reports, Chest ImaGenome's boxes, Medical-Diff-VQA's questions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from diffvqa.data.image_rows import studies_of
from diffvqa.data.mimic import diffvqa as difference_questions
from diffvqa.data.mimic import imagenome, jpg
from diffvqa.data.mimic.folders import find_folder, require_folder, with_version
from diffvqa.data.mimic.reports import Reports
from diffvqa.data.problems import nothing_left
from diffvqa.data.reader import PHYSIONET, Dataset, Reader
from diffvqa.errors import InputError
from diffvqa.records import Cohort, Problem, Source

PARTS = ("jpg", "reports", "imagenome", "diffvqa")
"""The names under which the four datasets may be given."""

LOST = {
    "reports": "no MIMIC-CXR reports: every report is empty",
    "imagenome": "no Chest ImaGenome: no image has regions",
    "diffvqa": "no Medical-Diff-VQA: there are no questions",
}


def read(parent: Path) -> Cohort:
    """The four datasets under a parent folder, found by PhysioNet's own names, newest version of each.

    Raises InputError if MIMIC-CXR-JPG is not among them.
    """
    root = find_folder(parent, "jpg")
    if root is None:
        raise InputError(
            "mimic: no mimic-cxr-jpg with its metadata table under the folder given; give the folder that holds "
            "mimic-cxr-jpg, or name the folders: mimic:jpg=PATH,reports=PATH,imagenome=PATH,diffvqa=PATH"
        )
    return _assemble(root, {part: find_folder(parent, part) for part in LOST})


def read_parts(
    jpg: Path | None = None, reports: Path | None = None, imagenome: Path | None = None, diffvqa: Path | None = None
) -> Cohort:
    """The same from folders given one by one, each the root of its dataset or one version of it.

    Raises InputError if `jpg` is not given, and for a folder that does not hold what its name says.
    """
    if jpg is None:
        raise InputError("mimic: jpg=PATH is missing; the images are needed whatever else is given")
    root = require_folder(jpg, "jpg", "mimic:jpg")
    given = {"reports": reports, "imagenome": imagenome, "diffvqa": diffvqa}
    return _assemble(root, {part: path and require_folder(path, part, f"mimic:{part}") for part, path in given.items()})


def _assemble(root: Path, folders: Mapping[str, Path | None]) -> Cohort:
    """The cohort of MIMIC-CXR-JPG, whose folder is `root`, with what the other folders add."""
    problems = [Problem("part_missing", Source(part), reason) for part, reason in LOST.items() if folders[part] is None]
    avoid = imagenome.images_to_avoid(folders["imagenome"], problems) if folders["imagenome"] else frozenset()
    images = jpg.read_images(root, avoid, problems)
    if not images:
        raise nothing_left("mimic: no frontal image of the metadata table", problems)
    if folders["imagenome"]:
        imagenome.compare_splits(folders["imagenome"], images, avoid, problems)
    regions = imagenome.read_regions(folders["imagenome"], images, avoid, problems) if folders["imagenome"] else {}
    findings = jpg.read_findings(root, problems)
    reports = Reports(folders["reports"], problems) if folders["reports"] else None
    studies = studies_of(
        images.values(),
        lambda row: regions.get(row.image_id, ()),
        lambda row: reports.read(row.subject_id, row.study_id) if reports else "",
        findings,
    )
    questions = difference_questions.read_questions(folders["diffvqa"], studies, problems) if folders["diffvqa"] else []
    datasets = tuple(with_version(folder, part) for part, folder in {"jpg": root, **folders}.items() if folder)
    return Cohort(studies, tuple(questions), tuple(problems), datasets)


READER = Reader(
    kind="mimic",
    description="MIMIC-CXR-JPG with MIMIC-CXR reports, Chest ImaGenome and Medical-Diff-VQA (PhysioNet)",
    read=read,
    parts=PARTS,
    read_parts=read_parts,
    datasets=(
        Dataset("mimic-cxr-jpg", "MIMIC-CXR-JPG", PHYSIONET, equalised=True),
        Dataset("mimic-cxr", "MIMIC-CXR reports", PHYSIONET, has_images=False),
        Dataset("chest-imagenome", "Chest ImaGenome", PHYSIONET, has_images=False),
        Dataset("medical-diff-vqa", "Medical-Diff-VQA", PHYSIONET, has_images=False),
    ),
    patients="mimic",
)
