"""PadChest-GR: sentences with boxes, and for some images the prior one.

The list of grounded reports says what is seen; `master_table.csv` says of which patient, when and in which split. A
finding may have two independent sets of boxes (`boxes`, and `extra_boxes` of another reader): the first is read, or the
second where that is empty. Both together would mark a finding twice.

Most prior images have no report in the release. They become studies of the same patient and split without findings, and
without a date of their own: each stands just before the first study that names it.

A difference question is asked of a study and its prior one where the release says what changed:

- A finding said to be worse or better, or in a word not known, rules the question out: the answers word a change of
  level with two levels, and the release gives none.
- Where both have a report, the labels of one are held against those of the other. A finding said to be stable that
  the prior report does not name, or one said to be new that it does, rules the question out: one of the two is wrong.
- Where the prior image has none, every abnormal finding must have a label and be said to be new (added) or stable.
  What went away since is not recorded then, so these answers never name a finding as missing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from diffvqa.cells import said
from diffvqa.data.mending import fit_box
from diffvqa.data.mimic.jpg import span_of_cells
from diffvqa.data.paths import is_plain_name
from diffvqa.data.people import People
from diffvqa.data.problems import nothing_left
from diffvqa.data.reader import Dataset, Reader
from diffvqa.data.rows import find_table, read_rows
from diffvqa.data.splits import split_of
from diffvqa.errors import InputError
from diffvqa.findings import DIFFERENCE_QUESTION, changes_between, write_changes
from diffvqa.images.undecoded import NO_HEADER, image_size
from diffvqa.parsing import parse_json
from diffvqa.records import Cohort, Image, Pair, Problem, Question, Region, Source, Study

IMAGE_FOLDERS = ("images", "PadChest_GR", "Padchest_GR_files", "PadChest_GR_progression_prior_studies")
"""Folders of images, at any depth; images may also lie in the release's folder itself."""

SPLITS = {"train": "train", "validation": "validate", "test": "test"}

LABELS = {
    **dict.fromkeys(
        ("alveolar pattern", "ground glass pattern", "interstitial pattern", "reticular interstitial pattern"),
        "lung opacity",
    ),
    **dict.fromkeys(("aortic elongation", "ascendent aortic elongation"), "tortuosity of the thoracic aorta"),
    **dict.fromkeys(("apical pleural thickening", "calcified pleural thickening"), "pleural thickening"),
    **dict.fromkeys(
        ("callus rib fracture", "clavicle fracture", "humeral fracture", "rib fracture", "vertebral fracture"),
        "fracture",
    ),
    **dict.fromkeys(
        (f"{kind} atelectasis" for kind in ("laminar", "lobar", "round", "segmental", "total")), "atelectasis"
    ),
    "atypical pneumonia": "pneumonia",
    "calcified densities": "calcification",
    "calcified granuloma": "granuloma",
    "costophrenic angle blunting": "blunting of the costophrenic angle",
    "descendent aortic elongation": "tortuosity of the descending aorta",
    "heart insufficiency": "heart failure",
    "hiatal hernia": "hernia",
    "infiltrates": "infiltration",
    "loculated pleural effusion": "pleural effusion",
    "multiple nodules": "nodule",
    "pulmonary edema": "edema",
    "pulmonary fibrosis": "fibrosis",
    "pulmonary mass": "mass",
}
"""The labels of PadChest that the answers (or NIH ChestX-ray14) call otherwise; all the others are kept."""

NO_FINDINGS = frozenset({"normal", "unchanged", "exclude", "suboptimal study"})
"""Labels of PadChest that name no finding."""

PROGRESSIONS = {
    "new": "new",
    **dict.fromkeys(("stable", "unchanged", "no change"), "stable"),
    **dict.fromkeys(("worse", "worsening", "worsened", "increase", "increased", "increasing"), "level"),
    **dict.fromkeys(("better", "improving", "improved", "decrease", "decreased", "decreasing"), "level"),
}
"""The release's words for a finding's change since the prior image, and their meaning for an answer."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence of a report. boxes: as they stand in the release, normalised. progression: lower case, or empty."""

    sentence: str
    abnormal: bool
    labels: tuple[str, ...]
    boxes: list[Any]
    progression: str


