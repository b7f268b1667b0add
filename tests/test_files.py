"""Files are there whole or not at all, and what a killed process leaves is known for what it is."""

import errno
import multiprocessing
import os
import stat
import time

import pytest

from diffvqa.errors import InputError, RunFailed
from diffvqa.files import (
    finished_in,
    held,
    is_unfinished,
    remove_abandoned,
    replacing,
    require_plain,
    work_folder,
    write_text,
    writing_to,
)


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


def make_special(path, kind):
    """Something that is no plain file; gives what must be the same afterwards."""
    target = path.with_name("target")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        target.write_text("somebody's")
        path.symlink_to(target)
    elif kind == "link to a device":
        path.symlink_to("/dev/null")
    else:
        path.symlink_to(target)  # which is not there
    return lambda: (stat.S_IFMT(os.lstat(path).st_mode), target.read_text() if target.exists() else None)


@pytest.mark.parametrize("kind", ["pipe", "folder", "link", "link to a device", "link to nothing"])
def test_what_is_no_plain_file_stays_what_it_was(tmp_path, kind):
    path = tmp_path / "out"
    found = make_special(path, kind)
    before = found()
    with pytest.raises(InputError, match="what stands there is no plain file"), writing_to("out"):
        write_text(path, "text")
    assert found() == before
    assert not [one for one in tmp_path.iterdir() if is_unfinished(one)]


def test_what_takes_the_place_meanwhile_stays_too(tmp_path):
    path = tmp_path / "out"
    with pytest.raises(FileExistsError), replacing(path) as temporary:  # noqa: PT012
        temporary.write_text("text")
        os.mkfifo(path)
    assert stat.S_ISFIFO(os.lstat(path).st_mode)


def test_a_plain_file_and_nothing_may_be_replaced(tmp_path):
    require_plain(tmp_path / "out")
    (tmp_path / "out").write_text("before")
    require_plain(tmp_path / "out")


def test_work_folders_are_removed_once_nobody_holds_them(tmp_path):
    out = tmp_path / "out"
    with work_folder(out) as held:
        left = tmp_path / ".out.abcd.unfinished"
        others = [tmp_path / name for name in (".out.mine", ".output.abcd.unfinished")]
        for folder in (left, *others):
            (folder / "in").mkdir(parents=True)
        (tmp_path / ".out.link.unfinished").symlink_to(others[0])
        remove_abandoned(out)
        assert held.is_dir()
        assert not left.exists()
        assert all((folder / "in").is_dir() for folder in others)
    assert not held.exists()
    out.mkdir()
    with work_folder(out) as inside:
        assert inside.parent == out


def test_a_forked_process_that_outlives_the_one_that_holds_a_folder_does_not_hold_it(tmp_path):
    """As the loader workers of a training that was killed."""

    def stay(pipe):
        pipe.send("there")
        time.sleep(60)

    ours, its = multiprocessing.Pipe()
    with held(os.open(tmp_path, os.O_RDONLY)) as is_ours:
        worker = multiprocessing.get_context("fork").Process(target=stay, args=[its])
        worker.start()
        ours.recv()
        assert is_ours
        with held(os.open(tmp_path, os.O_RDONLY)) as is_ours_too:
            assert not is_ours_too
    with held(os.open(tmp_path, os.O_RDONLY)) as is_ours:
        assert is_ours
    worker.kill()
    worker.join()


def test_a_full_disk_is_no_wrong_argument():
    full = OSError(errno.ENOSPC, "No space left on device")
    with (
        pytest.raises(RunFailed, match=r"^cannot be put there: the disk is full"),
        writing_to("out", "cannot be put there"),
    ):
        raise full
