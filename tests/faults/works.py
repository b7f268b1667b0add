"""The commands that faults are put into: what each is given, and what it leaves where nothing goes wrong."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from conftest import TINY_FINETUNE, TINY_PRETRAIN
from diffvqa.files import is_unfinished

PATIENTS, SIZE, STEPS = 12, 64, 16

VOLATILE = frozenset(
    {"seconds", "date", "steps_per_second", "seconds_left", "peak_memory_gb", "git_commit", "sha256", "files"}
)
"""Fields of records and logs that differ from one run to the next, and the digests that cover them."""


@dataclass(frozen=True)
class Work:
    """A command. reads: the inputs, by their names, whose files the program itself has written.

    arguments: of the folder of inputs and the place that is written to. settles: whether the same command, given again
    after a fault, must end as if there had been none. workers: whether it starts processes of its own.
    """

    name: str
    arguments: Callable[[Path, Path], Sequence[str | Path]]
    reads: tuple[str, ...] = ()
    settles: bool = True
    workers: bool = False

    def command(self, inputs: Path, out: Path) -> list[str]:
        """What is given to the system."""
        return [sys.executable, "-m", "diffvqa", self.name, *map(str, self.arguments(inputs, out))]


def _training(stage: str) -> Callable[[Path, Path], Sequence[str | Path]]:
    return lambda inputs, out: [inputs / f"{stage}.yaml", f"out={out}"]


def _answer(inputs: Path, out: Path) -> Sequence[str | Path]:
    prior, current, *_ = sorted(inputs.glob("cohort/mimic-cxr-jpg/*/files/*/*/*/*.jpg"))
    return [inputs / "model", "--prior", prior, "--current", current, "--json"]


WORKS = (
    Work("synth", lambda _, out: [out, "--patients", "40", "--size", "96", "--workers", "2"], workers=True),
    Work(
        "prepare",
        lambda inputs, out: [f"mimic:{inputs}/cohort", "--out", out, "--size", str(SIZE), "--workers", "2"],
        workers=True,
    ),
    Work("pretrain", _training("pretrain"), ("store",), workers=True),
    Work("finetune", _training("finetune"), ("store", "captioner")),
    Work(
        "evaluate",
        lambda inputs, out: [inputs / "model", inputs / "store", "--out", out, "--patients", "1"],
        ("store", "model"),
    ),
    Work("predict", lambda inputs, out: [inputs / "model", inputs / "pairs.csv", "--out", out], ("model",)),
    Work("answer", _answer, ("model",), settles=False),
    Work("probe", lambda inputs, out: [inputs / "captioner", inputs / "store", "--out", out], ("store", "captioner")),
    Work("score", lambda inputs, _: [inputs / "evaluation" / "predictions.jsonl", "--json"], settles=False),
    Work("sheet", lambda inputs, out: [inputs / "store", "--out", out.with_suffix(".png")], ("store",), settles=False),
    Work("study", lambda inputs, out: [inputs / "study.yaml", f"out={out}", "--workers", "1"], workers=True),
)


def make_inputs(folder: Path) -> None:
    """What all works read: a cohort, a store of it, a captioner, a model, an evaluation, a table, settings."""
    folder.mkdir(parents=True)

    def run(name: str, *arguments: str | Path) -> None:
        subprocess.run([sys.executable, "-m", "diffvqa", name, *map(str, arguments)], check=True, capture_output=True)

    run("synth", folder / "cohort", "--patients", PATIENTS, "--seed", 1, "--size", 96)
    run("prepare", f"mimic:{folder}/cohort", "--out", folder / "store", "--size", SIZE)
    optimisation = {**TINY_PRETRAIN["optimisation"], "steps": STEPS, "save_every": 4, "loader_workers": 1}
    pretraining = {**TINY_PRETRAIN, "store": str(folder / "store"), "optimisation": optimisation}
    dropout = {"resid_pdrop": 0.1, "embd_pdrop": 0.1}
    finetuning = {
        **TINY_FINETUNE,
        "questions": {"difference": 1.0, "presence": 0.5, "abnormality": 0.5},
        "store": str(folder / "store"),
        "encoder": str(folder / "captioner"),
        "language_model": TINY_FINETUNE["language_model"] | dropout,
        "optimisation": {**TINY_FINETUNE["optimisation"], "steps": STEPS, "save_every": 4},
    }
    study = {
        "out": str(folder / "study"),
        "pretrain": "pretrain.yaml",
        "finetune": "finetune.yaml",
        "size": SIZE,
        "stores": {"usual": {"folder": str(folder / "store")}},
        "test_patients": 1,
        "axes": {"objective": ["clip"], "seed": [0]},
    }
    for name, settings in (("pretrain", pretraining), ("finetune", finetuning), ("study", study)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings))
    run("pretrain", folder / "pretrain.yaml", f"out={folder / 'captioner'}")
    run("finetune", folder / "finetune.yaml", f"out={folder / 'model'}")
    run("evaluate", folder / "model", folder / "store", "--out", folder / "evaluation", "--patients", 1)
    pictures = sorted(folder.glob("cohort/mimic-cxr-jpg/*/files/*/*/*/*.jpg"))[:8]
    rows = [f"{current},{prior}" for prior, current in itertools.pairwise(pictures)]
    (folder / "pairs.csv").write_text("\n".join(["current,prior", *rows]) + "\n")


def outcome_of(disk: Path, printed: str) -> str:
    """One digest of all that a command has left on its disk, and printed, but for times and dates."""
    digest = hashlib.sha256(_plain(printed).encode())
    for path in sorted(path for path in disk.rglob("*") if path.is_file()):
        if path.suffix == ".html" or path.name == "log.txt" or "features" in path.parts or is_unfinished(path):
            # A page is made of what is compared already; features and a log serve the next run; the last is as if not
            # there.
            continue
        digest.update(str(path.relative_to(disk)).encode())
        digest.update(_plain(path.read_text()).encode() if path.suffix in (".json", ".jsonl") else path.read_bytes())
    return digest.hexdigest()


def _plain(text: str) -> str:
    """JSON, or JSON lines, without what differs from one run to the next; any other text as it is."""
    try:
        return json.dumps(_without(json.loads(text)))
    except ValueError:
        pass
    try:
        return "\n".join(json.dumps(_without(json.loads(line))) for line in text.splitlines())
    except ValueError:
        return ""


def _without(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without(inner) for key, inner in value.items() if key not in VOLATILE and key != "out"}
    return [_without(one) for one in value] if isinstance(value, list) else value


def empty(disk: Path) -> None:
    """Remove what a command has left on its disk."""
    for path in disk.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
