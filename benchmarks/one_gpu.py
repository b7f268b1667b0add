"""What benchmarks/one_gpu.sh does: patients, encoder, language model, scores, in a given time. Ends with a JSON line.

How many steps fit is measured first. All that is done lies in WORK, and is not done again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from diffvqa.data import read_sources
from diffvqa.data.prepare import prepare
from diffvqa.evaluating.evaluate import evaluate
from diffvqa.evaluation.score import score_folder
from diffvqa.files import write_text
from diffvqa.phantom.writing import write_cohort
from diffvqa.runs import RECORD, read_record
from diffvqa.training.config import FinetuneConfig, PretrainConfig, load_config
from diffvqa.training.finetune import finetune
from diffvqa.training.pretrain import pretrain
from diffvqa.training.train import LOG, read_log
from diffvqa.workers import usable_cores

HERE = Path(__file__).parents[1]
sys.path.append(str(HERE / "tools"))
from ship import copy_halved  # noqa: E402  # a script's folder is no package

WORK = Path(os.environ.get("WORK", HERE / "runs" / "one-gpu"))
TRIAL = 40
"""Steps by which the rate is measured."""


@dataclass(frozen=True)
class Size:
    """How large everything is. sets: of each set that is scored, its patients.

    scoring: seconds kept for drawing these and for their scores. between: seconds kept for what comes between two
    trainings: encoding, and measuring how far answers can be trusted.
    """

    patients: int
    pixels: int
    sets: dict[str | None, int]
    scoring: float
    between: float
    pretrain: tuple[str, ...]
    finetune: tuple[str, ...]


ON_GPU = Size(
    patients=17_000,
    pixels=160,
    sets={None: 500, "change": 200, "acquisition": 80},
    scoring=70,
    between=20,
    pretrain=(
        "encoder.stem_config={embedding_size: 48, hidden_sizes: [64, 128, 256], depths: [1, 1, 2], layer_type: basic}",
        "encoder.hidden_size=256", "encoder.intermediate_size=768", "encoder.num_hidden_layers=3",
        "optimisation.batch_size=128", "optimisation.loader_workers=14", "optimisation.save_every=500",
    ),
    finetune=("language_model.n_embd=192", "optimisation.batch_size=128", "optimisation.loader_workers=8"),
)  # fmt: skip
REHEARSAL = Size(
    patients=60,
    pixels=64,
    sets={None: 20, "change": 10, "acquisition": 4},
    scoring=60,
    between=10,
    pretrain=(
        "encoder.stem_config={embedding_size: 16, hidden_sizes: [16, 32, 48], depths: [1, 1, 1], layer_type: basic}",
        "encoder.hidden_size=64", "encoder.intermediate_size=128", "optimisation.batch_size=16",
    ),
    finetune=("language_model.n_embd=64", "optimisation.batch_size=16"),
)  # fmt: skip
SEEDS = {"train": 2701, None: 9101, "change": 9102, "acquisition": 9103}


def main(budget: float, out: Path, part: Literal["1", "2"] | None = None) -> None:
    """Do one part, or both, in `budget` seconds; what it makes comes to `out`."""
    end = time.monotonic() + budget
    size = ON_GPU if torch.cuda.is_available() else REHEARSAL
    out.mkdir(parents=True, exist_ok=True)
    store = _patients("train", None, size.patients, size.pixels)
    if part != "2":
        left = end - time.monotonic()
        seconds = (left - size.scoring - size.between) / 2 if part is None else left
        overrides = [f"store={store}", *size.pretrain]
        _train("captioner", PretrainConfig, pretrain, overrides, seconds)
        _measure_step()
    if part != "1":
        sets = {name: _patients(name or "test", name, count, size.pixels) for name, count in size.sets.items()}
        overrides = [f"store={store}", f"encoder={WORK / 'captioner'}", *size.finetune]
        _train("model", FinetuneConfig, finetune, overrides, end - time.monotonic() - size.scoring - size.between)
        for name, prepared in sets.items():
            _score(name or "test", prepared)
    print(json.dumps(_collect(out)))


def _patients(name: str, test_set: str | None, count: int, pixels: int) -> Path:
    """The store of so many new patients."""
    cohort, store, cores = WORK / name / "cohort", WORK / name / "store", usable_cores()
    if not cohort.exists():
        write_cohort(cohort, count, SEEDS[name if name == "train" else test_set], workers=cores, test_set=test_set)
    prepare(read_sources([f"mimic:{cohort}"]), store, pixels, workers=cores)
    return store


def _train(name: str, kind: Any, run: Callable[[Any], Path], overrides: list[str], seconds: float) -> None:
    """Train for so many seconds into WORK: as many steps as a trial says will fit, or as an earlier call has begun."""
    configuration = HERE / "configs" / "phantom" / f"{run.__name__}.yaml"
    begun = read_record(WORK / name / RECORD).get("config")
    if begun:
        steps = begun["optimisation"]["steps"]
    else:
        trial = [f"out={WORK / 'trial'}", f"optimisation.steps={TRIAL}", "optimisation.log_every=10"]
        shutil.rmtree(WORK / "trial", ignore_errors=True)
        began = time.monotonic()
        run(load_config(kind, configuration, [*overrides, *trial]))
        logged = [line for line in read_log(WORK / "trial") if "loss" in line]
        # The first steps are slow: kernels are chosen, workers start.
        rate = 1 / (2 / logged[-1]["steps_per_second"] - 1 / logged[len(logged) // 2 - 1]["steps_per_second"])
        steps = max(TRIAL, int(0.9 * rate * (seconds - (time.monotonic() - began))))
        print(f"{name}: {rate:.2f} steps a second, so {steps} steps", flush=True)
    length = [f"optimisation.steps={steps}", f"optimisation.warmup_steps={steps // 12}", "optimisation.log_every=10"]
    run(load_config(kind, configuration, [*overrides, *length, f"out={WORK / name}"]))


def _measure_step() -> None:
    """The time of a step with ViT-L/14, and its share of the rate of matrix products, into WORK."""
    found = WORK / "step.json"
    if not found.exists():
        command = [sys.executable, str(HERE / "benchmarks" / "training_step.py"), "224"]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        write_text(found, printed.strip().splitlines()[-1] + "\n")


def _score(name: str, store: Path) -> None:
    folder = WORK / name / "evaluation"
    if (folder / "metrics.json").exists():
        return
    evaluate(WORK / "model", store, "test", folder, truth_folder=WORK / name / "cohort" / "truth")
    score_folder(folder)


def _collect(out: Path) -> dict[str, Any]:
    """Lay models, logs and scores into `out`; what there is, in figures."""
    cuda = torch.cuda.is_available()
    found: dict[str, Any] = {
        "benchmark": "one_gpu",
        "device": torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads",
    }
    if (WORK / "step.json").exists():
        found["training_step"] = json.loads((WORK / "step.json").read_text(encoding="utf-8"))
    for name in ("captioner", "model"):
        record = read_record(WORK / name / RECORD)
        if not record.get("finished"):
            continue
        with tempfile.TemporaryDirectory() as halved:
            copy_halved(WORK / name, Path(halved))
            shutil.make_archive(str(out / name), "gztar", halved)
        shutil.copyfile(WORK / name / LOG, out / f"{name}-{LOG}")
        optimisation, log = record["config"]["optimisation"], read_log(WORK / name)
        found[name] = {
            "steps": optimisation["steps"],
            "batch_size": optimisation["batch_size"],
            "seconds": record["seconds"],
            "steps_per_second": next(line["steps_per_second"] for line in reversed(log) if "loss" in line),
            "evaluation_loss": next(
                (one["evaluation_loss"] for one in reversed(log) if "evaluation_loss" in one), None
            ),
        }
    for name in ("test", "change", "acquisition"):
        scores = WORK / name / "evaluation" / "metrics.json"
        if scores.exists():
            changes = json.loads(scores.read_text(encoding="utf-8"))["model"]["changes"]
            found[name] = {key: changes[key] for key in ("n", "f1", "recall", "false_change_rate")}
    write_text(out / "table.json", json.dumps(found, indent=2) + "\n")
    return found


if __name__ == "__main__":
    main(float(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:4])  # type: ignore[arg-type]
