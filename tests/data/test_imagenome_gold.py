import csv
import shutil
from collections import Counter

import pytest

from diffvqa.boxes import Box
from diffvqa.data import read_sources
from diffvqa.errors import InputError

BOXES = "gold_bbox_coordinate_annotations_1000images.csv"
SENTENCES = "gold_object_attribute_with_coordinates.txt"

BOX_HEADER = (
    "image_id", "x1", "y1", "x2", "y2", "width", "height", "bbox_name", "annot_id", "original_x1", "original_x2",
    "original_y1", "original_y2", "original_width", "original_height", "annotator", "coord224", "coord_original",
)  # fmt: skip

# image, region, x1, y1, x2, y2; images of the dataset that `makers["mimic"]` makes, 80 wide and 100 high
BOX_ROWS = [
    ("a2.dcm", "left lung", 40, 10, 70.5, 90),
    ("a2.dcm", "right lung", -5, 10, 30, 90),  # clipped
    ("a2.dcm", "carina", 40, 20, 40, 30),  # no area
    ("a2.dcm", "left lung", 1, 1, 2, 2),  # a second box
    ("a2.dcm", "", 1, 1, 2, 2),  # no region
    ("c1.dcm", "spine", 30, 0, 50, 100),
    ("a1-side.dcm", "spine", 30, 0, 50, 100),  # lateral
    ("a1-side.dcm", "carina", 30, 0, 50, 100),
    ("c3-lost.dcm", "spine", 30, 0, 50, 100),  # no file
    ("elsewhere.dcm", "spine", 30, 0, 50, 100),  # not in the metadata
    ("e2-splitless.dcm", "spine", 30, 0, 50, 100),  # the split table puts it nowhere
]

SENTENCE_HEADER = (
    "patient_id", "study_id", "image_id", "row_id", "bbox", "relation", "context", "label_name", "categoryID",
    "sentence",
)  # fmt: skip

# image, region, context, sentence
SENTENCE_ROWS = [
    ("a2.dcm", "left lung", "yes", "There is a small  left effusion."),
    ("a2.dcm", "left lung", "no", "There is a small left effusion."),  # the same for another label
    ("a2.dcm", "left lung", "no", 'No pneumothorax, "as before".'),
    ("a2.dcm", "carina", "yes", "Its box was dropped."),
    ("a2.dcm", "neck", "yes", "Text without a box."),
    ("a2.dcm", "neck", "yes", "More of it."),
    ("c1.dcm", "spine", "yes", "Scoliosis."),
    ("c3-lost.dcm", "spine", "yes", "Scoliosis."),
    ("c1.dcm", "", "yes", "Said of nothing."),
]

PROBLEMS = {
    "box_clipped": 1,
    "box_dropped": 1,
    "box_duplicated": 1,
    "box_without_image": 4,
    "image_missing": 1,
    "region_without_box": 1,
    "row_duplicated": 1,  # in the metadata
    "row_incomplete": 2,
    "study_without_frontal": 1,
}


def write_gold(imagenome):
    gold = imagenome / "gold_dataset"
    gold.mkdir(parents=True)
    with open(gold / BOXES, "w", newline="") as file:
        table = csv.DictWriter(file, BOX_HEADER, restval="7")
        table.writeheader()
        for image, region, x1, y1, x2, y2 in BOX_ROWS:
            corners = {"original_x1": x1, "original_y1": y1, "original_x2": x2, "original_y2": y2}
            table.writerow({"image_id": image, "bbox_name": region, **corners})
    with open(gold / SENTENCES, "w", newline="") as file:
        table = csv.DictWriter(file, SENTENCE_HEADER, restval="1", delimiter="\t")
        table.writeheader()
        for image, region, context, sentence in SENTENCE_ROWS:
            table.writerow({"image_id": image, "bbox": region, "context": context, "sentence": sentence})


@pytest.fixture(scope="module")
def parent(makers, tmp_path_factory):
    """The parent folder of a dataset that no test may change."""
    parent = tmp_path_factory.mktemp("gold")
    write_gold(makers["mimic"](parent)["imagenome"])
    return parent


