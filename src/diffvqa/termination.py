"""The end of a command at Ctrl-C, and at SIGTERM, which batch systems and containers send."""

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
"""Seconds until a command is told to end once more, if it has not ended by then."""

AT_ONCE = 0.01
"""The same where Python reports that the first time was lost."""


class Terminated(KeyboardInterrupt):
    """SIGTERM has come; whatever is to be done at Ctrl-C is to be done."""


_told: list[type[KeyboardInterrupt]] = []
"""What was raised in the context."""


@contextmanager
def heeding_signals() -> Iterator[None]:
    """A context in which SIGTERM raises Terminated and Ctrl-C KeyboardInterrupt, until the command ends.

    Once is not enough. Python drops what is raised in a finaliser or in a callback of the interpreter.
    Libraries drop some, too. Ctrl-C stays ignored where it is, as in a job in the background of a shell.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)}
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, _terminate)
    if before[signal.SIGINT] is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    hook, sys.unraisablehook = sys.unraisablehook, _insist
    try:
        yield
    finally:
        signal.alarm(0)
        _told.clear()
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


def told_to_end() -> KeyboardInterrupt | None:
    """Which exception was raised first in the context, or None. A library may have made an error of it."""
    return _told[0]() if _told else None


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
        _after(WITHIN, _terminate)

    signal.signal(signal.SIGTERM, note)
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGTERM, _terminate)
        if came:
            signal.alarm(0)
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
    _after(AGAIN, _terminate)
    _told.append(Terminated)
    raise Terminated


def _interrupt(number: int, frame: Any) -> None:
    _after(AGAIN, _interrupt)
    _told.append(KeyboardInterrupt)
    raise KeyboardInterrupt


def _after(seconds: float, handler: Callable[[int, Any], None]) -> None:
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _insist(dropped: Any) -> None:
    """Called where Python drops an exception; nothing can be raised here."""
    if isinstance(dropped.exc_value, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, AT_ONCE)
    else:
        sys.__unraisablehook__(dropped)
