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

    Waiting threads hold their cores by default, although other threads need them. Two programs with a thread a core
    then slow each other down many times over. Call this before torch is imported. Results stay the same to the bit, as
    they would not with fewer threads.
    """
    if is_busy():
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
