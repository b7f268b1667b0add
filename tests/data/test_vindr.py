import csv
import random
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from diffvqa.boxes import Box, intersection_over_union
from diffvqa.data import read_sources, splits, vindr
from diffvqa.data.inspection import check_files, summarise
from diffvqa.errors import InputError
from diffvqa.findings import LEVELS
from diffvqa.images import read_image

WIDTH, HEIGHT = 80, 100

# image, reader, class, x_min, y_min, x_max, y_max
TRAIN = [
    ("a1", "R1", "Pleural effusion", "10", "20", "40", "60"),
    ("a1", "R2", "Pleural effusion", "12", "22", "42", "58"),  # the same thing
    ("a1", "R3", "Pleural effusion", "60", "20", "75", "60"),  # another
    ("a1", "R3", "Nodule/Mass", "11", "21", "41", "59"),  # another class in the same place
    ("a1", "R3", "No finding", "", "", "", ""),  # readers may disagree
    ("a2", "R1", "No finding", "", "", "", ""),
    ("a2", "R2", "No finding", "", "", "", ""),
    ("a2", "R2", "No finding", "", "", "", ""),  # a row twice
    ("b1", "R1", "ILD", "-5", "20", "30", "60"),  # reaches beyond
    ("b1", "R1", "Cardiomegaly", "200", "20", "230", "60"),  # outside
    ("b1", "R1", "Cardiomegaly", "20", "20", "20", "60"),  # no area
    ("b1", "R1", "Cardiomegaly", "", "", "", ""),  # no box
    ("b1", "R2", "Shiny New Class", "20", "20", "30", "60"),
    ("b1", "R3", "Shiny New Class", "20", "20", "30", "60"),
    ("lost", "R1", "Edema", "20", "20", "30", "60"),  # no file
    ("lost", "R2", "Edema", "20", "20", "30", "60"),
    ("broken", "R1", "Edema", "20", "20", "30", "60"),  # no DICOM file
    ("broken", "R2", "Edema", "20", "20", "30", "60"),
    ("../a1", "R1", "Edema", "20", "20", "30", "60"),  # leads elsewhere
    ("", "R1", "Edema", "20", "20", "30", "60"),  # no image
    ("a1", "R1", "", "20", "20", "30", "60"),  # no class
]
# image, class, x_min, y_min, x_max, y_max
TEST = [
    ("t1", "Lung Opacity", "10", "20", "40", "60"),
    ("t1", "Lung Opacity", "12", "22", "42", "58"),  # agreed upon: two boxes
    ("t2", "No finding", "", "", "", ""),
    ("a1", "Edema", "10", "20", "40", "60"),  # an image of the other table
]
PROBLEMS = {
    "box_clipped": 1,
    "box_dropped": 3,
    "image_missing": 1,
    "image_unreadable": 1,
    "label_unknown": 2,
    "path_outside": 1,
    "row_duplicated": 2,
    "row_incomplete": 2,
}
"""How many of each kind of fault lie in the dataset that `write` makes."""


def write_dicom(path, stored, **elements):
    """A file with these levels, uint8 or uint16, in pixels of (height, width)."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8 * stored.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def write_table(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def write(folder):
    """PhysioNet's layout in `folder`, with the faults of PROBLEMS."""
    corners = ("x_min", "y_min", "x_max", "y_max")
    write_table(folder / "annotations/annotations_train.csv", ("image_id", "rad_id", "class_name", *corners), TRAIN)
    write_table(folder / "annotations/annotations_test.csv", ("image_id", "class_name", *corners), TEST)
    write_table(folder / "annotations/image_labels_train.csv", ("image_id", "rad_id", "COPD"), [("a1", "R1", "1")])
    ramp = np.tile(np.arange(WIDTH, dtype=np.uint8) * 3, (HEIGHT, 1))
    write_dicom(folder / "train/a1.dicom", ramp)
    write_dicom(folder / "train/a2.dicom", ramp, PhotometricInterpretation="MONOCHROME1")
    write_dicom(folder / "train/b1.dicom", ramp.astype(np.uint16) * 16, WindowCenter="1900", WindowWidth="3800")
    (folder / "train/broken.dicom").write_bytes(b"no DICOM file")
    (folder / "train/notes.txt").write_text("no image")
    write_dicom(folder / "test/t1.dicom", ramp)
    write_dicom(folder / "test/t2.dicom", ramp)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("vindr")
    write(made)
    return made


