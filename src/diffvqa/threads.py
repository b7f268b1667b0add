"""The waiting of computing threads for one another, on a machine with other busy programs."""

from __future__ import annotations

import os

from diffvqa.workers import usable_cores


def is_busy() -> bool:
    """Whether other programs leave this one less than half of the cores that it may use."""
    free = (os.cpu_count() or 1) - os.getloadavg()[0]
    return free < usable_cores() / 2


def share_cores() -> None:
    """Let threads sleep while they wait for one another, on a machine that is busy.

    By default they try again and again, and so hold the cores that the awaited ones, here or in the other program,
    need: two programs with a thread a core then slow each other down many times over. To be called before torch is
    imported. What is computed stays the same to the bit, as it would not with fewer threads.
    """
    if is_busy():
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
