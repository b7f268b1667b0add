"""A run's settings: one YAML file and `key=value` overrides, validated."""

from __future__ import annotations

import importlib.util
import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from diffvqa.errors import InputError
from diffvqa.parsing import parse_yaml
from diffvqa.records import QUESTION_TYPES
from diffvqa.tasks.augmentation import Augmentation
from diffvqa.tasks.box_text import Notation
from diffvqa.tasks.image_texts import TASKS, Mixture
from diffvqa.training.objectives import read_objective, task_weights

LOCAL_TASKS = tuple(task for task in TASKS if task != "Cap")
"""The tasks whose texts are phrases with their boxes."""


class StrictSettings(BaseModel):
    """Frozen settings without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Optimisation(StrictSettings):
    """Settings of the optimiser and of the run: AdamW with warm-up and a cosine schedule (arXiv 2603.04950).

    optimizer: `adamw`, or `muon`, which orthogonalises the updates of matrices (arXiv 2502.16982). steps, epochs:
    length of the run, one of the two; an epoch shows every image (stage 1) or question (stage 2) once. batch_size:
    images or questions a step, on all processes together. final_learning_rate: at the end of the cosine schedule.
    accumulation: number of parts into which each process divides its share of a batch. save_every: steps between two
    checkpoints, and between two losses on the validation split. gradient_checkpointing: save memory and compute layers
    twice. compile: use torch.compile. precision: a machine without fast bf16 uses fp32. report_to: trackers that also
    get the log; a continued run may change it.
    """

    steps: PositiveInt | None = None
    epochs: PositiveFloat | None = None
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    final_learning_rate: float = Field(0.0, ge=0)
    optimizer: Literal["adamw", "muon"] = "adamw"
    weight_decay: float = Field(0.01, ge=0)
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.95, ge=0, lt=1)
    warmup_steps: int = Field(0, ge=0)
    gradient_clipping: PositiveFloat = 1.0
    accumulation: PositiveInt = 1
    precision: Literal["bf16", "fp32"] = "bf16"
    gradient_checkpointing: bool = False
    compile: bool = False
    log_every: PositiveInt = 25
    save_every: PositiveInt = 500
    loader_workers: int = Field(0, ge=0)
    report_to: Annotated[
        tuple[Literal["tensorboard", "wandb", "mlflow"], ...],
        BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    ] = Field((), exclude=True)

    @field_validator("report_to")
    @classmethod
    def _are_installed(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if importlib.util.find_spec(name) is None:
                raise ValueError(f"{name} is not installed; install it with `pip install {name}`")
        return names

    @model_validator(mode="after")
    def _divides_and_ends(self) -> Optimisation:
        if self.batch_size % self.accumulation:
            raise ValueError("batch_size must be a multiple of accumulation")
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs, and null for the other where the file has it")
        return self

    def trackers(self, out: Path) -> list[str]:
        """The value of `report_to` for transformers, for a run in `out`; TensorBoard writes into `out/tensorboard`.

        Otherwise TensorBoard would write beside the checkpoints, which are removed at the end.
        """
        if "tensorboard" in self.report_to:
            os.environ["TENSORBOARD_LOGGING_DIR"] = str(out / "tensorboard")
        return list(self.report_to)

    def draws(self, items: int) -> int:
        """The number of images or questions in the whole run, a whole number of steps, if there are `items`."""
        return (self.steps or math.ceil((self.epochs or 0) * items / self.batch_size)) * self.batch_size


class PretrainConfig(StrictSettings):
    """Settings of stage 1.

    objective: a name, a sum such as `clip+cap`, or names with weights. encoder: the sizes of a new encoder, or the
    folder or hub name of a vision model to start from. tokenizer: a folder or hub name, or the vocabulary size of one
    made from the training texts. texts: number of texts of each task in one pass over an image. one_task_per_image:
    `texts` are the weights by which one task is drawn. parallel: share of each task that is predicted in parallel.
    last_part_only: tasks whose loss covers only the last part of the text. box_bins: largest coordinate of a box.
    location_tokens: write coordinates as tokens of their own. region_box_first: CAREF writes the box before the phrase.
    keep_evaluation_patients: also pretrain on patients with validation or test questions. image_mean, image_std: per
    channel, of pixels from 0 to 1; a checkpoint's own values count first.
    """

    store: str
    out: str
    optimisation: Optimisation
    encoder: str | dict[str, Any]
    decoder: dict[str, Any]
    objective: Annotated[dict[str, float], BeforeValidator(read_objective)] = {"location_aware": 1.0}
    tokenizer: PositiveInt | str = "openai-community/gpt2"
    seed: int = Field(0, ge=0)
    box_bins: PositiveInt = 500
    location_tokens: bool = False
    region_box_first: bool = False
    keep_evaluation_patients: bool = False
    text_tokens: int = Field(96, ge=32)
    texts: dict[str, NonNegativeFloat] = dict.fromkeys(TASKS, 1.0)
    one_task_per_image: bool = False
    last_part_only: tuple[str, ...] = ()
    parallel: dict[str, Annotated[float, Field(ge=0, le=1)]] = {"Cap": 0.5}
    augmentation: Augmentation = Augmentation()
    image_mean: tuple[float, ...] | None = None
    image_std: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _something_can_be_taught(self) -> PretrainConfig:
        for task in (*self.texts, *self.parallel, *self.last_part_only):
            if task not in TASKS:
                raise ValueError(f"there is no task {task!r}; the tasks are {', '.join(TASKS)}")
        tasks = task_weights(self.objective)
        if tasks and not any(self.texts.get(task) for task in tasks):
            raise ValueError(f"`texts` has none of the tasks of `objective`, which are {', '.join(tasks)}")
        if "local_contrastive" in self.objective and not self.phrases:
            raise ValueError(
                "`objective`: local_contrastive takes as many phrases of an image as `texts` asks for of "
                f"{', '.join(LOCAL_TASKS)} together, which is 0; give texts={{AREF: 1}} for one phrase an image"
            )
        # More would silently be no more than one.
        if self.texts.get("Cap", 0) > 1 and not self.one_task_per_image:
            raise ValueError(
                "`texts`: an image has one report, so `Cap` is at most 1; for a larger share of it ask for less of the "
                "other tasks, as in texts={Cap: 1, AREF: 0.5}"
            )
        return self

    @property
    def phrases(self) -> int:
        """The number of phrases of an image for a local contrast, equal to the number of texts of the local tasks."""
        return math.ceil(sum(self.texts.get(task, 0.0) for task in LOCAL_TASKS))

    @property
    def mixture(self) -> Mixture:
        """The texts of an image that the objectives draw."""
        weights = task_weights(self.objective)
        texts = {task: self.texts[task] for task in weights if task in self.texts}
        return Mixture(
            texts, weights, self.parallel, self.last_part_only, self.one_task_per_image, phrases=self.phrases
        )

    @property
    def notation(self) -> Notation:
        """The notation of boxes."""
        return Notation(self.box_bins, self.location_tokens, self.region_box_first)


class FinetuneConfig(StrictSettings):
    """Settings of stage 2.

    encoder: a folder written by `pretrain`, or the folder or hub name of a vision model. trainable_blocks: number of
    last blocks of the encoder that are also trained; `all` for the whole encoder. language_model: a folder or hub name,
    or the sizes of a new one. lora_rank: train LoRA adapters of this rank instead of the language model's weights.
    questions: weight by which each type of question is drawn; other types are left out. merge: squares of merge x merge
    patches become one token. attention: between the tokens of the images; `causal` as in the paper, or to all
    (`prefix`). priors: number of earlier images that the model sees. exchanged: share of difference questions with
    exchanged images and the answer turned round. change_threshold: the finished model states changes with this
    probability or more, weighed over several answers to both orders; None: the most probable answer.
    """

    store: str
    encoder: str
    out: str
    optimisation: Optimisation
    language_model: str | dict[str, Any] = "openai-community/gpt2-medium"
    lora_rank: PositiveInt | None = None
    trainable_blocks: NonNegativeInt | Literal["all"] = 0
    seed: int = Field(0, ge=0)
    text_tokens: int = Field(96, ge=32)
    questions: dict[str, NonNegativeFloat] = {"difference": 1.0}
    merge: PositiveInt = 1
    attention: Literal["causal", "prefix"] = "causal"
    priors: PositiveInt = 1
    exchanged: float = Field(0.0, ge=0, le=1)
    change_threshold: float | None = Field(None, gt=0, le=1)

    @model_validator(mode="after")
    def _known_questions(self) -> FinetuneConfig:
        for kind in self.questions:
            if kind not in QUESTION_TYPES:
                raise ValueError(f"there is no question type {kind!r}; the types are {', '.join(QUESTION_TYPES)}")
        return self


Config = TypeVar("Config", bound=BaseModel)


def load_config(kind: type[Config], path: str | Path, overrides: list[str]) -> Config:
    """Read the settings in a YAML file, and replace some by `key=value` and `part.key=value` overrides.

    Raises InputError, which names a key that is unknown, missing or of another type.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"there is no file {path.name!r}; give a YAML file such as those in configs/", argument="config"
        )
    try:
        settings = parse_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path.name} is not YAML: {error}; mend it", argument="config") from error
    if not isinstance(settings, dict):
        raise InputError(
            f"{path.name} must hold `key: value` lines, found {type(settings).__name__}", argument="config"
        )
    for override in overrides:
        _lay_over(settings, override)
    try:
        return kind.model_validate(settings)
    except ValidationError as error:
        raise InputError(_together([_explain(kind, fault) for fault in error.errors()])) from error