@dataclass(frozen=True, slots=True)
class Report:
    """One entry of the list of grounded reports; an empty identifier is one that is not given."""

    where: Source
    study_id: str
    image_id: str
    previous_study: str
    previous_image: str
    findings: tuple[Finding, ...]


class Place(NamedTuple):
    """Whose a study is, when it was (seconds, or its number in a chain of studies), and its split."""

    subject_id: str
    order: float
    split: str


def read(folder: Path) -> Cohort:
    """The images of the release that lie in `folder`, their sentences with boxes, and prior images with questions.

    Raises InputError if the list of grounded reports is missing or damaged, if the table lacks a column, and if no
    image can be used.
    """
    path = find_table(folder, "grounded_reports_*.json", "*/grounded_reports_*.json")
    if path is None:
        raise InputError("padchest-gr: no grounded_reports_*.json in the folder given; name the folder that holds it")
    problems: list[Problem] = []
    reports = _read_reports(path, problems)
    files = _image_files(path.parent)
    places = _read_places(path.parent, reports, problems)
    studies: dict[str, Study] = {}
    for report in reports:
        place = places.get(report.study_id)
        if place and (image := _image(report.image_id, report.findings, files, report.where, problems)):
            text = " ".join(_closed(finding.sentence) for finding in report.findings if finding.sentence)
            findings = tuple(_labels(finding for finding in report.findings if finding.abnormal))
            studies[report.study_id] = Study(report.study_id, *place, (image,), text, findings)
    if not studies:
        raise nothing_left(f"padchest-gr: none of the {len(reports)} studies of {path.name}", problems)
    questions = _follow_ups(reports, studies, files, problems)
    return Cohort(tuple(studies.values()), tuple(questions), tuple(problems))


