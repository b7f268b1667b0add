import csv
import re
import stat
from pathlib import Path

import pytest

import diffvqa.data
from diffvqa.data.problems import FAULTS, NOTES, refuse_faults, write_problems
from diffvqa.errors import InputError
from diffvqa.records import Problem, Source


def test_every_kind_that_a_reader_finds_is_listed_with_its_meaning():
    code = "".join(path.read_text() for path in Path(diffvqa.data.__file__).parent.rglob("*.py"))
    found = set(re.findall(r'Problem\(\s*"(\w+)"', code)) | set(re.findall(r'return "(\w+_\w+)", "', code))
    found |= set(re.findall(r'"(patient_\w+)" if', code)) | set(re.findall(r'else "(patient_\w+)"', code))
    assert found == FAULTS.keys() | NOTES.keys()
    assert not FAULTS.keys() & NOTES.keys()


def test_strict_refuses_faults_and_counts_them_but_not_what_sound_releases_hold():
    notes = [Problem(kind, Source("x.csv"), "so it is") for kind in NOTES]
    refuse_faults(notes)
    with pytest.raises(InputError, match="answer_empty 2, box_clipped 1; mend them"):
        refuse_faults(
            [*notes, *(Problem(k, Source("x.csv", 3), "r") for k in ["answer_empty", "box_clipped", "answer_empty"])]
        )


def test_the_list_of_problems_names_kind_file_row_and_reason_and_is_the_owner_s(tmp_path):
    problems = [
        Problem("answer_empty", Source("q.csv", 7), 'no "answer"\nat all'),
        Problem("part_missing", Source("reports"), "-"),
    ]
    write_problems(tmp_path / "problems.csv", problems)
    with open(tmp_path / "problems.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"kind": "answer_empty", "file": "q.csv", "row": "7", "reason": 'no "answer"\nat all'}
    assert rows[1]["row"] == ""
    assert stat.S_IMODE((tmp_path / "problems.csv").stat().st_mode) == 0o600
