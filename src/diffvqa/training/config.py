"""A run's settings: one YAML file and `key=value` overrides, validated."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from diffvqa.errors import InputError
from diffvqa.tasks.pretraining import TASKS
from diffvqa.tasks.transform import Augmentation


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Optimisation(_Settings):
    """AdamW with warm-up and a cosine down to `final_learning_rate` (arXiv 2603.04950).

    How long: `steps`, or `epochs`, how often every image (stage 1) or question (stage 2) is seen. batch_size: images or
    questions a step, taken in `accumulation` parts. A checkpoint is saved and the loss on the validation split computed
    every `save_every` steps.
    """

    steps: PositiveInt | None = None
    epochs: PositiveFloat | None = None
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    final_learning_rate: float = Field(0.0, ge=0)
    weight_decay: float = Field(0.01, ge=0)
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.95, ge=0, lt=1)
    warmup_steps: int = Field(0, ge=0)
    gradient_clipping: PositiveFloat = 1.0
    accumulation: PositiveInt = 1
    precision: Literal["bf16", "fp32"] = "bf16"
    log_every: PositiveInt = 25
    save_every: PositiveInt = 500
    loader_workers: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _divides(self) -> Optimisation:
        if self.batch_size % self.accumulation:
            raise ValueError("batch_size must be a multiple of accumulation")
        return self

    @model_validator(mode="after")
    def _ends(self) -> Optimisation:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs, and null for the other where the file has it")
        return self

    def draws(self, items: int) -> int:
        """How many images or questions the whole run takes, a whole number of steps, where there are `items`."""
        return (self.steps or math.ceil(self.epochs * items / self.batch_size)) * self.batch_size


class PretrainConfig(_Settings):
    """Stage 1.

    texts: how many of each task one pass over an image teaches. parallel: the share of each task predicted in
    parallel. tokenizer: a folder or hub name, or a number: the vocabulary of one made from the training texts.
    encoder: the sizes of one made here, or the folder or hub name of a vision model to go on from. image_mean,
    image_std: per channel, of pixels 0 to 1; if not given, the checkpoint's, or 0.5 for each of three channels.
    """

    store: str
    out: str
    optimisation: Optimisation
    encoder: str | dict[str, Any]
    decoder: dict[str, Any]
    tokenizer: PositiveInt | str = "openai-community/gpt2"
    seed: int = Field(0, ge=0)
    box_bins: PositiveInt = 500
    text_tokens: int = Field(96, ge=32)
    texts: dict[str, int] = {"Cap": 1, "AREF": 1, "GCAP": 1, "CAREF": 1}
    parallel: dict[str, float] = {"Cap": 0.5}
    augmentation: Augmentation = Augmentation()
    image_mean: tuple[float, ...] | None = None
    image_std: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _known_tasks(self) -> PretrainConfig:
        for task in (*self.texts, *self.parallel):
            if task not in TASKS:
                raise ValueError(f"there is no task {task!r}; the tasks are {', '.join(TASKS)}")
        return self


class FinetuneConfig(_Settings):
    """Stage 2.

    language_model: a folder or hub name, or the sizes of one made here with the captioner's tokenizer. questions:
    how often each question type is drawn against the others; those not named are left out. merge: squares of
    merge x merge patches become one token of the language model.
    """

    store: str
    captioner: str
    out: str
    optimisation: Optimisation
    language_model: str | dict[str, Any] = "openai-community/gpt2-medium"
    seed: int = Field(0, ge=0)
    text_tokens: int = Field(96, ge=32)
    questions: dict[str, float] = {"difference": 1.0}
    merge: PositiveInt = 1


Config = TypeVar("Config", PretrainConfig, FinetuneConfig)


def load_config(kind: type[Config], path: str | Path, overrides: list[str]) -> Config:
    """The settings in a YAML file, with `key=value` and `part.key=value` overrides laid over them.

    Raises InputError that names the key: unknown, missing, or of another type.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"CONFIG: there is no file {path.name!r}; give a YAML file such as those in configs/")
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"CONFIG: {path.name} is not YAML: {str(error).splitlines()[0]}; mend it") from error
    if not isinstance(settings, dict):
        raise InputError(f"CONFIG: {path.name} must hold `key: value` lines, found {type(settings).__name__}")
    for override in overrides:
        _lay_over(settings, override)
    try:
        return kind.model_validate(settings)
    except ValidationError as error:
        raise InputError("; ".join(_explain(kind, fault) for fault in error.errors())) from error


def _lay_over(settings: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise InputError(f"expected key=value after the configuration file, found {override!r}")
    *parents, last = key.split(".")
    for parent in parents:
        settings = settings.setdefault(parent, {})
        if not isinstance(settings, dict):
            raise InputError(f"`{key}`: `{parent}` holds no keys of its own")
    try:
        settings[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"`{key}`: {value!r} is not a YAML value") from error


def _explain(kind: type[BaseModel], fault: Any) -> str:
    path = [str(part) for part in fault["loc"]]
    key = ".".join(path)
    if fault["type"] == "extra_forbidden" or fault["type"] == "unexpected_keyword_argument":
        holder: Any = kind
        for part in path[:-1]:
            holder = holder.model_fields[part].annotation
        names = getattr(holder, "model_fields", None) or holder.__dataclass_fields__
        return f"there is no configuration key `{key}`; the keys here are {', '.join(names)}"
    if fault["type"] == "missing":
        return f"the configuration lacks the key `{key}`; add it to the file or give {key}=..."
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "value_error":
        return f"`{key}`: {message}" if path else message
    return f"`{key}`: {message[0].lower()}{message[1:]}, found {fault['input']!r}"
