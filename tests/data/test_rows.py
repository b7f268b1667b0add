import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from diffvqa.data import rows
from diffvqa.data.rows import find_table, read_cells, read_rows
from diffvqa.errors import InputError


def test_cells_come_by_name_whatever_the_order_and_the_byte_order_mark(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes('\ufeff b ,unused,a\r\n 1 ,x,"two, lines\r\nlong"\r\n\r\n3,x,\r\n'.encode())
    problems = []
    rows = list(read_rows(path, ("a", "b"), problems, ("unused", "absent")))
    assert [row.cells for row in rows] == [
        {"a": "two, lines\r\nlong", "b": "1", "unused": "x"},
        {"a": "", "b": "3", "unused": "x"},
    ]
    assert [row.number for row in rows] == [2, 4]
    assert problems == []


def test_rows_of_another_length_are_skipped_and_counted(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n\n3\n,\n5,6,7\n8,9\n")
    problems = []
    assert [(row.number, row.cells["a"]) for row in read_rows(path, ("a",), problems)] == [(2, "1"), (7, "8")]
    assert [(one.kind, one.source) for one in problems] == [
        ("row_incomplete", ("t.csv", 4)),
        ("row_incomplete", ("t.csv", 6)),
    ]


def test_parquet_reads_as_its_text(tmp_path):
    columns = {"a": ["x", None, "z"], "b": [1, 2, None], "c": [0.5, 1.0, 2.0]}
    pa.parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    rows = list(read_rows(tmp_path / "t.parquet", ("b", "a"), [], ("absent", "c")))
    assert [row.cells for row in rows] == [
        {"a": "x", "b": "1", "c": "0.5"},
        {"a": "", "b": "2", "c": "1.0"},
        {"a": "z", "b": "", "c": "2.0"},
    ]
    with pytest.raises(InputError, match=r"t\.parquet: no column 'd'; columns found: a, b, c"):
        list(read_rows(tmp_path / "t.parquet", ("d",), []))
    (tmp_path / "t.parquet").write_bytes((tmp_path / "t.parquet").read_bytes()[:-9])
    with pytest.raises(InputError, match=r"t\.parquet: after row 0: not a table"):
        list(read_rows(tmp_path / "t.parquet", ("a",), []))


def test_gzip_and_plain_read_alike(tmp_path):
    (tmp_path / "t.csv").write_text("a\n1\n")
    with gzip.open(tmp_path / "t.csv.gz", "wt") as file:
        file.write("a\n1\n")
    assert list(read_rows(tmp_path / "t.csv", ["a"], [])) == list(read_rows(tmp_path / "t.csv.gz", ["a"], []))


def test_a_missing_column_is_named_with_the_file_and_the_columns_found(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text("name,age\nx,1\n")
    with pytest.raises(InputError) as error:
        list(read_rows(path, ("name", "height"), []))
    assert str(error.value) == "people.csv: no column 'height'; columns found: name, age"


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_table_is_refused(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"t\.csv: the file is empty"):
        list(read_rows(tmp_path / "t.csv", ["a"], []))


def test_damaged_and_missing_files_are_refused_without_their_folder(tmp_path):
    whole = gzip.compress(b"a\n" + b"".join(b"%d\n" % (n * 7919) for n in range(20000)))
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "plain.csv.gz").write_bytes(b"a\n1\n")
    for name in ("cut.csv.gz", "plain.csv.gz", "absent.csv"):
        with pytest.raises(InputError, match=name.replace(".", r"\.")) as error:
            list(read_rows(tmp_path / name, ["a"], []))
        assert str(tmp_path) not in str(error.value)


def test_a_packed_table_is_known_by_its_content(tmp_path):
    (tmp_path / "t.csv").write_bytes(gzip.compress(b"a,b\n1,x\n"))
    (row,) = read_rows(tmp_path / "t.csv", ["a", "b"], [])
    assert row.cells == {"a": "1", "b": "x"}


@pytest.mark.parametrize(
    ("head", "what"), [(b"PK\x03\x04", "a workbook"), (b"\xd0\xcf\x11\xe0", "a workbook"), (b"PAR1", "a Parquet")]
)
def test_what_is_no_text_is_called_by_its_name(tmp_path, head, what):
    (tmp_path / "t.csv").write_bytes(head + bytes(range(256)))
    with pytest.raises(InputError, match=rf"t\.csv: {what}.*, and not text; save the table as CSV"):
        list(read_rows(tmp_path / "t.csv", ["a"], []))


@pytest.mark.parametrize("row", [2, 3, 5000])
def test_bytes_that_are_no_utf_8_are_refused_with_their_row(tmp_path, row):
    lines = [b"a,b", *(b"1,caf\xc3\xa9" for _ in range(row - 2)), b"2,caf\xe9", b"3,x"]
    (tmp_path / "t.csv").write_bytes(b"\n".join(lines))
    with pytest.raises(InputError, match=rf"t\.csv: row {row}: bytes that are not utf-8; .* name its encoding"):
        list(read_rows(tmp_path / "t.csv", ["a", "b"], []))


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "mac_roman"])
def test_an_encoding_that_is_named_keeps_every_letter(tmp_path, encoding):
    (tmp_path / "t.csv").write_bytes("a,b\nM\xfcller,1\nM\xf6ller,2\n".encode(encoding))
    rows = read_rows(tmp_path / "t.csv", ["a", "b"], [], encoding=encoding)
    assert [row.cells["a"] for row in rows] == ["M\xfcller", "M\xf6ller"]


