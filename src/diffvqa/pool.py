"""Jobs done side by side by processes of this machine, which end with the process that they work for.

concurrent.futures waits for ever if a worker is stopped, or dies while it sends its result, or if there is no memory
for a thread; and who stops early waits there until every job at work is done. Here a worker that somebody has stopped
is let go on.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeVar

from diffvqa.errors import RunFailed
from diffvqa.termination import WITHIN, heeding_signals

Result = TypeVar("Result")
Job = tuple[Any, ...]

LOOK_EVERY = 5.0
"""Seconds after which we look what has become of the workers, while we wait for them."""

TO_END = float(WITHIN)
"""Seconds that a worker has to end in when it is told to."""

_FEWER = "give the same command again with fewer workers: what is finished is not done again"
_ENDED = f"a worker process was ended, often for want of memory; {_FEWER}"


def done_by_processes(
    function: Callable[..., Result], jobs: Iterable[Job], workers: int, at_once: int
) -> Generator[Result, None, None]:
    """The results of `function(*job)` for every job, in the order of the jobs.

    at_once: jobs that are handed out, or done, before the first of them is asked for. Who stops early, for whatever
    reason, ends the workers. Raises what a job raises; RunFailed where a worker ends early or cannot be started.
    """
    jobs = iter(jobs)
    idle, busy = list[_Worker](), dict[int, _Worker]()
    found: dict[int, tuple[Result, None] | tuple[None, Exception]] = {}
    given = handed_out = 0
    try:
        while True:
            while handed_out < given + at_once and len(busy) < workers:
                job = next(jobs, None)
                if job is None:
                    break
                worker = busy[handed_out] = idle.pop() if idle else _Worker()
                worker.give(function, job)
                handed_out += 1
            if given in found:
                result, error = found.pop(given)
                if error is not None:
                    raise error
                given += 1
                yield result  # type: ignore[misc]  # where there is no error there is a result
            elif busy:
                for number in _done(busy):
                    found[number] = busy[number].take()
                    idle.append(busy.pop(number))
            else:
                return
    finally:
        _end([*idle, *busy.values()], at_work=list(busy.values()))


class _Worker:
    def __init__(self) -> None:
        # Spawned, not forked: a fork of a process that runs threads (torch's, for one) may hang.
        context = multiprocessing.get_context("spawn")
        self.pipe, its_end = context.Pipe()
        self.process = context.Process(target=_work, args=(its_end,))
        try:
            self.process.start()
        except OSError as error:
            raise RunFailed(f"a worker process cannot be started ({error.strerror}); {_FEWER}") from error
        finally:
            # While we had it open, we would not see that the worker is gone.
            its_end.close()

    def give(self, function: Callable[..., Any], job: Job) -> None:
        try:
            self.pipe.send((function, job))
        except OSError as error:
            raise RunFailed(_ENDED) from error

    def take(self) -> Any:
        try:
            return self.pipe.recv()
        except (EOFError, OSError) as error:
            raise RunFailed(_ENDED) from error


def _done(busy: dict[int, _Worker]) -> list[int]:
    """The jobs that are done, when at least one is."""
    while True:
        ready = wait([worker.pipe for worker in busy.values()], timeout=LOOK_EVERY)
        if ready:
            return [number for number, worker in busy.items() if worker.pipe in ready]
        # Its pipe alone does not say: children of a worker may hold the other end.
        if not all(worker.process.is_alive() for worker in busy.values()):
            raise RunFailed(_ENDED)
        for worker in busy.values():
            wake(worker.process.pid or 0)


def wake(pid: int) -> None:
    """Let a process go on that was stopped, as by SIGSTOP: who waits for it would wait for ever.

    Nothing is done where the system does not say that it is; a process that is stopped itself wakes nobody.
    """
    with suppress(OSError):  # only Linux has the file
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        # Before the state comes the name, which may hold anything.
        if status.rpartition(")")[2].split()[0] == "T":
            os.kill(pid, signal.SIGCONT)


def _end(workers: Sequence[_Worker], at_work: Sequence[_Worker]) -> None:
    for worker in workers:
        # Who has no work ends by that.
        worker.pipe.close()
    for worker in at_work:
        worker.process.terminate()
    until = time.monotonic() + TO_END
    for worker in workers:
        worker.process.join(max(0.0, until - time.monotonic()))
        worker.process.kill()
        worker.process.join()


def _work(pipe: Connection) -> None:
    """The loop of a worker process, until there is no more work for it."""
    _end_with_parent()
    # Nobody is there any more; or a training has saved what it has, and ends.
    with suppress(EOFError, OSError, KeyboardInterrupt), heeding_signals():
        while True:
            pipe.send(_outcome(pipe))


def _outcome(pipe: Connection) -> tuple[Any, Exception | None]:
    try:
        # A store that is sent is opened here, and may be refused.
        function, job = pipe.recv()
    except (EOFError, OSError):
        raise
    except Exception as error:
        return None, error
    try:
        return function(*job), None
    except Exception as error:
        error.add_note(traceback.format_exc())
        return None, error


def _end_with_parent() -> None:
    """Let a worker process end by Ctrl-C without a word, and when its parent is gone, be it by force."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if parent := multiprocessing.parent_process():
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
