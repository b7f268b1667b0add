"""A run's claim to its folder or its file: what it may go on with, that it is alone there, what it leaves behind."""

import errno
import fcntl
import getpass
import json
import os
import socket
import stat
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from diffvqa import __version__, runs
from diffvqa.errors import InputError, RunFailed
from diffvqa.runs import Claim, read_record


@pytest.fixture
def claim(tmp_path):
    return Claim("train", tmp_path / "out", {"seed": 1, "size": 2}, {"store": "a"}, scratch=("checkpoints",))


@pytest.fixture
def clock(monkeypatch):
    """The time, which passes when it is told to."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(runs, "time", clock)
    return clock


def finish(claim, **facts):
    with claim.held() as run:
        run.write()
        run.finish(**facts)


@contextmanager
def stopped(claim):
    """A run that is interrupted after what is done inside."""
    with suppress(KeyboardInterrupt), claim.held() as run:
        run.write()
        yield
        raise KeyboardInterrupt


@pytest.mark.parametrize("is_file", [True, False])
def test_a_pipe_in_the_place_of_a_record_is_not_waited_for(claim, is_file):
    claim = replace(claim, is_file=is_file)
    claim.out.write_text("text") if is_file else claim.out.mkdir()
    os.mkfifo(claim.record_path)
    with pytest.raises(InputError, match="no run of this program"):
        claim.find()


def test_a_run_makes_its_folder_and_leaves_a_record_there(claim):
    with claim.held() as run:
        assert not run.before
        run.write(images=3)
        assert claim.out.stat().st_mode & 0o777 == 0o700
        begun = read_record(claim.record_path)
        assert (begun["finished"], begun["images"]) == (False, 3)
        run.finish(questions=4)
    record = json.loads((claim.out / "run.json").read_text())
    assert {key: record[key] for key in ("kind", "finished", "store", "images", "questions", "config")} == {
        "kind": "train", "finished": True, "store": "a", "images": 3, "questions": 4, "config": {"seed": 1, "size": 2},
    }  # fmt: skip
    assert set(record["versions"]) == {"diffvqa", "python", "torch", "transformers", "numpy"}
    assert record["versions"]["diffvqa"] == __version__
    assert record["device"].endswith(" cores")
    assert record["seconds"] >= 0
    assert record["date"]


def test_no_record_names_a_place_or_a_machine(claim, tmp_path):
    finish(claim)
    text = claim.record_path.read_text()
    for secret in (str(tmp_path), str(runs.__file__), socket.gethostname()):
        assert secret not in text
    assert f'"{getpass.getuser()}"' not in text


def test_a_finished_run_is_known_and_left_as_it_is(claim):
    finish(claim)
    before = claim.record_path.read_bytes()
    assert claim.find().finished
    with claim.held() as run:
        assert run.finished
    assert claim.record_path.read_bytes() == before


def test_a_stopped_run_is_gone_on_with_and_its_seconds_add_up(claim, clock):
    with stopped(claim):
        clock.now += 5
    assert read_record(claim.record_path)["seconds"] == 5
    with claim.held() as run:
        assert not run.finished
        assert run.before == claim.settings
        clock.now += 20
        run.write()
        clock.now += 300
        run.finish()
    assert read_record(claim.record_path)["seconds"] == 325
    with claim.held() as run:
        clock.now += 1
        run.write()
        run.finish()
    assert read_record(claim.record_path)["seconds"] == 1


def test_what_only_an_unfinished_run_needs_goes_when_it_is_finished(claim):
    checkpoints = claim.out / "checkpoints"
    with stopped(claim):
        checkpoints.mkdir()
    with claim.held() as run:
        assert checkpoints.exists()
        run.write()
        run.finish()
    assert not checkpoints.exists()
    # As a kill between the record and its removal leaves it.
    checkpoints.mkdir()
    with claim.held():
        assert not checkpoints.exists()


@pytest.mark.parametrize("finished", [True, False])
def test_other_settings_are_named_and_nothing_is_touched(claim, finished):
    with claim.held() as run:
        run.write(finished)
    before = claim.record_path.read_bytes()
    other = replace(claim, settings={"seed": 2, "size": 2, "beams": 3})
    with (
        pytest.raises(InputError, match=r"out: the folder holds a run with other settings \(beams, seed\)"),
        other.held(),
    ):
        pass
    fewer = replace(claim, settings={"seed": 1})
    with pytest.raises(InputError, match=r"other settings \(size\)"), fewer.held():
        pass
    assert claim.record_path.read_bytes() == before


def test_other_inputs_under_the_same_settings_are_refused(claim):
    finish(claim)
    with pytest.raises(InputError, match=r"out: the folder holds a run with other settings \(what is in store\)"):
        replace(claim, inputs={"store": "b"}).find()
    # A run of an older version does not say what all its inputs were.
    assert replace(claim, inputs={"store": "a", "encoder": "c"}).find().finished


def test_a_run_of_another_kind_is_refused(claim):
    finish(claim)
    with pytest.raises(InputError, match=r"kind: train there, probe given"):
        replace(claim, kind="probe").find()


@pytest.mark.parametrize(
    "record", [None, "{", "[1]", "{}", '{"model": "x"}', '{"config": 3, "finished": true}', '{"config": {}}']
)
def test_files_of_somebody_else_are_left_alone(claim, record):
    claim.out.mkdir(mode=0o755)
    (claim.out / "letter.txt").write_text("mine")
    if record is not None:
        claim.record_path.write_text(record)
    there = {path: path.read_bytes() for path in claim.out.iterdir()}
    with pytest.raises(InputError, match="out: the folder holds files that are no run of this program"), claim.held():
        pass
    assert {path: path.read_bytes() for path in claim.out.iterdir()} == there
    assert claim.out.stat().st_mode & 0o777 == 0o755


def test_an_empty_folder_is_taken_and_becomes_private(claim):
    claim.out.mkdir(mode=0o755)
    # What a kill during the first write leaves.
    (claim.out / "run.json.7.unfinished").write_text("{")
    finish(claim)
    assert claim.out.stat().st_mode & 0o777 == 0o700


def test_a_file_in_the_place_of_the_folder_is_said(claim, tmp_path):
    claim.out.write_text("in the way")
    for out in (claim.out, claim.out / "below"):
        with (
            pytest.raises(InputError, match="out: the folder cannot be made or written to"),
            replace(claim, out=out).held(),
        ):
            pass


HOLDER = """
import sys
from pathlib import Path
from diffvqa.runs import Claim

