import os
import shutil
from collections import Counter

import pytest

from diffvqa.boxes import Box
from diffvqa.data import read_sources, splits
from diffvqa.data.inspection import check_files, summarise
from diffvqa.errors import InputError
from diffvqa.findings import Change, read_changes


@pytest.fixture(scope="module")
def cohort(nih):
    return read_sources([f"nih14:{nih}"])


@pytest.fixture
def own(nih, tmp_path):
    """A copy that the test may change."""
    shutil.copytree(nih, tmp_path / "nih14")
    return tmp_path / "nih14"


def test_every_planted_fault_is_counted_once(cohort, makers):
    assert Counter(problem.kind for problem in cohort.problems) == makers["nih_problems"]


def test_studies(cohort):
    found = {study.study_id: (study.order, study.findings, study.report) for study in cohort.studies}
    assert found == {
        "00000001_000": (0.0, (), "no finding."),
        "00000001_003": (
            3.0,
            ("pleural effusion", "pleural thickening"),
            "findings: pleural effusion, pleural thickening.",
        ),
        "00000001_002": (2.0, ("pleural effusion", "infiltration"), "findings: pleural effusion, infiltration."),
        "00000002_000": (0.0, ("mass", "shiny new label"), "findings: mass, shiny new label."),
        "00000002_001": (0.0, ("mass",), "findings: mass."),
    }
    for study in cohort.studies:
        (image,) = study.images
        assert (image.width, image.height) == ((1024, 1024) if study.study_id == "00000001_002" else (80, 100))
        assert image.path.name == image.image_id
        assert study.split == splits.split_of(study.subject_id)


def test_boxes_are_corners_with_the_finding_as_phrase(cohort):
    regions = {study.study_id: study.images[0].regions for study in cohort.studies}
    assert [(region.box, region.name, region.phrases) for region in regions["00000001_002"]] == [
        (Box(10.5, 20, 40.5, 60), None, ("infiltration",)),
        (Box(1000, 900, 1024, 1000), None, ("pleural effusion",)),
    ]
    assert sum(map(len, regions.values())) == 2


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(512, 512, [Box(5.25, 10, 20.25, 30), Box(500, 450, 512, 500)]), (80, 100, [])],
)
def test_boxes_follow_a_copy_of_another_size_and_not_of_another_shape(own, makers, width, height, expected):
    makers["image"](own / "images" / "00000001_002.png", 0, width, height)
    cohort = read_sources([f"nih14:{own}"])
    (image,) = (study.images[0] for study in cohort.studies if study.study_id == "00000001_002")
    assert (image.width, image.height) == (width, height)
    assert [region.box for region in image.regions] == expected
    differing = [problem.source.file for problem in cohort.problems if problem.kind == "size_differs"]
    assert differing == ["00000001_002.png"]


def test_consecutive_images_become_difference_questions(cohort):
    found = {
        (question.pair.prior[:-4], question.pair.current[:-4]): read_changes(question.answer)
        for question in cohort.questions
        if question.type == "difference"
    }
    assert found == {
        ("00000001_000", "00000001_002"): (
            frozenset({Change("pleural effusion", "added"), Change("infiltration", "added")}),
        ),
        ("00000001_002", "00000001_003"): (
            frozenset({Change("pleural thickening", "added"), Change("infiltration", "missing")}),
        ),
        ("00000002_000", "00000002_001"): (frozenset({Change("shiny new label", "missing")}),),
    }
    split_of_study = {study.images[0].image_id: study.split for study in cohort.studies}
    assert all(split_of_study[question.pair.current] == question.split for question in cohort.questions)


def test_the_release_s_own_test_list_is_kept(own):
    (own / "test_list.txt").write_text("00000002_001.png\n")
    (own / "train_val_list.txt").write_text("00000001_000.png\n")
    found = {study.subject_id: study.split for study in read_sources([f"nih14:{own}"]).studies}
    assert found["2"] == "test"
    assert found["1"] == splits.train_or_validate("1")


def test_the_later_table_of_images_is_preferred(own):
    text = (own / "Data_Entry_2017.csv").read_text(encoding="utf-8")
    (own / "Data_Entry_2017_v2020.csv").write_text("\n".join(text.splitlines()[:2]), encoding="utf-8")
    assert len(read_sources([f"nih14:{own}"]).studies) == 1


