import gzip
import shutil
import zipfile
from collections import Counter

import pytest

from diffvqa.boxes import Box
from diffvqa.data import read_sources
from diffvqa.data.mimic.jpg import span_of_cells
from diffvqa.data.mimic.reports import Reports, findings_and_impression
from diffvqa.errors import InputError


@pytest.fixture(scope="module")
def cohort(mimic):
    return read_sources([f"mimic:{mimic[0]}"])


@pytest.fixture(scope="module")
def studies(cohort):
    return {study.study_id: study for study in cohort.studies}


def _content(cohort):
    return cohort.studies, cohort.questions, Counter(problem.kind for problem in cohort.problems)


def test_every_planted_fault_is_counted_once(cohort, makers):
    assert Counter(problem.kind for problem in cohort.problems) == makers["mimic_problems"]


def test_only_frontal_images_that_are_there(cohort, studies):
    assert {study_id: [image.image_id for image in study.images] for study_id, study in studies.items()} == {
        "50000011": ["a1-pa", "a1-ap"],
        "50000012": ["a2"],
        "50000013": ["a3"],
        "50000021": ["b1"],
        "50000022": ["b2"],
        "50000031": ["c1"],
        "50000032": ["c2"],
        "50000041": ["d1-gold"],
    }
    for study in cohort.studies:
        for image in study.images:
            assert image.path.is_file()
            assert (image.width, image.height) == (80, 100)  # b1 through its header, the others from the table
            assert image.view in ("AP", "PA")


def test_studies_carry_split_report_findings_and_time(studies):
    assert {study.split for study in studies.values() if study.subject_id == "10000001"} == {"train"}
    assert studies["50000021"].split == "validate"
    assert studies["50000031"].split == "test"
    assert studies["50000041"].split == "test"  # a gold patient, whatever MIMIC-CXR's split says
    assert studies["50000041"].images[0].regions == ()
    assert studies["50000011"].report == "There is no pneumothorax. The heart is normal. No acute process."
    assert studies["50000032"].report == ""
    assert studies["50000011"].findings == ("atelectasis", "pleural effusion")
    assert studies["50000012"].findings == ()
    assert studies["50000011"].order < studies["50000012"].order == studies["50000013"].order
    assert studies["50000022"].order - studies["50000021"].order == pytest.approx((24 - 12) * 3600 + 50 * 60 + 14.5)


def test_regions_are_mended_or_dropped(studies):
    image = studies["50000011"].images[0]
    regions = {region.name: region for region in image.regions}
    assert set(regions) == {"left lung", "right lung", "spine"}
    assert regions["left lung"].box == Box(40, 10, 70, 90)
    assert regions["left lung"].phrases == ("small left effusion",)  # without the history, white space made single
    assert regions["right lung"].box == Box(0, 10, 30, 90)
    assert regions["right lung"].phrases == ()  # its entry does not count
    assert regions["spine"].box == Box(35, 0, 45, 100)
    assert studies["50000011"].images[1].regions == ()


def test_chest_imagenome_s_own_splits_are_compared_and_mimic_s_kept(cohort, studies, makers, tmp_path):
    differing = [problem for problem in cohort.problems if problem.kind == "split_differs"]
    assert [(problem.source, problem.reason) for problem in differing] == [
        (("train.csv", 4), "train, where MIMIC-CXR has test"),
        (("valid.csv", 3), "validate, where MIMIC-CXR has train"),
    ]
    assert (studies["50000031"].split, studies["50000012"].split) == ("test", "train")
    splits = makers["mimic"](tmp_path)["imagenome"] / "silver_dataset" / "splits"
    (splits / "valid.csv").unlink()
    (splits / "train.csv").unlink()
    again = read_sources([f"mimic:{tmp_path}"])
    assert [one.source for one in again.problems if one.kind == "split_differs"] == [("test.csv", 2)]