is_file = sys.argv[2] == "file"
with Claim("train", Path(sys.argv[1]), {"seed": 1, "size": 2}, {"store": "a"}, is_file=is_file).held() as run:
    run.write()
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_two_processes_do_not_write_one_place_and_a_killed_one_lets_go(claim, kind):
    claim = replace(claim, is_file=kind == "file")
    command = [sys.executable, "-c", HOLDER, str(claim.out), kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        before = claim.record_path.read_bytes()
        with pytest.raises(InputError, match="out: another run is writing there; wait for it, or end it"):
            finish(claim)
        assert claim.record_path.read_bytes() == before
        other.kill()
    finish(claim)
    assert claim.find().finished is (kind == "folder")  # in the file there is not a line


def test_a_folder_is_held_where_folders_have_no_locks(claim, monkeypatch):
    """As on NFS, where each machine holds a folder for itself; files are held among all of them."""
    flock = fcntl.flock

    def as_on_nfs(descriptor, how):
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", as_on_nfs)
    with stopped(claim), pytest.raises(InputError, match="out: another run is writing there"), claim.held():
        pass
    # What a kill leaves is no run of somebody else.
    (claim.out / "run.json.lock.unfinished").touch()
    finish(claim)
    assert [path.name for path in claim.out.iterdir()] == ["run.json"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_in_one_line(claim, number):
    def fill():
        with claim.held() as run:
            run.write()
            raise OSError(number, os.strerror(number), "patient.png")

    with pytest.raises(RunFailed, match=r"^the disk is full; what was finished in `out` is kept, and the same command"):
        fill()
    assert not claim.find().finished


def test_where_there_are_no_locks_a_run_goes_on(claim, monkeypatch):
    def without(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", without)
    finish(claim)
    assert claim.find().finished


def test_a_file_s_record_lies_beside_it(claim, tmp_path):
    claim = replace(claim, out=tmp_path / "answers.jsonl", is_file=True)
    with claim.held() as run:
        run.write()
        claim.out.write_text("a line\n")
        run.finish()
    assert claim.out.stat().st_mode & 0o777 == 0o600
    assert read_record(tmp_path / "answers.jsonl.run.json")["finished"]
    with pytest.raises(InputError, match=r"other settings \(seed\)"):
        replace(claim, settings={"seed": 2, "size": 2}).find()
    claim.record_path.unlink()
    with pytest.raises(InputError, match="no run of this program; give another name"):
        claim.find()


OLD = {
    "model": {"finished": True, "images": 5, "store": "a", "config": {"seed": 1, "size": 2}},
    "evaluation": {"model": "m", "store": "a", "seed": 1, "size": 2, "date": "2025-01-01", "device": "CPU"},
}


@pytest.mark.parametrize("kind", OLD)
def test_records_of_older_versions_are_read(claim, kind):
    """They have neither a kind nor seconds, and those of evaluations and others no `config`."""
    claim.out.mkdir()
    claim.record_path.write_text(json.dumps(OLD[kind]))
    assert claim.find().finished is (kind == "model")
    assert claim.find().before == {"seed": 1, "size": 2}
    with pytest.raises(InputError, match=r"other settings \(seed\)"):
        replace(claim, settings={"seed": 2, "size": 2}).find()
    with pytest.raises(InputError, match=r"other settings \(what is in store\)"):
        replace(claim, inputs={"store": "b"}).find()


def test_nobody_knows_how_long_a_run_took_that_an_older_version_began(claim):
    claim.out.mkdir()
    claim.record_path.write_text(json.dumps({**OLD["model"], "finished": False}))
    finish(claim)
    assert read_record(claim.record_path)["seconds"] is None


def test_what_may_grow_is_gone_on_with_and_not_finished(claim, clock):
    def fewer(before, now):
        return ["seed"] if before["seed"] > now["seed"] else []

    growing = replace(claim, differing=fewer)
    with growing.held() as run:
        clock.now += 2
        run.write(finished=True)
    larger = replace(growing, settings={"seed": 3, "size": 2})
    with larger.held() as run:
        assert not run.finished
        assert run.before["seed"] == 1
        clock.now += 3
        run.write()
        run.finish()
    record = read_record(claim.record_path)
    assert (record["config"]["seed"], record["seconds"]) == (3, 5)
    with pytest.raises(InputError, match=r"other settings \(seed\)"):
        growing.find()


def test_the_commit_is_that_of_the_checkout_which_the_package_is_part_of(tmp_path, monkeypatch):
    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *who, *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    module = tmp_path / "diffvqa" / "runs.py"
    module.parent.mkdir()
    module.write_text("\n")
    monkeypatch.setattr(runs, "__file__", str(module))
    commit = runs._git_commit.__wrapped__
    assert commit() is None
    git("init")
    git("commit", "--allow-empty", "--message", "of somebody else")
    # Installed into a folder of another program's checkout.
    assert commit() is None
    git("add", "diffvqa")
    git("commit", "--message", "ours")
    assert commit() == git("rev-parse", "HEAD")
    module.write_text("changed\n")
    assert commit() == git("rev-parse", "HEAD") + "-dirty"
