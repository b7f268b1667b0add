"""Models read whole: every weight that they need, in the shape that they need it, from safetensors and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from diffvqa.models.source import reading_weights


def read_model(kind: Any, source: str | Path, may_lack: Sequence[str] = ()) -> PreTrainedModel:
    """The model of a local folder or a hub name, in fp32; kind: a model class, or one of the Auto classes.

    may_lack: beginnings of the names of weights that need not be there. The weights are in memory of their own: a file
    that is written to later changes nothing. Raises ValueError for weights that are missing, not finite, or of another
    shape than the configuration says, and for a folder that is not harmless (source); OSError where there is no
    checkpoint.
    """
    with reading_weights(source) as local:
        model, report = kind.from_pretrained(
            source,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=local,
        )
    for name, found, expected in sorted(report["mismatched_keys"]):
        raise ValueError(f"{name} is {_sizes(found)} in the checkpoint, but {_sizes(expected)} by its config.json")
    missing = sorted(name for name in report["missing_keys"] if not name.startswith(tuple(may_lack)))
    if missing:
        raise ValueError(f"the checkpoint lacks {len(missing)} of the model's weights, such as {missing[0]}")
    with torch.no_grad():
        for name, values in (*model.named_parameters(), *model.named_buffers()):
            values.data = values.data.clone()
            if name not in report["missing_keys"] and not values.isfinite().all():
                raise ValueError(f"{name} has values in the checkpoint that are not finite")
    return model


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