def test_an_encoding_that_does_not_fit_or_does_not_exist_is_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"a,b\n1,x\n\x81,y\n")
    with pytest.raises(InputError, match="row 3: bytes that are not cp1252"):
        list(read_rows(tmp_path / "t.csv", ["a"], [], encoding="cp1252"))
    for name in ("nonsense", "base64", "rot13"):
        with pytest.raises(InputError, match="no encoding has the name given"):
            list(read_rows(tmp_path / "t.csv", ["a"], [], encoding=name))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_a_table_with_the_mark_of_unicode_is_read(tmp_path, encoding):
    text = "a,b\r\nM\xfcller,\u4e2d\r\n"
    mark = "\ufeff" if encoding.endswith("e") else ""  # the others write it themselves
    (tmp_path / "t.csv").write_bytes((mark + text).encode(encoding))
    (row,) = read_rows(tmp_path / "t.csv", ["a", "b"], [])
    assert row.cells == {"a": "M\xfcller", "b": "\u4e2d"}


def test_the_first_pattern_wins_then_the_last_name(tmp_path):
    for name in ("x-1.csv", "x-2.csv", "y.csv"):
        (tmp_path / name).touch()
    assert find_table(tmp_path, "y*", "x*").name == "y.csv"
    assert find_table(tmp_path, "z*", "x*").name == "x-2.csv"
    assert find_table(tmp_path, "z*") is None


def test_the_first_row_of_a_table_without_a_header_is_not_shown(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("Nobody^Known,1950-01-01\nOther^Name,1960-01-01\n")
    with pytest.raises(InputError, match="no column 'patient', 'image'; its first row has 2 cells, none") as error:
        list(read_rows(path, ("patient", "image"), []))
    assert "Nobody" not in str(error.value)
    path.write_bytes("patient,image\n".encode("utf-16-le"))
    with pytest.raises(InputError, match="no text in UTF-8"):
        list(read_rows(path, ("patient", "image"), []))


def test_a_quotation_mark_that_is_not_closed_swallows_no_row_unseen(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('a,b,c,d\n1,x,y,z\n2,"x,y,z\n3,x,y,z\n4,x",y,z\n5,"two\nlines, long",y,z\n')
    problems = []
    assert [row.cells["a"] for row in read_rows(path, ("a", "b"), problems)] == ["1", "5"]
    assert [one.kind for one in problems] == ["row_incomplete"]


def test_prose_of_several_lines_is_no_row(tmp_path):
    report = "FINDINGS:\nheart, lungs, hila, and bones are normal,\nno effusion"
    path = tmp_path / "t.csv"
    path.write_text(f'a,b,c,d\n1,"{report}",y,z\n')
    problems = []
    assert [row.cells["b"] for row in read_rows(path, ("a", "b"), problems)] == [report]
    assert problems == []


def test_a_cell_of_parquet_may_hold_what_looks_like_rows(tmp_path):
    path = tmp_path / "t.parquet"
    pa.parquet.write_table(pa.table({name: ["x\n1,2,3,4"] for name in "abcd"}), path)
    problems = []
    assert [row.cells["a"] for row in read_rows(path, ("a",), problems)] == ["x\n1,2,3,4"]
    assert problems == []


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_lines_may_end_in_any_way(tmp_path, end):
    (tmp_path / "t.csv").write_bytes(end.join([b"a,b", b"1,2", b"", b"3,4"]))
    assert [(row.number, row.cells["b"]) for row in read_rows(tmp_path / "t.csv", ["a", "b"], [])] == [
        (2, "2"),
        (4, "4"),
    ]


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ('"date\n(of study)",a,b', "x,1,2"),
        ('a,"remarks\r\n(free text)",b', "1,x,2"),
        ("a,b,", "1,2"),  # NIH's table of 2017
        ("a,b,", "1,2,"),
        ("a,b", "1,2,,,"),
        (" a ,,b,,", "1,x,2"),
    ],
)
def test_a_header_with_line_breaks_or_commas_at_the_end_costs_no_row(tmp_path, header, cells):
    (tmp_path / "t.csv").write_text(f"{header}\n{cells}\n", newline="")
    problems = []
    (row,) = read_rows(tmp_path / "t.csv", ["a", "b"], problems)
    assert row.cells == {"a": "1", "b": "2"}
    assert problems == []


