"""Arguments of the command line in any bytes, and outputs where something stands that is no plain file."""

import os
import stat
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from diffvqa.answering.case import read_question
from diffvqa.errors import InputError
from diffvqa.evaluating import evaluate
from diffvqa.evaluation import report, score
from diffvqa.files import write_text

ODD = b"gibt es einen Ergu\xdf?"


@pytest.fixture
def table(tmp_path):
    """A folder with a table of one image."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)).save(tmp_path / "1.png")
    (tmp_path / "images.csv").write_text("patient,image,order\nA,1.png,1\n")
    return tmp_path


def test_a_question_in_other_bytes_than_utf_8_is_refused():
    with pytest.raises(InputError, match="question: bytes that are not UTF-8"):
        read_question(os.fsdecode(ODD), alone=True)
    assert read_question("gibt es einen Erguß?", alone=True)


def test_a_phrase_in_other_bytes_is_refused(run_command, table):
    status, printed = run_command("ground", "phantom-small", table / "1.png", "--phrase", ODD)
    assert status == 2
    assert printed == "error: --phrase: bytes that are not UTF-8; give the text in UTF-8\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", b"table:\xdf"),
        ("inspect", b"\xdf:x"),
        ("inspect", b"table:images=\xdf,encoding=\xdf"),
        ("sheet", b"\xdf", "--out", b"\xdf.png"),
        ("sheet", b"\xdf", "--out", b"x.\xdf"),
        ("score", b"\xdf"),
        ("compare", b"\xdf=\xdf"),
        ("predict", b"\xdf", b"\xdf.csv", "--out", b"\xdf.jsonl"),
        ("predict", "phantom-small", b"\xdf.csv", "--out", b"\xdf.jsonl", "--encoding", b"\xdf"),
        ("finetune", b"\xdf.yaml", b"\xdf=\xdf"),
        ("ground", b"\xdf", b"\xdf.png", "--phrase", "effusion"),
        (b"\xdf",),
        ("inspect", b"--\xdf"),
    ],
    ids=str,
)
def test_other_arguments_in_any_bytes_are_refused_in_one_line(run_command, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, printed = run_command(*arguments)
    assert status == 2
    assert printed.startswith("error: ")
    assert len(printed.splitlines()) == 1


def test_a_folder_of_any_name_is_read(run_command, table, tmp_path):
    folder = os.fsencode(tmp_path / "a") + b"\xdf"
    os.mkdir(folder)
    for name in ("1.png", "images.csv"):
        os.rename(tmp_path / name, os.path.join(folder, os.fsencode(name)))
    status, printed = run_command("inspect", b"table:" + folder, "--problems", folder + b"/problems.csv")
    assert status == 0, printed


@pytest.mark.parametrize("kind", ["pipe", "link", "link to nothing", "folder", "table"])
def test_a_list_of_problems_replaces_no_other_file(run_command, table, kind):
    path = table / "out"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind.startswith("link"):
        path.symlink_to(table / ("images.csv" if kind == "link" else "nothing"))
    elif kind == "folder":
        path.mkdir()
    else:
        path = table / "images.csv"
    before, content = stat.S_IFMT(os.lstat(path).st_mode), (table / "images.csv").read_text()
    status, printed = run_command("inspect", f"table:{table}", "--problems", path)
    assert status == 2
    assert printed.startswith("error: --problems: ")
    assert "give another path" in printed
    assert str(table) not in printed
    assert (stat.S_IFMT(os.lstat(path).st_mode), (table / "images.csv").read_text()) == (before, content)


@pytest.mark.parametrize("kind", ["pipe.png", "link.png"])
def test_a_picture_replaces_no_other_file_and_that_is_said_first(run_command, table, kind):
    path = table / kind
    os.mkfifo(path) if kind == "pipe.png" else path.symlink_to(table / "1.png")
    before = os.lstat(path)
    for arguments in (
        ("answer", "no-model", "--current", table / "1.png", "--overlay", path),
        ("sheet", "no-store", "--out", path),
    ):
        status, printed = run_command(*arguments)
        assert status == 2
        assert "what stands there is no plain file; " in printed or "(what stands there is no plain file)" in printed
    assert os.lstat(path).st_ino == before.st_ino


@pytest.mark.parametrize("kind", ["pipe", "link", "link to nothing", "link to a device"])
def test_answers_go_to_no_other_kind_of_file(run_command, table, kind):
    path, target = table / "out.jsonl", table / "target"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/null" if kind == "link to a device" else target)
    if kind == "link":
        target.touch(mode=0o644)  # an empty file may be one that a run has just made
    (table / "pairs.csv").write_text("current,prior\n1.png,\n")
    before = os.lstat(path)
    status, printed = run_command("predict", "phantom-small", table / "pairs.csv", "--out", path)
    assert status == 2
    assert printed == (
        "error: --out: the file cannot be made or written to (what stands there is no plain file); give another name\n"
    )
    assert os.lstat(path).st_ino == before.st_ino
    assert target.exists() == (kind == "link")
    assert kind != "link" or (stat.S_IMODE(target.stat().st_mode), target.read_text()) == (0o644, "")


@pytest.mark.parametrize("name", ["metrics.json", "report.html"])
@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_what_stands_in_an_evaluation_s_folder_is_not_replaced(run_command, tmp_path, monkeypatch, name, kind):
    path, target = tmp_path / name, tmp_path / "target"
    target.write_text("somebody's")
    {"pipe": os.mkfifo, "link": lambda path: path.symlink_to(target), "folder": os.mkdir}[kind](path)
    monkeypatch.setattr(evaluate, "evaluate", lambda *_, **__: None)
    monkeypatch.setattr(score, "score_folder", lambda out: write_text(out / "metrics.json", "{}") or {})
    monkeypatch.setattr(report, "write_report", lambda out: write_text(out / "report.html", "") or out)
    monkeypatch.setattr("diffvqa.cli.scores.print_result", lambda *_: None)
    before = os.lstat(path)
    status, printed = run_command("evaluate", "phantom-small", "store", "--out", tmp_path)
    assert status == 2
    assert printed.startswith(f"error: {name} is to be written into the folder given, and something else stands there")
    assert (os.lstat(path).st_ino, target.read_text()) == (before.st_ino, "somebody's")


def test_what_standard_output_cannot_show_is_written_as_numbers(tmp_path):
    out = tmp_path / os.fsdecode("né–".encode() + b"\xdf")
    program = "from diffvqa.cli import main; main()"
    arguments = [sys.executable, "-c", program, "synth", out, "--patients", "10", "--size", "64", "--workers", "1"]
    run = subprocess.run(arguments, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.endswith(rb"/n\xe9\u2013" + b"\xdf\n")


def test_an_out_of_the_demo_that_cannot_be_one_is_named(tmp_path, run_command):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "out", tmp_path / ("a" * 300)):
        status, printed = run_command("demo", "--out", out)
        assert (status, printed.count("\n")) == (2, 1)
        assert printed.startswith("error: --out: cannot be made there")


def test_a_store_that_cannot_be_one_is_named(tmp_path, run_command, monkeypatch):
    status, printed = run_command("sheet", tmp_path / ("a" * 300), "--out", tmp_path / "a.png")
    assert (status, printed.count("\n")) == (2, 1)
    assert printed.startswith("error: STORE: the folder given holds no store")
    (tmp_path / "store.json").write_text("{}")

    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("diffvqa.data.store.read_sealed", forbidden)
    status, printed = run_command("sheet", tmp_path, "--out", tmp_path / "a.png")
    assert (status, printed) == (
        2,
        "error: STORE: store.json in it cannot be read (permission denied); ask its owner for it\n",
    )
