"""LoRA: small matrices beside a language model's own, which stay as they are (arXiv 2106.09685)."""

from __future__ import annotations

from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from diffvqa.errors import InputError


def add_adapters(language_model: PreTrainedModel, rank: int) -> None:
    """Give every linear layer an adapter of that rank and freeze the rest. Raises InputError where peft is missing."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise InputError("needs peft; install it with `pip install 'diffvqa[lora]'`", argument="lora_rank") from error
    transposed = any(isinstance(module, Conv1D) for module in language_model.modules())
    # The usual scale: twice the rank.
    settings = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", fan_in_fan_out=transposed)
    inject_adapter_in_model(settings, language_model)


def merge_adapters(language_model: PreTrainedModel) -> None:
    """Add the adapters to the weights and take them away: what is left is a model as it was before."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    adapted = [(name, module) for name, module in language_model.named_modules() if isinstance(module, BaseTunerLayer)]
    for name, module in adapted:
        module.merge()
        language_model.set_submodule(name, module.get_base_layer())
    language_model.requires_grad_(True)