def test_boxes_may_be_missing_and_their_header_quoted(own):
    boxes = own / "BBox_List_2017.csv"
    content = boxes.read_text()
    boxes.write_text(content.replace("Bbox [x,y,w,h],,,", '"Bbox [x,y,w,h]"'))
    assert sum(len(study.images[0].regions) for study in read_sources([f"nih14:{own}"]).studies) == 2
    boxes.unlink()
    assert not any(study.images[0].regions for study in read_sources([f"nih14:{own}"]).studies)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("Data_Entry_2017.csv", "Follow-up #"),
        ("BBox_List_2017.csv", "Finding Label"),
        ("BBox_List_2017.csv", "Bbox [x"),
    ],
)
def test_a_missing_column_is_named(own, name, column):
    path = own / name
    path.write_text(path.read_text(encoding="utf-8").replace(column, "else", 1), encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_sources([f"nih14:{own}"])
    assert name in str(error.value)
    assert column in str(error.value)
    assert "else" in str(error.value)


def test_no_image_at_all_is_refused(own):
    shutil.rmtree(own / "images")
    shutil.rmtree(own / "images_002")
    with pytest.raises(InputError, match=r"none of the \d+ images"):
        read_sources([f"nih14:{own}"])


@pytest.mark.skipif("DIFFVQA_NIH14" not in os.environ, reason="DIFFVQA_NIH14 names no folder with the real sample")
def test_the_real_sample():
    cohort = read_sources([f"nih14:{os.environ['DIFFVQA_NIH14']}"])
    summary = summarise(cohort)
    assert [summary[name] for name in ("images", "patients", "pairs", "boxes")] == [100, 31, 69, 11]
    assert summary["questions"] == {"difference": 69}
    assert sum(question.answer != "nothing has changed." for question in cohort.questions) == 46
    assert summary["shared_patients"] == 0
    assert summary["problems"] == {}
    assert check_files(cohort, deep=True) is cohort


NAMES = ("00000901_000.png", "00000901_001.png", "00000901_002.png")


@pytest.fixture
def release(makers, tmp_path):
    """Writes a release of one patient: (follow-up, age, sex) of each image, laid out as that of 2017 or of 2020."""

    def release(*rows, first=True, patients=("00000901",) * 3):
        header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
        header += ",OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]" + ("," if first else "")
        lines = [
            f"{name},Hernia,{follow_up},{patient},{age},{sex},PA,2582,2991,0.143,0.143"
            for name, patient, (follow_up, age, sex) in zip(NAMES, patients, rows, strict=False)
        ]
        (tmp_path / "Data_Entry_2017.csv").write_text("\n".join([header, *lines]) + "\n")
        for name in NAMES:
            makers["image"](tmp_path / "images" / name)
        return read_sources([f"nih14:{tmp_path}"])

    return release


@pytest.mark.parametrize("first", [True, False])
def test_both_releases_are_read(release, first):
    cohort = release(("000", "081Y", "F"), ("001", "082Y", "F"), ("002", "082Y", "F"), first=first)
    assert [study.order for study in cohort.studies] == [0, 1, 2]
    assert len(cohort.questions) == 2
    assert cohort.problems == ()


@pytest.mark.parametrize(
    ("ages", "asked"),
    [
        (("081Y", "074Y", "075Y"), ["00000901_002"]),
        (("011M", "001Y", "013M"), ["00000901_001", "00000901_002"]),
        (("58", "57", "58"), ["00000901_002"]),
        (("58.0", "", "NaN"), ["00000901_001", "00000901_002"]),
        (("060D", "001M", "005W"), ["00000901_002"]),
    ],
)
def test_nothing_is_asked_of_a_follow_up_that_the_age_contradicts(release, ages, asked):
    cohort = release(*((f"{number:03}", age, "F") for number, age in enumerate(ages)))
    assert [question.pair.current[:-4] for question in cohort.questions] == asked
    assert len(cohort.studies) == 3
    counts = Counter(problem.kind for problem in cohort.problems)
    assert counts == ({"follow_up_reversed": 2 - len(asked)} if len(asked) < 2 else {})


def test_numbers_with_a_point_zero_are_whole(release):
    cohort = release(*((f"{number}.0", "81", "F") for number in range(3)), patients=("901.0",) * 3)
    assert [(study.order, study.subject_id) for study in cohort.studies] == [(0, "901"), (1, "901"), (2, "901")]


def test_another_sex_is_another_person(release):
    cohort = release(("000", "81", "F"), ("001", "81", "M"), ("002", "81", "F"))
    assert [study.study_id for study in cohort.studies] == ["00000901_000", "00000901_002"]
    assert [problem.kind for problem in cohort.problems] == ["patient_of_two_people"]


def test_where_no_row_can_be_used_the_reasons_are_counted_and_nothing_is_quoted(release):
    with pytest.raises(InputError) as error:
        release(("first", "81", "F"), ("Quaxel", "81", "F"), ("002", "81", "F"), patients=("901", "901", "9.01E+2"))
    assert str(error.value) == (
        "nih14: none of the 3 images of Data_Entry_2017.csv can be used: row_incomplete 2 (an image, its labels or a "
        "whole number as follow-up is missing); patient_unreadable 1 (the patient's identifier is a long number that "
        "was rounded)"
    )


@pytest.mark.parametrize("labels", ["", "NaN", "NA"])
def test_labels_that_are_missing_are_not_no_finding(own, labels):
    path = own / "Data_Entry_2017.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("No Finding", labels, 1), encoding="utf-8")
    cohort = read_sources([f"nih14:{own}"])
    assert "00000001_000" not in [study.study_id for study in cohort.studies]
    assert ("row_incomplete", 2) in [(problem.kind, problem.source.row) for problem in cohort.problems]
