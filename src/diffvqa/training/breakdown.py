"""Trainings that end early: they leave what is finished, and say so in one line instead of a library's traceback."""

from __future__ import annotations

import json
import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from diffvqa.errors import RunFailed
from diffvqa.files import is_full, write_text
from diffvqa.pool import wake
from diffvqa.training.checkpoints import CHECKPOINTS, checkpoint_step, last_checkpoint

FAILED = "failed_step.json"
LOOK_EVERY = 5
"""Seconds between two looks at whether loader workers are stopped."""


class Draws(Protocol):
    """The images or questions of a run, in their order."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int) -> object: ...

    def identifier(self, position: int) -> str:
        """Which image or question the draw at a position is."""


class Failure:
    """The end of a run whose loss or gradients are not finite: a file in `out` lists the step's draws."""

    def __init__(self, draws: Draws, batch_size: int, out: Path) -> None:
        self.draws, self.batch_size, self.out = draws, batch_size, out

    def stop(self, what: str, step: int) -> None:
        """Raises RunFailed; step: how many steps were done before the one that failed."""
        places = range(step * self.batch_size, (step + 1) * self.batch_size)
        listed = {"step": step + 1, "found": what, "ids": [self.draws.identifier(place) for place in places]}
        write_text(self.out / FAILED, json.dumps(listed, indent=2))
        raise RunFailed(
            f"{what} at step {step + 1} of {len(self.draws) // self.batch_size}; {kept(self.out)}; what the step was "
            f"trained on is listed in {FAILED} in `out`. Look at those, or start again in another folder with a lower "
            "`optimisation.learning_rate` or more `optimisation.warmup_steps`"
        )


def kept(out: Path) -> str:
    """A clause that says what a run that ends early leaves in its folder."""
    last = last_checkpoint(out / CHECKPOINTS)
    return f"the checkpoint of step {checkpoint_step(last)} is kept" if last else "there is no checkpoint yet"


@contextmanager
def ending_well(out: Path) -> Iterator[None]:
    """A context for a training: any end says what is kept in `out`, and leaves no loader worker behind.

    Loader workers that are stopped meanwhile are let go on. Raises RunFailed where the disk or the memory is full, or
    a loader worker has ended.
    """
    ended = threading.Event()
    threading.Thread(target=_wake_loaders, args=(ended,), daemon=True).start()
    try:
        yield
    except KeyboardInterrupt as stop:
        stop.add_note(f"{kept(out)}; the same command goes on {'from there' if _begun(out) else 'from the beginning'}")
        raise
    except Exception as error:
        if isinstance(error, RunFailed) or not (found := _reason(error)):
            raise
        reason, advice = found
        raise RunFailed(f"{reason}; {kept(out)}; {advice}") from error
    finally:
        ended.set()
        _end_loaders()


def _begun(out: Path) -> bool:
    return last_checkpoint(out / CHECKPOINTS) is not None


def _reason(error: Exception) -> tuple[str, str] | None:
    """A fault outside the program and its remedy; None if the fault is something else."""
    text, again = str(error), "give the same command again"
    if is_full(error):
        return "the disk is full", f"make room and {again}"
    # While one is being listened to, the connection to it is what is lost.
    if text.startswith("DataLoader worker") or isinstance(error, ConnectionError | EOFError):
        return "a loader worker was ended, often for want of memory", again
    if isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text:
        return "the memory is full", "start again in another folder with a higher `optimisation.accumulation`"
    return None


def _wake_loaders(ended: threading.Event) -> None:
    """A training would wait for ever for a worker that somebody stopped; stopped itself, it wakes nobody."""
    while not ended.wait(LOOK_EVERY):
        for worker in multiprocessing.active_children():
            if worker.daemon and worker.pid:
                wake(worker.pid)


def _end_loaders() -> None:
    """End loader workers by force. A stopped one hears nothing else, and this process would wait for it at its end."""
    for worker in multiprocessing.active_children():
        if worker.daemon:
            # torch says in an error that one was killed, wherever this process then is.
            with suppress(RuntimeError):
                worker.kill()
                worker.join()
            worker.join()
