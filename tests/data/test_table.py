import csv
import os
import re
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from diffvqa.boxes import Box
from diffvqa.data import read_sources, splits
from diffvqa.data.inspection import summarise
from diffvqa.errors import InputError

DOCS = Path(__file__).parents[2] / "docs" / "table.md"
WHAT = "what has changed compared to the reference image?"
SAME = "nothing has changed."

IMAGE_HEADER = ("patient", "study", "datetime", "image", "view", "report", "split")
IMAGES = [
    ("A", "A1", "2024-01-31T09:30", "a/1.png", "PA", "", "train"),
    ("A", "A1", "2024-01-31T09:29:30", "a/1-second.png", "AP", "  Clear \n lungs. ", "train"),
    ("A", "A1", "2024-01-31T09:31", "a/1-side.png", "lateral", "A second report.", "train"),
    ("A", "A2", "20240131 0930", "a/2.png", "", "", "Train"),
    ("A", "A3", "2024-02-01 00:30+02:00", "a/3.png", "portable", "", "train"),  # the evening before
    ("B", "B1", "2024-01-01", "b/1.png", "AP", "", "val"),
    ("B", "B2", "2024-01-02", "b/2.png", "AP", "", "valid"),
    ("C", "C1", "2024-01-01", "c/1.png", "AP", "", "validation"),
    ("C", "C1", "2024-01-01", "c/1-other.png", "AP", "", "test"),  # the study is in two splits
    ("C", "C2", "2024-01-01", "c/2.png", "R LAT", "", "test"),  # no frontal image
    ("C", "C2", "2024-01-01", "c/3.png", "LL", "", "test"),
    ("C", "C3", "2024-01-01", "a/1.png", "AP", "", "test"),  # the image has a row
    ("C", "C3", "2024-01-01", "", "AP", "", "test"),
    ("C", "", "2024-01-01", "c/4.png", "AP", "", "test"),
    ("", "C3", "2024-01-01", "c/5.png", "AP", "", "test"),
    ("C", "A1", "2024-01-01", "c/6.png", "AP", "", "test"),  # a study of A
    ("C", "C4", "yesterday", "c/7.png", "AP", "", "test"),
    ("C", "C5", "", "c/8.png", "AP", "", "test"),
    ("C", "C6", "2024-01-01", "c/9.png", "AP", "", "somewhere"),
    ("C", "C7", "2024-01-01", "c/10.png", "AP", "", ""),
    ("C", "C8", "2024-01-01", "c/lost.png", "AP", "", "test"),
    ("C", "C8", "2024-01-01", "c/" + 300 * "n" + ".png", "AP", "", "test"),
    ("C", "C9", "2024-01-01", "c/text.png", "AP", "", "test"),
    ("C", "C10", "2024-01-01", "../outside.png", "AP", "", "test"),
    ("C", "C11", "2024-01-01", "/outside.png", "AP", "", "test"),
    ("C", "C12", "2024-01-01", "c/\0.png", "AP", "", "test"),
]

BOX_HEADER = ("x1", "y1", "x2", "y2", "image", "phrase", "region")
BOXES = [
    (40, 10, 70.5, 90, "a/1.png", "small  effusion", "left lung"),
    (40, 10, 70.5, 90, "a/1.png", "no mass", "left lung"),  # said of the same place
    (40, 10, 70.5, 90, "a/1.png", "no mass", "left lung"),  # twice
    (1, 2, 3, 4, "a/1.png", "no mass", "left lung"),  # another box
    (1, 2, 3, 4, "a/2.png", "", "spine"),
    (1, 2, 3, 4, "a/2.png", "", ""),
    (-1, 2, 3, 104, "a/2.png", "mass", ""),
    (3, 2, 3, 4, "a/2.png", "mass", ""),
    (3, "", 3, 4, "a/2.png", "mass", ""),
    (1, 2, 3, 4, "a/1-side.png", "mass", ""),
]

