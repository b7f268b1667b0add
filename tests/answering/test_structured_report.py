"""Answers as DICOM: what is written is read back, refers to the right images, and is accepted by other programs."""

import re
import shutil
import stat
import subprocess
import sys
import warnings
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from diffvqa.answering.answer import CANNOT_COMPARE, NOTICE, Answer, FoundBox, ModelVersion
from diffvqa.answering.dicom.codes import FINDINGS, finding_code, private_code
from diffvqa.answering.dicom.key_image import make_key_image
from diffvqa.answering.dicom.sources import ELEMENTS, make_folder, read_sources, save
from diffvqa.answering.dicom.structured_report import make_report, read_changes_back
from diffvqa.answering.marks import describe, difference, marks_of
from diffvqa.boxes import Box, clip
from diffvqa.errors import InputError
from diffvqa.findings import DIFFERENCE_QUESTION, LEVELS, SHOWN_IN, Change, write_changes
from diffvqa.images.orientation import Orientation
from diffvqa.images.radiograph import Radiograph, read_radiograph

SHAPES = {"prior": (40, 50), "current": (64, 48)}
NAME = "Nobody^Known"


def header(side, **elements):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    for name in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        setattr(dataset, name, generate_uid(entropy_srcs=[side, name]))
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientName, dataset.PatientID = NAME, "12345"
    dataset.PatientBirthDate, dataset.PatientSex = "19500102", "F"
    dataset.StudyDate, dataset.StudyTime = ("20200304", "101112") if side == "current" else ("20190101", "080000")
    dataset.StudyID, dataset.AccessionNumber, dataset.ReferringPhysicianName = "7", f"A-{side}", "Some^Body"
    height, width = SHAPES[side]
    dataset.Rows, dataset.Columns = height, width
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = bytes(range(256)) * (height * width // 256) + bytes(height * width % 256)
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID or "1.2"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID or "1.2"
    return dataset


def read(path, argument):
    return read_radiograph(path, argument, ELEMENTS)


@pytest.fixture
def write(tmp_path):
    """Write the prior and the current file, with other elements where given, and read what reports rest on."""

    def written(model="a" * 64, **others):
        paths = {side: tmp_path / f"{side}.dcm" for side in SHAPES}
        for side, path in paths.items():
            header(side, **others.get(side, {})).save_as(path, enforce_file_format=True)
        return read_sources(read(paths["current"], "--current"), [read(paths["prior"], "--prior")], model, None)

    return written


PICTURES = {side: Radiograph(np.full(shape, 90, np.uint8)) for side, shape in SHAPES.items()}
CHANGES = (
    Change("cardiomegaly", "level", "severe", "mild"),
    Change("edema", "missing"),
    Change("pleural effusion", "level", "mild", "moderate to severe"),
    Change("pneumothorax", "added"),
    Change("tortuosity of the thoracic aorta", "added"),
)
BOXES = tuple(
    FoundBox(image, change.finding, Box(1.5 + number, 2.25, 20 + number, 30.5 + number))
    for number, change in enumerate(CHANGES)
    for image in SHOWN_IN[change.kind]
)


def answer(changes=CHANGES, boxes=BOXES, **others):
    text = write_changes(changes) if changes is not None else "something else"
    said = {"question": DIFFERENCE_QUESTION, "text": text, "reason": None, "changes": changes, "confidence": 0.8125,
            "calibrated": False, "out_of_distribution": None, "findings": None, "findings_reason": "not asked",
            "boxes": boxes, "boxes_reason": None, "warnings": (),
            "model": ModelVersion("model", "a" * 12, "0")}  # fmt: skip
    return Answer(**said | others)


def no_comparison(reason):
    return answer(None, None, text=CANNOT_COMPARE, reason=reason, confidence=None, findings_reason=reason,
                  boxes_reason=reason)  # fmt: skip


ANSWERS = {
    "changes": answer(),
    "one change": answer(CHANGES[3:4], BOXES[5:6]),
    "nothing changed": answer((), ()),
    "no captioner": answer(boxes=None, boxes_reason="the model holds no captioner"),
    "a box lacks": answer(boxes=BOXES[:-1]),
    "not compared": answer(None, ()),
    "no words": answer(None, (), text=""),
    "cannot compare": no_comparison("prior: a lateral view"),
    "findings and warnings": answer(
        boxes=(*BOXES, FoundBox("current", "nodule", Box(1, 1, 9, 9), "finding")),
        findings={"current": ("nodule",), "prior": ()},
        findings_reason=None,
        warnings=("the order is as given",),
    ),
    "long finding": answer((Change("x" * 100, "added"),), ()),
    "beyond ASCII": answer((Change("ödem", "added"),), ()),
}


@pytest.fixture(params=sorted(ANSWERS))
def each(request):
    return ANSWERS[request.param]


def texts(report):
    return [item.TextValue for part in report.ContentSequence for item in part.get("ContentSequence", ())
            if "TextValue" in item]  # fmt: skip


def groups(report):
    return [one for part in report.ContentSequence for one in part.get("ContentSequence", ())
            if one.ConceptNameCodeSequence[0].CodeValue == codes.DCM.MeasurementGroup.value]  # fmt: skip


def under(item, name):
    (found,) = [one for one in item.ContentSequence if one.ConceptNameCodeSequence[0].CodeValue == name.value]
    return found


def place(group):
    return under(group, codes.DCM.CertaintyOfFinding).ContentSequence[0]


def test_what_is_written_is_read_back(write, each, tmp_path):
    changes, boxes = read_changes_back(save(make_report(each, write()), tmp_path, "report"))
    assert changes == each.changes
    expected = sorted((one for one in each.boxes or () if one.kind == "change"), key=repr)
    assert sorted(boxes, key=repr) == expected


@pytest.mark.parametrize("program", ["dciodvfy", "dsrdump"])
def test_other_programs_accept_the_files(write, each, tmp_path, program):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed: dciodvfy is in Debian's dicom3tools, dsrdump in dcmtk")
    sources = write()
    results = {"report": make_report(each, sources)}
    if program == "dciodvfy":
        results["key-image"] = make_key_image(each, sources, PICTURES)
    for name, result in results.items():
        path = save(result, tmp_path, name)
        done = subprocess.run([program, path], capture_output=True, text=True, errors="replace")
        said = done.stdout + done.stderr
        assert not re.findall(r"^(?:Error|E:).*", said, flags=re.MULTILINE), said
        assert done.returncode == 0, said
    if program == "dsrdump":
        assert "Research use only" in said


def test_each_box_has_an_identifier_of_its_own(write, each):
    found = groups(make_report(each, write()))
    identifiers = {under(group, codes.DCM.TrackingUniqueIdentifier).UID for group in found}
    assert len(identifiers) == len(found)


def test_boxes_are_closed_lines_in_the_right_image(write):
    sources = write()
    images = {"current": sources.current, "prior": sources.priors[0]}
    for group, mark in zip(groups(make_report(answer(), sources)), marks_of(answer(), sources.sizes), strict=True):
        coordinates = place(group)
        reference = coordinates.ContentSequence[0].ReferencedSOPSequence[0]
        assert reference.ReferencedSOPInstanceUID == images[mark.image].SOPInstanceUID
        assert coordinates.GraphicType == "POLYLINE"
        x1, y1, x2, y2 = mark.box.as_tuple()
        assert list(coordinates.GraphicData) == [x1, y1, x2, y1, x2, y2, x1, y2, x1, y1]


def test_no_box_is_without_area_or_outside_its_image(write, each):
    sources = write()
    for mark in marks_of(each, sources.sizes):
        assert mark.box.area > 0
        assert clip(mark.box, *sources.sizes[mark.image]) == mark.box


def test_nothing_changed_is_said_over_the_whole_of_both_images(write):
    found = groups(make_report(answer((), ()), write()))
    assert [list(place(group).GraphicData)[4:6] for group in found] == [[48, 64], [50, 40]]
    for group in found:
        value = under(group, codes.DCM.QualitativeDifference).ConceptCodeSequence[0]
        assert (value.CodeValue, value.CodingSchemeDesignator) == ("129723006", "SCT")


def test_an_answer_that_compares_nothing_has_a_reason_and_no_group(write):
    report = make_report(answer(None, ()), write())
    assert groups(report) == []
    assert any(text.startswith("No comparison: ") for text in texts(report))
    assert "something else" in texts(report)


def test_what_a_group_says_of_its_change(write):
    report = make_report(answer(), write())
    by_finding = {}
    for group in groups(report):
        finding = under(group, codes.DCM.Finding).ConceptCodeSequence[0]
        value = under(group, codes.DCM.QualitativeDifference).ConceptCodeSequence[0]
        by_finding[finding.CodeMeaning] = (finding.CodingSchemeDesignator, value.CodeValue)
        certainty = under(group, codes.DCM.CertaintyOfFinding).MeasuredValueSequence[0]
        assert (certainty.NumericValue, certainty.MeasurementUnitsCodeSequence[0].CodeValue) == (81.25, "%")
        assert under(group, codes.DCM.AlgorithmVersion).TextValue == "a" * 64
    assert by_finding == {
        "Cardiomegaly": ("SCT", "19776001"),
        "Pulmonary edema": ("SCT", "413322009"),
        "Pleural effusion": ("SCT", "15454001"),
        "Pneumothorax": ("SCT", "129721008"),
        "tortuosity of the thoracic aorta": ("99DIFFVQA", "129721008"),
    }


def test_a_report_says_what_it_is_and_whose(write):
    sources = write()
    report, picture = make_report(answer(), sources), make_key_image(answer(), sources, PICTURES)
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert NOTICE in texts(report)
    current, prior = header("current"), header("prior")
    for result in (report, picture):
        assert result.ContentQualification == "RESEARCH"
        assert result.SeriesDescription == "RESEARCH USE ONLY diffvqa"
        for name in ("PatientName", "PatientID", "PatientSex", "StudyInstanceUID", "AccessionNumber", "StudyDate"):
            assert result[name].value == current[name].value
        assert result.SeriesInstanceUID not in (current.SeriesInstanceUID, prior.SeriesInstanceUID)
    assert picture.BurnedInAnnotation == "YES"
    for sequence, image in (("CurrentRequestedProcedureEvidenceSequence", current),
                            ("PertinentOtherEvidenceSequence", prior)):  # fmt: skip
        (study,) = report[sequence].value
        assert study.StudyInstanceUID == image.StudyInstanceUID
        (instance,) = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
        assert instance.ReferencedSOPInstanceUID == image.SOPInstanceUID


def test_images_of_one_study_are_told_apart(write, tmp_path):
    study = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4"}
    sources = write(prior=study, current=study)
    changes, boxes = read_changes_back(save(make_report(answer(), sources), tmp_path, "report"))
    assert (changes, sorted(boxes, key=repr)) == (CHANGES, sorted(BOXES, key=repr))


def test_the_same_answer_gives_the_same_files_and_another_gives_others(write, each, tmp_path):
    def files(said, sources):
        made = {"report": make_report(said, sources), "key-image": make_key_image(said, sources, PICTURES)}
        return {path.name: path.read_bytes() for path in (save(one, tmp_path, name) for name, one in made.items())}

    first = files(each, write())
    assert files(each, write()) == first
    assert not first.keys() & files(each, write(model="b" * 64)).keys() - {n for n in first if n.startswith("key")}
    other = Answer(**{**{name: getattr(each, name) for name in each.__slots__}, "confidence": 0.5})
    assert {name for name in files(other, write()) if name.startswith("report")} - first.keys()


@pytest.mark.parametrize(
    ("elements", "date", "time"),
    [
        ({}, "20200304", "101112"),
        ({"AcquisitionDate": "20200303", "AcquisitionTime": "235959.5"}, "20200303", "235959"),
        ({"StudyTime": None}, "20200304", "000000"),
        ({"StudyTime": "0930"}, "20200304", "093000"),
        ({"StudyTime": "09"}, "20200304", "090000"),
        ({"StudyTime": "093007.1234567"}, "20200304", "093007"),
        ({"StudyDate": "2020.03.04", "StudyTime": "09:30:07"}, "20200304", "093007"),
        ({"StudyDate": None}, "19000101", "000000"),
    ],
)
def test_dates_are_those_of_the_current_image(write, elements, date, time):
    sources = write(current=elements)
    for result in (make_report(answer(), sources), make_key_image(answer(), sources, PICTURES)):
        assert (result.ContentDate, result.ContentTime) == (date, time)


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"PatientName": "Müller^Jörg"}, "Müller^Jörg"),
        ({"PatientName": None, "PatientID": None, "PatientSex": None, "StudyDate": None, "StudyTime": None}, ""),
        ({"PatientName": "山田^太郎", "SpecificCharacterSet": "ISO_IR 192"}, "山田^太郎"),
        ({"PatientName": "No comma, please", "PatientSex": "N"}, "No comma, please"),
    ],
)
def test_whatever_the_patient_is_called_nothing_of_it_is_printed(write, tmp_path, elements, expected, capfd, recwarn):
    others = {"prior": {name: None for name in elements if name in ("PatientName", "PatientID")}}
    sources = write(current=elements, **others)
    recwarn.clear()
    for result in (make_report(answer(), sources), make_key_image(answer(), sources, PICTURES)):
        assert str(dcmread(save(result, tmp_path, "result")).PatientName) == expected
    assert "".join(capfd.readouterr()) == ""
    assert not recwarn


