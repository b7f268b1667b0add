import json

import pytest

from diffvqa.sealed import read_sealed, write_sealed

CONTENT = {"text": "é\u2028", "number": 0.1, "pair": (1, 2), "nested": {"2": None, "10": True}}


def test_what_is_written_is_read(tmp_path):
    write_sealed(tmp_path / "a.json", CONTENT | {"by number": {2: "two", 10: "ten"}})
    found = read_sealed(tmp_path / "a.json")
    assert found == {**CONTENT, "pair": [1, 2], "by number": {"2": "two", "10": "ten"}}


def test_every_turned_bit_is_found_or_changes_nothing(tmp_path):
    path = tmp_path / "a.json"
    write_sealed(path, CONTENT)
    content, right = path.read_bytes(), read_sealed(path)
    for bit in range(8 * len(content)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            found = read_sealed(path)
        except ValueError:
            continue
        # A seal of another name is none; all else is as it was.
        assert {key: value for key, value in found.items() if key in right} == right


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_what_is_no_object_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"."):
        read_sealed(tmp_path / "a.json")


def test_one_without_a_seal_is_taken_as_it_is(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"a": 1}))
    assert read_sealed(tmp_path / "a.json") == {"a": 1}
