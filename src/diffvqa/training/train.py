"""A training run on the transformers Trainer: progress, log, checkpoints, resume; for either stage."""

from __future__ import annotations

import copy
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import PreTrainedModel, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from diffvqa.errors import InputError
from diffvqa.files import write_text
from diffvqa.models.gathering import processes
from diffvqa.parsing import parse_json
from diffvqa.runs import Claim, Run
from diffvqa.termination import saving_first
from diffvqa.threads import is_busy
from diffvqa.training.breakdown import Draws, Failure, ending_well
from diffvqa.training.checkpoints import CHECKPOINTS, checkpoint_step, checkpoint_to_go_on_from
from diffvqa.training.config import Optimisation
from diffvqa.training.precision import usable_precision
from diffvqa.training.processes import first_goes_first, is_first
from diffvqa.training.stage_trainer import (
    BestCheckpoint,
    FiniteGradients,
    SameDraws,
    SaveAtTheEnd,
    StageTrainer,
)
from diffvqa.workers import usable_cores

FEATURES, LOG = "features", "log.jsonl"
_LOGGED = {**{name: name for name in ("loss", "learning_rate", "losses", "negatives")}, "eval_loss": "evaluation_loss"}

MEASURED_STEPS = 3
"""After so many steps a run says how much memory it takes."""

Model = TypeVar("Model", bound=PreTrainedModel)


@contextmanager
def claimed(kind: str, config: Any, **inputs: str) -> Iterator[Run]:
    """The run of a stage in `config.out`, finished before or to be gone on with.

    The first of the processes that train together holds it, and writes its record. inputs: digests of what settings
    lead to. Raises InputError if the folder holds something else, or if another run holds it.
    """
    settings = config.model_dump(mode="json")
    claim = Claim(kind, Path(config.out), settings, inputs, scratch=(CHECKPOINTS, FEATURES))
    with ExitStack() as stack:
        with first_goes_first():
            run = stack.enter_context(claim.held()) if is_first() else claim.find()
            if is_first() and not run.finished:
                run.write()
        with ending_well(run.out):
            yield run


def read_log(out: Path) -> list[dict[str, Any]]:
    """The log of a run, a mapping a line; empty if there is none yet.

    A last line that was not written to its end is left out. Raises InputError for another one that is damaged.
    """
    path = out / LOG
    lines = path.read_bytes().splitlines() if path.is_file() else []
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(_log_line(line))
        except ValueError as error:
            if number < len(lines):
                raise InputError(
                    f"line {number} of {LOG} is damaged: expected a JSON object with its step; remove that line",
                    argument="out",
                ) from error
    return found


def _log_line(line: bytes) -> dict[str, Any]:
    """Raises ValueError for what is no line of a log."""
    found = parse_json(line)
    if not isinstance(found, dict) or not isinstance(found.get("step"), int):
        raise ValueError("no step")
    return found


def count_parameters(model: PreTrainedModel) -> dict[str, int]:
    """How many parameters each part of a model has; weights that two parts share count once, in the first."""
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        first, *rest = name.split(".")
        part = rest[0] if first == "heads" else first
        counts[part] = counts.get(part, 0) + parameter.numel()
    return counts


