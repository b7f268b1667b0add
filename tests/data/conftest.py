"""Makers of tiny datasets in the layouts of their releases, with known faults in them."""

import csv
import gzip
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

WIDTH, HEIGHT = 80, 100

METADATA = (
    "dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows", "Columns",
    "StudyDate", "StudyTime", "ProcedureCodeSequence_CodeMeaning", "ViewCodeSequence_CodeMeaning",
    "PatientOrientationCodeSequence_CodeMeaning",
)  # fmt: skip

# image, patient, study, view, date, time, split
IMAGES = [
    ("a1-side", "10000001", "50000011", "LATERAL", "21800101", "80000.0", "train"),
    ("a1-pa", "10000001", "50000011", "PA", "21800101", "80001.0", "train"),
    ("a1-ap", "10000001", "50000011", "AP", "21800101", "80002.0", "train"),
    ("a2", "10000001", "50000012", "AP", "21800301", "93014.531", "train"),
    ("a3", "10000001", "50000013", "AP", "21800301", "93014.531", "train"),  # at the same time as a2
    ("b1", "10000002", "50000021", "PA", "21900101", "120000", "validate"),
    ("b2", "10000002", "50000022", "PA", "21900102", "5014.5", "validate"),
    ("b3-side", "10000002", "50000023", "LL", "21900103", "120000", "validate"),  # a study without a frontal image
    ("c1", "11000003", "50000031", "AP", "22000101", "120000", "test"),
    ("c2", "11000003", "50000032", "AP", "22000102", "120000", "test"),
    ("c3-lost", "11000003", "50000033", "AP", "22000103", "120000", "test"),  # no file
    ("d1-gold", "12000004", "50000041", "PA", "21500101", "120000", "train"),  # one of the images to avoid
    ("e1-dateless", "12000005", "50000051", "PA", "", "120000", "train"),
    ("e2-splitless", "12000005", "50000052", "PA", "21500102", "120000", "somewhere"),
]

WHAT = "what has changed compared to the reference image?"
SAME = "nothing has changed."

# study, patient, reference, type, question, answer, split
QUESTIONS = [
    ("50000012", "10000001", "50000011", "difference", WHAT, SAME, "train"),
    ("50000013", "10000001", "50000012", "difference", WHAT, SAME, "train"),  # tied
    ("50000011", "10000001", "50000012", "difference", WHAT, SAME, "train"),  # reversed
    ("50000022", "10000002", "50000021", "difference", f"  {WHAT}  ", SAME, "val"),
    ("50000022", "10000002", "50000021", "difference", f"  {WHAT}  ", SAME, "val"),  # duplicated
    ("50000022", "10000002", "50000021", "view", "which view is this image taken?", "PA view", "val"),
    ("50000023", "10000002", "50000021", "view", "which view is this image taken?", "PA view", "val"),  # no frontal
    ("50000032", "11000003", "50000031", "difference", WHAT, "  ", "test"),  # no answer
    ("50000032", "11000003", "50000031", "level", "what level is the edema?", "nan", "test"),  # no answer
    ("50000032", "11000003", "50000031", "difference", WHAT, SAME, "test"),
    ("50000033", "11000003", "50000032", "difference", WHAT, SAME, "test"),  # no file
    ("50000032", "11000003", "50000032", "difference", WHAT, SAME, "test"),  # one and the same study
    ("50000032", "11000003", "50000011", "difference", WHAT, SAME, "test"),  # another patient
    ("50000032", "11000003", "50000031", "colour", "what colour is it?", "grey", "test"),  # a type nobody knows
    ("50000011", "10000001", "50000011", "presence", "is there edema?", "no", "elsewhere"),  # no such split
    ("50000041", "12000004", "50000041", "presence", "is there edema?", "no", "train"),  # a gold patient
]

MIMIC_PROBLEMS = {
    "answer_empty": 2,
    "box_clipped": 2,
    "box_dropped": 3,
    "box_duplicated": 1,
    "date_unreadable": 1,
    "image_avoided": 1,
    "image_missing": 1,
    "pair_of_one_study": 1,
    "pair_of_two_patients": 1,
    "pair_reversed": 1,
    "pair_tied": 1,
    "question_type_unknown": 1,
    "question_without_image": 2,
    "region_without_box": 1,
    "report_missing": 1,
    "row_duplicated": 2,
    "row_incomplete": 1,
    "scene_graph_missing": 2,
    "scene_graph_unreadable": 1,
    "split_differs": 2,
    "split_unknown": 2,
    "study_without_frontal": 1,
}
"""How many of each kind of fault lie in the dataset that `write_mimic` makes."""

REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___ with cough.

 FINDINGS:

 There is no  pneumothorax.  The heart is
 normal.

 IMPRESSION:  No acute process.
"""


def write_image(path: Path, seed: int = 0, width: int = WIDTH, height: int = HEIGHT) -> None:
    """A file of noise, another for another seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)).save(path)


