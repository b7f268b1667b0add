"""Two files of one patient, by their headers: never two people for one, and no lost letter for the same."""

import io

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from diffvqa.answering.comparable import check_identity
from diffvqa.errors import InputError
from diffvqa.images import dicom
from diffvqa.images.header import ELEMENTS, header_of


def header(identifier=b"ID", charset="ISO_IR 100", **elements):
    """The header of a file whose identifier has these bytes."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.SpecificCharacterSet, dataset.PatientID = charset, "@" * len(identifier)
    for name, value in elements.items():
        setattr(dataset, name, value)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    content = file.getvalue().replace(b"@" * len(identifier), identifier)
    return header_of(dicom.parse(io.BytesIO(content), ELEMENTS))


def said(current, prior, trusted=False):
    return check_identity({"current": current, "prior": prior}, trusted)


def test_letters_of_a_set_that_is_named_tell_people_apart():
    with pytest.raises(InputError, match="different patients"):
        said(header("Müller".encode("latin-1")), header("Möller".encode("latin-1")))
    assert said(header("Müller".encode("latin-1")), header("Müller".encode(), "ISO_IR 192")) == []


@pytest.mark.parametrize(
    ("identifier", "charset"),
    [
        ("Müller".encode("latin-1"), "ISO_IR 192"),
        (b"M?ller", "ISO_IR 100"),
        (b"1.23E+17", "ISO_IR 100"),
        (b"ANONYMOUS ", "ISO_IR 100"),
        (b"NaN ", "ISO_IR 100"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_an_identifier_that_was_lost_in_part_is_the_same_as_none(identifier, charset):
    (warning,) = said(header(identifier, charset), header(identifier, charset))
    assert "whether they show the same patient" in warning


@pytest.mark.parametrize(
    ("name", "one", "other"), [("PatientBirthDate", "19500131", "19510131"), ("PatientSex", "F", "M")]
)
def test_one_identifier_with_another_birth_date_or_sex_is_another_patient(name, one, other):
    with pytest.raises(InputError, match=r"different patients.*trust_identity") as error:
        said(header(**{name: one}), header(**{name: other}))
    assert not any(value in str(error.value) for value in ("1950", "1951"))
    (warning,) = said(header(**{name: one}), header(**{name: other}), trusted=True)
    assert "treated as one patient, as requested" in warning


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("PatientBirthDate", "19500131", ""),
        ("PatientBirthDate", "19500131", "1950.01.31"),
        ("PatientBirthDate", "19500131", "unknown"),
        ("PatientSex", "F", "O"),
        ("PatientSex", "F", ""),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_not_said_of_a_person_differs_from_nothing(name, one, other):
    assert said(header(**{name: one}), header(**{name: other})) == []


def test_two_births_are_two_people_also_without_identifiers():
    with pytest.raises(InputError, match="different patients"):
        said(header(b"NA", PatientBirthDate="19500131"), header(b"NA", PatientBirthDate="19510131"))
