"""Commands that train, and the probes of what was learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffvqa.cli.application import app
from diffvqa.cli.arguments import Config, Overrides, StoreFolder
from diffvqa.cli.printing import print_result, say


@app.command(rich_help_panel="Training")
def pretrain(config: Config, overrides: Overrides = None) -> None:
    """Stage 1: pretrain an image encoder, by location-aware pretraining or another objective."""
    from diffvqa.training.config import PretrainConfig, load_config
    from diffvqa.training.pretrain import pretrain as run
    from diffvqa.training.processes import part_processes

    out = run(load_config(PretrainConfig, config, overrides or []))
    part_processes()
    say(f"encoder written; next: diffvqa finetune CONFIG.yaml encoder={out}")


@app.command(rich_help_panel="Training")
def finetune(config: Config, overrides: Overrides = None) -> None:
    """Stage 2: finetune a language model on the frozen encoder to answer questions."""
    from diffvqa.training.config import FinetuneConfig, load_config
    from diffvqa.training.finetune import finetune as run
    from diffvqa.training.processes import part_processes

    out = run(load_config(FinetuneConfig, config, overrides or []))
    part_processes()
    say(f"model written; next: diffvqa evaluate {out} STORE --out FOLDER")


@app.command(rich_help_panel="Training")
def probe(
    encoder: Annotated[
        str, typer.Argument(metavar="ENCODER", help="a folder of stage 1, or the folder or hub name of a vision model")
    ],
    store: StoreFolder,
    out: Annotated[Path, typer.Option(help="output folder for the probes' predictions and scores")],
    test_store: Annotated[
        Path | None,
        typer.Option(metavar="STORE", help="another store that the probes are tested on, with all its images"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="seed of the training of the probes")] = 0,
) -> None:
    """Measure what a frozen encoder knows of findings, changes and places, with small probes."""
    from diffvqa.evaluation.probe_scores import score_probe
    from diffvqa.evaluation.score_table import print_probe
    from diffvqa.training.probe import probe as run

    run(encoder, store, out, seed, test_store)
    print_result(score_probe(out), print_probe)
