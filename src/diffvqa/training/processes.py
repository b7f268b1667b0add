"""Processes that train together, as torchrun or accelerate start them; one where nothing does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from accelerate import PartialState

LONGEST_WAIT = timedelta(hours=24)
"""How long a process waits for the first one, which encodes every image before stage 2 begins."""


def join_processes() -> PartialState:
    """Meet the other processes, if there are any."""
    return PartialState(cpu=not torch.cuda.is_available(), timeout=LONGEST_WAIT)


def is_first() -> bool:
    """Whether this process is the one that writes and prints."""
    return join_processes().is_main_process


@contextmanager
def first_goes_first() -> Iterator[None]:
    """Inside it the first process is alone; the others follow when it is done."""
    with join_processes().main_process_first():
        yield
