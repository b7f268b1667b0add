"""Memory that glibc's allocator would hand back to the kernel after every training step."""

from __future__ import annotations

import ctypes
import sys

# From glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to keep large freed buffers for the next step; false where there is no glibc.

    Without it the activations of every step are mapped, zeroed page by page and unmapped again by the kernel.
    `benchmarks/allocator.py` measures what it saves.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all(
        mallopt(ctypes.c_int(name), ctypes.c_int(value))
        for name, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 256 * 2**20))
    )
