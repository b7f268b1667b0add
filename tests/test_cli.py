"""The command line as a user meets it: what it prints, its exit status, and what it keeps to itself."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid
from torch._utils import ExceptionWrapper
from typer.testing import CliRunner

from diffvqa import __version__, cli
from diffvqa.answering.answer import NOTICE, FoundBox
from diffvqa.answering.answerer import Answerer
from diffvqa.answering.dicom.structured_report import read_changes_back
from diffvqa.boxes import Box
from diffvqa.errors import InputError, RunFailed
from diffvqa.findings import Change


def run(*arguments, capsys):
    """Exit status, standard output and standard error of the command."""
    sys_argv, sys.argv = sys.argv, ["diffvqa", *map(str, arguments)]
    try:
        cli.main()
        status = 0
    except SystemExit as end:
        status = end.code or 0
    finally:
        sys.argv = sys_argv
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.fixture
def pictures(tmp_path):
    random = np.random.default_rng(0)
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (80, 64), dtype=np.uint8)).save(path)
    return paths


def test_help_needs_no_heavy_library():
    code = (
        "import sys; sys.argv = ['diffvqa', '--help']\n"
        "from diffvqa.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.slow
def test_libraries_say_nothing_of_their_own(model_folder, pictures):
    told = {"TRANSFORMERS_VERBOSITY", "HF_HUB_DISABLE_PROGRESS_BARS"}  # by the tests
    environment = {name: value for name, value in os.environ.items() if name not in told}
    command = [
        sys.executable,
        "-m",
        "diffvqa",
        "answer",
        model_folder,
        "--prior",
        pictures[0],
        "--current",
        pictures[0],
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --current and --prior are the same file; give different radiographs\n"


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "locked/DOE_JANE.png"])
def test_a_path_that_may_not_be_looked_at_is_one_line_without_it(
    name, model_folder, pictures, tmp_path, capsys, monkeypatch
):
    def locked(path, *_, real=os.stat, **how):
        if "locked" in os.fspath(path):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return real(path, *_, **how)

    # As for a user who may not enter the folder: the tests may be run by one who may enter all.
    monkeypatch.setattr(os, "stat", locked)
    given = ("--prior", pictures[0], "--current", tmp_path / name)
    status, out, err = run("answer", model_folder, *given, capsys=capsys)
    assert (status, out) == (2, "")
    assert "--current" in err
    assert err.count("\n") == 1
    assert name not in err


def test_a_path_that_may_not_be_read_is_not_quoted(model_folder, capsys, monkeypatch, tmp_path):
    path = tmp_path / "a 'b': DOE_JANE.png"
    path.touch()
    monkeypatch.setattr(os, "access", lambda found, *_: "DOE" not in os.fspath(found))
    status, out, err = run("answer", model_folder, "--current", path, capsys=capsys)
    assert (status, out) == (2, "")
    assert err.startswith("error: Invalid value for '--current': the file may not be read; change its permissions.")
    assert "DOE" not in err


@pytest.mark.parametrize(
    ("shell", "reason"), [(">&-", "is closed"), ("> /dev/full", "cannot be written (No space left")]
)
@pytest.mark.parametrize("arguments", ["--version", "--help"])
def test_an_output_that_is_lost_is_no_success(shell, reason, arguments):
    command = f"exec {shlex.quote(sys.executable)} -m diffvqa {arguments} {shell}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: the standard output {reason}")
    assert done.stderr.count("\n") == 1


def test_an_error_of_a_file_that_nobody_has_foreseen_is_one_line_without_its_name(capsys, monkeypatch):
    def broken(*_, **__):
        raise OSError(5, "Input/output error", "/patients/DOE_JANE.png")

    monkeypatch.setattr("diffvqa.cli.entry.app", broken)
    status, out, err = run("inspect", "mimic:x", capsys=capsys)
    assert (status, out) == (1, "")
    assert err.startswith("error: a file cannot be used: Input/output error (entry.py:")
    assert "DOE" not in err


@pytest.mark.parametrize("kind", [InputError, RunFailed])
def test_an_error_of_a_loader_worker_is_one_line(capsys, monkeypatch, kind):
    try:
        raise kind("shards/00000-32.npy in it is not what was written: prepare it")
    except kind:
        handed_on = ExceptionWrapper(where="in DataLoader worker process 0")
    monkeypatch.setattr("diffvqa.cli.entry.app", lambda *_, **__: handed_on.reraise())
    status, out, err = run("inspect", "mimic:x", capsys=capsys)
    assert (status, out) == (2 if kind is InputError else 1, "")
    assert err == "error: shards/00000-32.npy in it is not what was written: prepare it\n"


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("can't start new thread"), ImportError("a.so: failed to map segment")]
)
def test_a_full_memory_is_one_line(capsys, monkeypatch, error):
    def full(*_, **__):
        raise error

    monkeypatch.setattr("diffvqa.data.inspection.check_files", full)
    monkeypatch.setattr("diffvqa.data.read_sources", lambda *_: None)
    status, out, err = run("inspect", "mimic:x", capsys=capsys)
    assert (status, out) == (1, "")
    assert err == "error: the memory is full; give the command more, or less to do at once\n"


def test_every_command_of_the_design_is_there():
    shown = CliRunner().invoke(cli.app, ["--help"]).output
    for name in (
        "demo",
        "synth",
        "inspect",
        "prepare",
        "pretrain",
        "finetune",
        "evaluate",
        "score",
        "compare",
        "answer",
        "predict",
        "card",
        "ground",
        "serve",
    ):
        assert name in shown
    assert "Not for clinical use" in shown


def test_inspect_prints_one_json_object(cohort_folder, capsys):
    status, out, _ = run("inspect", f"mimic:{cohort_folder}", "--json", capsys=capsys)
    summary = json.loads(out)
    assert status == 0
    assert summary["patients"] == 12
    assert summary["shared_patients"] == 0
    assert summary["problems"] == {}


def test_synth_writes_a_test_set_with_reports_as_complete_as_asked(tmp_path, capsys):
    out = tmp_path / "out"
    status, printed, _ = run(
        "synth", out, "--patients", 10, "--size", 64, "--workers", 1, "--set", "subtle", "--omitted", 0, capsys=capsys
    )
    assert status == 0
    assert "10 synthetic patients" in printed
    readme = (out / "README.txt").read_text()
    assert "test set subtle" in readme
    assert "omitted 0," in readme


def test_answer_and_ground_as_json_and_as_a_picture(model_folder, pictures, tmp_path, capsys):
    prior, current = pictures
    overlay = tmp_path / "overlay.png"
    status, out, _ = run(
        "answer", model_folder, "--prior", prior, "--current", current, "--json", "--overlay", overlay, capsys=capsys
    )
    assert status == 0
    assert {"text", "changes", "boxes", "confidence", "notice"} <= set(json.loads(out))
    assert Image.open(overlay).width == 1024
    assert overlay.stat().st_mode & 0o777 == 0o600
    for folder in (model_folder, model_folder / "captioner"):
        status, out, _ = run("ground", folder, current, "--phrase", "effusion", "--json", capsys=capsys)
        assert status == 0
        assert "box" in json.loads(out)
    status, out, _ = run("answer", model_folder, "--prior", prior, "--current", current, capsys=capsys)
    assert status == 0
    assert out.splitlines()[-2].startswith("model model, version ")
    assert out.splitlines()[-1] == NOTICE


def radiograph(path, number):
    """A DICOM file as an archive holds it, of a patient whose name must not be printed."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = ComputedRadiographyImageStorage
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(dataset, name, generate_uid(entropy_srcs=[name, str(number)]))
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.PatientName, dataset.PatientID = "Nobody^Known", "12345"
    dataset.Rows, dataset.Columns = 80, 64
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = np.random.default_rng(number).integers(0, 256, (80, 64), dtype=np.uint8).tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_answer_writes_a_structured_report_and_prints_nothing_of_the_patient(
    model_folder, tmp_path, capsys, monkeypatch
):
    said = {"text": "edema", "changes": (Change("edema", "added"),)}
    said["boxes"] = (FoundBox("current", "edema", Box(1, 2, 30, 40)),)
    really = Answerer.__call__
    monkeypatch.setattr(Answerer, "__call__", lambda self, **asked: replace(really(self, **asked), **said))
    prior, current = (radiograph(tmp_path / f"{number}.dcm", number) for number in (1, 2))
    out = tmp_path / "out"
    arguments = ["answer", model_folder, "--prior", prior, "--current", current, "--dicom-sr", out, "--json"]
    status, printed, err = run(*arguments, capsys=capsys)
    assert status == 0
    assert json.loads(printed)["text"] == "edema"
    assert "patient's data" in err
    assert not any(secret in printed + err for secret in ("Nobody", "12345", str(tmp_path)))
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    assert sorted(name.split("-1.2")[0] for name in first) == ["key-image", "report"]
    (report,) = out.glob("report-*.dcm")
    assert read_changes_back(report) == (said["changes"], said["boxes"])
    run(*arguments, capsys=capsys)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first