def test_questions_point_at_the_right_images(cohort):
    found = [(q.type, q.pair.prior, q.pair.current, q.split, q.answer) for q in cohort.questions]
    assert found == [
        ("difference", "a1-ap", "a2", "train", "nothing has changed."),  # a1-ap: named by mimic_all.csv
        ("difference", "a2", "a3", "train", "nothing has changed."),
        ("difference", "b1", "b2", "validate", "nothing has changed."),
        ("view", None, "b2", "validate", "PA view"),
        ("difference", "c1", "c2", "test", "nothing has changed."),
        ("colour", None, "c2", "test", "grey"),
        ("presence", None, "d1-gold", "train", "no"),
    ]
    assert {question.text for question in cohort.questions if question.type == "difference"} == {
        "what has changed compared to the reference image?"
    }
    assert len({question.question_id for question in cohort.questions}) == len(cohort.questions)


def test_parts_named_one_by_one_give_the_same(mimic, cohort):
    _, parts = mimic
    named = ",".join(f"{name}={path.parent if name == 'jpg' else path}" for name, path in parts.items())
    assert _content(read_sources([f"mimic:{named}"])) == _content(cohort)


def test_parts_right_under_the_parent_and_the_highest_version_are_found(mimic, cohort, tmp_path):
    for name, path in mimic[1].items():
        folder = {"reports": "mimic-cxr", "imagenome": "chest-imagenome", "diffvqa": "medical-diff-vqa"}
        place = tmp_path / folder.get(name, "mimic-cxr-jpg")
        (place / "1.0").mkdir(parents=True)
        shutil.copytree(path, place / "10.0")
        (place / "9.9").mkdir()
        (place / "11.0").mkdir()  # begun, and empty
    (tmp_path / "medical-diff-vqa" / "9.9" / "mimic_pair_questions.csv").write_text("not,this\n")
    read = read_sources([f"mimic:{tmp_path}"])
    assert read.questions == cohort.questions
    assert Counter(problem.kind for problem in read.problems) == Counter(problem.kind for problem in cohort.problems)


def test_reports_from_the_archive_and_scene_graphs_from_the_folder(mimic, cohort, tmp_path):
    parts = mimic[1]
    with zipfile.ZipFile(tmp_path / "mimic-cxr-reports.zip", "w") as archive:
        for path in sorted(parts["reports"].rglob("*.txt")):
            archive.write(path, str(path.relative_to(parts["reports"])))
    with zipfile.ZipFile(parts["imagenome"] / "silver_dataset" / "scene_graph.zip") as archive:
        archive.extractall(tmp_path / "silver_dataset")
    shutil.copytree(parts["imagenome"] / "silver_dataset" / "splits", tmp_path / "silver_dataset" / "splits")
    for reports in (tmp_path, tmp_path / "mimic-cxr-reports.zip"):
        source = f"mimic:jpg={parts['jpg']},reports={reports},imagenome={tmp_path},diffvqa={parts['diffvqa']}"
        assert _content(read_sources([source])) == _content(cohort)


def test_a_report_that_is_damaged_is_not_called_missing(tmp_path):
    whole = "FINDINGS: No pneumothorax."
    archive = tmp_path / "mimic-cxr-reports.zip"
    with zipfile.ZipFile(archive, "w") as members:
        for study in ("1", "2"):
            members.writestr(f"files/p10/p100/s{study}.txt", whole if study == "1" else "damaged below")
    archive.write_bytes(archive.read_bytes().replace(b"damaged below", b"damaged above"))
    unpacked = tmp_path / "unpacked"
    (unpacked / "files/p10/p100/s2.txt").mkdir(parents=True)
    (unpacked / "files/p10/p100/s1.txt").write_text(whole)
    for place in (archive, unpacked):
        problems = []
        reports = Reports(place, problems)
        assert [reports.read("100", study) for study in "123"] == ["No pneumothorax.", "", ""]
        found = [(problem.kind, problem.source.file) for problem in problems]
        assert found == [("report_unreadable", "s2.txt"), ("report_missing", "s3.txt")]


def test_images_alone_are_enough_and_what_is_missing_is_said(mimic):
    cohort = read_sources([f"mimic:{mimic[1]['jpg']}"])
    assert cohort.questions == ()
    assert {problem.source.file for problem in cohort.problems if problem.kind == "part_missing"} == {
        "reports",
        "imagenome",
        "diffvqa",
    }
    # Without Chest ImaGenome there are no images to avoid.
    assert sum(len(study.images) for study in cohort.studies) == 9
    assert not any(image.regions for study in cohort.studies for image in study.images)


