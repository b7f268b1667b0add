import csv
import re
import stat
from pathlib import Path

import pytest

import diffvqa.data
from diffvqa.data.problems import (
    COSTS_AN_IMAGE,
    FAULTS,
    NOTES,
    nothing_left,
    refuse_faults,
    require_place,
    write_problems,
)
from diffvqa.errors import InputError
from diffvqa.records import Problem, Source


def test_every_kind_that_a_reader_finds_is_listed_with_its_meaning():
    code = "".join(path.read_text() for path in Path(diffvqa.data.__file__).parent.rglob("*.py"))
    found = set(re.findall(r'Problem\(\s*"(\w+)"', code)) | set(re.findall(r'return "(\w+_\w+)", "', code))
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


def test_a_list_of_problems_takes_the_place_of_another_and_of_nothing_else(tmp_path):
    path = tmp_path / "problems.csv"
    for _ in range(2):
        require_place(path)
        write_problems(path, [])
    for text in ("patient,image,order\nA,1.png,1\n", "\x89PNG"):
        path.write_text(text, encoding="latin-1")
        with pytest.raises(InputError, match="problems: a file of another kind stands there"):
            require_place(path)
    path.unlink()
    path.symlink_to("/dev/null")
    with pytest.raises(InputError, match=r"problems: .* no plain file"):
        require_place(path)


def test_where_nothing_is_left_the_reasons_are_counted():
    problems = [
        Problem("part_missing", Source("reports"), "no reports"),
        Problem("date_unreadable", Source("x.csv", 2), "expected 2024-01-31"),
        *(Problem("image_missing", Source("x.csv", row), "no such file") for row in (3, 4)),
    ]
    error = nothing_left("table: none of its 3 images", problems)
    assert str(error) == (
        "table: none of its 3 images can be used: image_missing 2 (no such file); "
        "date_unreadable 1 (expected 2024-01-31)"
    )
    assert str(nothing_left("none", [])) == "none can be used: the table has no rows"
    assert FAULTS.keys() | NOTES.keys() >= COSTS_AN_IMAGE
