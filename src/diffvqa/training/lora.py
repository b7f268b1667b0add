"""LoRA: small matrices beside a language model's own, which stay as they are (arXiv 2106.09685)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from diffvqa.errors import InputError

if TYPE_CHECKING:
    from peft import LoraModel


def add_adapters(language_model: PreTrainedModel, rank: int) -> LoraModel:
    """Give every linear layer an adapter of that rank and freeze the rest; what merges them in the end.

    Raises InputError where peft is missing.
    """
    try:
        from peft import LoraConfig, LoraModel
    except ImportError as error:
        raise InputError("needs peft; install it with `pip install 'diffvqa[lora]'`", argument="lora_rank") from error
    transposed = any(isinstance(module, Conv1D) for module in language_model.modules())
    # The usual scale: twice the rank.
    settings = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", fan_in_fan_out=transposed)
    return LoraModel(language_model, settings, "default")
