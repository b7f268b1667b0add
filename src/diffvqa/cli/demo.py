"""`diffvqa demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffvqa.cli.application import app
from diffvqa.cli.printing import print_result


@app.command()
def demo(
    out: Annotated[
        Path | None, typer.Option(help="output folder; demo, or demo-train with --train, if not given")
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="first train the model; this takes a quarter of an hour")
    ] = False,
) -> None:
    """Score a model on new synthetic patients, and show three of its answers."""
    from diffvqa.demo import run_demo
    from diffvqa.evaluation.score_table import print_table

    out = out or Path("demo-train" if train else "demo")
    scores, report = run_demo(out, train)
    print_result(scores, print_table)
    print(f"three answers with their pictures: {out / 'answers'}")
    print(f"report: {report}")