def test_a_line_break_in_the_name_of_a_column_is_a_blank(tmp_path):
    (tmp_path / "t.csv").write_text('"Patient\nID",b\n1,2\n')
    (row,) = read_rows(tmp_path / "t.csv", ["Patient ID"], [])
    assert row.cells == {"Patient ID": "1"}


def test_a_column_that_is_there_twice_is_refused_where_it_is_looked_for(tmp_path):
    table = pa.table([["1"], ["2"], ["x"]], names=["a", "a", "b"])
    pa.parquet.write_table(table, tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text("a,b,a\n1,x,2\n")
    for name in ("t.parquet", "t.csv"):
        with pytest.raises(InputError, match="the column 'a' is there 2 times"):
            list(read_rows(tmp_path / name, ["a"], []))
        (row,) = read_rows(tmp_path / name, ["b"], [])
        assert row.cells == {"b": "x"}


@pytest.mark.parametrize("missing", ["", " ", "NA", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "NaT", "None"])
def test_words_for_a_missing_value_say_nothing(tmp_path, missing):
    (tmp_path / "t.csv").write_text(f"a,b\n1,{missing}\n")
    (row,) = read_rows(tmp_path / "t.csv", ["a", "b"], [])
    assert row.cells == {"a": "1", "b": ""}


@pytest.mark.parametrize("word", ["none", "no", "0", "Nano", "NAD", "-"])
def test_words_that_say_something_stay(tmp_path, word):
    (tmp_path / "t.csv").write_text(f"a,b\n1,{word}\n")
    (row,) = read_rows(tmp_path / "t.csv", ["a", "b"], [])
    assert row.cells["b"] == word


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (pa.array([1704067200123456789], pa.timestamp("ns")), "2024-01-01T00:00:00.123456"),
        (pa.array([1704067200123456789], pa.timestamp("ns", "UTC")), "2024-01-01T00:00:00.123456+00:00"),
        (pa.array([10**9], pa.time64("ns")), "00:00:01"),
        (pa.array([1500], pa.duration("ns")), "0:00:00.000001"),
        (pa.array([-(10**11)], pa.timestamp("s")), ""),  # long before the year 1
        (pa.array(["M\xfcller".encode()], pa.binary()), "M\xfcller"),
        (pa.array([float("nan")]), ""),
        (pa.array(["x"]).dictionary_encode(), "x"),
    ],
    ids=str,
)
def test_values_of_parquet_that_python_has_no_like_of(tmp_path, column, text):
    pa.parquet.write_table(pa.table({"a": column, "b": ["1"]}), tmp_path / "t.parquet")
    (row,) = read_rows(tmp_path / "t.parquet", ["a", "b"], [])
    assert row.cells == {"a": text, "b": "1"}


def test_bytes_of_parquet_that_are_no_text_are_refused(tmp_path):
    pa.parquet.write_table(pa.table({"a": pa.array([b"M\xfcller"], pa.binary())}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"t\.parquet: after row 1: bytes that are not UTF-8"):
        list(read_rows(tmp_path / "t.parquet", ["a"], []))


def test_a_header_that_has_grown_together_with_a_row_is_not_shown(tmp_path):
    (tmp_path / "t.csv").write_text("patient,image,datetimeNobody^Known,a/1.png,2024-01-31\n")
    with pytest.raises(InputError) as error:
        list(read_rows(tmp_path / "t.csv", ["patient", "image", "datetime"], []))
    assert str(error.value) == "t.csv: no column 'datetime'; columns found: patient, image, and 3 others"


def test_a_cell_without_an_end_is_refused_with_its_row(tmp_path):
    (tmp_path / "t.csv").write_text('a,b\n1,x\n2,"' + "y\n" * 100_000)
    with pytest.raises(InputError, match=r"t\.csv: row 3: a cell of more than \d+ characters, or .*; a quotation mark"):
        list(read_rows(tmp_path / "t.csv", ["a"], []))


def test_a_line_without_an_end_does_not_fill_the_memory():
    """Nor does an archive that unpacks to such a line."""
    with pytest.raises(InputError, match=r"^row 1: a cell of more than .* or a line of more than"):
        list(read_cells(Path("/dev/zero")))


def test_a_line_that_is_too_long_is_not_taken_for_two(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "LONGEST_LINE", 20)
    (tmp_path / "t.csv").write_text("a,b\n1,x\n2,with a text of many words\n")
    with pytest.raises(InputError, match=r"^row 3: "):
        list(read_cells(tmp_path / "t.csv"))


def test_nothing_of_a_library_is_left_running(tmp_path):
    """Threads that read ahead call Python while it ends, and the process aborts."""
    (tmp_path / "t.csv").write_text("a,b\n" + "1,2\n" * 100_000)
    before = set(Path("/proc/self/task").iterdir())
    rows = read_rows(tmp_path / "t.csv", ["a"], [])
    next(rows)
    assert set(Path("/proc/self/task").iterdir()) <= before