QUESTION_HEADER = ("prior", "current", "question", "answer", "split", "type")
QUESTIONS = [
    ("a/1.png", "a/3.png", f"  {WHAT} ", SAME, "", ""),
    ("b/1.png", "b/2.png", WHAT, SAME, "TEST", "Difference"),
    ("", "a/1.png", "is there edema?", "Yes", "", ""),
    ("", "a/1.png", "what is seen?", "edema", "validation", ""),
    ("", "a/1.png", "which view is this image taken?", "PA view", "", "view"),
    ("", "a/1.png", "what colour is it?", "grey", "", "colour"),  # a type nobody knows
    ("a/1-second.png", "a/2.png", WHAT, SAME, "", ""),
    ("a/1.png", "a/2.png", WHAT, SAME, "", ""),
    ("b/2.png", "b/1.png", WHAT, SAME, "", ""),  # reversed
    ("", "a/1.png", "is there edema?", "Yes", "", ""),  # twice
    ("", "a/1.png", "is there edema?", "", "", ""),
    ("", "a/1.png", "is there edema?", "NaN", "", ""),
    ("", "a/1.png", "", "no", "", ""),
    ("", "", "is there edema?", "no", "", ""),
    ("", "a/1.png", WHAT, SAME, "", "difference"),  # no prior
    ("", "a/1.png", "is there edema?", "no", "elsewhere", ""),
    ("a/1-side.png", "a/2.png", WHAT, SAME, "", ""),
    ("a/1.png", "c/lost.png", WHAT, SAME, "", ""),
    ("a/1.png", "a/1.png", WHAT, SAME, "", ""),
    ("a/1.png", "a/1-second.png", WHAT, SAME, "", ""),
    ("a/1.png", "b/1.png", WHAT, SAME, "", ""),
]

PROBLEMS = {
    "answer_empty": 2,
    "box_clipped": 1,
    "box_dropped": 2,
    "box_without_image": 1,
    "date_unreadable": 2,
    "image_missing": 2,
    "image_unreadable": 1,
    "image_without_study": 1,
    "pair_of_one_study": 2,
    "pair_of_two_patients": 1,
    "pair_reversed": 1,
    "path_outside": 3,
    "patient_missing": 1,
    "question_type_unknown": 1,
    "question_without_image": 2,
    "row_duplicated": 3,
    "row_incomplete": 4,
    "split_unknown": 3,
    "study_in_two_splits": 1,
    "study_of_two_patients": 1,
    "study_without_frontal": 1,
    "study_without_image": 1,
}


@pytest.fixture(scope="module")
def folder(makers, tmp_path_factory):
    """A folder with three tables and their images that no test may change."""
    folder = tmp_path_factory.mktemp("outer") / "hospital"
    makers["table"](folder / "images.csv", IMAGE_HEADER, IMAGES)
    makers["table"](folder / "boxes.csv", BOX_HEADER, BOXES)
    makers["table"](folder / "questions.csv", QUESTION_HEADER, QUESTIONS)
    for number, (*_, name, _, _, _) in enumerate(IMAGES):
        if name and "lost" not in name and "\0" not in name and len(name) < 99 and not name.startswith("/"):
            makers["image"](folder / name, number)
    (folder / "c/text.png").write_text("not an image")
    return folder


@pytest.fixture(scope="module")
def cohort(folder):
    return read_sources([f"table:{folder}"])


@pytest.fixture(scope="module")
def studies(cohort):
    return {study.study_id: study for study in cohort.studies}


@pytest.fixture
def read(makers, tmp_path):
    """Reads a cohort from a table of images in `tmp_path`, whose files are made, and from other tables."""

    def read(header, rows, **others):
        makers["table"](tmp_path / "images.csv", header, rows)
        for row in rows:
            makers["image"](tmp_path / row[list(header).index("image")])
        for name, (columns, cells) in others.items():
            makers["table"](tmp_path / f"{name}.csv", columns, cells)
        return read_sources([f"table:{tmp_path}"])

    return read


def test_every_planted_fault_is_counted_once(cohort):
    assert Counter(problem.kind for problem in cohort.problems) == PROBLEMS


def test_studies_have_their_frontal_images_and_the_first_report(studies, folder):
    assert {study_id: [image.image_id for image in study.images] for study_id, study in studies.items()} == {
        "A1": ["a/1.png", "a/1-second.png"],
        "A2": ["a/2.png"],
        "A3": ["a/3.png"],
        "B1": ["b/1.png"],
        "B2": ["b/2.png"],
        "C1": ["c/1.png", "c/1-other.png"],
    }
    image = studies["A1"].images[0]
    assert image.path.samefile(folder / "a/1.png")
    assert (image.width, image.height, image.view) == (80, 100, "PA")
    assert studies["A1"].report == "Clear lungs."
    assert {study_id: study.split for study_id, study in studies.items()} == {
        **dict.fromkeys(("A1", "A2", "A3"), "train"),
        **dict.fromkeys(("B1", "B2", "C1"), "validate"),
    }


