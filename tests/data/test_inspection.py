import json
import shutil
from collections import Counter

import pytest

from diffvqa.data import read_sources
from diffvqa.data.inspection import check_files, summarise
from diffvqa.data.prepare import prepare


def test_the_summary_counts_everything(mimic, makers):
    assert summarise(read_sources([f"mimic:{mimic[0]}"])) == {
        "images": 9,
        "patients": 4,
        "studies": 8,
        "pairs": 4,
        "boxes": 6,
        "questions": {"difference": 4, "presence": 1, "view": 1, "other": 1},
        "splits": {
            "train": {"images": 4, "patients": 1, "questions": 3},
            "validate": {"images": 2, "patients": 1, "questions": 2},
            "test": {"images": 3, "patients": 2, "questions": 2},
        },
        "shared_patients": 0,
        "shared": {"train-validate": 0, "train-test": 0, "validate-test": 0, "pretraining-evaluation": 0},
        "problems": makers["mimic_problems"],
    }


def _cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _scramble(path):
    """Header and end stay as they are, so that only a full decoding finds the fault."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 100] = bytes(100)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "deep", "expected"),
    [
        (lambda path: None, True, {}),
        (lambda path: path.unlink(), False, {"image_missing": 1}),
        (lambda path: path.write_bytes(b""), False, {"image_unreadable": 1}),
        (lambda path: path.write_bytes(b"GIF89a, or so it says"), False, {"image_unreadable": 1}),
        (_cut, False, {"image_unreadable": 1}),
        (_scramble, False, {}),
        (_scramble, True, {"image_unreadable": 1}),
        (lambda path: path.write_bytes(path.read_bytes() + b"\0" * 16), False, {}),
    ],
)
def test_damaged_png_files_are_found(nih, tmp_path, damage, deep, expected):
    shutil.copytree(nih, tmp_path / "nih14")
    cohort = read_sources([f"nih14:{tmp_path}/nih14"])
    damage(cohort.studies[1].images[0].path)
    checked = check_files(cohort, deep=deep)
    problems = checked.problems[len(cohort.problems) :]
    # The question on a lost image goes with it.
    lost = len(expected)
    assert Counter(problem.kind for problem in problems) == (expected | {"question_without_image": 1} if lost else {})
    assert len(checked.studies) == len(cohort.studies) - lost
    assert len(checked.questions) == len(cohort.questions) - lost
    assert all(str(tmp_path) not in problem.source.file + problem.reason for problem in problems)


@pytest.mark.parametrize(("damage", "expected"), [(lambda path: None, {}), (_cut, {"image_unreadable": 1})])
def test_damaged_jpeg_files_are_found(makers, tmp_path, damage, expected):
    makers["mimic"](tmp_path)
    cohort = read_sources([f"mimic:{tmp_path}"])
    damage(cohort.studies[0].images[0].path)
    for deep in (False, True):
        checked = check_files(cohort, deep=deep)
        assert Counter(problem.kind for problem in checked.problems[len(cohort.problems) :]) == expected


def test_a_store_counts_as_its_sources_do(mimic, tmp_path, run_command):
    cohort = read_sources([f"mimic:{mimic[0]}"])
    prepare(cohort, tmp_path / "store", 32)
    status, printed = run_command("inspect", f"store:{tmp_path}/store", "--deep", "--json")
    assert (status, json.loads(printed)) == (0, summarise(check_files(cohort)))


def test_only_a_deep_look_at_a_store_finds_a_damaged_shard(mimic, tmp_path, run_command):
    prepare(read_sources([f"mimic:{mimic[0]}"]), tmp_path / "store", 32)
    shard = tmp_path / "store" / "shards" / "00000-32.npy"
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    assert run_command("inspect", f"store:{tmp_path}/store")[0] == 0
    status, printed = run_command("inspect", f"store:{tmp_path}/store", "--deep")
    assert status == 2
    assert "shards/00000-32.npy in it is not what was written; give `prepare` again" in printed
    assert printed.count("\n") == 1
    status, printed = run_command("inspect", f"store:{tmp_path}/store", f"mimic:{mimic[0]}")
    assert (status, "a store takes only --deep and --json" in printed) == (2, True)