WRONG = [
    (["inspect", "other:/nowhere"], "nih14"),
    (["inspect", "nih14:/nowhere"], "nih14"),
    (["pretrain", "nowhere.yaml"], "CONFIG"),
    (["score", "nowhere.jsonl"], "nowhere.jsonl"),
    (["answer", "{empty}", "--prior", "{a}", "--current", "{b}"], "MODEL"),
    (["answer", "{model}", "--prior", "{a}", "--current", "{a}"], "same file"),
    (["answer", "{model}", "--prior", "{a}", "--current", "{empty}"], "--current"),
    (["ground", "{model}", "{a}", "--phrase", " "], "--phrase"),
    (["answer", "{model}", "--prior", "{copy}", "--current", "{a}"], "same picture"),
    (["answer", "{model}", "--prior", "{a}", "--current", "{b}", "--overlay", "{b}"], "--overlay"),
    (["answer", "{model}", "--prior", "{a}", "--current", "{b}", "--overlay", "{empty}/c.jpg"], ".png"),
    (["answer", "{model}", "--current", "{a}", "--question", "What has changed in the lung area?"], "--prior"),
    (["answer", "{model}", "--prior", "{a}", "--current", "{b}", "--dicom-sr", "{empty}/out"], "--dicom-sr"),
    (["answer", "{model}", "--current", "{b}", "--dicom-sr", "{empty}/out"], "--prior"),
    (["answer", "{model}", "--current", "{b}", "--dicom-sr", "{empty}/out", "--question", "edema?"], "--question"),
    (["ground", "{model}", "{a}", "--phrase", "edema", "--overlay", "{a}"], "--overlay"),
    (["ground", "nowhere", "{a}", "--phrase", "edema"], "owner/name"),
    (["predict", "{model}", "{empty}", "--out", "{empty}/out"], "PAIRS"),
    (["predict", "{model}", "{predictions}", "--out", "{empty}/out"], "PAIRS"),
    (["card", "{empty}"], "MODEL"),
    (["card", "{model}", "--evaluation", "{empty}"], "--evaluation"),
    (["card", "{model}", "--out", "{a}"], "--out"),
    (["evaluate", "{model}", "{empty}", "--out", "{empty}/out"], "STORE"),
    (["evaluate", "{model}", "{store}", "--out", "{empty}/out", "--training", "{empty}"], "--training"),
    (["evaluate", "{model}", "{store}", "--out", "{store}"], "--out"),
    (["evaluate", "{model}", "{store}", "--out", "{empty}/out", "--truth", "{empty}"], "--truth"),
    (["score", "{predictions}", "--bertscore", "{empty}"], "--bertscore"),
    (["score", "{predictions}", "--bertscore-layer", "2"], "--bertscore"),
    (["score", "{empty}"], "found a folder"),
    (["compare", "a={predictions}", "b={predictions}"], "nothing to compare"),
    (["compare", "a={predictions}"], "two systems"),
    (["compare", "a={predictions}", "b"], "NAME=FOLDER"),
    (["compare", "a={predictions}", "b={empty}"], "b: predictions.jsonl"),
    (["synth", "{empty}/out"], "--patients"),
    (["synth", "{empty}/out", "--patients", "10", "--set", "other"], "acquisition"),
    (["synth", "{empty}/out", "--patients", "10", "--omitted", "2"], "--omitted"),
    (["synth", "{empty}/out", "--patients", "10", "--still", "2"], "--still"),
    (["synth", "{empty}/out", "--patients", "10", "--set", "change", "--still", "0.5"], "--still"),
    (["synthesise"], "synthesise"),
    (["evaluate", "{model}", "{store}", "--out", "{empty}/out", "--split", "exam"], "--split"),
]


