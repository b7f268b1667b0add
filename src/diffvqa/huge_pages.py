"""Large pages of memory, for which a program must ask when it begins."""

from __future__ import annotations

import os
import sys
from pathlib import Path

MODE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
SETTING = "glibc.malloc.hugetlb"


def start_with_huge_pages() -> None:
    """Begin this process anew with large pages of memory, where Linux gives them to those who ask.

    glibc asks for them if its settings say so when a process begins (glibc 2.35 or newer; others overlook it). With
    small pages tensors of many megabytes keep the processor looking for their places, in virtual machines above all: a
    training step on the CPU then takes up to four times as long.
    """
    settings = os.environ.get("GLIBC_TUNABLES", "")
    if SETTING in settings or not MODE.is_file() or "[madvise]" not in MODE.read_text():
        return
    os.environ["GLIBC_TUNABLES"] = ":".join(filter(None, (settings, f"{SETTING}=1")))
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
