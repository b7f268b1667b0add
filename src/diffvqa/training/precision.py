"""The precision that a run computes in, on this machine."""

from __future__ import annotations

import torch


def usable_precision(wanted: str) -> str:
    """`bf16` where it is wanted and this machine has it in hardware, else `fp32`.

    A processor without AVX-512 takes fifty times as long for a product in bf16 as for one in fp32.
    """
    if torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return wanted if fast else "fp32"
