"""The model of stage 2 as configured: a language model, new or a checkpoint's, joined to an encoder."""

from __future__ import annotations

from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from diffvqa.errors import InputError
from diffvqa.models.difference import DifferenceConfig, DifferenceModel
from diffvqa.models.encoder import patch_grid
from diffvqa.models.weights import read_model
from diffvqa.tasks.tokenizer import special_tokens
from diffvqa.training.config import FinetuneConfig
from diffvqa.training.config_errors import explain_source, refuse_unknown_sizes
from diffvqa.training.pretraining_model import NO_DROPOUT


def build_model(
    config: FinetuneConfig, encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> DifferenceModel:
    """A difference model as configured, on an encoder. Raises InputError, and what explain_sizes explains."""
    vision = encoder.config
    copied = {"text_tokens", "merge", "attention", "priors", "trainable_blocks", "change_threshold"}
    settings = config.model_dump(include=copied)
    if isinstance(config.language_model, str):
        with explain_source("language_model", config.language_model):
            language_model = read_model(AutoModelForCausalLM, config.language_model)
        _refuse_too_few_positions(config, vision, language_model.config)
        model = DifferenceModel(DifferenceConfig(vision, language_model.config, **settings))
        model.language_model = language_model
    else:
        kind = AutoConfig.for_model(config.language_model.get("model_type", "gpt2"))
        refuse_unknown_sizes(config.language_model, type(kind), "language_model")
        sizes = {
            "model_type": "gpt2",
            "n_positions": _positions_needed(config, vision),
            **(NO_DROPOUT if kind.model_type == "gpt2" else {}),
            **config.language_model,
            **special_tokens(tokenizer),
        }
        difference = DifferenceConfig(vision, sizes, **settings)
        _refuse_too_few_positions(config, vision, difference.language_config)
        model = DifferenceModel(difference)
    model.encoder.load_state_dict(encoder.state_dict())
    return model


def _positions_needed(config: FinetuneConfig, vision: PreTrainedConfig, merge: int | None = None) -> int:
    """The places in the language model that the images, a question and its answer take."""
    return (1 + config.priors) * (patch_grid(vision) // (merge or config.merge)) ** 2 + config.text_tokens


def _refuse_too_few_positions(config: FinetuneConfig, vision: PreTrainedConfig, language: PreTrainedConfig) -> None:
    """Raises InputError where the language model has learnt fewer places than it would be given (GPT-2 has 1,024)."""
    needed, available = _positions_needed(config, vision), getattr(language, "max_position_embeddings", None)
    if available is None or needed <= available:
        return
    grid = patch_grid(vision)
    fitting = [
        f"merge={merge}"
        for merge in range(config.merge + 1, grid + 1)
        if grid % merge == 0 and _positions_needed(config, vision, merge) <= available
    ]
    raise InputError(
        f"has {available} positions, but {1 + config.priors} images and {{text_tokens}} take {needed}; "
        + (f"merge patches ({' or '.join(fitting)}), or " if fitting else "")
        + "give a model with more",
        argument="language_model",
        mentions=("text_tokens",),
    )
