"""The memory allocator of the program, chosen when the program begins."""

from __future__ import annotations

import os
import sys
from ctypes.util import find_library
from pathlib import Path

LARGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
"""Whether Linux gives large pages of memory always, never, or to those who ask (madvise)."""

_GLIBC = "glibc.malloc.hugetlb"


def start_with_fast_memory() -> None:
    """Begin this process anew with jemalloc, where that library is there, else with large pages of memory.

    glibc looks longer for free memory the longer a training run lasts, and with small pages tensors of many megabytes
    keep the processor looking for their places: a step on the CPU then takes two to four times as long. What the
    environment says already (LD_PRELOAD, GLIBC_TUNABLES) stays.
    """
    settings = _settings()
    if settings:
        os.environ.update(settings)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _settings() -> dict[str, str]:
    """The environment to begin anew with; nothing where this process has it, or where there is nothing to gain."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if sys.platform != "linux" or "LD_PRELOAD" in os.environ or _GLIBC in tunables:
        return {}
    jemalloc = find_library("jemalloc")
    if jemalloc:
        return {"LD_PRELOAD": jemalloc, "MALLOC_CONF": os.environ.get("MALLOC_CONF", "thp:always")}
    if LARGE_PAGES.is_file() and "[madvise]" in LARGE_PAGES.read_text():
        # Of glibc 2.35 or newer; others overlook it.
        return {"GLIBC_TUNABLES": ":".join(filter(None, (tunables, f"{_GLIBC}=1")))}
    return {}
