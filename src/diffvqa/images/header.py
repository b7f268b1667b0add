"""The facts in a DICOM header beside the pixels: patient, time and acquisition.

It serves to compare files, and is not shown: no message may quote it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from diffvqa.cells import read_sex, said, why_nobody
from diffvqa.images.dicom import decode_elements
from diffvqa.images.moments import Moment, moment_of
from diffvqa.images.orientation import Orientation, orientation_of, require_upright
from diffvqa.images.shape import UnreadableImage
from diffvqa.images.views import DECUBITUS, LATERAL, OBLIQUE, view_of, view_of_code

if TYPE_CHECKING:
    from pydicom import Dataset

RADIOGRAPHS = ("CR", "DX", "RG")
"""The modalities (PS3.3 C.7.3.1.1.1) of plain radiographs."""

_IMAGES = "1.2.840.10008.5.1.4.1.1."
_FOR_PROCESSING = f"{_IMAGES}1.1.1"
_OF_RADIOGRAPHS = (f"{_IMAGES}1", f"{_IMAGES}1.1", _FOR_PROCESSING)
_OF_ANYTHING = f"{_IMAGES}7."
"""The kinds of objects (PS3.4 B.5): computed and digital radiographs, and pictures captured of anything."""

_MOMENTS = ("Study", "Acquisition", "Series", "Content")
ELEMENTS = (
    "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "ViewPosition", "ViewCodeSequence", "Modality",
    "SOPClassUID", "BodyPartExamined", "AnatomicRegionSequence", "PatientOrientation", "ImageType",
    "PresentationIntentType", "AcquisitionDateTime", "TimezoneOffsetFromUTC",
    *(f"{kind}{part}" for kind in _MOMENTS for part in ("Date", "Time")),
)  # fmt: skip
"""The elements of a DICOM file that a header is made of."""

_CHEST = re.compile("CHEST|THORAX|TORAX|TORACE|LUNG|PULMO|CXR|胸")
_SPINE = re.compile("SPINE|VERTEBRA|WIRBEL")
_CHEST_CODES = (
    "51185008", "T-D3000", "816094009", "43799004", "T-D3200", "39607008", "T-28000", "416550000", "R-FAB55",
)  # fmt: skip
"""Chest, chest cavity, lung, chest and abdomen, in SNOMED CT and in its old form."""


DERIVED = "derived from another picture, by its header"
FOR_PROCESSING = "pixels for processing, not for presentation: grey values are not those of usual radiographs"
"""Remarks on files that are read all the same."""

UNSUITABLE = "no usual frontal chest radiograph"
"""How the reason begins why a file that can be read is not for a store."""


@dataclass(frozen=True, slots=True)
class Header:
    """The facts that tell whether two radiographs can be compared. None and "" mean that the file does not say.

    patient: the identifier and who issued it. born, sex (M or F): the patient's. taken: when, by the study, else by
    acquisition, series or content; acquired: by the acquisition. view: as `view_of` gives it. for_processing: before
    what makes it fit to be looked at. derived: computed from other pictures.
    """

    patient: tuple[str, str] | None = field(default=None, repr=False)
    born: Moment | None = field(default=None, repr=False)
    sex: str = field(default="", repr=False)
    taken: Moment | None = field(default=None, repr=False)
    acquired: Moment | None = field(default=None, repr=False)
    view: str = ""
    radiograph: bool | None = None
    chest: bool | None = None
    for_processing: bool = False
    derived: bool = False

    def before(self, other: Header) -> bool:
        """Whether it was surely taken earlier; of pictures of one study, by their acquisition."""
        if self.taken is None or other.taken is None:
            return False
        if self.taken.before(other.taken):
            return True
        if other.taken.before(self.taken) or self.acquired is None or other.acquired is None:
            return False
        return self.acquired.before(other.acquired)

    def faults(self) -> Iterator[str]:
        """Why it is no frontal chest radiograph."""
        if self.radiograph is False:
            yield "not a plain radiograph (the modality is none of CR, DX and RG, or the kind of object is another)"
        if self.chest is False:
            yield "another part of the body than the chest"
        if self.view == LATERAL:
            yield "a lateral view; the model has seen frontal ones"

    def doubts(self) -> Iterator[str]:
        """Facts that make the image unlike the frontal chest radiographs that models have seen."""
        if self.view == DECUBITUS:
            yield "taken lying on one side (decubitus): fluid and air lie in other places"
        if self.view == OBLIQUE:
            yield "an oblique view: sizes and places differ from those of frontal ones"

    def remarks(self) -> Iterator[str]:
        """Facts about its pixels that a user should know: DERIVED, FOR_PROCESSING."""
        if self.for_processing:
            yield FOR_PROCESSING
        if self.derived:
            yield DERIVED


def header_of(dataset: Dataset) -> Header:
    """The header of a DICOM file, of which the dataset has ELEMENTS; what of them is damaged is not said."""
    decode_elements(dataset, ELEMENTS, dispensable=ELEMENTS)
    patient = _text(dataset, "PatientID")
    acquired = _acquired(dataset)
    return Header(
        patient=None if why_nobody(patient) else (patient, _text(dataset, "IssuerOfPatientID")),
        born=moment_of(_text(dataset, "PatientBirthDate")),
        sex=read_sex(_text(dataset, "PatientSex")),
        taken=_moment(dataset, "Study") or acquired or _moment(dataset, "Series") or _moment(dataset, "Content"),
        acquired=acquired,
        view=_view(dataset),
        radiograph=_radiograph(dataset),
        chest=_chest(dataset),
        for_processing="FOR PROCESSING" in _text(dataset, "PresentationIntentType").upper()
        or _text(dataset, "SOPClassUID") == _FOR_PROCESSING,
        derived=_text(dataset, "ImageType").upper().split("\\")[0] == "DERIVED",
    )


def orientation_in(dataset: Dataset) -> Orientation:
    """The orientation of the picture of a DICOM file, from a dataset with ELEMENTS."""
    return orientation_of(_directions(dataset))


def require_suitable(header: Header | None, orientation: Orientation) -> None:
    """Raises UnreadableImage for a picture that is no usual frontal chest radiograph, or not stored upright."""
    if header and (reasons := [*header.faults(), *header.doubts()]):
        raise UnreadableImage(f"{UNSUITABLE}: {'; '.join(reasons)}")
    require_upright(orientation)


def _text(dataset: Dataset, name: str) -> str:
    """An element as text, several values with backslashes between them; "" where there is none."""
    value = dataset.get(name, "")
    values = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else value
    return "\\".join(" ".join(str(one).split()) for one in values)


def _codes(dataset: Dataset, name: str) -> Iterator[tuple[str, str]]:
    """Value and meaning of the codes of a sequence; what stands there in another form is passed over."""
    for item in dataset.get(name, ()):
        try:
            yield _text(item, "CodeValue") or _text(item, "LongCodeValue"), _text(item, "CodeMeaning")
        except Exception:  # damaged files make pydicom raise many kinds
            continue


def _acquired(dataset: Dataset) -> Moment | None:
    found = moment_of(_text(dataset, "AcquisitionDateTime"), zone=_text(dataset, "TimezoneOffsetFromUTC"))
    return found or _moment(dataset, "Acquisition")


def _moment(dataset: Dataset, kind: str) -> Moment | None:
    """The first date of a kind and its time."""
    day, time = (_text(dataset, f"{kind}{part}").split("\\")[0] for part in ("Date", "Time"))
    return moment_of(day, time, _text(dataset, "TimezoneOffsetFromUTC"))


def _view(dataset: Dataset) -> str:
    """The view: from its words, else from codes, else from the directions of rows and columns."""
    if found := view_of(_text(dataset, "ViewPosition")):
        return found
    for value, meaning in _codes(dataset, "ViewCodeSequence"):
        if found := view_of_code(value, meaning):
            return found
    return LATERAL if any(one[:1] in ("A", "P") for one in _directions(dataset)) else ""


def _directions(dataset: Dataset) -> list[str]:
    return _text(dataset, "PatientOrientation").upper().split("\\")


def _radiograph(dataset: Dataset) -> bool | None:
    """Whether the modality is one of plain radiographs, and so is the kind of object; None where nothing is said."""
    kind = _text(dataset, "SOPClassUID")
    if kind.startswith(_IMAGES) and kind not in _OF_RADIOGRAPHS and not f"{kind}.".startswith(_OF_ANYTHING):
        return False
    return is_radiograph(_text(dataset, "Modality"))


def _chest(dataset: Dataset) -> bool | None:
    """Whether all that is said of the part of the body is the chest; None where nothing is said."""
    parts = [("", _text(dataset, "BodyPartExamined")), *_codes(dataset, "AnatomicRegionSequence")]
    # A code that is not known and has no meaning written is no word for the chest either.
    found = [value in _CHEST_CODES or is_chest(words or value) for value, words in parts]
    known = [one for one in found if one is not None]
    return all(known) if known else None


def is_radiograph(modality: str) -> bool | None:
    """Whether a modality is one of plain radiographs; None where none is said."""
    return said(modality).upper() in RADIOGRAPHS if said(modality) else None


def is_chest(words: str) -> bool | None:
    """Whether words for a part of the body name the chest; None where they say nothing."""
    if not said(words) or words.strip().upper() in ("NONE", "UNKNOWN"):
        return None
    plain = "".join(one for one in unicodedata.normalize("NFKD", words.upper()) if not unicodedata.combining(one))
    return bool(_CHEST.search(plain)) and not _SPINE.search(plain)
