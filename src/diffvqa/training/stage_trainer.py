"""The transformers Trainer with what both stages need beside it: shares of a loss, and a stop where it breaks down."""

from __future__ import annotations

import ctypes
import functools
import math
import os
import shutil
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, set_seed

from diffvqa.errors import RunFailed
from diffvqa.models.gathering import sum_over_processes
from diffvqa.tasks.text import IGNORED
from diffvqa.termination import Terminated
from diffvqa.training.breakdown import Failure
from diffvqa.training.checkpoints import checkpoint_step, fault_of, seal
from diffvqa.training.muon import Muon, hidden_matrices


class StageTrainer(Trainer):
    """A Trainer for models whose losses are shares of a step's loss: of all its micro-batches, on all processes."""

    # The models divide by what is in the whole step.
    loss_is_scaled_for_ga = True

    def __init__(self, failure: Failure, by_muon: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.failure, self.by_muon = failure, by_muon
        self.parts: dict[tuple[str, str], torch.Tensor] = {}
        self.parts_since = 0

    def get_decay_parameter_names(self, model: torch.nn.Module) -> list[str]:
        """The parameters that weight decay is applied to: matrices, embeddings and kernels of convolutions.

        The library's own choice knows layer normalisation only, not the gains of others, nor scales and temperatures.
        """
        matrices = {name for name, parameter in model.named_parameters() if parameter.dim() > 1}
        return [name for name in super().get_decay_parameter_names(model) if name in matrices]

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW as the library makes it, or Muon with what it leaves for AdamW."""
        made = super().create_optimizer(model)
        if self.by_muon and not isinstance(made, Muon):
            args = self.args
            matrices = hidden_matrices(model or self.model)  # type: ignore[arg-type]  # by now there is a model
            groups = [{key: group[key] for key in ("params", "weight_decay")} for group in made.param_groups]
            betas = args.adam_beta1, args.adam_beta2
            made = Muon(matrices, groups, args.learning_rate, args.weight_decay, betas)
            self.optimizer = made
        return made

    def get_train_dataloader(self) -> DataLoader:
        """The library's loader, made by `_watched`."""
        return _watched(super().get_train_dataloader())

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """The library's loader, made by `_watched`."""
        return _watched(super().get_eval_dataloader(eval_dataset))

    def get_batch_samples(self, epoch_iterator: Iterator, num_batches: int, device: torch.device) -> Any:
        """A step's micro-batches, and how many target tokens they have together; 1 where none has a target.

        The library counts the labels of a batch itself. The inputs of heads with labels get `targets`: the number of
        target tokens of a micro-batch on all processes, as a mean over the step.
        """
        samples, tokens = super().get_batch_samples(epoch_iterator, num_batches, device)
        for name in [name for name, part in samples[0].items() if isinstance(part, dict) and "labels" in part]:
            found = sum((sample[name]["labels"] != IGNORED).sum() for sample in samples)
            targets = sum_over_processes(found.to(device)).clamp(min=1) / self.args.gradient_accumulation_steps
            for sample in samples:
                sample[name]["targets"] = targets
        return samples, torch.ones((), device=device) if tokens is None else torch.as_tensor(tokens).clamp(min=1)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """A micro-batch's share of a step's loss, times the processes whose gradients are averaged."""
        micro_batches = self.args.gradient_accumulation_steps
        outputs = model(**inputs, num_items_in_batch=num_items_in_batch, micro_batches=micro_batches)
        if not math.isfinite(value := float(outputs.loss.detach())):
            self.failure.stop(f"the loss is {value}", self.state.global_step)
        self._keep_parts(outputs)
        loss = outputs.loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def prediction_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[torch.Tensor, None, None]:
        """The loss of a batch by itself, whether its objective has labels or not."""
        with torch.no_grad():
            return model(**self._prepare_inputs(inputs)).loss.detach(), None, None

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Save as the library does, seal when every process has written its part, remove what could not be written."""
        checkpoint = Path(self.args.output_dir or "", f"checkpoint-{self.state.global_step}")
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.is_world_process_zero():
                seal(checkpoint)
        except Exception:
            shutil.rmtree(checkpoint, ignore_errors=True)
            raise

    def _load_best_model(self) -> None:
        """Load as the library does. Raises RunFailed if the checkpoint has been damaged since it was written."""
        best = Path(self.state.best_model_checkpoint or "")
        if fault := fault_of(best):
            raise RunFailed(
                f"the checkpoint of step {checkpoint_step(best)}, the best one, cannot be used: {fault}; "
                "give the same command again, it goes on from a whole one"
            )
        super()._load_best_model()

    def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
        """Log as usual, and add the losses of several heads beside their sum."""
        steps = self.state.global_step - self.parts_since
        if "loss" in logs and steps and self.parts:
            found: dict[str, dict[str, float]] = defaultdict(dict)
            for (kind, name), part in self.parts.items():
                found[kind][name] = float(self.accelerator.reduce(part, "sum")) / steps
            self.parts = {}
            logs = {**logs, **found}
        super().log(logs, start_time)

    def _keep_parts(self, outputs: Any) -> None:
        if not self.parts:
            self.parts_since = self.state.global_step
        losses, negatives = (outputs.get(kind) or {} for kind in ("losses", "negatives"))
        several = {"losses": losses if len(losses) > 1 else {}, "negatives": negatives}
        for kind, parts in several.items():
            for name, part in parts.items():
                self.parts[kind, name] = self.parts.get((kind, name), 0.0) + part.detach().float()


class FiniteGradients(TrainerCallback):
    """Stops a run before gradients that are not finite reach the weights."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Called when the gradients of a step are complete."""
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        # Each process looks at its own shard of a parameter.
        shards = [gradient.to_local() if hasattr(gradient, "to_local") else gradient for gradient in gradients]
        # The sum of all absolute values is finite where each of them is.
        if shards and not torch.nn.utils.get_total_norm(shards, 1.0).isfinite():
            self.failure.stop("gradients are not finite", state.global_step)


class SameDraws(TrainerCallback):
    """Random draws in a step, such as dropout, as a function of (seed, step, process), so that they can be repeated."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called before the first micro-batch of a step, when all of them are loaded."""
        drawn = np.random.SeedSequence((args.seed, state.global_step, args.process_index)).generate_state(1)
        set_seed(int(drawn[0]))


class SaveAtTheEnd(TrainerCallback):
    """Saves a checkpoint at the end of the step in which the run is told to end, and ends it with Terminated.

    is_told: whether this process was; processes that train together end at the same step.
    """

    def __init__(self, is_told: Callable[[], bool]) -> None:
        self.is_told, self.ends = is_told, False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called before a checkpoint is written, if one is to be."""
        self.ends = self.is_told()
        if args.world_size > 1:
            self.ends = bool(sum_over_processes(torch.tensor(float(self.ends), device=args.device)))
        control.should_save = control.should_save or self.ends

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called when a checkpoint has been written."""
        if self.ends:
            raise Terminated


class BestCheckpoint(TrainerCallback):
    """The present place of the best checkpoint of a resumed run, whose folder may have been moved."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called when the state of a checkpoint has been read."""
        if state.best_model_checkpoint:
            state.best_model_checkpoint = str(Path(args.output_dir, Path(state.best_model_checkpoint).name))


_ENDS_WITH_ITS_PARENT = 1  # PR_SET_PDEATHSIG


def _watched(loader: DataLoader) -> DataLoader:
    """A loader whose workers end with their run alone."""
    if loader.num_workers:
        # accelerate draws from one that it keeps inside, and makes that of a resumed run by the one around it.
        for one in (loader, getattr(loader, "base_dataloader", loader)):
            one.worker_init_fn = functools.partial(_begin_worker, os.getpid())
    return loader


def _begin_worker(run: int, worker: int) -> None:
    """The begin of a loader worker. run: the process that it works for, with which it ends."""
    # Ctrl-C and SIGTERM are often sent to a whole group of processes; the run still needs its workers to save.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # torch does not notice a run that was killed before the worker has begun.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_ENDS_WITH_ITS_PARENT, signal.SIGKILL)
    if os.getppid() != run:
        os._exit(1)