def _lay_over(settings: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise InputError(f"expected key=value after the configuration file, found {override!r}")
    *parents, last = key.split(".")
    for parent in parents:
        settings = settings.setdefault(parent, {})
        if not isinstance(settings, dict):
            raise InputError(f"{{{parent}}} holds no keys of its own", argument=key, mentions=(parent,))
    try:
        settings[last] = parse_yaml(value)
    except ValueError as error:
        raise InputError(f"{value!r} is not a YAML value", argument=key) from error


_KNOWN = "; the keys here are "


def _together(messages: list[str]) -> str:
    """Messages as one, the keys that are known listed once however many are not."""
    heads: dict[str, list[str]] = {}
    for message in messages:
        head, known, names = message.partition(_KNOWN)
        heads.setdefault(known + names, []).append(head)
    return "; ".join("; ".join(several) + known for known, several in heads.items())


def _explain(kind: type[BaseModel], fault: Any) -> str:
    path = [str(part) for part in fault["loc"]]
    key = ".".join(path)
    if fault["type"] == "extra_forbidden" or fault["type"] == "unexpected_keyword_argument":
        holder: Any = kind
        for part in path[:-1]:
            # A mapping's key leads to what all its values are.
            holder = get_args(holder)[-1] if get_origin(holder) is dict else holder.model_fields[part].annotation
        names = getattr(holder, "model_fields", None) or holder.__dataclass_fields__
        if len(path) == 1 and key in Optimisation.model_fields:
            return f"there is no configuration key `{key}`; it is `optimisation.{key}`"
        return f"there is no configuration key `{key}`{_KNOWN}{', '.join(names)}"
    if fault["type"] == "missing":
        return f"the configuration lacks the key `{key}`; add it to the file or give {key}=..."
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "value_error":
        return f"`{key}`: {message}" if path else message
    return f"`{key}`: {message[0].lower()}{message[1:]}, found {fault['input']!r}"