@pytest.mark.parametrize("room", ["sources", "structured_report", "key_image"])
def test_what_a_library_warns_of_in_our_name_is_not_printed(write, room, recwarn):
    write()
    recwarn.clear()
    warnings.warn_explicit(f"odd value {NAME}", UserWarning, f"{room}.py", 1, f"diffvqa.answering.dicom.{room}")
    assert not recwarn
    assert find_spec(f"diffvqa.answering.dicom.{room}")


WRONG = {
    "no identifier": ({"SOPInstanceUID": None}, "SOPInstanceUID"),
    "no study": ({"StudyInstanceUID": None}, "StudyInstanceUID"),
    "identifier of letters": ({"SeriesInstanceUID": "abc"}, "SeriesInstanceUID"),
    "tomography": ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "CT Image Storage"),
    "no size": ({"Rows": None}, "without a picture"),
    "the same image": ({"SOPInstanceUID": header("current").SOPInstanceUID}, "different radiographs"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", sorted(WRONG))
def test_files_that_cannot_be_reported_on_are_named(write, kind, tmp_path):
    elements, said = WRONG[kind]
    with pytest.raises(InputError, match=said) as caught:
        write(prior=elements)
    message = str(caught.value)
    assert "prior" in message
    assert not any(secret in message for secret in (NAME, "12345", str(tmp_path)))


def test_what_is_no_dicom_is_named_and_so_is_a_missing_prior(write, tmp_path):
    write()
    Image.new("L", (40, 40)).save(tmp_path / "secret.png")
    picture, prior = read(tmp_path / "secret.png", "current"), read(tmp_path / "prior.dcm", "prior")
    with pytest.raises(InputError, match="current: dicom_sr expects") as caught:
        read_sources(picture, [prior], "a", None)
    assert "secret" not in str(caught.value)
    with pytest.raises(InputError, match=r"^dicom_sr: .*give prior"):
        read_sources(prior, [], "a", None)


def test_without_highdicom_the_extra_is_named(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(InputError, match=r"pip install 'diffvqa\[dicom-sr\]'"):
        write()


def test_only_the_owner_can_read_what_is_written(write, tmp_path):
    folder = tmp_path / "new" / "folder"
    make_folder(folder)
    path = save(make_report(answer(), write()), folder, "report")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in folder.iterdir()] == [path.name]
    with pytest.raises(InputError, match=r"^dicom_sr: "):
        make_folder(path / "below")
    with pytest.raises(InputError, match=r"^dicom_sr: "):
        save(make_report(answer(), write()), path, "report")


def test_another_file_is_not_read_back(write, tmp_path):
    write()
    with pytest.raises(InputError, match="structured report"):
        read_changes_back(tmp_path / "current.dcm")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("minimal", "small", "increased"),
        ("severe", "moderate", "decreased"),
        ("mild to moderate", "moderate to severe", "increased"),
        ("mild", "small", "changed"),
        ("acute", "severe", "changed"),
        ("gross", "severe", "changed"),
    ],
)
def test_a_direction_is_said_only_where_the_levels_have_an_order(before, after, expected):
    assert difference(Change("edema", "level", before, after)) == expected


