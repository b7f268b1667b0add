"""The harness of faults, in short: `make faults` is the long form."""

import subprocess
import sys
from pathlib import Path

import pytest

WORKS = ["prepare", "pretrain", "predict"]
"""Three works that have little in common: all of them take a quarter of an hour."""


@pytest.mark.slow
def test_no_fault_of_a_minute_s_ends_wrong():
    command = [sys.executable, str(Path(__file__).parent / "faults"), "--minutes", "2", "--only", *WORKS]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "| all |" in ended.stdout