def test_studies_are_in_the_order_of_time_whatever_its_notation(studies):
    assert studies["A2"].order - studies["A1"].order == 30  # A1 is dated by its earliest image
    assert studies["A3"].order - studies["A2"].order == 13 * 3600
    assert studies["B2"].order - studies["B1"].order == 24 * 3600


def test_rows_of_one_box_and_region_are_one_region(studies):
    regions = {study_id: study.images[0].regions for study_id, study in studies.items()}
    assert [(one.box, one.name, one.phrases) for one in regions["A1"]] == [
        (Box(40, 10, 70.5, 90), "left lung", ("small effusion", "no mass")),
        (Box(1, 2, 3, 4), "left lung", ("no mass",)),
    ]
    assert [(one.box, one.name, one.phrases) for one in regions["A2"]] == [
        (Box(1, 2, 3, 4), "spine", ()),
        (Box(0, 2, 3, 100), None, ("mass",)),
    ]
    assert not regions["A3"]


def test_questions_and_their_types_and_splits(cohort):
    assert [(q.type, q.pair.prior, q.pair.current, q.split, q.text, q.answer) for q in cohort.questions] == [
        ("difference", "a/1.png", "a/3.png", "train", WHAT, SAME),
        ("difference", "b/1.png", "b/2.png", "test", WHAT, SAME),
        ("presence", None, "a/1.png", "train", "is there edema?", "Yes"),
        ("abnormality", None, "a/1.png", "validate", "what is seen?", "edema"),
        ("view", None, "a/1.png", "train", "which view is this image taken?", "PA view"),
        ("colour", None, "a/1.png", "train", "what colour is it?", "grey"),
        ("difference", "a/1-second.png", "a/2.png", "train", WHAT, SAME),
        ("difference", "a/1.png", "a/2.png", "train", WHAT, SAME),
    ]
    assert [question.source for question in cohort.questions][:2] == [("questions.csv", 2), ("questions.csv", 3)]
    assert {question.subject_id for question in cohort.questions} == {"A", "B"}
    assert len({question.question_id for question in cohort.questions}) == len(cohort.questions)


@pytest.mark.parametrize("suffix", [".csv.gz", ".parquet"])
def test_tables_named_one_by_one_and_in_other_formats_give_the_same(folder, cohort, makers, tmp_path, suffix):
    for name, header, rows in (
        ("images", IMAGE_HEADER, IMAGES),
        ("boxes", BOX_HEADER, BOXES),
        ("questions", QUESTION_HEADER, QUESTIONS),
    ):
        path = tmp_path / f"{name}-of-ours{suffix}"
        if suffix == ".parquet":
            columns = {
                column: [str(cell) or None for cell in cells] for column, *cells in zip(header, *rows, strict=True)
            }
            pa.parquet.write_table(pa.table(columns), path)
        else:
            makers["table"](path, header, rows)
    named = ",".join(f"{name}={tmp_path}/{name}-of-ours{suffix}" for name in ("questions", "boxes", "images"))
    again = read_sources([f"table:{named},root={folder}"])
    assert again.studies == cohort.studies
    assert again.questions == cohort.questions
    assert Counter(problem.kind for problem in again.problems) == PROBLEMS


def test_a_parquet_table_may_hold_dates_and_numbers_as_such(makers, tmp_path):
    text = "patient,datetime,image\n7,2024-01-31T09:30:00,1.png\n7,2024-01-31T09:30:00.5,2.png\n"
    (tmp_path / "t.csv").write_text(text)
    table = pyarrow.csv.read_csv(tmp_path / "t.csv")
    assert pa.types.is_integer(table.schema.field("patient").type)
    table = table.set_column(1, "datetime", table["datetime"].cast(pa.timestamp("us")))
    pa.parquet.write_table(table, tmp_path / "images.parquet")
    for name in ("1.png", "2.png"):
        makers["image"](tmp_path / name)
    first, second = read_sources([f"table:{tmp_path}"]).studies
    assert first.subject_id == second.subject_id == "7"
    assert second.order - first.order == 0.5


