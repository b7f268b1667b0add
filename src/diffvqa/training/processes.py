"""Processes that train together, as torchrun or accelerate start them; one where nothing does."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import timedelta

import torch
from accelerate import PartialState
from torch import distributed

LONGEST_WAIT = timedelta(hours=24)
"""How long a process waits for the first one, which encodes every image before stage 2 begins."""


def join_processes() -> PartialState:
    """Meet the other processes, if there are any."""
    return PartialState(cpu=not torch.cuda.is_available(), timeout=LONGEST_WAIT)


def part_processes() -> None:
    """Wait for the other processes, if there are any, and end the connection to them."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        join_processes().destroy_process_group()


def is_first() -> bool:
    """Whether this process is the one that writes and prints."""
    return join_processes().is_main_process


def first_goes_first() -> AbstractContextManager[None]:
    """A context that the first process enters alone; the others follow when it is done."""
    return join_processes().main_process_first()
