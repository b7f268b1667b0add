"""A synthetic cohort in which every kind of fault was planted: each is counted, and the rest is as if it were clean."""

import csv
import gzip
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from diffvqa import cli
from diffvqa.data.store import Store

JPG = Path("mimic-cxr-jpg/2.1.0")
SCENE_GRAPHS = Path("chest-imagenome/1.0.0/silver_dataset/scene_graph.zip")
QUESTIONS = Path("medical-diff-vqa/1.0.1/mimic_pair_questions.csv")

PATIENT = "19999999"
# study, image, view, date: all of one patient who is not in the clean cohort
PLANTED = [
    ("59000001", "whole-1", "PA", "21500101"),
    ("59000002", "whole-2", "AP", "21500102"),
    ("59000003", "tied-3", "AP", "21500102"),
    ("59000004", "cut-4", "PA", "21500104"),
    ("59000005", "strip-5", "PA", "21500105"),
    ("59000006", "absent-6", "PA", "21500106"),
    ("59000007", "lateral-7", "LATERAL", "21500107"),
    ("", "studyless-8", "PA", "21500108"),
    ("59000009", "../../../outside-9", "PA", "21500109"),
    ("59000010", "dateless-10", "PA", ""),
    ("59000011", "splitless-11", "PA", "21500111"),
    ("59000001", "whole-1", "PA", "21500101"),  # once more
]
WHAT = "what has changed compared to the reference image?"
SAME = "nothing has changed."
# study, reference, type, question, answer
ASKED = [
    ("59000002", "59000001", "difference", WHAT, SAME),
    ("59000002", "59000001", "difference", WHAT, SAME),  # once more
    ("59000001", "59000002", "difference", WHAT, SAME),  # reversed
    ("59000003", "59000002", "difference", WHAT, SAME),  # tied
    ("59000002", "59000001", "presence", "is there edema?", "NaN"),
    ("59000002", "59000001", "presence", "is there edema?", ""),
    ("59000006", "59000006", "presence", "is there edema?", "yes"),  # its image is absent
    ("59999999", "59000001", "presence", "is there edema?", "yes"),  # no such study
]
BOXES = [
    ("left lung", -5, 10, 40, 60),  # clipped
    ("right lung", 10, 10, 9000, 60),  # clipped
    ("spine", 10, 10, 10, 60),  # no area
    ("trachea", 9000, 9000, 9010, 9010),  # outside
]
EXPECTED = {
    "answer_empty": 2,
    "box_clipped": 2,
    "box_dropped": 2,
    "date_unreadable": 1,
    "image_missing": 1,
    "image_unreadable": 2,
    "image_without_study": 1,
    "pair_reversed": 1,
    "pair_tied": 1,
    "path_outside": 2,  # an image and a member of the archive
    "question_without_image": 2,
    "region_without_box": 1,
    "report_missing": 5,
    "row_duplicated": 2,
    "scene_graph_missing": 3,  # of the third, the cut and the strip
    "scene_graph_unreadable": 1,
    "split_unknown": 1,
    "study_without_frontal": 1,
}


def _append(path, rows):
    """Rows at the end of a table, which gets a byte-order mark."""
    text = path.read_bytes() if path.suffix != ".gz" else gzip.decompress(path.read_bytes())
    lines = "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows)
    content = b"\xef\xbb\xbf" + text + lines.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture(scope="module")