def test_the_table_of_images_alone_with_the_columns_needed(read, tmp_path):
    rows = [(f"P{number}", f"{number}.png", str(number - 2.5)) for number in range(6)]
    rows += [("P0", str(tmp_path / "absolute.png"), "1e3"), ("P0", "x.png", "nan"), ("P0", "y.png", "first")]
    cohort = read(("patient", "image", "order"), rows)
    assert [(study.subject_id, study.study_id, study.order) for study in cohort.studies] == [
        (patient, image, float(order)) for patient, image, order in rows[:7]
    ]
    assert all(study.split == splits.split_of(study.subject_id) for study in cohort.studies)
    assert all(study.images[0].view == study.report == "" for study in cohort.studies)
    assert Counter(problem.kind for problem in cohort.problems) == {"date_unreadable": 2}


def test_dates_count_where_there_is_an_order_too(read):
    header = ("patient", "image", "order", "datetime")
    cohort = read(
        header, [("P", "1.png", "2", "2024-01-01"), ("P", "2.png", "1", "2024-01-02"), ("P", "3.png", "3", "")]
    )
    first, second = cohort.studies
    assert second.order - first.order == 24 * 3600
    assert [(one.kind, one.source.row) for one in cohort.problems] == [("date_unreadable", 4)]


@pytest.mark.parametrize("view", ["LATERAL", "Lat", "left lateral", "LL", "rl", "AP/LAT", "RLAT", "xtable_lateral"])
def test_lateral_views(read, view):
    cohort = read(("patient", "image", "order", "view"), [("P", "1.png", "1", view), ("P", "2.png", "2", "")])
    assert [study.study_id for study in cohort.studies] == ["2.png"]
    assert [problem.kind for problem in cohort.problems] == ["study_without_frontal"]


@pytest.mark.parametrize("view", ["PA", "ap", "flat", "bilateral", "AP SUPINE", "portable", "NaN"])
def test_views_that_are_not_lateral(read, view):
    (study,) = read(("patient", "image", "order", "view"), [("P", "1.png", "1", view)]).studies
    assert study.images[0].view == view.replace("NaN", "")


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("view", "AP LLD", "decubitus"),
        ("view", "RAO", "oblique"),
        ("body_part", "HAND", "another part of the body"),
        ("body_part", "Abdomen", "another part of the body"),
        ("body_part", "THORACIC SPINE", "another part of the body"),
        ("modality", "CT", "not a plain radiograph"),
    ],
)
def test_what_a_row_says_of_the_picture_is_judged_like_a_header(read, column, cell, reason):
    cohort = read(("patient", "image", "order", column), [("P", "1.png", "1", cell), ("P", "2.png", "2", "")])
    assert [study.study_id for study in cohort.studies] == ["2.png"]
    (problem,) = cohort.problems
    assert problem.kind == "image_unsuitable"
    assert reason in problem.reason


@pytest.mark.parametrize(
    ("column", "cell"), [("body_part", "Chest PA"), ("body_part", "thorax"), ("modality", "dx"), ("modality", "NA")]
)
def test_what_a_row_says_of_a_chest_radiograph_is_no_fault(read, column, cell):
    cohort = read(("patient", "image", "order", column), [("P", "1.png", "1", cell)])
    assert cohort.problems == ()


