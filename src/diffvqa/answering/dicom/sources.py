"""The DICOM files that were compared: whose they are, and the identifiers and dates of what is made from them."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydicom import Dataset, uid
from pydicom.uid import UID, generate_uid

from diffvqa import __version__
from diffvqa.errors import InputError
from diffvqa.files import replacing, writing_to
from diffvqa.images.moments import moment_of
from diffvqa.images.radiograph import Radiograph

MADE_BY: dict[str, Any] = {
    "instance_number": 1,
    "manufacturer": "diffvqa",
    "manufacturer_model_name": "diffvqa",
    "software_versions": __version__,
    "series_description": "RESEARCH USE ONLY diffvqa",
    "content_qualification": "RESEARCH",
}
"""Arguments of highdicom for every result."""

_UIDS = ("SOPInstanceUID", "SOPClassUID", "SeriesInstanceUID", "StudyInstanceUID")
_RADIOGRAPHS = (
    uid.ComputedRadiographyImageStorage,
    uid.DigitalXRayImageStorageForPresentation,
    uid.DigitalXRayImageStorageForProcessing,
    uid.SecondaryCaptureImageStorage,
)
_OWNER = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID",
    "StudyDate", "StudyTime", "StudyDescription", "ReferringPhysicianName",
)  # fmt: skip
"""Elements that a result copies from the current image, so that an archive files it in the same study."""
_REQUIRED_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
_DATES = ("Content", "Acquisition", "Series", "Study")
ELEMENTS = (
    *_UIDS, *_OWNER, *(f"{name}{part}" for name in _DATES for part in ("Date", "Time")), "Rows", "Columns",
    "SpecificCharacterSet",
)  # fmt: skip
"""The elements of the compared files that a result rests on."""


@dataclass(frozen=True)
class Sources:
    """The compared images and the model that compared them.

    current, priors: what identifies them and their size, and nothing of the patient; priors nearest first. owner: the
    patient and study of the current image. made: when the current image was. model: the SHA-256 of the weights that
    answered. captioner: of those that drew the boxes, or None.
    """

    current: Dataset
    priors: tuple[Dataset, ...]
    owner: Dataset
    made: datetime
    model: str
    captioner: str | None

    @property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """Width and height in pixels of the current image and the nearest prior one."""
        images = {"current": self.current, "prior": self.priors[0]}
        return {name: (int(one.Columns), int(one.Rows)) for name, one in images.items()}

    @property
    def device_uid(self) -> UID:
        """The identifier of this version with this model."""
        return self._uid("device")

    def uid(self, *content: str) -> UID:
        """The identifier of something made of these images by this model, always the same for the same content."""
        return self._uid(*(str(one.SOPInstanceUID) for one in (self.current, *self.priors)), *content)

    def _uid(self, *content: str) -> UID:
        return generate_uid(entropy_srcs=["\n".join((__version__, self.model, self.captioner or "", *content))])


def read_sources(current: Radiograph, priors: Sequence[Radiograph], model: str, captioner: str | None) -> Sources:
    """The headers of the compared radiographs, which were read with ELEMENTS, nearest prior first.

    Raises InputError, which names the argument, for a file that is no DICOM radiograph or lacks its identifiers. It
    also does so if there is no prior, or if highdicom is not installed. Whose they are is for the answer to check.
    """
    _require_highdicom()
    if not priors:
        raise InputError(
            "reports a change and needs two radiographs; give {prior}, too", argument="dicom_sr", mentions=("prior",)
        )
    headers = [_header(current, "current"), *(_header(prior, "prior") for prior in priors)]
    images = [_without_patient(one) for one in headers]
    if len({one.SOPInstanceUID for one in images}) < len(images):
        raise InputError(
            "{prior} and {current} have the same SOPInstanceUID; give different radiographs",
            mentions=("prior", "current"),
        )
    owner = Dataset()
    owner.update({one.tag: one for one in headers[0] if one.keyword in _OWNER})
    return Sources(images[0], tuple(images[1:]), owner, _made(headers[0]), model, captioner)


def finish(result: Dataset, sources: Sources) -> Dataset:
    """A result that is the same, to the byte, whenever it is made of the same images.

    It takes over patient and study of the current image. Its dates are those of the current image, or 1900 if the image
    has none. A repeated run must not store another document under the same identifier, and the date of the run says
    nothing about the patient.
    """
    for element in sources.owner:
        result[element.tag] = element
    result.SpecificCharacterSet = "ISO_IR 192"
    for keyword in ("InstanceCreation", "DateOfSecondaryCapture", "TimeOfSecondaryCapture"):
        for name in (keyword, f"{keyword}Date", f"{keyword}Time"):
            if name in result:
                delattr(result, name)
    result.ContentDate = f"{sources.made:%Y%m%d}"
    result.ContentTime = f"{sources.made:%H%M%S}"
    for equipment in result.get("ContributingEquipmentSequence", ()):
        if "ContributionDateTime" in equipment:
            del equipment.ContributionDateTime
    return result


def make_folder(folder: Path) -> None:
    """The folder for the results, for its owner only where it is new. Raises InputError if it cannot be made."""
    with writing_to("dicom_sr", "no folder can be made there"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def save(result: Dataset, folder: Path, name: str) -> Path:
    """Write NAME-UID.dcm, whole or not at all, readable to its owner only. Raises InputError if it cannot be."""
    path = folder / f"{name}-{result.SOPInstanceUID}.dcm"
    with writing_to("dicom_sr", "nothing can be written there"), replacing(path) as temporary:
        temporary.touch(mode=0o600)
        result.save_as(temporary, enforce_file_format=True)
    return path


def _require_highdicom() -> None:
    """Raises InputError where it is not installed."""
    # No warnings or log of the DICOM libraries: on unusual headers they quote values, names too.
    this_package = re.escape(__name__.rpartition(".")[0])
    warnings.filterwarnings("ignore", module=rf"pydicom|highdicom|{this_package}")
    for name in ("pydicom", "highdicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise InputError(
            "needs highdicom, which is not installed; run: pip install 'diffvqa[dicom-sr]'", argument="dicom_sr"
        ) from error


def _header(radiograph: Radiograph, argument: str) -> Dataset:
    """The needed elements of a header, with its text as unicode."""

    def refused(expected: str) -> InputError:
        return InputError(f"{{dicom_sr}} expects {expected}", argument=argument, mentions=("dicom_sr",))

    found = radiograph.elements
    try:
        if found is None:
            raise ValueError("no DICOM file")
        found.decode()
        header = Dataset({one.tag: one for one in found if one.VM == 1 and not one.is_empty})
    except Exception as error:  # damaged files make pydicom raise many kinds
        raise refused(
            "a DICOM file, found another kind or a damaged one; give the file that the archive holds"
        ) from error
    for name in _UIDS:
        if not UID(str(header.get(name, ""))).is_valid:
            raise refused(f"a DICOM file with a valid {name}, found none in it")
    if header.SOPClassUID not in _RADIOGRAPHS:
        kinds = ", ".join(UID(one).name for one in _RADIOGRAPHS)
        raise refused(f"one of {kinds}; found {UID(header.SOPClassUID).name}")
    return header


def _without_patient(header: Dataset) -> Dataset:
    """The header as the makers of the results get it: what they complain about cannot then be the patient's."""
    image = Dataset()
    for name in (*_UIDS, "Rows", "Columns"):
        setattr(image, name, header[name].value)
    for name in _REQUIRED_EMPTY:
        setattr(image, name, None)
    return image


def _made(header: Dataset) -> datetime:
    """The first date in the header that is one, with its time if that is one."""
    for name in _DATES:
        if made := moment_of(*(str(header.get(f"{name}{part}", "")) for part in ("Date", "Time"))):
            return made.first
    return datetime(1900, 1, 1)
