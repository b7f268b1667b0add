"""What a run computes in where the machine has bf16, and where it has not."""

import pytest
import torch

from diffvqa.training.precision import usable_precision


@pytest.mark.parametrize(("capability", "expected"), [("AVX512", "bf16"), ("AVX2", "fp32"), ("DEFAULT", "fp32")])
def test_bf16_is_used_where_the_processor_has_it(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert usable_precision("bf16") == expected
    assert usable_precision("fp32") == "fp32"