def test_what_makes_it_impossible_is_refused(read, tmp_path):
    header, rows = ("patient", "image", "order"), [("P", "1.png", "1")]
    read(header, rows)
    images = tmp_path / "images.csv"
    for others, words in [
        ({"boxes": (("image", "x1", "y1", "x2", "y2"), [])}, r"boxes\.csv: no column 'phrase' or 'region'; .*y2"),
        ({"boxes": (("image", "x1", "y1", "x2", "phrase"), [])}, r"boxes\.csv: no column 'y2'"),
        ({"boxes": (BOX_HEADER, []), "questions": (("prior", "current", "answer"), [])}, "no column 'question'"),
    ]:
        with pytest.raises(InputError, match=words):
            read(header, rows, **others)
    for source, words in [
        (f"table:boxes={tmp_path}/boxes.csv", "images=FILE is missing"),
        (f"table:images={tmp_path}", "table:images: expected a file"),
        (f"table:images={images},boxes={tmp_path}", "table:boxes: expected a file"),
        (f"table:images={images},root={images}", "table:root: expected a folder"),
        (f"table:images={images},root={tmp_path}/none", "table:root: the path given does not exist"),
        (f"table:images={images},pictures={tmp_path}", "images, boxes, questions, root"),
        (f"table:{images}", r"no images\.csv"),
    ]:
        with pytest.raises(InputError, match=words) as error:
            read_sources([source])
        assert str(tmp_path) not in str(error.value)
    with pytest.raises(
        InputError, match=r"images\.csv: no column 'datetime' or 'order'; columns found: patient, image"
    ):
        read(("patient", "image"), [("P", "1.png")])
    images.write_text("patient;image;order\nP;1.png;1\n")
    with pytest.raises(InputError, match="columns are separated by ','"):
        read_sources([f"table:{tmp_path}"])
    images.write_text("patient,image,order\nP,1.png,?\nP,2.png,1\nP,3.png,1\n")
    with pytest.raises(
        InputError, match=r"none of its 3 images .*image_missing 2 .*date_unreadable 1 \(expected 2024-01"
    ):
        read_sources([f"table:{tmp_path}"])
    images.write_text("patient,image,order\n")
    with pytest.raises(InputError, match=r"none of its 0 images .*no rows"):
        read_sources([f"table:{tmp_path}"])


def test_the_example_of_the_docs(makers, tmp_path):
    text = DOCS.read_text(encoding="utf-8")
    for name, content in re.findall(r"`(\w+\.csv)`:\n\n```csv\n(.*?)```", text, re.DOTALL):
        (tmp_path / name).write_text(content)
    with open(tmp_path / "images.csv", newline="") as file:
        for row in csv.DictReader(file):
            makers["image"](tmp_path / row["image"])
    summary = summarise(read_sources([f"table:{tmp_path}"]))
    assert [summary[name] for name in ("images", "patients", "studies", "pairs", "boxes")] == [4, 2, 4, 2, 3]
    assert summary["questions"] == {"difference": 2, "abnormality": 1, "presence": 1}
    assert summary["problems"] == {}


def _hannover(folder, place, monkeypatch):
    """What the docs say of the Hannover repository, done: the cohort of the `data.csv` in `folder`."""
    (script,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (source,) = re.findall(r"diffvqa inspect (table:\S*hannover\S*)", DOCS.read_text(encoding="utf-8"))
    monkeypatch.chdir(place)
    exec(script.replace("FOLDER", str(folder)), {})
    return read_sources([source.replace("FOLDER", str(folder))])


def test_the_hannover_repository_of_the_docs(makers, tmp_path, monkeypatch):
    folder = tmp_path / "hannover"
    header = ("patient_id", "image_id", "sex", "admission_offset", "modality", "projection")
    rows = [
        ("p1", "i1", "m", "-2", "CR", "ap"),
        ("p1", "i2", "m", "0", "DX", "pa"),
        ("p1", "i3", "m", "0", "DX", "lateral"),
        ("p1", "i4", "m", "1", "CT", "ap"),
        ("p2", "i5", "f", "", "CR", "ap"),
        ("p2", "i6", "f", "3", "CR", "ap"),
    ]
    makers["table"](folder / "data.csv", header, rows)
    for number in (1, 2, 3, 4, 5):
        makers["image"](folder / "png" / f"i{number}.png")
    cohort = _hannover(folder, tmp_path, monkeypatch)
    assert [(study.subject_id, study.images[0].path.name, study.order) for study in cohort.studies] == [
        ("p1", "i1.png", -2.0),
        ("p1", "i2.png", 0.0),
    ]
    assert Counter(problem.kind for problem in cohort.problems) == {
        "date_unreadable": 1,
        "image_missing": 1,
        "study_without_frontal": 1,
    }


@pytest.mark.skipif(
    "DIFFVQA_HANNOVER" not in os.environ, reason="DIFFVQA_HANNOVER names no folder with the real sample"
)
def test_the_real_sample(tmp_path, monkeypatch):
    cohort = _hannover(Path(os.environ["DIFFVQA_HANNOVER"]).absolute(), tmp_path, monkeypatch)
    summary = summarise(cohort)
    assert [summary[name] for name in ("images", "patients", "studies")] == [97, 17, 97]
    assert summary["shared_patients"] == 0
    assert summary["problems"] == {}
