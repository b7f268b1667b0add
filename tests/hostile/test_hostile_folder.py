"""A command that is given in a folder of somebody else's files, as those of a dataset that was received."""

import subprocess
import sys
from pathlib import Path

import pytest

IMPORTED_BY_PROCESSES = ("pickle.py", "multiprocessing.py")


@pytest.mark.parametrize("name", IMPORTED_BY_PROCESSES)
def test_processes_import_nothing_from_the_folder_that_a_command_is_given_in(tmp_path, code, marker, name):
    program = Path(sys.executable).with_name("diffvqa")
    if not program.exists():
        pytest.skip("the package is not installed")
    received = tmp_path / "received"
    received.mkdir()
    (received / name).write_text(code)
    command = [program, "synth", tmp_path / "cohort", "--patients", "10", "--size", "64", "--workers", "2"]
    done = subprocess.run(command, cwd=received, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not marker.exists()