@pytest.fixture(scope="module")
def cohort(folder):
    return read_sources([f"vindr:{folder}"])


@pytest.fixture
def own(folder, tmp_path):
    """A copy that the test may change."""
    shutil.copytree(folder, tmp_path / "vindr")
    return tmp_path / "vindr"


def regions_of(cohort):
    return {
        study.study_id: [(region.box.as_tuple(), region.phrases) for region in study.images[0].regions]
        for study in cohort.studies
    }


def test_every_planted_fault_is_counted_once(cohort):
    assert Counter(problem.kind for problem in cohort.problems) == PROBLEMS


def test_problems_say_where(cohort):
    found = {(problem.kind, *problem.source) for problem in cohort.problems}
    assert {
        ("image_missing", "annotations_train.csv", 16),
        ("image_unreadable", "annotations_train.csv", 18),
        ("box_clipped", "annotations_train.csv", 10),
        ("row_duplicated", "annotations_test.csv", 5),
    } <= found


def test_boxes_of_several_readers_are_fused_class_by_class(cohort):
    effusion, nodule = ("pleural effusion",), ("nodule or mass",)
    assert regions_of(cohort) == {
        "a1": [((11, 21, 41, 59), effusion), ((60, 20, 75, 60), effusion), ((11, 21, 41, 59), nodule)],
        "a2": [],
        "b1": [((0, 20, 30, 60), ("interstitial lung disease",)), ((20, 20, 30, 60), ("shiny new class",))],
        "t1": [((10, 20, 40, 60), ("lung opacity",)), ((12, 22, 42, 58), ("lung opacity",))],
        "t2": [],
    }


def test_each_image_is_a_study_and_a_patient_of_its_own(cohort):
    assert {study.study_id: (study.findings, study.report, study.split) for study in cohort.studies} == {
        "a1": (
            ("pleural effusion", "nodule or mass"),
            "findings: pleural effusion, nodule or mass.",
            splits.train_or_validate("a1"),
        ),
        "a2": ((), "no finding.", splits.train_or_validate("a2")),
        "b1": (
            ("interstitial lung disease", "shiny new class"),
            "findings: interstitial lung disease, shiny new class.",
            splits.train_or_validate("b1"),
        ),
        "t1": (("lung opacity",), "findings: lung opacity.", "test"),
        "t2": ((), "no finding.", "test"),
    }
    for study in cohort.studies:
        (image,) = study.images
        assert study.subject_id == study.study_id == image.image_id == image.path.stem
        assert (image.width, image.height) == (WIDTH, HEIGHT)
    assert cohort.questions == ()
    assert summarise(cohort)["shared_patients"] == 0


def test_the_pixels_are_those_of_the_files(cohort):
    pictures = {study.study_id: read_image(study.images[0].path) for study in cohort.studies}
    assert (pictures["a2"] == 255 - pictures["a1"]).all()  # MONOCHROME1
    ramp = np.arange(WIDTH) * 48
    assert np.allclose(pictures["b1"][0], 255 * ((ramp - 1899.5) / 3799 + 0.5), atol=0.51)  # its window
    assert check_files(cohort, deep=True) is check_files(cohort) is cohort


def test_a_file_cut_short_is_found(own):
    content = (own / "train/a1.dicom").read_bytes()
    (own / "train/a1.dicom").write_bytes(content[:-100])
    cohort = read_sources([f"vindr:{own}"])
    for deep in (False, True):
        *_, problem = check_files(cohort, deep=deep).problems
        assert (problem.kind, problem.source.file) == ("image_unreadable", "a1.dicom")


def kaggle(own):
    """Kaggle's layout of the same train images."""
    header = ("image_id", "class_name", "class_id", "rad_id", "x_min", "y_min", "x_max", "y_max")
    rows = [(image, name, "14", reader, *corners) for image, reader, name, *corners in TRAIN]
    write_table(own / "train.csv", header, rows)
    shutil.rmtree(own / "annotations")


def test_the_layout_of_kaggle_gives_the_same(own, cohort):
    kaggle(own)
    (own / "train/a1.dicom").rename(own / "train/a1.dcm")
    found = read_sources([f"vindr:{own}"])
    trained = [study for study in cohort.studies if study.split != "test"]
    assert regions_of(found) == regions_of(replace(cohort, studies=tuple(trained)))
    assert [study.report for study in found.studies] == [study.report for study in trained]
    assert Counter(problem.kind for problem in found.problems) == {**PROBLEMS, "row_duplicated": 1}


