"""What DICOM headers say beside pixels, and pictures that were stored turned."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from diffvqa.boxes import Box
from diffvqa.images import UnreadableImage, dicom
from diffvqa.images.header import ELEMENTS, Header, header_of
from diffvqa.images.moments import moment_of
from diffvqa.images.orientation import UPRIGHT, Orientation, orientation_of
from diffvqa.images.radiograph import Radiograph

pytestmark = [  # of writing unusual headers
    pytest.mark.filterwarnings("ignore:Invalid value"),
    pytest.mark.filterwarnings("ignore:The value length"),
]


@pytest.fixture
def read():
    def written_and_read(**elements):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
        for name, value in elements.items():
            setattr(dataset, name, value)
        file = io.BytesIO()
        dataset.save_as(file, enforce_file_format=True)
        file.seek(0)
        return header_of(dicom.parse(file, ELEMENTS))

    return written_and_read


def test_a_header_that_says_nothing_is_no_error(read):
    assert read() == Header()
    assert read(PatientID="", ViewPosition="", Modality="", StudyDate="", PatientOrientation="") == Header()


def test_only_a_dicom_file_has_a_header(write_dicom, tmp_path):
    Image.new("L", (20, 20)).save(tmp_path / "a.png")
    assert Radiograph.from_file(tmp_path / "a.png").header is None
    path = write_dicom(tmp_path / "a.dcm", np.zeros((40, 40), np.uint8))
    assert Radiograph.from_file(path).header.view == "PA"
    with pytest.raises(UnreadableImage):
        Radiograph.from_file(tmp_path / "missing.dcm")


def test_only_elements_that_are_asked_for_are_kept_and_none_is_shown(write_dicom, secrets, tmp_path):
    path = write_dicom(tmp_path / "a.dcm", np.zeros((40, 40), np.uint8))
    assert len(Radiograph.from_file(path).elements) == 0
    radiograph = Radiograph.from_file(path, ["PatientName", "AccessionNumber", "StudyDescription"])
    assert [one.keyword for one in radiograph.elements] == ["AccessionNumber", "PatientName"]
    assert not any(secret in repr(radiograph) for secret in secrets)


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"StudyDate": "20240102", "StudyTime": "0815"}, "20240102 0815"),
        ({"StudyDate": "20240102", "StudyTime": "081530.5"}, "20240102 081530.5"),
        ({"StudyDate": "20240102", "StudyTime": "081530.1234567"}, "20240102 081530.123456"),
        ({"StudyDate": "20240102", "StudyTime": "08:15:30,5"}, "20240102 081530.5"),
        ({"StudyDate": "20240102"}, "20240102"),
        ({"StudyDate": "20240102", "StudyTime": "9 o'clock"}, "20240102"),
        ({"StudyDate": "20240102", "AcquisitionDate": "20230101"}, "20240102"),
        ({"AcquisitionDate": "20230101", "AcquisitionTime": "08"}, "20230101 08"),
        ({"AcquisitionDateTime": "20230101080000.5", "ContentDate": "20220101"}, "20230101 080000.5"),
        ({"AcquisitionDateTime": "20230101080000+0100"}, "20230101 080000+0100"),
        ({"SeriesDate": "20230101", "SeriesTime": "08", "ContentDate": "20220101"}, "20230101 08"),
        ({"ContentDate": "20220101", "StudyTime": "08"}, "20220101"),
        ({"StudyDate": "20240230", "ContentDate": "20220101"}, "20220101"),
        ({"StudyDate": "20240102", "StudyTime": "08", "TimezoneOffsetFromUTC": "-0500"}, "20240102 08-0500"),
        ({"StudyTime": "08"}, ""),
    ],
)
def test_when_a_picture_was_taken(read, elements, expected):
    assert read(**elements).taken == moment_of(expected)


def test_when_a_picture_was_acquired_is_known_beside(read):
    header = read(StudyDate="20240102", AcquisitionDateTime="20240103", AcquisitionDate="20240104")
    assert (header.taken, header.acquired) == (moment_of("20240102"), moment_of("20240103"))


def coded(value, meaning=""):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return [item]


@pytest.mark.parametrize(
    ("elements", "view"),
    [
        ({"ViewPosition": "PA "}, "PA"),
        ({"ViewPosition": "AP"}, "AP"),
        ({"ViewPosition": "ap supine"}, "AP"),
        ({"ViewPosition": "LL"}, "LATERAL"),
        ({"ViewPosition": "LATERAL"}, "LATERAL"),
        ({"ViewPosition": "XTABLE LATERAL"}, "LATERAL"),
        ({"ViewPosition": "LLAT"}, "LATERAL"),
        ({"ViewPosition": "LATERO-LATERAL"}, "LATERAL"),
        ({"ViewPosition": "XTABLE"}, "LATERAL"),
        ({"ViewPosition": "L"}, "LATERAL"),
        ({"ViewPosition": "L.L."}, "LATERAL"),
        ({"ViewPosition": "P.A."}, "PA"),
        ({"ViewPosition": "a.p. erect"}, "AP"),
        ({"ViewPosition": "Perfil"}, "LATERAL"),
        ({"ViewPosition": "SEITLICH"}, "LATERAL"),
        ({"ViewPosition": "profilo"}, "LATERAL"),
        ({"ViewPosition": "PA L"}, "PA"),
        ({"ViewPosition": "XTABLE AP"}, "AP"),
        ({"ViewPosition": "LLD"}, "DECUBITUS"),
        ({"ViewPosition": "LEFT LATERAL DECUB"}, "DECUBITUS"),
        ({"ViewPosition": "RLO"}, "OBLIQUE"),
        ({"ViewPosition": "RAO"}, "OBLIQUE"),
        ({"ViewPosition": "PA OBL"}, "OBLIQUE"),
        ({"ViewPosition": "BILATERAL"}, ""),
        ({"ViewPosition": "", "ViewCodeSequence": coded("399173006")}, "LATERAL"),
        ({"ViewCodeSequence": coded("R-10236", "left lateral")}, "LATERAL"),
        ({"ViewCodeSequence": coded("399348003")}, "AP"),
        ({"ViewCodeSequence": coded("R-10214")}, "PA"),
        ({"ViewCodeSequence": coded("X-1", "Postero-anterior")}, "PA"),
        ({"ViewCodeSequence": coded("399135007")}, "OBLIQUE"),
        ({"ViewPosition": "PA", "ViewCodeSequence": coded("399173006")}, "PA"),
        ({"ViewCodeSequence": coded("399348003"), "PatientOrientation": ["A", "F"]}, "AP"),
        ({"PatientOrientation": ["P", "F"]}, "LATERAL"),
        ({"PatientOrientation": ["F", "A"]}, "LATERAL"),
        ({"ViewPosition": "PA", "PatientOrientation": ["L", "F"]}, "PA"),
    ],
)
def test_views(read, elements, view):
    assert read(**elements).view == view


@pytest.mark.parametrize(
    ("part", "chest"),
    [
        ("CHEST", True),
        ("PORT CHEST", True),
        ("CHESTABDOMEN", True),
        ("Tórax", True),
        ("KNEE", False),
        ("R_HAND", False),
        ("RIBS", False),
        ("THORACIC SPINE", False),
        ("SHOULDER", False),
        ("", None),
        ("N/A", None),
    ],
)
def test_what_is_not_called_a_chest_is_another_part_of_the_body(read, part, chest):
    assert read(BodyPartExamined=part).chest is chest


@pytest.mark.parametrize(
    ("value", "meaning", "chest"),
    [
        ("51185008", "", True),
        ("T-D3000", "Chest", True),
        ("X-1", "Chest", True),
        ("72696002", "Knee", False),
        ("X-1", "", False),
    ],
)
def test_the_part_of_the_body_by_its_code(read, value, meaning, chest):
    assert read(AnatomicRegionSequence=coded(value, meaning)).chest is chest
    assert read(BodyPartExamined="HAND", AnatomicRegionSequence=coded(value, meaning)).chest is False


@pytest.mark.parametrize(
    ("modality", "kind", "radiograph"),
    [
        ("DX", "1.1", True),
        ("", "1", None),
        ("", "1.1.1", None),
        ("", "2", False),  # computed tomography
        ("", "1.2", False),  # a mammogram
        ("DX", "6.1", False),  # ultrasound
        ("CR", "7", True),  # captured
        ("", "7.2", None),
        ("", None, None),
        ("OT", "1.1", False),
    ],
)
def test_the_kind_of_object_tells_the_modality_too(read, modality, kind, radiograph):
    found = read(Modality=modality, SOPClassUID=kind and f"1.2.840.10008.5.1.4.1.1.{kind}")
    assert found.radiograph is radiograph


def test_pixels_for_processing_and_derived_ones(read):
    header = read(PresentationIntentType="FOR PROCESSING", ImageType=["DERIVED", "PRIMARY"])
    assert (header.for_processing, header.derived) == (True, True)
    assert read(SOPClassUID="1.2.840.10008.5.1.4.1.1.1.1.1").for_processing
    header = read(PresentationIntentType="FOR PRESENTATION", ImageType=["ORIGINAL", "PRIMARY"])
    assert (header.for_processing, header.derived) == (False, False)


@pytest.mark.parametrize(("modality", "radiograph"), [("CR", True), ("DX", True), ("RG", True), ("CT", False)])
def test_modalities(read, modality, radiograph):
    assert read(Modality=modality).radiograph is radiograph


def test_whose_and_when_are_not_shown(read):
    header = read(PatientID="ID-4711", IssuerOfPatientID="Elsewhere", StudyDate="19871231")
    assert header.patient == ("ID-4711", "Elsewhere")
    assert not any(secret in repr(header) for secret in ("4711", "Elsewhere", "1987"))


def stored_with(row, column):
    """A picture of which the corners are known, stored so that its rows and columns run in these directions.

    Head 100, feet 0; the patient's left 1, right 0: upright it is [[100, 101], [0, 1]].
    """
    worth = {"L": 1, "R": 0, "H": 100, "F": 0}
    opposite = {"L": "R", "R": "L", "H": "F", "F": "H"}
    return np.array([[worth[x] + worth[y] for x in (opposite[row], row)] for y in (opposite[column], column)], np.uint8)


@pytest.mark.parametrize(
    ("row", "column"), [(x, y) for x, y in itertools.permutations("LRHF", 2) if {x, y} not in ({"L", "R"}, {"H", "F"})]
)
def test_every_orientation_is_brought_upright(row, column):
    upright = orientation_of([row, column]).upright(stored_with(row, column))
    assert upright.tolist() == [[100, 101], [0, 1]]


@pytest.mark.parametrize(
    "directions", [[], [""], ["L"], ["L", "R"], ["A", "F"], ["LF", "F"], ["H", "H"], ["L", "F", "L"]]
)
def test_an_ambiguous_orientation_changes_nothing(directions):
    assert orientation_of(directions) == UPRIGHT


@pytest.mark.parametrize("turns", list(itertools.product((False, True), repeat=3)), ids=str)
def test_boxes_go_back_with_the_pixels(turns):
    orientation = Orientation(*turns)
    stored = np.zeros((30, 50), np.uint8)
    stored[4:10, 20:35] = 1
    upright = orientation.upright(stored)
    rows, columns = np.nonzero(upright)
    box = Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    height, width = upright.shape
    assert orientation.out_of(box, width, height) == Box(20, 4, 35, 10)
    assert orientation.into(Box(20, 4, 35, 10), 50, 30) == box