def write_table(path: Path, header, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with (gzip.open if path.suffix == ".gz" else open)(path, "wt", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def scene_graph(image_id: str, boxes, texts) -> dict:
    """boxes: (name, x1, y1, x2, y2) in pixels; texts: (name, whether it counts, [(phrase, section)])."""
    return {
        "image_id": image_id,
        "objects": [
            {
                "object_id": f"{image_id}_{name}",
                "bbox_name": name,
                **dict(zip(("x1", "y1", "x2", "y2"), (1, 2, 3, 4), strict=True)),
                **dict(zip(("original_x1", "original_y1", "original_x2", "original_y2"), corners, strict=True)),
            }
            for name, *corners in boxes
        ],
        "attributes": [
            {
                "bbox_name": name,
                name: counts,
                "phrases": [phrase for phrase, _ in phrases],
                "sections": [section for _, section in phrases],
                "attributes": [["somethingnew|yes|unheard of"] for _ in phrases],
            }
            for name, counts, phrases in texts
        ],
        "relationships": [],
    }


SCENE_GRAPHS = {
    "a1-pa": scene_graph(
        "a1-pa",
        [
            ("left lung", 40.0, 10.0, 70.0, 90.0),
            ("right lung", -5.0, 10.0, 30.0, 90.0),  # clipped
            ("spine", 35, 0, 45, 120),  # clipped
            ("carina", 40, 20, 40, 30),  # no area
            ("trachea", 90, 20, 99, 30),  # outside
            ("svc", 40, None, 50, 30),  # not a number
            ("left lung", 1, 1, 2, 2),  # a second box
        ],
        [
            ("left lung", True, [("small  left\n effusion", "finalreport"), ("cough", "history")]),
            ("right lung", False, [("not to be used", "finalreport")]),
            ("carina", True, [("its box was dropped", "finalreport")]),
            ("neck", True, [("text without a box", "finalreport")]),
        ],
    ),
    "a2": scene_graph("a2", [("left lung", 40, 10, 70, 90)], []),
    "a3": scene_graph("a3", [], []),
    "b1": scene_graph("b1", [("left lung", 40, 10, 70, 90)], []),
    "b2": scene_graph("b2", [("left lung", 40, 10, 70, 90)], []),
    "unknown-image": scene_graph("unknown-image", [("left lung", 0, 0, 0, 0)], []),
    "d1-gold": scene_graph("d1-gold", [("left lung", 40, 10, 70, 90)], []),
}


IMAGENOME_SPLITS = {
    "train": ["a1-pa", "d1-gold", "c1", "c3-lost", "unknown-image"],  # c1: MIMIC-CXR has test
    "valid": ["b1", "a2"],  # a2: MIMIC-CXR has train
    "test": ["a2", "c2"],  # a2 once more
}


def write_mimic(parent: Path) -> dict[str, Path]:
    """The four datasets in PhysioNet's tree under `parent`, with the faults of MIMIC_PROBLEMS; their folders."""
    base = parent / "physionet.org" / "files"
    jpg, reports = base / "mimic-cxr-jpg" / "2.1.0", base / "mimic-cxr" / "2.1.0"
    imagenome, diffvqa = base / "chest-imagenome" / "1.0.0", base / "medical-diff-vqa" / "1.0.1"

    rows = []
    for number, (image, patient, study, view, date, time, _) in enumerate(IMAGES):
        rows.append([image, patient, study, "CHEST", view, HEIGHT, WIDTH, date, time, "", "", ""])
        folder = jpg / "files" / f"p{patient[:2]}" / f"p{patient}" / f"s{study}"
        if not image.endswith("-lost"):
            write_image(folder / f"{image}.jpg", number)
    rows[5][5] = ""  # b1 does not say its height
    rows.append(rows[3])  # a row twice
    rows.append(["", *rows[3][1:]])  # a row without an image
    write_table(jpg / "mimic-cxr-2.0.0-metadata.csv.gz", METADATA, rows)
    write_table(
        jpg / "mimic-cxr-2.0.0-split.csv.gz",
        ("dicom_id", "study_id", "subject_id", "split"),
        [(image, study, patient, split) for image, patient, study, *_, split in IMAGES],
    )
    write_table(
        jpg / "mimic-cxr-2.0.0-chexpert.csv.gz",
        ("subject_id", "study_id", "Atelectasis", "Edema", "No Finding", "Pleural Effusion"),
        [("10000001", "50000011", "1.0", "-1.0", "", "1.0"), ("10000001", "50000012", "", "0.0", "1.0", "")],
    )
    for _, patient, study, *_ in IMAGES:
        path = reports / "files" / f"p{patient[:2]}" / f"p{patient}" / f"s{study}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        if study != "50000032":  # a study without a report
            path.write_text(REPORT)
    (imagenome / "silver_dataset" / "splits").mkdir(parents=True)
    write_table(
        imagenome / "silver_dataset" / "splits" / "images_to_avoid.csv",
        ("subject_id", "study_id", "dicom_id", "path", "ViewPosition"),
        [("12000004", "50000041", "d1-gold", "files/x.dcm", "PA")],
    )
    for name, images in IMAGENOME_SPLITS.items():
        write_table(
            imagenome / "silver_dataset" / "splits" / f"{name}.csv",
            ("", "subject_id", "study_id", "dicom_id", "path", "ViewPosition"),
            [(number, "", "", image, "files/x.dcm", "PA") for number, image in enumerate(images)],
        )
    with zipfile.ZipFile(imagenome / "silver_dataset" / "scene_graph.zip", "w") as archive:
        for image, graph in SCENE_GRAPHS.items():
            archive.writestr(f"scene_graph/scene_graph/{image}_SceneGraph.json", json.dumps(graph))
        archive.writestr("scene_graph/scene_graph/c1_SceneGraph.json", '{"objects": [')
    header = ("study_id", "subject_id", "ref_id", "question_type", "question", "answer", "split")
    write_table(diffvqa / "mimic_pair_questions.csv", header, QUESTIONS)
    write_table(
        diffvqa / "mimic_all.csv",
        ("subject_id", "study_id", "edema", "dicom_id", "view", "split", "study_date", "study_order"),
        [
            ("10000001", "50000011", "1", "a1-ap", "antero-posterior", "train", "21800101", "1.0"),
            ("10000001", "50000012", "", "a2", "antero-posterior", "train", "21800301", "2.0"),
            ("10000002", "50000023", "", "b3-side", "lateral", "validate", "21900103", "3.0"),
        ],
    )
    return {"jpg": jpg, "reports": reports, "imagenome": imagenome, "diffvqa": diffvqa}


NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)

NIH_PROBLEMS = {
    "box_clipped": 1,
    "box_dropped": 2,
    "box_without_image": 1,
    "image_missing": 1,
    "image_unreadable": 1,
    "label_unknown": 1,
    "pair_tied": 1,
    "row_duplicated": 1,
    "row_incomplete": 2,
    "study_without_frontal": 1,
}
"""How many of each kind of fault lie in the dataset that `write_nih` makes."""


def write_nih(folder: Path) -> None:
    """A release of NIH ChestX-ray14 in `folder`, with the faults of NIH_PROBLEMS."""
    rows = [
        ("00000001_000.png", "No Finding", "0", "1", "PA"),
        ("00000001_003.png", "Effusion|Pleural_Thickening", "3", "1", "AP"),
        ("00000001_002.png", "Effusion|Infiltration", "2", "1", "AP"),  # not in the order of time
        ("00000001_003.png", "No Finding", "3", "1", "AP"),  # a row twice
        ("00000002_000.png", "Mass|Shiny_New_Label", "0", "2", "PA"),
        ("00000002_001.png", "Mass", "0", "2", "PA"),  # the same follow-up number
        ("00000003_000.png", "Edema", "0", "3", "PA"),  # no file
        ("00000003_001.png", "Edema", "1", "3", "PA"),  # not an image
        ("00000003_002.png", "Edema", "2", "3", "LL"),  # not frontal
        ("00000003_003.png", "Edema", "?", "3", "PA"),  # no order
    ]
    folder.mkdir(parents=True, exist_ok=True)
    lines = [",".join([*row[:4], "50", "M", row[4], "2500", "2048", "0.168", "0.168"]) for row in rows]
    text = "\ufeff" + "\n".join([NIH_HEADER, *lines]) + "\n"
    (folder / "Data_Entry_2017.csv").write_text(text, encoding="utf-8")
    boxes = [
        "00000001_002.png,Infiltrate,10.5,20,30,40,,,",
        "00000001_002.png,Effusion,1000,900,100,100",  # reaches beyond
        "00000001_002.png,Effusion,10,10,0,40,,,",  # no area
        "00000001_002.png,Effusion,2000,10,10,40,,,",  # outside
        "00000001_002.png,Effusion,10",  # ends early
        "00000099_000.png,Effusion,10,10,10,40,,,",  # of another image
    ]
    (folder / "BBox_List_2017.csv").write_text(
        "\n".join(["Image Index,Finding Label,Bbox [x,y,w,h],,,", *boxes]) + "\n"
    )
    for number, (name, *_) in enumerate(rows):
        if name not in ("00000003_000.png", "00000003_001.png"):
            # The release's images are of this size, which its boxes refer to; those without boxes are made smaller.
            size = (1024, 1024) if name == "00000001_002.png" else (WIDTH, HEIGHT)
            write_image(folder / ("images_002/images" if number > 4 else "images") / name, number, *size)
    (folder / "images" / "00000003_001.png").write_bytes(b"not an image")


@pytest.fixture(scope="session")
def mimic(tmp_path_factory):
    """(parent folder, folder of each part) of a dataset that no test may change."""
    parent = tmp_path_factory.mktemp("mimic")
    return parent, write_mimic(parent)


@pytest.fixture(scope="session")
def nih(tmp_path_factory):
    """The folder of a dataset that no test may change."""
    folder = tmp_path_factory.mktemp("nih14")
    write_nih(folder)
    return folder


@pytest.fixture(scope="session")
def makers():
    """What the tests that need a dataset or a part of it of their own make it with."""
    return {
        "mimic": write_mimic,
        "nih": write_nih,
        "image": write_image,
        "table": write_table,
        "mimic_problems": MIMIC_PROBLEMS,
        "nih_problems": NIH_PROBLEMS,
    }
