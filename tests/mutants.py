"""Faults put into the program one by one, each of which a named test must notice: `make mutants`.

Every fault in mutants.yaml is a text in a file of src, what stands there instead, and the tests of which one fails
then. A text that is not found, or found twice, is an error: the table moves with the code. All of it takes some minutes
on two processors.

    python tests/mutants.py [WORDS ...]    those faults alone whose name has one of the words
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import yaml

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
TABLE = TESTS / "mutants.yaml"
AT_ONCE = 2
SECONDS = 120
"""So long the tests of a fault may take, and ten times as long all of them without any."""


@dataclass(frozen=True)
class Fault:
    """A fault: its name, the file below src/diffvqa, what stands there, what stands there instead, and the tests."""

    name: str
    file: str
    found: str
    instead: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """Tests that are run in another process, which tells what became of them, before `until` on the monotonic clock."""

    process: BaseProcess
    told: Connection
    output: Path
    until: float

    def ended(self) -> bool:
        """Whether they are done, or have taken too long."""
        return self.told.poll() or time.monotonic() > self.until

    def result(self) -> tuple[list[str], bool]:
        """The tests that failed, and whether any could not be read or did not end; waits for them."""
        try:
            found = self.told.recv() if self.told.poll(max(0, self.until - time.monotonic())) else ([], True)
        except EOFError:
            found = [], True
        self.process.kill()
        self.process.join()
        return found


class _Failed:
    """A plugin of pytest that notes which tests failed, and why, and whether they could be read at all."""

    def __init__(self) -> None:
        self.tests: list[str] = []
        self.broken = False

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            why = crash.message.splitlines()[0][:80] if crash else "an error"
            self.tests.append(f"{report.nodeid}: {why}")

    def pytest_collectreport(self, report: Any) -> None:
        self.broken |= report.failed


def _run(source: Path, made: Path, tests: Sequence[str], output: Path, first: bool, told: Connection) -> None:
    """Run tests with that source, in a process of its own; tell which failed, and whether all could be read."""
    with output.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(ROOT)
    os.environ.update({"DIFFVQA_TESTS_MADE": str(made), "PYTHONPATH": str(source)})
    sys.path.insert(0, str(source))
    import pytest

    failed = _Failed()
    arguments = ["-q", "-p", "no:cacheprovider", *(["-x"] if first else []), *(f"tests/{test}" for test in tests)]
    status = pytest.main(arguments, plugins=[failed])
    import diffvqa

    assert Path(diffvqa.__file__).is_relative_to(source)
    told.send((failed.tests, failed.broken or status not in (0, 1)))


def start(source: Path, made: Path, tests: Sequence[str], output: Path, first: bool = True) -> Run:
    """Begin to run tests with that source; first: until one fails."""
    # Forked, so that the large libraries are read once.
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(source, made, tests, output, first, there))
    process.start()
    there.close()
    return Run(process, here, output, time.monotonic() + SECONDS * (1 if first else 10))


def plant(one: Fault, source: Path) -> None:
    """Write a fault into a copy of the source. Raises ValueError where its place is not there, or there twice."""
    path = source / "diffvqa" / one.file
    text = path.read_text(encoding="utf-8")
    if text.count(one.found) != 1:
        raise ValueError(f"{one.name}: {one.file} has the text {text.count(one.found)} times")
    path.write_text(text.replace(one.found, one.instead), encoding="utf-8")


def judge(one: Fault, ended: Run) -> tuple[str, str]:
    """What became of a fault: caught, survived or broken; and the test, or what is the matter."""
    failed, broken = ended.result()
    if failed:
        return "caught", f"by {failed[0]}"
    return ("BROKEN", f"see {ended.output}") if broken else ("SURVIVED", ", ".join(one.tests))


def judge_all(faults: Sequence[Fault], folder: Path, made: Path) -> Iterator[tuple[Fault, str, str]]:
    """Each fault with what became of it, as they end."""
    waiting = list(reversed(faults))
    running: dict[Fault, Run] = {}
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            one = waiting.pop()
            place = Path(tempfile.mkdtemp(dir=folder))
            shutil.copytree(ROOT / "src", place / "src", ignore=shutil.ignore_patterns("__pycache__"))
            try:
                plant(one, place / "src")
            except ValueError as error:
                yield one, "BROKEN", str(error)
                continue
            running[one] = start(place / "src", made, one.tests, place / "output.txt")
        wait([run.told for run in running.values()], timeout=1)
        for one, run in list(running.items()):
            if run.ended():
                yield one, *judge(one, running.pop(one))


def _read_libraries() -> None:
    """Read what every test takes seconds to read, before the processes part."""
    for name in ("fastapi.testclient", "highdicom", "pyarrow.parquet", "transformers.generation.utils"):
        importlib.import_module(name)
    import torch
    import transformers

    for name in ("CLIPTextModel", "GPT2LMHeadModel", "ResNetModel", "SiglipVisionModel", "Trainer", "AutoTokenizer"):
        getattr(transformers, name)
    torch.set_num_threads(1)


def main(words: list[str]) -> int:
    """0 where every fault is caught; faults whose place is not there count as not caught."""
    # As the program sets them, before the libraries are read.
    os.environ.update(OMP_NUM_THREADS="1", TRANSFORMERS_VERBOSITY="error", HF_HUB_DISABLE_PROGRESS_BARS="1")
    faults = [
        Fault(**{**entry, "tests": tuple(entry["tests"])})
        for entry in yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    ]
    chosen = [one for one in faults if not words or any(word in one.name for word in words)]
    _read_libraries()
    folder = Path(tempfile.mkdtemp(prefix="mutants-"))
    made = folder / "made"
    made.mkdir()
    tests = list(dict.fromkeys(test for one in chosen for test in one.tests))
    failed, broken = start(ROOT / "src", made, tests, folder / "output.txt", first=False).result()
    if failed or broken:
        print(f"tests fail without any fault: {', '.join(failed)}; see {folder / 'output.txt'}")
        return 1
    counts: Counter[str] = Counter()
    for one, what, where in judge_all(chosen, folder, made):
        counts[what] += 1
        print(f"{what:9}{one.name}: {where}", flush=True)
    print(", ".join(f"{number} {what}" for what, number in counts.items()))
    if set(counts) - {"caught"}:
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