def _read_reports(path: Path, problems: list[Problem]) -> list[Report]:
    try:
        entries = parse_json(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise InputError(f"{path.name}: no JSON that can be read, as if cut short; fetch it again") from error
    except OSError as error:
        raise InputError(f"{path.name}: the file cannot be read to its end; fetch it again") from error
    if not isinstance(entries, list):
        raise InputError(f"{path.name}: expected a list of studies, found none, as if cut short; fetch it again")
    reports: list[Report] = []
    images: set[str] = set()
    studies: set[str] = set()
    for number, entry in enumerate(entries, start=1):
        where = Source(path.name, number)
        report = _report(entry, where)
        if report is None:
            problems.append(Problem("row_incomplete", where, "no study with an image and a list of findings"))
        elif report.image_id in images or report.study_id in studies:
            problems.append(Problem("row_duplicated", where, "the image or the study has an entry already"))
        else:
            images.add(report.image_id)
            studies.add(report.study_id)
            reports.append(report)
    return reports


def _report(entry: Any, where: Source) -> Report | None:
    if not isinstance(entry, dict):
        return None
    study_id, image_id, previous_study, previous_image = (
        _text(entry.get(key)) for key in ("StudyID", "ImageID", "PreviousStudyID", "PreviousImageID")
    )
    findings = entry.get("findings")
    if not (study_id and image_id and isinstance(findings, list) and all(isinstance(one, dict) for one in findings)):
        return None
    return Report(where, study_id, image_id, previous_study, previous_image, tuple(map(_finding, findings)))


def _finding(entry: dict[str, Any]) -> Finding:
    labels = (_text(label).lower() for label in _list(entry.get("labels")))
    return Finding(
        sentence=_text(entry.get("sentence_en")),
        abnormal=entry.get("abnormal") is True,
        labels=tuple(sys.intern(LABELS.get(label, label)) for label in labels if label and label not in NO_FINDINGS),
        boxes=_list(entry.get("boxes")) or _list(entry.get("extra_boxes")),
        progression=_text(entry.get("progression")).lower(),
    )


def _text(value: Any) -> str:
    """A text with its white space made single, or a whole number as text; empty for all else, such as null."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    text = said(" ".join(value.split())) if isinstance(value, str) else ""
    return "" if text.lower() == "none" else text


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _closed(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def _labels(findings: Iterable[Finding]) -> dict[str, None]:
    """The labels of several findings, each once, as the keys of a dictionary."""
    return dict.fromkeys(label for finding in findings for label in finding.labels)


def _image_files(folder: Path) -> dict[str, Path]:
    """The files of the folder and below its folders of images, by name: one listing a folder, no look at each."""
    files = {path.name: path for path in folder.iterdir()}
    for name in IMAGE_FOLDERS:
        for parent, _, names in os.walk(folder / name):
            for file in names:
                files.setdefault(file, Path(parent, file))
    return files


def _read_places(folder: Path, reports: list[Report], problems: list[Problem]) -> dict[str, Place]:
    """Study -> patient, split and order, of the studies whose place is known; the others are added to `problems`."""
    previous = {report.study_id: report.previous_study for report in reports if report.previous_study}
    chains = {report.study_id: _chain(report.study_id, previous) for report in reports}
    table = find_table(folder, "master_table.csv", "master_table.csv.gz")
    if table is None:
        reason = "no patients, dates and splits: studies that name each other as previous make a patient"
        problems.append(Problem("part_missing", Source("master_table.csv"), reason))
        # The earliest study of a chain stands for the patient.
        return {study: Place(chain[-1], float(len(chain)), split_of(chain[-1])) for study, chain in chains.items()}
    rows: dict[str, dict[str, str]] = {}
    optional = ("StudyDate_DICOM", "PatientBirth", "PatientSex_DICOM")
    for _, row in read_rows(table, ("StudyID", "PatientID", "split"), problems, optional):
        # One row a label: what is said of the study stands in each of them.
        rows.setdefault(row["StudyID"], row)
    places: dict[str, Place] = {}
    people = People()
    for report in reports:
        row = rows.get(report.study_id, {})
        split = SPLITS.get(row.get("split", "").lower())
        if split is None:
            problems.append(Problem("split_unknown", report.where, f"{table.name} puts the study in no known split"))
        elif fault := people.fault(
            # The release gives the year of birth alone, perhaps as a fraction.
            row["PatientID"],
            report.where,
            row.get("PatientBirth", "").removesuffix(".0"),
            row.get("PatientSex_DICOM", ""),
        ):
            problems.append(fault)
        elif "StudyDate_DICOM" not in row:
            places[report.study_id] = Place(row["PatientID"], float(len(chains[report.study_id])), split)
        elif (span := span_of_cells(row["StudyDate_DICOM"])) is None:
            problems.append(Problem("date_unreadable", report.where, f"{table.name}: expected dates as 20140915"))
        else:
            places[report.study_id] = Place(row["PatientID"], span[0], split)
    return places


def _chain(study_id: str, previous: dict[str, str]) -> list[str]:
    """A study and those before it, back in time."""
    chain = [study_id]
    while (before := previous.get(chain[-1])) and before not in chain:
        chain.append(before)
    return chain


def _image(
    image_id: str, findings: tuple[Finding, ...], files: dict[str, Path], where: Source, problems: list[Problem]
) -> Image | None:
    """An image with its regions, or None, and then the reason is added to `problems`."""
    if not is_plain_name(image_id):
        problems.append(Problem("path_outside", where, "the name of an image leads to another folder"))
    elif image_id not in files:
        problems.append(Problem("image_missing", where, "no such file in Padchest_GR_files/ beside it, unpacked"))
    elif (size := image_size(files[image_id])) is None:
        problems.append(Problem("image_unreadable", where, NO_HEADER))
    else:
        return Image(image_id, files[image_id], *size, regions=tuple(_regions(findings, size, where, problems)))
    return None


def _regions(
    findings: tuple[Finding, ...], size: tuple[int, int], where: Source, problems: list[Problem]
) -> Iterator[Region]:
    for finding in findings:
        if finding.boxes and not finding.sentence:
            problems.append(Problem("row_incomplete", where, "a finding has boxes and no sentence: they are skipped"))
            continue
        phrases = (finding.sentence,)
        for corners in finding.boxes:
            box = fit_box(corners, *size, where, problems, size)
            if box is not None:
                yield Region(box, phrases=phrases)


def _follow_ups(
    reports: list[Report], studies: dict[str, Study], files: dict[str, Path], problems: list[Problem]
) -> list[Question]:
    """The questions on a study and its prior one. Adds the prior images without a report to `studies`."""
    by_study = {report.study_id: report for report in reports if report.study_id in studies}
    owner = {report.image_id: study_id for study_id, report in by_study.items()}
    unusable = {report.image_id for report in reports} - owner.keys()
    questions: list[Question] = []
    for study_id, report in by_study.items():
        before = by_study.get(report.previous_study)
        prior_image = report.previous_image or (before.image_id if before else "")
        if not (prior_image or report.previous_study):
            continue
        if not prior_image or prior_image in unusable:
            problems.append(Problem("question_without_image", report.where, "the previous image cannot be used"))
            continue
        if prior_image not in owner:
            image = _image(prior_image, (), files, report.where, problems)
            if image is None:
                continue
            owner[prior_image] = _add_prior(image, report, studies)
        current, prior = studies[study_id], studies[owner[prior_image]]
        if prior.study_id == study_id:
            problems.append(Problem("pair_of_one_study", report.where, "the previous image is one of the same study"))
            continue
        if prior.subject_id != current.subject_id:
            problems.append(Problem("pair_of_two_patients", report.where, "the previous image is another patient's"))
            continue
        if prior.study_id not in by_study and prior.order >= current.order:
            studies[prior.study_id] = replace(prior, order=current.order - 1)
        prior_report = by_study.get(prior.study_id)
        answer, reason = _answer(report.findings, None if prior_report is None else prior_report.findings)
        if answer is None:
            problems.append(Problem("change_unstated", report.where, reason))
            continue
        questions.append(
            Question(
                question_id=f"{study_id}-difference",
                subject_id=current.subject_id,
                type="difference",
                pair=Pair(current=report.image_id, prior=prior_image),
                text=DIFFERENCE_QUESTION,
                answer=answer,
                split=current.split,
                source=report.where,
            )
        )
    return questions


def _add_prior(image: Image, report: Report, studies: dict[str, Study]) -> str:
    """The study that a prior image without a report belongs to: one that is there, or a new one just before."""
    study_id = report.previous_study or Path(image.image_id).stem
    if study_id in studies:
        # Another image of a study: what its report says, if it has one, holds for this image too.
        studies[study_id] = replace(studies[study_id], images=(*studies[study_id].images, image))
    else:
        current = studies[report.study_id]
        studies[study_id] = Study(study_id, current.subject_id, current.order - 1, current.split, (image,))
    return study_id


def _answer(current: tuple[Finding, ...], prior: tuple[Finding, ...] | None) -> tuple[str | None, str]:
    """The answer to what changed since the prior findings (None: not known), or None and why there is none."""
    abnormal = [finding for finding in current if finding.abnormal]
    for finding in abnormal:
        if finding.progression and finding.progression not in PROGRESSIONS:
            return None, f"the progression {finding.progression!r} is not known"
        if PROGRESSIONS.get(finding.progression) == "level":
            return None, "a finding is worse or better, and the levels to word it with are not given"
    if prior is not None:
        before = _labels(finding for finding in prior if finding.abnormal)
        if any(_contradicts(finding, before) for finding in abnormal):
            return None, "a finding is said to be new or stable, and the report of the prior image says otherwise"
    else:
        new = _labels(finding for finding in abnormal if finding.progression == "new")
        before = _labels(finding for finding in abnormal if PROGRESSIONS.get(finding.progression) == "stable")
        # A label that is both stable and new is a second one of its kind, for which the answers have no words.
        if not abnormal or new.keys() & before or not all(one.labels and one.progression for one in abnormal):
            return None, "the prior image has no report, and not every finding is said to be new or stable"
    return write_changes(changes_between(before, _labels(abnormal))), ""


def _contradicts(finding: Finding, before: dict[str, None]) -> bool:
    """Whether a finding is said to be stable or new against the labels of the prior report."""
    known = [label in before for label in finding.labels]
    progression = PROGRESSIONS.get(finding.progression)
    return (progression == "stable" and not all(known)) or (progression == "new" and bool(known) and all(known))


READER = Reader(
    kind="padchest-gr",
    description="PadChest-GR: sentences with boxes; prior images become difference questions (by agreement)",
    read=read,
    datasets=(Dataset("padchest-gr", "PadChest-GR", "an agreement with BIMCV, for research"),),
)
