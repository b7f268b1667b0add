import errno
import os

import numpy as np
import pytest

from diffvqa.arrays import CheckedRows, DamagedRow, write_rows

ROWS = np.random.default_rng(0).standard_normal((5, 3, 2)).astype(np.float16)


@pytest.mark.parametrize("parts", [[5], [2, 3], [1, 1, 1, 1, 1]])
def test_rows_are_written_as_numpy_does_and_read_back(tmp_path, parts):
    sums = write_rows(tmp_path / "a.npy", np.split(ROWS, np.cumsum(parts)[:-1]), 5)
    np.save(tmp_path / "b.npy", ROWS)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    found = CheckedRows(tmp_path / "a.npy", ROWS.shape, np.float16, sums)
    for place, row in enumerate(ROWS):
        np.testing.assert_array_equal(found[place], row)


def test_space_is_taken_before_the_work(tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr(os, "posix_fallocate", lambda descriptor, start, length: taken.append((start, length)))

    def parts():
        yield ROWS[:1]
        assert len(taken) == 1
        yield ROWS[1:]

    write_rows(tmp_path / "a.npy", parts(), 5)
    assert taken == [(0, (tmp_path / "a.npy").stat().st_size)]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EOPNOTSUPP])
def test_a_full_disk_is_an_error_and_a_file_system_that_takes_no_space_is_none(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    if number == errno.ENOSPC:
        with pytest.raises(OSError, match="No space") as error:
            write_rows(tmp_path / "a.npy", [ROWS], 5)
        assert error.value.errno == number
        assert list(tmp_path.iterdir()) == []
    else:
        write_rows(tmp_path / "a.npy", [ROWS], 5)
        np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), ROWS)


def test_every_turned_bit_is_found(tmp_path):
    path = tmp_path / "a.npy"
    sums = write_rows(path, [ROWS], 5)
    content = path.read_bytes()
    for bit in range(8 * len(content)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r"."):
            [CheckedRows(path, ROWS.shape, np.float16, sums)[place] for place in range(5)]


def test_rows_of_another_shape_or_number_are_refused(tmp_path):
    sums = write_rows(tmp_path / "a.npy", [ROWS], 5)
    for shape, dtype in [((5, 2, 3), np.float16), ((5, 3, 2), np.uint16), ((4, 3, 2), np.float16)]:
        with pytest.raises(ValueError, match="another array"):
            CheckedRows(tmp_path / "a.npy", shape, dtype, sums)
    with pytest.raises(DamagedRow):
        CheckedRows(tmp_path / "a.npy", ROWS.shape, np.float16, [0] * 5)[0]
    assert (CheckedRows(tmp_path / "a.npy", ROWS.shape, np.float16, [None] * 5)[0] == ROWS[0]).all()
    with pytest.raises(ValueError, match="5 rows came where 6"):
        write_rows(tmp_path / "b.npy", [ROWS], 6)
