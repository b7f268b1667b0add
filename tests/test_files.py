"""Files are there whole or not at all, and what a killed process leaves is known for what it is."""

import pytest

from diffvqa.files import finished_in, is_unfinished, replacing, write_text


def test_a_text_takes_the_place_of_the_one_before(tmp_path):
    for text in ("before", "now: é\n"):
        write_text(tmp_path / "run.json", text)
    assert (tmp_path / "run.json").read_bytes() == "now: é\n".encode()
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    write_text(tmp_path / "run.json", "before")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "run.json", "half \ud800")
    assert (tmp_path / "run.json").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_what_is_being_written_is_not_among_the_finished(tmp_path):
    write_text(tmp_path / "run.json", "before")
    with replacing(tmp_path / "log.jsonl") as temporary:
        temporary.write_text("half")
        assert is_unfinished(temporary)
        assert finished_in(tmp_path) == [tmp_path / "run.json"]
    assert sorted(finished_in(tmp_path)) == [tmp_path / "log.jsonl", tmp_path / "run.json"]
