"""Models read whole: every weight that they need, in the shape that they need it, from safetensors and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel


def read_model(kind: Any, source: str | Path, may_lack: Sequence[str] = ()) -> PreTrainedModel:
    """The model of a local folder or a hub name, in fp32; kind: a model class, or one of the Auto classes.

    may_lack: beginnings of the names of weights that need not be there. Raises ValueError for weights that are missing
    or of another shape than the configuration says, OSError where there is no checkpoint.
    """
    model, report = kind.from_pretrained(
        source, dtype=torch.float32, use_safetensors=True, ignore_mismatched_sizes=True, output_loading_info=True
    )
    for name, found, expected in sorted(report["mismatched_keys"]):
        raise ValueError(f"{name} is {_sizes(found)} in the checkpoint, but {_sizes(expected)} by its config.json")
    missing = sorted(name for name in report["missing_keys"] if not name.startswith(tuple(may_lack)))
    if missing:
        raise ValueError(f"the checkpoint lacks {len(missing)} of the model's weights, such as {missing[0]}")
    return model


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
