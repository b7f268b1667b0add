"""The transformers Trainer with what both stages need beside it: shares of a loss, and a stop where it breaks down."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import Trainer, TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME

from diffvqa.errors import RunFailed
from diffvqa.files import write_text
from diffvqa.models.gathering import sum_over_processes
from diffvqa.tasks.text import IGNORED
from diffvqa.training.muon import Muon, hidden_matrices

CHECKPOINTS, FAILED = "checkpoints", "failed_step.json"


def last_checkpoint(folder: str | Path) -> Path | None:
    """The newest checkpoint in a folder that was written to its end; None where there is none."""
    whole = [path.parent for path in Path(folder).glob(f"checkpoint-*/{TRAINER_STATE_NAME}") if _is_whole(path)]
    return max(whole, key=checkpoint_step, default=None)


def checkpoint_step(checkpoint: Path) -> int:
    """How many steps were done when a checkpoint was made."""
    return int(checkpoint.name.rpartition("-")[2])


def _is_whole(state: Path) -> bool:
    """Whether a checkpoint's state, which is written last, can be read to its end."""
    try:
        json.loads(state.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


class Draws(Protocol):
    """What a run is trained on, in its order."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int) -> Any: ...

    def identifier(self, position: int) -> str:
        """Which image or question the draw at a position is."""


class Failure:
    """How a run ends whose loss or gradients are not finite: the step's draws are listed in a file in `out`."""

    def __init__(self, draws: Draws, batch_size: int, out: Path) -> None:
        self.draws, self.batch_size, self.out = draws, batch_size, out

    def stop(self, what: str, step: int) -> None:
        """Raises RunFailed; step: how many steps were done before the one that failed."""
        places = range(step * self.batch_size, (step + 1) * self.batch_size)
        listed = {"step": step + 1, "found": what, "ids": [self.draws.identifier(place) for place in places]}
        write_text(self.out / FAILED, json.dumps(listed, indent=2))
        last = last_checkpoint(self.out / CHECKPOINTS)
        kept = f"the checkpoint of step {checkpoint_step(last)} is kept" if last else "there is no checkpoint yet"
        raise RunFailed(
            f"{what} at step {step + 1} of {len(self.draws) // self.batch_size}; {kept}; what the step was trained on "
            f"is listed in {FAILED} in `out`. Look at those, or start anew in another folder with a lower "
            "`optimisation.learning_rate` or more `optimisation.warmup_steps`"
        )


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

    def get_batch_samples(self, epoch_iterator: Iterator, num_batches: int, device: torch.device) -> Any:
        """A step's micro-batches, and how many target tokens they have together; 1 where none has a target.

        The library counts the labels of a batch itself. To the inputs of heads that have labels their `targets` are
        added: how many target tokens a micro-batch has, on all processes, on average over the step's.
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

    def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
        """As usual; the losses of the heads, where there are several, stand beside their sum."""
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
