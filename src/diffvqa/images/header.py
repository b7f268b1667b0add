"""What a DICOM header says of a radiograph beside its pixels: whose, when and how it was taken.

It serves to compare files, and is not shown: no message may quote it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date, time
from typing import TYPE_CHECKING

from diffvqa.cells import read_sex, why_nobody
from diffvqa.images.dicom import decode_elements
from diffvqa.images.moments import Moment, moment_of
from diffvqa.images.orientation import UPRIGHT, Orientation, orientation_of

if TYPE_CHECKING:
    from pydicom import Dataset

RADIOGRAPHS = ("CR", "DX", "RG")
"""The modalities (PS3.3 C.7.3.1.1.1) of plain radiographs."""

_MOMENTS = ("Study", "Acquisition", "Content")
ELEMENTS = (
    "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    "ViewPosition", "Modality", "BodyPartExamined", "PatientOrientation",
    *(f"{kind}{part}" for kind in _MOMENTS for part in ("Date", "Time")),
)  # fmt: skip
"""The elements of a DICOM file that a header is made of."""

_LATERAL = {"LL", "RL", "LAT", "LATERAL", "LEFT LATERAL", "RIGHT LATERAL"}
_CHEST = ("CHEST", "THORAX", "LUNG")
_ELSEWHERE = (
    "ABDOMEN", "PELVIS", "HIP", "FEMUR", "THIGH", "KNEE", "LEG", "ANKLE", "FOOT", "TOE", "HEEL", "CALCANEUS", "HAND",
    "FINGER", "THUMB", "WRIST", "FOREARM", "ELBOW", "ARM", "HUMERUS", "SKULL", "HEAD", "FACE", "JAW", "NECK", "CSPINE",
    "LSPINE", "BREAST",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """What serves to tell whether two radiographs can be compared. None and "" stand for what the file does not say.

    patient: the identifier and who issued it. born, sex (M or F): of the patient. taken: when; the time of
    day may be missing. view: AP, PA, LATERAL or "".
    """

    patient: tuple[str, str] | None = field(default=None, repr=False)
    born: Moment | None = field(default=None, repr=False)
    sex: str = field(default="", repr=False)
    taken: tuple[date, time | None] | None = field(default=None, repr=False)
    view: str = ""
    radiograph: bool | None = None
    chest: bool | None = None
    orientation: Orientation = UPRIGHT


def header_of(dataset: Dataset) -> Header:
    """The header of a DICOM file, of which the dataset has ELEMENTS. Raises UnreadableImage."""
    decode_elements(dataset, ELEMENTS)
    modality, patient = _text(dataset, "Modality").upper(), _text(dataset, "PatientID")
    directions = _text(dataset, "PatientOrientation").upper().split("\\")
    return Header(
        patient=None if why_nobody(patient) else (patient, _text(dataset, "IssuerOfPatientID")),
        born=moment_of(_text(dataset, "PatientBirthDate")),
        sex=read_sex(_text(dataset, "PatientSex")),
        taken=_taken(dataset),
        view=_view(_text(dataset, "ViewPosition").upper(), directions),
        radiograph=modality in RADIOGRAPHS if modality else None,
        chest=_chest(_text(dataset, "BodyPartExamined").upper()),
        orientation=orientation_of(directions),
    )


def _text(dataset: Dataset, name: str) -> str:
    """An element as text, several values with backslashes between them; "" where there is none."""
    value = dataset.get(name, "")
    values = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else value
    return "\\".join(" ".join(str(one).split()) for one in values)


def _taken(dataset: Dataset) -> tuple[date, time | None] | None:
    """The first moment that the header gives a date of: of the study, else of the acquisition, else of the content."""
    for kind in _MOMENTS:
        day = _date(_text(dataset, f"{kind}Date"))
        if day is not None:
            return day, _time(_text(dataset, f"{kind}Time"))
    return None


def _date(text: str) -> date | None:
    match = re.fullmatch(r"(\d{4})[.-]?(\d{2})[.-]?(\d{2})", text)
    try:
        return date(*map(int, match.groups())) if match else None
    except ValueError:
        return None


def _time(text: str) -> time | None:
    match = re.fullmatch(r"(\d{2}):?(\d{2})?:?(\d{2})?(?:\.(\d{1,6}))?", text)
    if not match:
        return None
    hour, minute, second, fraction = match.groups()
    try:
        return time(int(hour), int(minute or 0), int(second or 0), int((fraction or "0").ljust(6, "0")))
    except ValueError:
        return None


def _view(position: str, directions: list[str]) -> str:
    if position in _LATERAL or directions[0][:1] in ("A", "P"):
        return "LATERAL"
    return position if position in ("AP", "PA") else ""


def _chest(part: str) -> bool | None:
    """Whether a part of the body is the chest; None where it is not said, or not plainly."""
    if any(word in part for word in _CHEST):
        return True
    words = re.findall("[A-Z]+", part)
    return False if any(word in _ELSEWHERE for word in words) else None