def test_directions_turn_round_with_the_levels():
    opposite = {"increased": "decreased", "decreased": "increased", "changed": "changed"}
    for before in LEVELS:
        for after in LEVELS:
            there = difference(Change("edema", "level", before, after))
            assert difference(Change("edema", "level", after, before)) == opposite[there]


def test_codes_are_distinct_and_fit_into_their_elements():
    found = [*FINDINGS.values(), private_code("a" * 100), private_code("a" * 99 + "b"), finding_code("tortuosity")]
    assert len({(code.value, code.scheme_designator) for code in found}) == len(found)
    assert all(len(code.value) <= 16 and len(code.meaning) <= 64 for code in found)
    assert finding_code("tortuosity") == finding_code("tortuosity")


def test_the_key_image_shows_every_change(write, monkeypatch):
    from diffvqa.answering.dicom import key_image

    drawn = []

    def draw(panels):
        drawn.append(panels)
        return np.zeros((20, 20, 3), np.uint8)

    monkeypatch.setattr(key_image, "draw_overlay", draw)
    sources = write()
    make_key_image(answer(boxes=None), sources, PICTURES)
    (panels,) = drawn
    said = {title: " ".join(one.label for one in labels).split() for title, _, labels in panels}
    for mark in marks_of(answer(boxes=None), sources.sizes):
        assert describe(mark) in " ".join(said[mark.image])
    assert all(len({one.box for one in labels}) == len(labels) for _, _, labels in panels)


def test_the_key_image_is_upright(write):
    """However a file is stored, its box lies on the same side of the patient."""
    height, width = SHAPES["current"]
    upright = np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))
    box = BOXES[5].box
    mirrored = Box(width - box.x2, box.y1, width - box.x1, box.y2)
    seen = []
    for current, found in (
        (Radiograph(upright), box),
        (Radiograph(upright[:, ::-1].copy(), orientation=Orientation(mirrored_x=True)), mirrored),
    ):
        said = answer(CHANGES[3:4], (replace(BOXES[5], box=found),))
        seen.append(make_key_image(said, write(), {**PICTURES, "current": current}).PixelData)
    assert seen[0] == seen[1]
