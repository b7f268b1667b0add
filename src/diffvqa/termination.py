"""The end of a command at SIGTERM, which batch systems and containers send: as at Ctrl-C, but saved."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

WITHIN = 18
"""Seconds that are left to save something; who sends SIGTERM kills soon after, mostly after 30."""

AGAIN = 5
"""Seconds until Terminated is raised again, if the command has not ended by then."""


class Terminated(KeyboardInterrupt):
    """SIGTERM has come; whatever is to be done at Ctrl-C is to be done."""


@contextmanager
def heeding_sigterm() -> Iterator[None]:
    """A context in which SIGTERM raises Terminated, repeatedly, because Python drops some of what handlers raise.

    It does so where one runs while a finaliser or a callback of the interpreter does.
    """
    before = signal.signal(signal.SIGTERM, _terminate), signal.signal(signal.SIGALRM, _terminate)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGALRM, before[1])


@contextmanager
def saving_first() -> Iterator[Callable[[], bool]]:
    """A context in which SIGTERM is noted and raises nothing; the yielded function says whether it has come.

    Whoever works asks now and then, saves, and raises Terminated; it is raised anyway at the end, after WITHIN seconds,
    and where SIGTERM comes again. It changes nothing unless SIGTERM is heeded.
    """
    if signal.getsignal(signal.SIGTERM) is not _terminate or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    came: list[int] = []

    def note(number: int, frame: Any) -> None:
        if came:
            raise Terminated
        came.append(number)
        signal.alarm(WITHIN)

    signal.signal(signal.SIGTERM, note)
    try:
        yield lambda: bool(came)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGTERM, _terminate)
    if came:
        raise Terminated


def say_stopped(stop: BaseException | None) -> int:
    """Say, on standard error, how a command was told to end, and what is kept where that is known; the exit status."""
    told = isinstance(stop, Terminated)
    how = "ended by SIGTERM" if told else "interrupted"
    # Once where processes train together: torchrun numbers them.
    if os.environ.get("RANK", "0") == "0":
        print("; ".join([how, *getattr(stop, "__notes__", [])[:1]]), file=sys.stderr)
    return 128 + (signal.SIGTERM if told else signal.SIGINT)


def _terminate(number: int, frame: Any) -> None:
    signal.alarm(AGAIN)
    raise Terminated
