from collections import Counter

import pytest

from diffvqa.boxes import Box
from diffvqa.data import read_sources
from diffvqa.data.inspection import check_files
from diffvqa.errors import InputError

WIDTH, HEIGHT = 80, 100

PROBLEMS = {
    "box_clipped": 1,
    "box_dropped": 3,
    "box_without_image": 1,
    "date_unreadable": 1,
    "image_missing": 1,
    "image_unreadable": 1,
    "path_outside": 2,
    "row_duplicated": 1,
    "row_incomplete": 3,
    "size_differs": 1,
    "split_unknown": 1,
}
"""How many of each kind of fault lie in the dataset that `write_ms_cxr` makes."""

HEADER = (
    "category_name", "label_text", "dicom_id", "path", "x", "y", "w", "h", "image_width", "image_height", "split",
)  # fmt: skip


def row(category, phrase, image, study, box, split="val", ending="jpg", size=(WIDTH, HEIGHT), path=None):
    path = path or f"files/p10/p1000000{study[0]}/s500000{study}/{image}.{ending}"
    return (category, phrase, image, path, *box, *size, split)


ROWS = [
    row("Pleural Effusion", "small  effusions", "a1", "11", (10, 20, 30, 40)),
    row("Pleural Effusion", "small effusions", "a1", "11", (50, 20.5, 20, 40)),
    row("Lung Opacity", "small effusions", "a1", "11", (50, 20.5, 20, 40)),  # the same box in another category
    row("Pneumonia", "basal opacity", "a1", "11", (60, 90, 40, 40)),  # reaches beyond
    row("Pneumonia", "basal opacity", "a1", "11", (60, 90, 40, 40)),  # a row twice
    row("Edema", "edema", "a1-second", "11", (0, 0, 80, 100)),  # another image of the study
    row("Cardiomegaly", "large heart", "b1", "21", (10, 20, 30, 40), "test", "dcm"),
    row("Cardiomegaly", "large heart", "b2", "22", (100, 20, 60, 200), "train", size=(2 * WIDTH, 4 * HEIGHT)),
    row("Cardiomegaly", "larger heart", "b2", "22", (100, 20, 60, 200), "train", size=(2 * WIDTH, 4 * HEIGHT)),
    row("Edema", "edema", "b2", "22", (10, 10, 0, 10), "train"),  # no area
    row("Edema", "edema", "b2", "22", (200, 10, 10, 10), "train"),  # outside
    row("Edema", "edema", "b2", "22", (10, "", 10, 10), "train"),  # no number
    row("Edema", "edema", "c1-dateless", "31", (10, 10, 10, 10)),
    row("Edema", "edema", "c2-lost", "32", (10, 10, 10, 10)),
    row("Edema", "edema", "c2-lost", "32", (20, 10, 10, 10)),
    row("Edema", "edema", "c3-broken", "33", (10, 10, 10, 10)),
    row("Edema", "edema", "c4-splitless", "34", (10, 10, 10, 10), "somewhere"),
    row("Edema", "edema", "c5", "35", (10, 10, 10, 10), path="files/p10/../../../a.jpg"),
    row("Edema", "edema", "c6", "36", (10, 10, 10, 10), path="/files/p10/p10000003/s50000036/c6.jpg"),
    row("Edema", "edema", "c7", "37", (10, 10, 10, 10), path="c7.jpg"),
    row("Edema", "edema", "", "38", (10, 10, 10, 10)),
    row("Edema", " ", "a1", "11", (10, 10, 10, 10)),
]

METADATA = ("dicom_id", "ViewPosition", "StudyDate", "StudyTime")
TIMES = [
    ("a1", "PA", "21800102", "80000.0"),
    ("a1-second", "AP", "21800101", "80000.0"),
    ("b1", "AP", "21800101", "80000.0"),
    ("b2", "PA", "21800101", "80001.0"),
    ("c1-dateless", "PA", "", "80000.0"),
    ("unheard-of", "PA", "", ""),
]


def write_ms_cxr(parent, makers):
    """MS-CXR and its images in PhysioNet's tree under `parent`, with the faults of PROBLEMS; the two folders."""
    boxes = parent / "physionet.org" / "files" / "ms-cxr" / "1.1.0"
    jpg = parent / "physionet.org" / "files" / "mimic-cxr-jpg" / "2.1.0"
    makers["table"](boxes / "MS_CXR_Local_Alignment_v1.1.0.csv", HEADER, ROWS)
    makers["table"](jpg / "mimic-cxr-2.0.0-metadata.csv.gz", METADATA, TIMES)
    for number, (_, _, image, path, *_) in enumerate(ROWS):
        if image and ".." not in path and path.startswith("files") and image != "c2-lost":
            makers["image"]((jpg / path).with_suffix(".jpg"), number, WIDTH, HEIGHT)
    (jpg / "files/p10/p10000003/s50000033/c3-broken.jpg").write_bytes(b"not an image")
    return boxes, jpg


@pytest.fixture
def folders(tmp_path, makers):
    return write_ms_cxr(tmp_path, makers)


@pytest.fixture
def cohort(folders, tmp_path):
    return read_sources([f"ms-cxr:{tmp_path}"])


def test_every_planted_fault_is_counted_once(cohort):
    assert Counter(problem.kind for problem in cohort.problems) == PROBLEMS


