"""Methods that transformers and accelerate require of a model that is made of models."""

from __future__ import annotations

from transformers import PreTrainedModel


def declare_parts(model: PreTrainedModel) -> None:
    """Let a model know which weights of its parts are one, and which of their layers stay whole when it is sharded.

    The library asks direct children only, and some of them name layers that they do not have.
    """
    model.all_tied_weights_keys = model.get_expanded_tied_weights_keys(all_submodels=True)
    names = {type(module).__name__ for module in model.modules()}
    parts = [module for module in model.modules() if isinstance(module, PreTrainedModel) and module is not model]
    model._no_split_modules = sorted({name for part in parts for name in part._no_split_modules or () if name in names})
