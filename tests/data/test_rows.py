import gzip

import pyarrow as pa
import pyarrow.parquet
import pytest

from diffvqa.data import rows as reading
from diffvqa.data.rows import find_table, read_rows
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
    with pytest.raises(InputError, match=r"t\.parquet, after row 1: not a table"):
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


def test_odd_bytes_cost_a_character_only(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"a,b\ncaf\xe9,1\n")
    (row,) = read_rows(tmp_path / "t.csv", ["a", "b"], [])
    assert row.cells["b"] == "1"
    assert row.cells["a"].startswith("caf")


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
    path.write_bytes("patient,image\n".encode("utf-16"))
    with pytest.raises(InputError, match="no text in UTF-8"):
        list(read_rows(path, ("patient", "image"), []))


def test_a_quotation_mark_that_is_not_closed_swallows_no_row_unseen(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('a,b,c,d\n1,x,y,z\n2,"x,y,z\n3,x,y,z\n4,x",y,z\n5,"two\nlines, long",y,z\n')
    problems = []
    assert [row.cells["a"] for row in read_rows(path, ("a", "b"), problems)] == ["1", "5"]
    assert [one.kind for one in problems] == ["row_incomplete"]


def test_bytes_that_are_no_text_are_said(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n1,\xe9\n2,x\n")
    problems = []
    assert [row.cells["b"] for row in read_rows(path, ("a", "b"), problems)] == ["\ufffd", "x"]
    assert [(one.kind, one.source.row) for one in problems] == [("text_undecodable", 2)]


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


def test_lines_that_end_with_a_carriage_return_alone_are_refused_with_a_hint(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"a,b\r1,2\r")
    with pytest.raises(InputError, match=r"t\.csv: .*CR alone, save it with line ends of LF or CRLF"):
        list(read_rows(tmp_path / "t.csv", ["a"], []))


def test_a_row_of_too_many_cells_that_are_no_text_costs_that_row_only(tmp_path, capfd):
    (tmp_path / "t.csv").write_bytes(b"a,b\n1,x\n2,caf\xe9,y\n3,z\n4,caf\xe9")
    problems = []
    rows = list(read_rows(tmp_path / "t.csv", ["a", "b"], problems))
    assert [(row.number, row.cells["b"]) for row in rows] == [(2, "x"), (4, "z"), (5, "caf\ufffd")]
    assert [(one.kind, one.source.row) for one in problems] == [("row_incomplete", 3), ("text_undecodable", 5)]
    assert capfd.readouterr().err == ""


def test_characters_are_whole_wherever_the_file_is_cut_to_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_CHUNK", 3)
    text = "".join(f"{number},é€\U0001fac1\n" for number in range(50))
    (tmp_path / "t.csv").write_text(f"a,b\n{text}", encoding="utf-8")
    problems = []
    assert {row.cells["b"] for row in read_rows(tmp_path / "t.csv", ["a", "b"], problems)} == {"é€\U0001fac1"}
    assert problems == []
