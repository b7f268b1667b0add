"""SIGTERM, and Ctrl-C: one line that says what is kept, and an exit status that says how a command ended."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from diffvqa import termination
from diffvqa.cli import main
from diffvqa.data.store import Store
from diffvqa.termination import Terminated, heeding_signals, saving_first, say_stopped
from diffvqa.training.config import FinetuneConfig, load_config
from diffvqa.training.finetune import finetune


@pytest.fixture
def heeded():
    with heeding_signals():
        yield


@pytest.fixture
def ctrl_c_raises():
    """As where the tests run in the foreground."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def tell(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


ENDS = [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)]


@pytest.mark.parametrize(("number", "raised"), ENDS)
def test_a_command_is_told_to_end_until_it_does(number, raised, ctrl_c_raises, monkeypatch):
    """A library may drop what is raised."""
    monkeypatch.setattr(termination, "AGAIN", 1)
    with heeding_signals():
        with pytest.raises(KeyboardInterrupt) as first:
            tell(number)
        with pytest.raises(KeyboardInterrupt) as second:
            time.sleep(60)
    assert first.type is second.type is raised
    assert signal.alarm(0) == 0


class Finalised:
    def __del__(self):
        tell(self.number)


@pytest.mark.parametrize(("number", "raised"), ENDS)
def test_what_python_drops_in_a_finaliser_is_raised_at_once_again(number, raised, ctrl_c_raises, monkeypatch, capsys):
    monkeypatch.setattr(termination, "AGAIN", 600)
    monkeypatch.setattr(Finalised, "number", number, raising=False)
    with heeding_signals():
        Finalised()
        with pytest.raises(raised):
            time.sleep(60)
    assert capsys.readouterr().err == ""


def test_what_else_python_drops_is_reported_as_ever(capsys):
    class Broken:
        def __del__(self):
            raise ValueError("of the finaliser")

    with heeding_signals():
        Broken()
    assert "ValueError: of the finaliser" in capsys.readouterr().err


def test_ctrl_c_stays_ignored_where_it_is():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with heeding_signals():
            tell(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_is_saved_first_is_saved_and_then_it_ends(heeded):
    done = []

    def save():
        with saving_first() as is_told:
            done.append(is_told())
            tell()
            done.append(is_told())

    with pytest.raises(Terminated):
        save()
    assert done == [False, True]
    with pytest.raises(Terminated):  # as before
        tell()


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGALRM])
def test_told_again_or_after_too_long_it_ends_at_once(heeded, again):
    done = []

    def save():
        with saving_first():
            tell()
            tell(again)
            done.append("still there")

    with pytest.raises(Terminated):
        save()
    assert not done
    assert signal.alarm(0) == 0


def test_where_nobody_heeds_it_nothing_is_changed():
    before = signal.getsignal(signal.SIGTERM)
    with saving_first() as is_told:
        assert not is_told()
        assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_command_is_ended_although_a_library_makes_an_error_of_it(number, status, ctrl_c_raises, monkeypatch, capsys):
    """As where a module is imported that is written in C++."""

    def fail(*_, **__):
        try:
            tell(number)
        except KeyboardInterrupt:
            raise ImportError("initialization failed") from None

    monkeypatch.setattr(Store, "open", fail)
    monkeypatch.setattr(sys, "argv", ["diffvqa", "inspect", "store:any"])
    with heeding_signals(), pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == status
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("stop", "line", "status"), [(Terminated(), "ended by SIGTERM", 143), (KeyboardInterrupt(), "interrupted", 130)]
)
def test_one_line_says_how_it_ended_and_what_is_kept(stop, line, status, capsys):
    assert say_stopped(stop) == status
    assert capsys.readouterr().err == f"{line}\n"
    stop.add_note("a is kept")
    stop.add_note("less is known here")
    assert say_stopped(stop) == status
    assert capsys.readouterr().err == f"{line}; a is kept\n"


def started(*arguments, **options):
    command = [sys.executable, "-m", "diffvqa", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options
    )


def wait_until(condition, process):
    while not condition():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)


@pytest.fixture
def long_settings(finetune_settings, tmp_path):
    dropout = dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), 0.2)
    optimisation = {**finetune_settings["optimisation"], "steps": 60, "save_every": 20, "loader_workers": 2}
    language_model = {**finetune_settings["language_model"], **dropout}
    return {**finetune_settings, "optimisation": optimisation, "language_model": language_model}


@pytest.mark.slow
@pytest.mark.parametrize("group", [False, True])
def test_a_training_that_is_told_to_end_saves_and_goes_on_to_the_same_weights(
    group, long_settings, write_config, tmp_path
):
    """Also where every process of its group is told, the loader workers too."""
    path = write_config({**long_settings, "out": str(tmp_path / "out")})
    log = tmp_path / "out" / "log.jsonl"
    process = started("finetune", path, start_new_session=True)
    wait_until(lambda: log.exists() and log.read_text().count("\n") > 3, process)
    (os.killpg if group else os.kill)(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    *_, line = err.splitlines()
    step = int(re.fullmatch(r"ended by SIGTERM; the checkpoint of step (\d+) is kept; .* goes on from there", line)[1])
    assert 3 <= step < 60
    assert step % 20
    assert not json.loads((tmp_path / "out" / "run.json").read_text())["finished"]
    process = started("finetune", path)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert f"goes on from the checkpoint of step {step}\n" in out
    undisturbed = finetune(load_config(FinetuneConfig, write_config({**long_settings, "out": str(tmp_path / "a")}), []))
    found, expected = (load_file(folder / "model.safetensors") for folder in (tmp_path / "out", undisturbed))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.slow
def test_the_same_training_twice_at_once(long_settings, write_config, tmp_path):
    path = write_config({**long_settings, "out": str(tmp_path / "out")})
    pair = [started("finetune", path, "optimisation.steps=20") for _ in range(2)]
    ends = [process.communicate(timeout=600) for process in pair]
    assert sorted(process.returncode for process in pair) == [0, 2]
    (refused,) = [err for process, (_, err) in zip(pair, ends, strict=True) if process.returncode == 2]
    assert refused == "error: `out`: another run is writing there; wait for it, or end it\n"


@pytest.mark.slow
def test_a_command_that_saves_nothing_says_no_more_than_that_it_ended(tmp_path):
    process = started("synth", tmp_path / "out", "--patients", 5000, "--workers", 1)
    wait_until(lambda: any(tmp_path.iterdir()), process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.splitlines()[-1]) == (143, "ended by SIGTERM")


@pytest.mark.slow
def test_a_training_that_saved_nothing_says_so(ctrl_c_raises, long_settings, write_config, tmp_path):
    process = started("finetune", write_config({**long_settings, "out": str(tmp_path / "out")}))
    wait_until((tmp_path / "out" / "run.json").exists, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    # Before the training itself has begun, nothing speaks of checkpoints.
    last = err.splitlines()[-1]
    assert last.startswith("interrupted; ")
    assert "the same command goes on from the" in last or last.endswith("the same command goes on from there")
