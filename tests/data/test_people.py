"""No two people are taken for one, nor two times for one time: by tables, whatever program wrote them."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image as PillowImage

from diffvqa.data import read_sources
from diffvqa.data.people import People
from diffvqa.errors import InputError
from diffvqa.records import Source

WHAT = "what has changed compared to the reference image?"
HEADER = ("patient", "image", "datetime")


@pytest.fixture
def read(makers, tmp_path):
    """Reads a cohort from rows of images, which are made, and of questions on pairs of them."""

    def read(rows, pairs=(), header=HEADER, encoding=None):
        text = "\n".join(",".join(row) for row in (header, *rows)) + "\n"
        (tmp_path / "images.csv").write_bytes(text.encode(encoding or "utf-8"))
        for number, row in enumerate(rows):
            makers["image"](tmp_path / row[1].replace("\\", "/"), number)
        questions = [(*pair, WHAT, "nothing has changed.") for pair in pairs]
        makers["table"](tmp_path / "questions.csv", ("prior", "current", "question", "answer"), questions)
        named = f"table:root={tmp_path},encoding={encoding}" if encoding else f"table:{tmp_path}"
        return read_sources([named])

    return read


def kinds(cohort):
    return Counter(problem.kind for problem in cohort.problems)


NAMES = ("Müller", "Möller", "Mäller")


def test_names_in_an_encoding_that_is_named_are_people_of_their_own(read):
    rows = [(name, f"{number}.png", f"2024-01-0{number + 1}") for number, name in enumerate(NAMES)]
    cohort = read(rows, [("0.png", "1.png")], encoding="cp1252")
    assert [study.subject_id for study in cohort.studies] == list(NAMES)
    assert not cohort.questions
    assert kinds(cohort) == {"pair_of_two_patients": 1}


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "mac_roman"])
def test_names_in_an_encoding_that_is_not_named_are_refused_with_the_row(read, makers, tmp_path, encoding):
    rows = [("A", "0.png", "2024-01-01"), *((name, f"{name[2]}.png", "2024-01-02") for name in NAMES)]
    read(rows)
    text = "\n".join(",".join(row) for row in (HEADER, *rows))
    (tmp_path / "images.csv").write_bytes(text.encode(encoding))
    with pytest.raises(InputError, match=r"images\.csv: row 3: bytes that are not utf-8") as error:
        read_sources([f"table:{tmp_path}"])
    assert "ller" not in str(error.value)


def test_the_encoding_of_marked_tables_needs_no_name(read, tmp_path):
    read([(name, f"{number}.png", f"2024-01-0{number + 1}") for number, name in enumerate(NAMES)])
    table = tmp_path / "images.csv"
    table.write_bytes(table.read_bytes().decode("utf-8").encode("utf-16"))
    cohort = read_sources([f"table:{tmp_path}"])
    assert [study.subject_id for study in cohort.studies] == list(NAMES)


@pytest.mark.parametrize(
    ("patient", "kind"),
    [
        ("", "patient_missing"),
        ("NaN", "patient_missing"),
        ("null", "patient_missing"),
        ("unknown", "patient_missing"),
        ("M\ufffdller", "patient_unreadable"),
        ("M?ller", "patient_unreadable"),
        ("1.23457E+17", "patient_unreadable"),
    ],
)
def test_who_is_not_named_for_sure_is_nobody_s_history(read, patient, kind):
    rows = [("A", "0.png", "2024-01-01"), (patient, "1.png", "2024-01-01"), (patient, "2.png", "2024-01-02")]
    cohort = read(rows, [("1.png", "2.png")])
    assert [study.subject_id for study in cohort.studies] == ["A"]
    assert kinds(cohort) == {kind: 2, "question_without_image": 1}


def test_long_numbers_of_parquet_that_were_rounded_are_nobody(makers, tmp_path):
    numbers = pa.array([9007199254740992.0, 9007199254740993.0, 12.0])
    table = pa.table({"patient": numbers, "image": ["0.png", "1.png", "2.png"], "order": [1, 2, 3]})
    pa.parquet.write_table(table, tmp_path / "images.parquet")
    for number in range(3):
        makers["image"](tmp_path / f"{number}.png", number)
    cohort = read_sources([f"table:{tmp_path}"])
    assert [study.images[0].image_id for study in cohort.studies] == ["2.png"]
    assert kinds(cohort) == {"patient_unreadable": 2}


@pytest.mark.parametrize(
    ("column", "one", "same", "other"),
    [("birth_date", "1950-01-31", "19500131", "1951-01-31"), ("sex", "F", "female", "M")],
)
def test_one_identifier_with_another_birth_date_or_sex_is_of_two_people(read, column, one, same, other):
    rows = [
        ("A", f"{number}.png", f"2024-01-0{number + 1}", cell) for number, cell in enumerate((one, same, "", other))
    ]
    cohort = read(rows, [("0.png", "1.png"), ("0.png", "3.png")], header=(*HEADER, column))
    assert [study.images[0].image_id for study in cohort.studies] == ["0.png", "1.png", "2.png"]
    assert kinds(cohort) == {"patient_of_two_people": 1, "question_without_image": 1}
    assert len(cohort.questions) == 1


@pytest.fixture
def read_files(write_dicom, tmp_path):
    """Reads a cohort of one patient from DICOM files with these elements each, a study each; None for a PNG file."""

    def read(*headers, columns="", cells=()):
        cells = cells or [""] * len(headers)
        lines = ["patient,image,order" + columns]
        for number, (elements, cell) in enumerate(zip(headers, cells, strict=True)):
            pixels = np.random.default_rng(number).integers(0, 256, (60, 40), np.uint8)
            if elements is None:
                PillowImage.fromarray(pixels).save(tmp_path / f"{number}.png")
            else:
                nothing = {"PatientBirthDate": None, "PatientSex": None, "PatientID": f"other {number}"}
                write_dicom(tmp_path / f"{number}.dcm", pixels, **{**nothing, **elements})
            lines.append(f"A,{number}.{'png' if elements is None else 'dcm'},{number}{cell}")
        (tmp_path / "images.csv").write_text("\n".join(lines) + "\n")
        asked = "".join(f"{n}.dcm,{n + 1}.dcm,{WHAT},nothing has changed.\n" for n in range(len(headers) - 1))
        (tmp_path / "questions.csv").write_text("prior,current,question,answer\n" + asked)
        cohort = read_sources([f"table:{tmp_path}"])
        strangers = [one.source.row - 2 for one in cohort.problems if one.kind == "patient_of_two_people"]
        left = [int(image.image_id[0]) for study in cohort.studies for image in study.images]
        assert sorted(left + strangers) == list(range(len(headers)))
        return strangers, cohort

    return read


@pytest.mark.parametrize(
    ("name", "one", "other"), [("PatientBirthDate", "19500131", "19510131"), ("PatientSex", "F", "M")]
)
def test_headers_of_another_birth_date_or_sex_are_of_two_people(read_files, name, one, other):
    strangers, cohort = read_files({}, {name: one}, None, {name: one}, {name: other}, {name: ""})
    assert strangers == [4]
    assert kinds(cohort)["question_without_image"] == 4  # two of them on the PNG file, by a name that is none
    problem = next(one for one in cohort.problems if one.kind == "patient_of_two_people")
    assert "195" not in problem.reason


@pytest.mark.parametrize(
    ("columns", "cells", "expected"),
    [
        (",birth_date", (",1950-01-31", ",1950-01-31"), [1]),
        (",birth_date", (",1950-01-31", ","), [1]),
        (",birth_date", (",", ",19510131"), [1]),  # the file of the row above says it
        (",birth_date", (",31.01.1950", ",31.01.1950"), [1]),  # not to be compared with a header, but headers are
        (",sex", (",F", ",F"), [1]),
    ],
)
def test_headers_are_compared_with_rows(read_files, columns, cells, expected):
    headers = (
        {"PatientBirthDate": "19500131", "PatientSex": "F"},
        {"PatientBirthDate": "19510131", "PatientSex": "F"},
    )
    assert read_files(*headers, columns=columns, cells=cells)[0] == expected


def test_a_file_may_contradict_its_own_row(read_files):
    assert read_files({}, {"PatientSex": "F"}, {"PatientSex": "O"}, columns=",sex", cells=[",M"] * 3)[0] == [1]


def test_a_stranger_tells_nothing_of_the_patient():
    people, where = People(), Source("t.csv", 2)
    assert people.fault("A", where, "", "F") is None
    assert people.fault("A", where, "1951-01-31", "M")
    assert people.fault("A", where, "1950-01-31", "F") is None


def test_reasons_quote_nobody():
    people, where = People(), Source("t.csv", 2)
    said = [people.fault("M?ller", where), people.fault("", where)]
    assert people.fault("Meier", where, "1950-01-31", "M") is None
    said += [people.fault("Meier", where, "1951-01-31", "M"), people.fault("Meier", where, "", "F")]
    assert not any(secret in one.reason for one in said for secret in ("ller", "Meier", "195"))


@pytest.mark.parametrize("missing", ["2024-01-02", "20240102", "2024.01.02"])
def test_a_day_without_a_time_is_a_tie_with_all_of_it_and_not_midnight(read, missing):
    rows = [
        ("A", "0.png", "2024-01-02T12:00"),
        ("A", "1.png", missing),
        ("A", "2.png", "2024-01-03T00:00"),
        ("A", "3.png", "2024-01-01T23:59"),
    ]
    cohort = read(rows, [("0.png", "1.png"), ("1.png", "0.png"), ("1.png", "2.png"), ("3.png", "1.png")])
    assert kinds(cohort) == {"pair_tied": 2}
    assert len(cohort.questions) == 4


def test_a_missing_time_of_one_patient_is_no_other_s(read):
    rows = [("A", "0.png", "2024-01-02"), ("B", "1.png", "2024-01-02T10:00"), ("B", "2.png", "2024-01-02T09:00")]
    assert kinds(read(rows, [("1.png", "2.png")])) == {"pair_reversed": 1}


def test_another_image_of_the_study_may_tell_the_time(read):
    rows = [
        ("A", "0.png", "2024-01-02", "S"),
        ("A", "1.png", "2024-01-02T10:00", "S"),
        ("A", "2.png", "2024-01-02T09:00", "T"),
    ]
    assert kinds(read(rows, [("0.png", "2.png")], header=(*HEADER, "study"))) == {"pair_reversed": 1}


def test_zones_count_and_fractions_of_a_second_too(read):
    rows = [
        ("A", "0.png", "2024-01-02T01:00+02:00"),
        ("A", "1.png", "2024-01-01T23:30Z"),
        ("B", "2.png", "2024-01-01T10:00:00.1234567"),
        ("B", "3.png", "20240101100000.5+0000"),
    ]
    assert kinds(read(rows, [("0.png", "1.png"), ("2.png", "3.png")])) == {}


@pytest.mark.parametrize("name", ["a/0.png", "a\\0.png", "./a/0.png", "a//0.png", "a/b/../0.png"])
def test_an_image_is_the_same_however_its_path_is_written(read, name):
    cohort = read([("A", "a/0.png", "2024-01-01"), ("A", "1.png", "2024-01-02")], [(name, "1.png")])
    assert [question.pair.prior for question in cohort.questions] == ["a/0.png"]
    again = read([("A", "a/0.png", "2024-01-01"), ("B", name, "2024-01-02")])
    assert kinds(again) == {"row_duplicated": 1}
