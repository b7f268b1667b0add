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

    A step on the CPU takes two to four times as long otherwise. The longer a training lasts, the longer glibc looks for
    free memory. Small pages make the processor look up the places of large tensors. Settings in the environment
    (LD_PRELOAD, GLIBC_TUNABLES) stay.
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
        # glibc before 2.35 ignores this setting.
        return {"GLIBC_TUNABLES": ":".join(filter(None, (tunables, f"{_GLIBC}=1")))}
    return {}