def test_converted_files_take_the_place_of_dicom_files_but_not_their_rank(own, cohort):
    Image.fromarray(np.zeros((50, 40), np.uint8)).save(own / "train/a1.png")
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(own / "train/a2.png")
    (own / "train/a2.dicom").unlink()
    found = read_sources([f"vindr:{own}"])
    assert [study.images[0].path.name for study in found.studies][:2] == ["a1.dicom", "a2.png"]
    assert regions_of(found) == regions_of(cohort)


def test_boxes_follow_images_made_smaller_where_the_table_tells_their_size(own):
    header = ("image_id", "rad_id", "class_name", "x_min", "y_min", "x_max", "y_max", "width", "height")
    shutil.rmtree(own / "annotations")
    write_table(own / "train.csv", header, [(*row, str(WIDTH), str(HEIGHT)) for row in TRAIN[:4]])
    (own / "train/a1.dicom").unlink()
    Image.fromarray(np.zeros((50, 40), np.uint8)).save(own / "train/a1.png")
    cohort = read_sources([f"vindr:{own}"])
    fused, other = (5.5, 10.5, 20.5, 29.5), (30, 10, 37.5, 30)
    assert [box for box, _ in regions_of(cohort)["a1"]] == [fused, other, fused]
    assert Counter(problem.kind for problem in cohort.problems) == {"size_differs": 1}


@pytest.mark.parametrize(("kept", "images"), [("train", {"a1", "a2", "b1"}), ("test", {"a1", "t1", "t2"})])
def test_one_table_alone_is_enough(own, kept, images):
    other = "test" if kept == "train" else "train"
    (own / f"annotations/annotations_{other}.csv").unlink()
    (own / "annotations/image_labels_train.csv").unlink()
    if kept == "test":
        shutil.copy(own / "train/a1.dicom", own / "test/a1.dicom")
    assert set(regions_of(read_sources([f"vindr:{own}"]))) == images


@pytest.mark.parametrize("column", ["image_id", "class_name", "x_min", "y_max"])
def test_a_missing_column_is_named(own, column):
    path = own / "annotations/annotations_train.csv"
    path.write_text(path.read_text().replace(column, "else", 1))
    with pytest.raises(InputError) as error:
        read_sources([f"vindr:{own}"])
    assert path.name in str(error.value)
    assert column in str(error.value)


def test_no_image_at_all_is_refused(own):
    shutil.rmtree(own / "train")
    shutil.rmtree(own / "test")
    with pytest.raises(InputError, match=r"none of the \d+ images"):
        read_sources([f"vindr:{own}"])


def test_fusing_keeps_what_is_apart_and_does_not_mind_the_order():
    one, alike, far = Box(0, 0, 10, 10), Box(1, 1, 11, 11), Box(30, 30, 40, 40)
    half = Box(0, 0, 10, 5)  # an overlap of one half
    less = Box(0, 0, 10, 4.9)
    assert vindr.fuse([]) == []
    assert vindr.fuse([one, far]) == [one, far]
    assert vindr.fuse([one, half]) == [Box(0, 0, 10, 7.5)]
    assert vindr.fuse([one, less]) == [one, less]
    assert vindr.fuse([one, one, one]) == [one]
    # Two boxes that a third one joins.
    apart, between = Box(4, 0, 14, 10), Box(2, 0, 12, 10)
    assert intersection_over_union(one, apart) < vindr.SAME_BOX
    assert vindr.fuse([one, apart]) == [one, apart]
    expected = {Box(2, 0, 12, 10), far}
    for seed in range(6):
        boxes = [one, apart, between, far]
        random.Random(seed).shuffle(boxes)
        assert set(vindr.fuse(boxes)) == expected
    assert vindr.fuse([one, alike, far]) == [Box(0.5, 0.5, 10.5, 10.5), far]


def test_the_names_fit_the_answers():
    assert len(vindr.LABELS) == 22
    assert len(set(vindr.LABELS.values())) == 22
    for name in vindr.LABELS.values():
        assert name == name.lower()
        assert "," not in name
        assert name not in LEVELS
