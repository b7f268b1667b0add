"""Scene graphs of Chest ImaGenome for synthetic images: boxes, what the report says of them, what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffvqa.boxes import Box, Frame
from diffvqa.phantom.cohort import Patient, Picture, Visit
from diffvqa.phantom.reports import Report, Sentence

WITHOUT_TEXT = frozenset(
    (
        "right cardiophrenic angle", "left cardiophrenic angle", "right cardiac silhouette", "left cardiac silhouette",
        "right upper abdomen", "left upper abdomen", "descending aorta",
    )
)  # fmt: skip
"""Regions that get a box and never a phrase."""


def scene_graph(
    patient: Patient, order: int, picture: Picture, report: Report, boxes: Mapping[str, Box], prior_dicom: str | None
) -> dict[str, Any]:
    """The scene graph of one image. order: the study's place in the patient's course; prior_dicom: the one before."""
    visit = patient.visits[order]
    acquisition = picture.acquisition
    return {
        "image_id": picture.dicom_id,
        "viewpoint": acquisition.view,
        "patient_id": patient.subject_id,
        "study_id": visit.study_id,
        "gender": patient.body.sex,
        "age_decile": f"{patient.age // 10 * 10}-{patient.age // 10 * 10 + 10}",
        "reason_for_exam": f"___{patient.body.sex} with ___",
        "StudyOrder": order + 1,
        "StudyDateTime": f"{visit.time:%Y-%m-%d %H:%M:%S} UTC",
        "objects": [
            _object(picture.dicom_id, name, box, acquisition.width, acquisition.height) for name, box in boxes.items()
        ],
        "attributes": _attributes(picture.dicom_id, visit, report, boxes),
        "relationships": _relationships(picture.dicom_id, visit, report, boxes, prior_dicom) if prior_dicom else [],
    }


def _object(dicom_id: str, name: str, box: Box, width: int, height: int) -> dict[str, Any]:
    return {
        "object_id": f"{dicom_id}_{name}",
        **_extent(Frame.letterbox(width, height, 224).into(box)),
        "bbox_name": name,
        "synsets": [_synset(name)],
        "name": name.title(),
        **_extent(box, "original_"),
    }


def _extent(box: Box, prefix: str = "") -> dict[str, int]:
    """Corners, width and height in whole pixels."""
    x1, y1, x2, y2 = (round(value) for value in box.as_tuple())
    numbers = {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "width": x2 - x1, "height": y2 - y1}
    return {f"{prefix}{name}": number for name, number in numbers.items()}


def _attributes(dicom_id: str, visit: Visit, report: Report, boxes: Mapping[str, Box]) -> list[dict[str, Any]]:
    entries = []
    for name in boxes:
        said = [(place, one) for place, one in enumerate(report.findings) if name in one.regions]
        if not said or name in WITHOUT_TEXT:
            continue
        entries.append(
            {
                name: True,
                "bbox_name": name,
                "synsets": [_synset(name)],
                "name": name.title(),
                "attributes": [list(sentence.attributes) for _, sentence in said],
                "attributes_ids": [[_synset(one) for one in sentence.attributes] for _, sentence in said],
                "phrases": [sentence.text for _, sentence in said],
                "phrase_IDs": [f"{visit.study_id}|{place + 1}" for place, _ in said],
                "sections": ["finalreport" for _ in said],
                "comparison_cues": [_cue("comparison", one.cue) for _, one in said],
                "temporal_cues": [[] for _ in said],
                "severity_cues": [_cue("severity", one.severity) for _, one in said],
                "texture_cues": [_texture_cue(sentence) for _, sentence in said],
                "object_id": f"{dicom_id}_{name}",
            }
        )
    return entries


def _relationships(
    dicom_id: str, visit: Visit, report: Report, boxes: Mapping[str, Box], prior_dicom: str
) -> list[dict[str, Any]]:
    entries = []
    for place, sentence in enumerate(report.findings):
        for name in sentence.regions if sentence.cue else ():
            if name not in boxes:
                continue
            names = _cue("comparison", sentence.cue)
            entries.append(
                {
                    "relationship_id": f"{visit.study_id}|{place + 1}_{dicom_id}_{name}_{prior_dicom}",
                    "predicate": str([_synset(one) for one in names]),
                    "synsets": [_synset(one) for one in names],
                    "relationship_names": names,
                    "relationship_contexts": [1.0],
                    "phrase": sentence.text,
                    "attributes": list(sentence.attributes),
                    "bbox_name": name,
                    "subject_id": f"{dicom_id}_{name}",
                    "object_id": f"{prior_dicom}_{name}",
                }
            )
    return entries


def _cue(kind: str, word: str) -> list[str]:
    return [f"{kind}|yes|{word}"] if word else []


def _texture_cue(sentence: Sentence) -> list[str]:
    return ["texture|yes|opacity"] if any("|yes|lung opacity" in one for one in sentence.attributes) else []


def _synset(name: str) -> str:
    """A made-up concept number that stands for a name."""
    number = 0
    for letter in name.encode():
        number = (number * 131 + letter) % 9_999_991
    return f"C{number:07d}"