def planted(cohort_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "cohort"
    shutil.copytree(cohort_folder, folder)
    pixels = PillowImage.fromarray(np.random.default_rng(0).integers(0, 256, (100, 90), np.uint8))
    for study, image, *_ in PLANTED:
        path = folder / JPG / "files" / "p19" / f"p{PATIENT}" / f"s{study}" / f"{image}.jpg"
        if image.startswith(("absent", "..", "studyless")):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if image == "strip-5":
            PillowImage.new("RGBA", (2000, 20)).save(path, format="PNG")
        elif image == "whole-2":  # 16 bits, and another format than the name says
            PillowImage.fromarray(np.arange(9000, dtype=np.uint16).reshape(100, 90)).save(path, format="PNG")
        elif image == "tied-3":
            pixels.convert("RGBA").save(path, format="PNG")
        else:
            pixels.save(path)
        if image == "cut-4":
            path.write_bytes(path.read_bytes()[:-500])
    metadata = [
        [image, PATIENT, study, "CHEST", view, 100, 90, date, "120000", "", "", ""]
        for study, image, view, date in PLANTED
    ]
    _append(folder / JPG / "mimic-cxr-2.0.0-metadata.csv.gz", metadata)
    splits = [[image, study, PATIENT, "train"] for study, image, *_ in PLANTED[:-1] if image != "splitless-11"]
    _append(folder / JPG / "mimic-cxr-2.0.0-split.csv.gz", splits)
    _append(
        folder / QUESTIONS,
        [[study, PATIENT, prior, kind, text, answer, "train"] for study, prior, kind, text, answer in ASKED],
    )
    graph = {
        "objects": [
            {
                "bbox_name": name,
                **dict(zip(("original_x1", "original_y1", "original_x2", "original_y2"), box, strict=True)),
            }
            for name, *box in BOXES
        ],
        "attributes": [{"bbox_name": "neck", "neck": True, "phrases": ["no box"], "sections": ["finalreport"]}],
    }
    with zipfile.ZipFile(folder / SCENE_GRAPHS, "a") as archive:
        archive.writestr("scene_graph/whole-1_SceneGraph.json", json.dumps(graph))
        archive.writestr("scene_graph/whole-2_SceneGraph.json", json.dumps(graph)[:100])
        archive.writestr("../../whole-2_SceneGraph.json", json.dumps(graph))
    return folder


def run(capsys, *arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["diffvqa", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
    captured = capsys.readouterr()
    return end.value.code, captured.out, captured.err


def test_inspect_counts_every_kind_and_lists_each_with_file_and_row(planted, cohort_folder, tmp_path, capsys):
    clean = json.loads(run(capsys, "inspect", f"mimic:{cohort_folder}", "--json")[1])
    status, out, _ = run(capsys, "inspect", f"mimic:{planted}", "--json", "--problems", tmp_path / "problems.csv")
    found = json.loads(out)
    assert status == 0
    assert clean["problems"] == {}
    assert found["problems"] == EXPECTED
    assert found["images"] == clean["images"] + 3
    assert sum(found["questions"].values()) == sum(clean["questions"].values()) + 2
    with open(tmp_path / "problems.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(EXPECTED.values())
    assert all(row["file"] and row["reason"] for row in rows)
    questions = (planted / QUESTIONS).read_text(encoding="utf-8-sig").splitlines()
    (reversed_pair,) = (row for row in rows if row["kind"] == "pair_reversed")
    assert questions[int(reversed_pair["row"]) - 1].startswith('"59000001","19999999","59000002"')


def test_prepare_goes_through_and_the_rest_is_as_if_it_were_clean(planted, store_folder, tmp_path, capsys):
    status, out, err = run(capsys, "prepare", f"mimic:{planted}", "--out", tmp_path / "store", "--size", "64")
    assert status == 0, err
    clean, found = Store.open(store_folder), Store.open(tmp_path / "store")
    assert found.problems == EXPECTED
    assert f"checksum {found.checksum}" in out
    kept = [position for position, image in enumerate(found.images) if image.subject_id != PATIENT]
    assert [found.images[position] for position in kept] == list(clean.images)
    for place, position in enumerate(kept):
        np.testing.assert_array_equal(found.pixels(position), clean.pixels(place))
    assert [one for one in found.questions if one.subject_id != PATIENT] == list(clean.questions)
    assert [image.image_id for image in found.images if image.subject_id == PATIENT] == ["whole-1", "whole-2", "tied-3"]


def test_strict_refuses_it_before_anything_is_written(planted, cohort_folder, tmp_path, capsys):
    for command in (["inspect"], ["prepare", "--out", tmp_path / "store"]):
        status, _, err = run(capsys, *command, f"mimic:{planted}", "--strict")
        assert status == 2
        assert "answer_empty 2" in err
        assert PATIENT not in err
    assert not (tmp_path / "store").exists()
    assert run(capsys, "inspect", f"mimic:{cohort_folder}", "--strict")[0] == 0