def test_studies(cohort):
    found = {study.study_id: study for study in cohort.studies}
    assert {key: (study.subject_id, study.split, study.findings) for key, study in found.items()} == {
        "50000011": ("10000001", "validate", ("pleural effusion", "lung opacity", "pneumonia", "edema")),
        "50000021": ("10000002", "test", ("cardiomegaly",)),
        "50000022": ("10000002", "train", ("cardiomegaly", "edema")),
    }
    assert {image.image_id: image.view for study in cohort.studies for image in study.images} == {
        "a1": "PA", "a1-second": "AP", "b1": "AP", "b2": "PA",
    }  # fmt: skip
    assert found["50000022"].order == found["50000021"].order + 1
    assert found["50000011"].order == found["50000021"].order  # that of its first image
    assert not cohort.questions
    assert check_files(cohort, deep=True) is cohort


def test_every_box_of_a_phrase_is_a_region_in_pixels_of_the_file(cohort):
    regions = {image.image_id: image.regions for study in cohort.studies for image in study.images}
    assert [(region.box, region.name, region.phrases) for region in regions["a1"]] == [
        (Box(10, 20, 40, 60), None, ("small effusions",)),
        (Box(50, 20.5, 70, 60.5), None, ("small effusions",)),
        (Box(60, 90, 80, 100), None, ("basal opacity",)),
    ]
    assert [(region.box, region.phrases) for region in regions["b2"]] == [
        (Box(50, 5, 80, 55), ("large heart",)),
        (Box(50, 5, 80, 55), ("larger heart",)),
    ]


def test_the_folders_may_be_named_one_by_one(folders, cohort):
    boxes, jpg = folders
    again = read_sources([f"ms-cxr:boxes={boxes},jpg={jpg}"])
    assert again.studies == cohort.studies
    assert read_sources([f"ms-cxr:jpg={jpg.parent},boxes={boxes.parent}"]).studies == cohort.studies


def test_images_may_lie_behind_a_link(folders, cohort, tmp_path):
    boxes, jpg = folders
    (jpg / "files").rename(tmp_path / "elsewhere")
    (jpg / "files").symlink_to(tmp_path / "elsewhere")
    assert read_sources([f"ms-cxr:boxes={boxes},jpg={jpg}"]).studies == cohort.studies


def test_without_metadata_the_order_and_the_views_are_not_known(folders, tmp_path):
    (folders[1] / "mimic-cxr-2.0.0-metadata.csv.gz").unlink()
    cohort = read_sources([f"ms-cxr:{tmp_path}"])
    assert {study.order for study in cohort.studies} == {0.0}
    assert {image.view for study in cohort.studies for image in study.images} == {""}
    expected = Counter(PROBLEMS) - Counter(date_unreadable=1) + Counter(part_missing=1)
    assert Counter(problem.kind for problem in cohort.problems) == expected


def test_a_release_without_splits_is_for_test(folders, tmp_path, makers):
    (folders[0] / "MS_CXR_Local_Alignment_v1.1.0.csv").unlink()
    makers["table"](folders[0] / "MS_CXR_Local_Alignment_v1.0.0.csv", HEADER[:-1], [row[:-1] for row in ROWS])
    cohort = read_sources([f"ms-cxr:{tmp_path}"])
    assert {study.split for study in cohort.studies} == {"test"}
    expected = Counter(PROBLEMS) - Counter(split_unknown=1) + Counter(part_missing=1)
    assert Counter(problem.kind for problem in cohort.problems) == expected


def test_sizes_may_be_left_out(folders, tmp_path, makers):
    table = folders[0] / "MS_CXR_Local_Alignment_v1.1.0.csv"
    makers["table"](table, HEADER[:8], [row[:8] for row in ROWS[:1]])
    (study,) = read_sources([f"ms-cxr:{tmp_path}"]).studies
    assert [region.box for region in study.images[0].regions] == [Box(10, 20, 40, 60)]


def test_what_is_missing_is_named(folders, tmp_path):
    boxes, jpg = folders
    for source, words in [
        (f"ms-cxr:{boxes}", "ms-cxr: no mimic-cxr-jpg under the folder given"),
        (f"ms-cxr:{jpg}", "ms-cxr: no ms-cxr with its MS_CXR_Local_Alignment"),
        (f"ms-cxr:boxes={boxes}", "jpg=PATH is missing"),
        (f"ms-cxr:jpg={jpg}", "boxes=PATH is missing"),
        (f"ms-cxr:boxes={boxes},jpg={boxes}", "ms-cxr:jpg: the folder given holds no mimic-cxr"),
        (f"ms-cxr:boxes={jpg},jpg={jpg}", "ms-cxr:boxes: the folder given holds no MS_CXR_Local_Alignment"),
    ]:
        with pytest.raises(InputError, match=words) as error:
            read_sources([source])
        assert str(tmp_path) not in str(error.value)


@pytest.mark.parametrize("column", ["label_text", "path", "w"])
def test_a_missing_column_is_named(folders, tmp_path, column, makers):
    table = folders[0] / "MS_CXR_Local_Alignment_v1.1.0.csv"
    makers["table"](table, ["else" if name == column else name for name in HEADER], ROWS)
    with pytest.raises(InputError, match=rf"MS_CXR_Local_Alignment_v1.1.0.csv: no column '{column}'"):
        read_sources([f"ms-cxr:{tmp_path}"])


def test_no_image_at_all_is_refused(folders, tmp_path):
    (folders[1] / "files").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"ms-cxr: no image of MS_CXR_Local_Alignment_v1.1.0.csv can be used"):
        read_sources([f"ms-cxr:{tmp_path}"])