@pytest.mark.parametrize(
    ("part", "name", "column"),
    [
        ("jpg", "mimic-cxr-2.0.0-metadata.csv.gz", "ViewPosition"),
        ("jpg", "mimic-cxr-2.0.0-split.csv.gz", "split"),
        ("diffvqa", "mimic_pair_questions.csv", "ref_id"),
        ("diffvqa", "mimic_all.csv", "dicom_id"),
        ("imagenome", "silver_dataset/splits/images_to_avoid.csv", "dicom_id"),
        ("imagenome", "silver_dataset/splits/valid.csv", "dicom_id"),
    ],
)
def test_a_missing_column_is_named(makers, tmp_path, part, name, column):
    path = makers["mimic"](tmp_path)[part] / name
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt") as file:
        text = file.read()
    with opened(path, "wt") as file:
        file.write(text.replace(column, "else", 1))
    with pytest.raises(InputError, match=f"{path.name}: no column '{column}'; "):
        read_sources([f"mimic:{tmp_path}"])


def test_no_split_table_and_no_image_at_all(makers, tmp_path):
    parts = makers["mimic"](tmp_path)
    (parts["jpg"] / "mimic-cxr-2.0.0-split.csv.gz").rename(tmp_path / "split.csv.gz")
    with pytest.raises(InputError, match=r"no mimic-cxr-2\.0\.0-split\.csv\.gz"):
        read_sources([f"mimic:{tmp_path}"])
    (tmp_path / "split.csv.gz").rename(parts["jpg"] / "mimic-cxr-2.0.0-split.csv.gz")
    shutil.rmtree(parts["jpg"] / "files")
    with pytest.raises(
        InputError,
        match=r"no frontal image of .* can be used: image_missing 12 \(no such file as files/",
    ):
        read_sources([f"mimic:{tmp_path}"])


def test_a_damaged_archive_is_refused(makers, tmp_path):
    parts = makers["mimic"](tmp_path)
    (parts["imagenome"] / "silver_dataset" / "scene_graph.zip").write_bytes(b"PK, once")
    with pytest.raises(InputError, match=r"scene_graph\.zip: not a zip archive"):
        read_sources([f"mimic:{tmp_path}"])


@pytest.mark.parametrize(
    ("date", "time"), [("", "1"), ("2180051", "1"), ("21801301", "1"), ("21800506", "250000"), ("21800506", "1:30")]
)
def test_moments_that_are_none(date, time):
    assert span_of_cells(date, time) is None


def test_moments_in_order():
    moments = [("21791231", "235959.9"), ("21800101", "1"), ("21800101", "5014.5"), ("21800101.0", "093014.531")]
    seconds = [span_of_cells(*moment)[0] for moment in moments]
    assert seconds == sorted(seconds)
    assert len(set(seconds)) == 4


def test_a_missing_time_is_any_of_the_day_and_not_midnight():
    begin, end = span_of_cells("21800506", "")
    assert end - begin == 24 * 3600
    assert begin <= span_of_cells("21800506", "120000.000")[0] < end


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ("FINDINGS: a\n b\nIMPRESSION:\n1. c", "a b 1. c"),
        ("INDICATION: pain\n\nIMPRESSION: c", "c"),
        ("FINDINGS AND IMPRESSION: both\n\nNOTIFICATION: called", "both"),
        (
            "FINAL REPORT\n\nINDICATION: pain\n\nThe lungs are clear.\n\nNo effusion.",
            "The lungs are clear. No effusion.",
        ),
        (
            " FINAL REPORT\n INDICATION:  ___F with known left pneumothorax.\n \n AP chest: The lungs are clear.\n",
            "AP chest: The lungs are clear.",
        ),
        (
            "WET READ: a pneumothorax\n  FINAL REPORT  \r\n INDICATION: pain\n\nThe lungs are clear.",
            "The lungs are clear.",
        ),
        ("FINDINGS:\n\nIMPRESSION:\n", "FINDINGS: IMPRESSION:"),
        ("INDICATION: pain", "INDICATION: pain"),
        ("", ""),
    ],
)
def test_findings_and_impression(report, expected):
    assert findings_and_impression(report) == expected
