"""One synthetic patient on disk: images and reports, and the rows that the patient adds to every table."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from diffvqa.findings import DIFFERENCE_QUESTION
from diffvqa.phantom.anatomy import place
from diffvqa.phantom.cohort import Patient, Picture, Visit, generator_for, steps_of, true_changes
from diffvqa.phantom.cohort_tables import JPG, LABELS, REPORTS, PatientRows
from diffvqa.phantom.pathology import KINDS
from diffvqa.phantom.questions import ask, location, type_of
from diffvqa.phantom.regions import lesion_boxes, region_boxes
from diffvqa.phantom.rendering import render
from diffvqa.phantom.reports import SUPPORT_DEVICES, Report, Reporting, regions_of, write_report
from diffvqa.phantom.scene_graph import scene_graph
from diffvqa.phantom.sets import draw_from

QUALITY = 95
"""JPEG quality of the images."""

_WORDS, _QUESTIONS = 10, 11
"""Purposes of generators, beside those of `cohort`."""

_VIEWS = {"PA": "postero-anterior", "AP": "antero-posterior"}
_QUESTION_SPLITS = {"train": "train", "validate": "val", "test": "test"}


def write_patient(
    work: Path, seed: int, index: int, size: int, test_set: str | None, reporting: Reporting, still: float
) -> PatientRows:
    """Draws the patient of that index, writes images and reports under `work`, and gives the rows for the tables."""
    patient = draw_from(test_set, seed, index, size, still)
    subject = patient.subject_id
    rows = PatientRows(patient.split)
    prior: Visit | None = None
    for order, visit in enumerate(patient.visits):
        folder = f"files/p{str(subject)[:2]}/p{subject}"
        report = write_report(patient, visit, prior, generator_for(seed, patient.index, _WORDS, order), reporting)
        path = work / REPORTS / folder / f"s{visit.study_id}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(report.text, encoding="utf-8")
        for picture in visit.pictures:
            _write_picture(work, folder, patient, order, picture, report, rows)
        labels = _labels(report)
        rows.chexpert.append((subject, visit.study_id, *labels))
        first = visit.pictures[0]
        rows.studies.append(
            (
                subject, visit.study_id, *labels, first.dicom_id, _VIEWS[first.acquisition.view], patient.split,
                f"{visit.time:%Y%m%d}", float(order + 1),
            )
        )  # fmt: skip
        rows.diseases.append(json.dumps(_diseases(patient, visit, report)))
        rows.true_pairs += [_true_pair(patient, earlier, visit) for earlier in patient.priors(order)]
        prior = visit
    for asked in ask(patient, generator_for(seed, patient.index, _QUESTIONS)):
        if test_set is not None and asked.question != DIFFERENCE_QUESTION:
            continue  # a test set asks of every pair what has changed, and nothing else
        split = _QUESTION_SPLITS[patient.split]
        rows.questions.append((asked.study_id, subject, asked.ref_id, asked.type, asked.question, asked.answer, split))
    return rows


def _write_picture(
    work: Path, folder: str, patient: Patient, order: int, picture: Picture, report: Report, rows: PatientRows
) -> None:
    visit, acquisition = patient.visits[order], picture.acquisition
    subject, study = patient.subject_id, visit.study_id
    path = work / JPG / folder / f"s{study}" / f"{picture.dicom_id}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()  # written by us: what Pillow says of a full disk is not that it is full
    picture_of = Image.fromarray(render(patient.body, visit.lesions, acquisition, visit.devices))
    picture_of.save(content, format="JPEG", quality=QUALITY)
    path.write_bytes(content.getvalue())
    thorax = place(patient.body, visit.lesions, acquisition)
    boxes = region_boxes(thorax, acquisition)
    procedure = "CHEST (PORTABLE AP)" if acquisition.view == "AP" else "CHEST (PA AND LAT)"
    rows.metadata.append(
        (
            picture.dicom_id, subject, study, procedure, acquisition.view, acquisition.height, acquisition.width,
            f"{visit.time:%Y%m%d}", f"{visit.time:%H%M%S}.{visit.time.microsecond // 1000:03d}", procedure,
            _VIEWS[acquisition.view], "Recumbent" if acquisition.view == "AP" else "Erect",
        )
    )  # fmt: skip
    rows.splits.append((picture.dicom_id, study, subject, patient.split))
    dicom_path = f"{folder}/s{study}/{picture.dicom_id}.dcm"
    rows.imagenome.append((subject, study, picture.dicom_id, dicom_path, acquisition.view))
    before = patient.visits[order - 1].pictures[0].dicom_id if order else None
    graph = scene_graph(patient, order, picture, report, boxes, before)
    rows.graphs.append((picture.dicom_id, json.dumps(graph)))
    truth = {
        "dicom_id": picture.dicom_id,
        "study_id": str(study),
        "subject_id": str(subject),
        "split": patient.split,
        "findings": [
            {
                "finding": name,
                "level": lesion.word,
                "severity": lesion.severity,
                "sides": list(lesion.sides),
                "zone": lesion.zone,
                "regions": list(regions_of(lesion)),
                "type": type_of(lesion),
                "shape": list(lesion.shape),
                "seed": lesion.seed,
                "boxes": [
                    [round(value, 2) for value in box.as_tuple()] for box in lesion_boxes(thorax, lesion, acquisition)
                ],
                "reported": report.mentioned(name) in ("yes", "maybe"),
            }
            for name, lesion in visit.findings.items()
        ],
        "acquisition": asdict(acquisition),
        "devices": [asdict(device) for device in visit.devices],
        "body": asdict(patient.body),
    }
    rows.true_images.append(json.dumps(truth))


def _true_pair(patient: Patient, prior: Visit, current: Visit) -> str:
    changes = true_changes(prior, current)
    return json.dumps(
        {
            "prior_study": str(prior.study_id),
            "current_study": str(current.study_id),
            "subject_id": str(patient.subject_id),
            "split": patient.split,
            "prior": prior.pictures[0].dicom_id,
            "current": current.pictures[0].dicom_id,
            "changes": [{**asdict(change), "steps": steps_of(change, prior, current)} for change in changes],
            "acquisition_only": not changes,
            **asdict(current.condition),
        }
    )


def _labels(report: Report) -> list[str]:
    """The 14 labels as a labeller finds them in the report: 1.0, 0.0, -1.0, or nothing."""
    words = {"yes": "1.0", "no": "0.0", "maybe": "-1.0"}
    found = {kind.label: words.get(report.mentioned(kind.name) or "", "") for kind in KINDS.values()}
    if not any(value in ("1.0", "-1.0") for value in found.values()):
        found["No Finding"] = "1.0"
    found["Support Devices"] = words.get(report.mentioned(SUPPORT_DEVICES) or "", "")
    if "1.0" in (found["Consolidation"], found["Edema"], found["Atelectasis"]):
        found["Lung Opacity"] = "1.0"
    return [found.get(label, "") for label in LABELS]


def _diseases(patient: Patient, visit: Visit, report: Report) -> dict[str, Any]:
    entity = {}
    for number, (name, lesion) in enumerate(visit.findings.items()):
        where = location(lesion)
        entity[name] = {
            "id": number,
            "entity_name": name,
            "location": [where] if where else None,
            "type": [type_of(lesion)] if type_of(lesion) else None,
            "level": [lesion.word],
        }
    return {
        "study_id": str(visit.study_id),
        "subject_id": str(patient.subject_id),
        "entity": entity,
        "no_entity": [name for name in KINDS if report.mentioned(name) == "no"],
    }