def peak_memory() -> float:
    """The most memory that this process has taken, in GB: of the GPU where there is one, else of the machine.

    That of the machine counts what is mapped of a store as far as it was read.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def share_of_batch(optimisation: Optimisation) -> int:
    """How many images or questions a process takes at once. Raises InputError if they cannot be shared out evenly."""
    parts = optimisation.accumulation * processes()
    if optimisation.batch_size % parts:
        raise InputError(
            f"{optimisation.batch_size} cannot be shared by {processes()} processes in {optimisation.accumulation} "
            f"parts each; give a multiple of {parts}",
            argument="optimisation.batch_size",
        )
    return optimisation.batch_size // parts


def train(
    model: Model,
    draws: Draws,
    validation: Draws | None,
    collator: Callable[[list[Any]], dict[str, Any]],
    optimisation: Optimisation,
    run: Run,
    seed: int,
    title: str,
) -> Model | None:
    """Train a model on draws in their own order; goes on from the last checkpoint of the run if there is one.

    The first process returns the trained model, the others None. Its weights are those with the lowest loss on the
    validation split, if there is one. SIGTERM ends it after a step, with a checkpoint. Raises RunFailed if the loss or
    the gradients are no longer finite.
    """
    precision = usable_precision(optimisation.precision)
    if precision != optimisation.precision and is_first():
        print(f"{title}: in {precision}, because this machine has no fast {optimisation.precision}")
    if is_first() and not torch.cuda.is_available() and "OMP_NUM_THREADS" not in os.environ and is_busy():
        threads = max(1, usable_cores() // 2)
        print(f"{title}: other programs use most of the cores; OMP_NUM_THREADS={threads} makes all of them faster")
    if not torch.cuda.is_available() and precision == "bf16":
        # In bf16 on the CPU torch's fused attention takes twice as long as the plain one (benchmarks/attention.py).
        model.set_attn_implementation("eager")
    if optimisation.gradient_checkpointing:
        # The older of the supported versions of transformers has another name for it.
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    share = share_of_batch(optimisation)
    # More than there are cores would only wait for one another.
    loaders = min(optimisation.loader_workers, usable_cores())
    arguments = TrainingArguments(
        output_dir=str(run.out / CHECKPOINTS),
        max_steps=len(draws) // optimisation.batch_size,
        per_device_train_batch_size=share,
        per_device_eval_batch_size=share,
        gradient_accumulation_steps=optimisation.accumulation,
        learning_rate=optimisation.learning_rate,
        weight_decay=optimisation.weight_decay,
        adam_beta1=optimisation.beta1,
        adam_beta2=optimisation.beta2,
        max_grad_norm=optimisation.gradient_clipping,
        warmup_steps=optimisation.warmup_steps,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr": optimisation.final_learning_rate},
        bf16=precision == "bf16",
        torch_compile=optimisation.compile,
        use_cpu=not torch.cuda.is_available(),
        # An image without a text, or a question on one image, leaves parameters without a gradient.
        ddp_find_unused_parameters=True,
        train_sampling_strategy="sequential",
        dataloader_num_workers=loaders,
        dataloader_persistent_workers=loaders > 0,
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
        label_names=["labels"],
        prediction_loss_only=True,
        eval_strategy="no" if validation is None else "steps",
        eval_steps=optimisation.save_every,
        logging_steps=optimisation.log_every,
        logging_nan_inf_filter=False,
        save_steps=optimisation.save_every,
        # The last one and the best, or the one before: if one of them is damaged, there is another.
        save_total_limit=2,
        load_best_model_at_end=validation is not None,
        metric_for_best_model="loss",
        report_to=optimisation.trackers(run.out),
        seed=seed,
    )
    if arguments.n_gpu > 1:
        # Without torchrun the library would share a batch out among all GPUs itself (DataParallel): the loss then has
        # several elements, each a mean of its own.
        arguments._n_gpu = 1
    shown = [_Console(title), _Log(run)] if is_first() else []
    failure = Failure(draws, optimisation.batch_size, run.out)
    trainer = StageTrainer(
        failure,
        optimisation.optimizer == "muon",
        model=model,
        args=arguments,
        train_dataset=draws,
        eval_dataset=validation,
        data_collator=collator,
        callbacks=[BestCheckpoint(), SameDraws(), FiniteGradients(failure), *shown],
    )
    for callback in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(callback)
    if trainer.is_fsdp_enabled and trainer.by_muon:
        raise InputError(
            "muon needs whole matrices, but sharded training splits them; give adamw", argument="optimisation.optimizer"
        )
    whole: Model | None = model
    if trainer.is_fsdp_enabled:
        # It wants plain layouts, and takes a model apart for good: what is to be saved is put together in a copy.
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-arg]  # transformers hides what it takes
        whole = copy.deepcopy(model) if is_first() else None
    with first_goes_first():
        last, faults = checkpoint_to_go_on_from(run.out / CHECKPOINTS)
    if is_first() and (last or faults):
        begun = f"goes on from the checkpoint of step {checkpoint_step(last)}" if last else "begins at step 0"
        print("; ".join([f"{title}: {begun}", *faults]))
    with saving_first() as is_told:
        # After those that log: the last that is called when a checkpoint was written.
        trainer.add_callback(SaveAtTheEnd(is_told))
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
    if is_first():
        best = trainer.state.best_model_checkpoint
        run.write(weights_of_step=checkpoint_step(Path(best)) if best else trainer.state.global_step)
    if trainer.is_fsdp_enabled:
        weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        if whole:
            whole.load_state_dict(weights)
    return whole if is_first() else None


class _Console(TrainerCallback):
    """Output on the terminal: the size of the model, then a bar with the step, the loss and the time left."""

    def __init__(self, title: str) -> None:
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TimeRemainingColumn(),
        )
        self.title, self.steps = title, 0

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        parts = ", ".join(f"{part} {count:,}" for part, count in count_parameters(model).items())
        print(f"{self.title}: parameters: {parts}")
        self.task = self.bar.add_task(self.title, total=state.max_steps, completed=state.global_step, loss="-")
        self.bar.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar.update(self.task, completed=state.global_step)
        self.steps += 1
        # The optimizer has its state after the first.
        if self.steps == MEASURED_STEPS:
            print(f"{self.title}: {peak_memory():.2f} GB of memory so far; the longest texts take a little more")

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "loss" in logs:
            self.bar.update(self.task, loss=f"{logs['loss']:.3f}")

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar.stop()


class _Log(TrainerCallback):
    """One JSON object a line: the step with its loss and learning rate, or with the loss on the validation split.

    Beside the loss stand the mean rate since this process began, and the time that is left at this rate. Where there
    are several heads, the loss of each, and of contrastive ones the mean number of negatives. The run's record says at
    each checkpoint how long it took, and how much memory.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.path = run, run.out / LOG
        self.first_step, self.began = 0, 0.0

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.run.write(peak_memory_gb=round(peak_memory(), 2))

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # Steps after the checkpoint will be logged again.
        kept = [line for line in read_log(self.run.out) if line["step"] <= state.global_step]
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))
        self.first_step, self.began = state.global_step, time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        found = {_LOGGED[key]: value for key, value in logs.items() if key in _LOGGED}
        if "loss" in found:
            rate = (state.global_step - self.first_step) / (time.monotonic() - self.began)
            left = round((state.max_steps - state.global_step) / rate)
            found |= {"steps_per_second": round(rate, 3), "seconds_left": left}
        if found:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": state.global_step, **found}) + "\n")