@pytest.mark.parametrize(("arguments", "named"), WRONG, ids=lambda value: value if isinstance(value, str) else value[0])
def test_wrong_input_gets_one_line_and_status_two(
    arguments, named, model_folder, store_folder, pictures, tmp_path, capsys
):
    empty = tmp_path / "empty"
    empty.mkdir()
    copy = tmp_path / "copy.png"
    copy.write_bytes(pictures[0].read_bytes())
    places = {"empty": empty, "model": model_folder, "store": store_folder, "a": pictures[0], "b": pictures[1]}
    places["copy"] = copy
    places["predictions"] = tmp_path / "predictions.jsonl"
    places["predictions"].write_text('{"id": "1", "answer": "yes", "references": ["no"]}\n')
    before = {path: path.read_bytes() for path in pictures}
    status, out, err = run(*(argument.format(**places) for argument in arguments), capsys=capsys)
    assert status == 2
    assert out == ""
    assert err.startswith("error: ")
    assert named in err
    assert len(err.splitlines()) == 1
    assert list(empty.iterdir()) == []
    assert {path: path.read_bytes() for path in pictures} == before


def test_compare_prints_a_table_or_one_json_object(tmp_path, capsys):
    folders = []
    for name in ("one", "other"):
        rows = [
            {"id": str(number), "question_type": "difference", "answer": answer, "references": ["nothing has changed."]}
            for number, answer in enumerate(("nothing has changed.", f"{name} finding"))
        ]
        (tmp_path / name).mkdir()
        (tmp_path / name / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        folders.append(f"{name}={tmp_path / name}")
    status, out, _ = run("compare", *folders, capsys=capsys)
    assert status == 0
    assert "False-change rate" in out
    status, out, _ = run("compare", *folders, "--json", capsys=capsys)
    assert status == 0
    assert json.loads(out)["comparisons"]["false_change_rate"][0]["value"] == 0


def test_an_interrupted_command_says_so(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("diffvqa.evaluation.score.score_file", interrupt)
    status, _, err = run("score", "x", capsys=capsys)
    assert status == 130
    assert err.startswith("interrupted")


def test_the_version_is_said(capsys):
    assert run("--version", capsys=capsys)[:2] == (0, f"diffvqa {__version__}\n")


def test_score_reads_a_file_alone(tmp_path, capsys):
    rows = [
        {
            "id": "1",
            "question_type": "difference",
            "answer": "nothing has changed.",
            "references": ["nothing has changed."],
        },
        {
            "id": "2",
            "question_type": "difference",
            "answer": "the main image has an additional finding of edema than the reference image.",
            "references": ["the main image has an additional finding of edema than the reference image."],
        },
    ]
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    status, out, _ = run("score", path, "--json", capsys=capsys)
    assert status == 0
    assert json.loads(out)["changes"]["f1"]["value"] == 1.0
