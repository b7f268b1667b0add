import math
import multiprocessing
import operator
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from diffvqa import pool
from diffvqa.errors import RunFailed
from diffvqa.workers import done_in_order
from slow_jobs import stop_itself, wait_for


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_jobs(workers):
    assert list(done_in_order(operator.mul, ((n, n) for n in range(20)), workers)) == [n * n for n in range(20)]
    assert list(done_in_order(operator.mul, (), workers)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_out_after_the_results_before_it(workers):
    results = done_in_order(math.sqrt, ((n,) for n in [0, 1, 4, -1, 9]), workers)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="math domain"):
        next(results)


def test_a_worker_that_dies_is_said():
    with pytest.raises(RunFailed, match="fewer workers"):
        list(done_in_order(os._exit, [(1,)], workers=2))


def test_no_more_jobs_are_begun_than_are_needed():
    begun = []

    def jobs():
        for number in range(100):
            begun.append(number)
            yield (number,)

    results = done_in_order(abs, jobs(), workers=2)
    next(results)
    results.close()
    assert len(begun) < 10


def test_a_job_that_takes_long_keeps_no_other_waiting(tmp_path):
    names = [str(tmp_path / str(number)) for number in range(9)]
    # The first one ends when the last one has begun.
    jobs = [(names[-1], names[0]), *((name, name) for name in names[1:])]
    assert all(done_in_order(wait_for, jobs, workers=2, ahead=len(jobs)))


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    (tmp_path / "parent.py").write_text(
        "import os, time\n"
        "from diffvqa.workers import done_in_order\n"
        "def sleep(name):\n"
        "    open(name, 'w').write(str(os.getpid()))\n"
        "    time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        f"    list(done_in_order(sleep, [('{tmp_path}/a',), ('{tmp_path}/b',)], workers=2))\n"
    )
    parent = subprocess.Popen([sys.executable, tmp_path / "parent.py"])
    files = [tmp_path / "a", tmp_path / "b"]
    _until(lambda: all(path.exists() and path.read_text() for path in files))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _until(lambda: not any(Path(f"/proc/{path.read_text()}/fd").exists() for path in files))


def test_a_worker_that_is_stopped_is_let_go_on(monkeypatch):
    monkeypatch.setattr(pool, "LOOK_EVERY", 0.2)
    monkeypatch.setattr(pool, "TO_END", 0.5)
    before = signal.signal(signal.SIGALRM, _fail)
    signal.alarm(60)
    try:
        assert list(done_in_order(stop_itself, [(1,), (2,), (3,)], workers=2)) == [1, 2, 3]
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _fail(number, frame):
    raise AssertionError("it is waited for without an end")


def test_a_worker_that_is_stopped_is_no_reason_to_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "TO_END", 0.5)
    with closing(done_in_order(stop_itself, [(1,), (2, str(tmp_path / "b"))], workers=2)) as results:
        monkeypatch.setattr(pool, "LOOK_EVERY", 0.2)
        assert next(results) == 1
        _until((tmp_path / "b").exists)
    assert not multiprocessing.active_children()


def test_who_stops_early_ends_the_workers_that_are_at_work(tmp_path):
    a, b, none = (str(tmp_path / name) for name in ("a", "b", "none"))
    with closing(done_in_order(wait_for, [(a, a), (none, b)], workers=2)) as results:
        assert next(results)
        _until((tmp_path / "b").exists)
        begun = time.monotonic()
    assert time.monotonic() - begun < 10  # not the 30 seconds that the other one waits
    assert not multiprocessing.active_children()


def test_the_memory_of_a_worker_is_that_of_its_command():
    with pytest.raises(MemoryError):
        list(done_in_order(bytearray, [(1 << 60,)], workers=2))


def _until(condition):
    for _ in range(300):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come to that in 30 seconds")