@pytest.fixture
def own(parent, tmp_path):
    """The gold folder of a copy in `tmp_path` that the test may change."""
    shutil.copytree(parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / "physionet.org/files/chest-imagenome/1.0.0/gold_dataset"


@pytest.fixture(scope="module")
def cohort(parent):
    return read_sources([f"imagenome-gold:{parent}"])


def test_every_planted_fault_is_counted_once_and_nothing_of_other_images(cohort):
    assert Counter(problem.kind for problem in cohort.problems) == PROBLEMS


def test_regions_have_their_boxes_by_name_and_each_sentence_once(cohort):
    regions = {image.image_id: tuple(image.regions) for study in cohort.studies for image in study.images}
    assert {image: [(one.name, one.box, one.phrases) for one in found] for image, found in regions.items()} == {
        "a2": [
            (
                "left lung",
                Box(40, 10, 70.5, 90),
                ("There is a small left effusion.", 'No pneumothorax, "as before".'),
            ),
            ("right lung", Box(0, 10, 30, 90), ()),
        ],
        "c1": [("spine", Box(30, 0, 50, 100), ("Scoliosis.",))],
        "e2-splitless": [("spine", Box(30, 0, 50, 100), ())],
    }


def test_every_study_is_for_test_without_report_and_questions(cohort, mimic):
    assert {study.split for study in cohort.studies} == {"test"}
    assert not any(study.report or study.findings for study in cohort.studies)
    assert cohort.questions == ()
    times = {study.study_id: study.order for study in read_sources([f"mimic:{mimic[0]}"]).studies}
    found = {study.study_id: study for study in cohort.studies}
    assert (found["50000012"].subject_id, found["50000012"].order) == ("10000001", times["50000012"])


def test_folders_named_one_by_one_need_neither_scene_graphs_nor_splits(own, tmp_path, cohort):
    files = tmp_path / "physionet.org/files"
    shutil.rmtree(own.parent / "silver_dataset")
    (files / "mimic-cxr-jpg/2.1.0/mimic-cxr-2.0.0-split.csv.gz").unlink()
    source = f"imagenome-gold:imagenome={own.parent.parent},jpg={files}/mimic-cxr-jpg"
    again = read_sources([source])
    assert [(study.study_id, study.images[0].regions) for study in again.studies] == [
        (study.study_id, study.images[0].regions) for study in cohort.studies
    ]
    assert Counter(problem.kind for problem in again.problems) == PROBLEMS


@pytest.mark.parametrize("column", ["image_id", "bbox", "sentence"])
def test_without_a_column_of_sentences_the_boxes_are_read_alone(own, tmp_path, column):
    lines = (own / SENTENCES).read_text().splitlines()
    lines[0] = lines[0].replace(column, "else")
    (own / SENTENCES).write_text("\n".join(lines))
    cohort = read_sources([f"imagenome-gold:{tmp_path}"])
    assert not any(region.phrases for study in cohort.studies for region in study.images[0].regions)
    (problem,) = [problem for problem in cohort.problems if problem.kind == "part_missing"]
    assert problem.source == (SENTENCES, None)
    assert f"no column '{column}'" in problem.reason
    assert "else" in problem.reason


def test_without_the_table_of_sentences_it_is_said_what_is_there(own, tmp_path):
    (own / SENTENCES).rename(own / "gold_something_new.txt")
    cohort = read_sources([f"imagenome-gold:{tmp_path}"])
    assert sum(len(study.images[0].regions) for study in cohort.studies) == 4
    (problem,) = [problem for problem in cohort.problems if problem.kind == "part_missing"]
    assert f"tables found: {BOXES}, gold_something_new.txt" in problem.reason
    assert str(tmp_path) not in problem.reason


def test_what_makes_it_impossible_is_refused(own, parent, tmp_path, mimic):
    files = tmp_path / "physionet.org/files"
    for source, words in [
        (f"imagenome-gold:{mimic[0]}", "no chest-imagenome with its gold_dataset"),
        (f"imagenome-gold:{own.parent}", "no mimic-cxr-jpg"),
        (f"imagenome-gold:imagenome={own.parent}", "jpg=PATH is missing"),
        (f"imagenome-gold:jpg={files}/mimic-cxr-jpg", "imagenome=PATH is missing"),
        (
            f"imagenome-gold:imagenome={mimic[1]['imagenome']},jpg={files}/mimic-cxr-jpg",
            "imagenome-gold:imagenome: the",
        ),
        (f"imagenome-gold:imagenome={own.parent},jpg={own.parent}", "imagenome-gold:jpg: the folder given holds no"),
    ]:
        with pytest.raises(InputError, match=words):
            read_sources([source])
    shutil.rmtree(files / "mimic-cxr-jpg/2.1.0/files")
    with pytest.raises(InputError, match="none of the 6 images"):
        read_sources([f"imagenome-gold:{tmp_path}"])
    (own / BOXES).write_text((own / BOXES).read_text().replace("original_x2", "x2_original"))
    with pytest.raises(InputError, match=f"{BOXES}: no column 'original_x2'; columns found: .*x2_original"):
        read_sources([f"imagenome-gold:{tmp_path}"])
