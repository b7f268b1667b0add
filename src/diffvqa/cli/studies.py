"""Commands about studies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffvqa.cli.application import app
from diffvqa.cli.arguments import Cluster, Config, Overrides
from diffvqa.cli.printing import say


@app.command(rich_help_panel="Studies")
def study(
    config: Config,
    overrides: Overrides = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="cells that run side by side; if not given, one with a GPU, up to four without"),
    ] = None,
    cluster: Cluster = None,
) -> None:
    """Train and evaluate every combination of objectives, seeds and other settings, and compare them on one page."""
    from diffvqa.study.run_study import run_study
    from diffvqa.study.study_config import read_study

    settings = read_study(config, overrides or [])
    say(f"log of each cell: {settings.out}/cells/NAME/log.txt; after a stop, the same command continues")
    page = run_study(settings, workers, cluster)
    print((page.parent / "study.md").read_text(encoding="utf-8"))
    print(f"page: {page}")


@app.command("study-page", rich_help_panel="Studies")
def study_page(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="folder of a study, or of its records")],
    out: Annotated[
        Path | None, typer.Option(metavar="HTML", help="file to write; FOLDER/study.html if not given")
    ] = None,
) -> None:
    """Make the page of a study again from the scores in its folder."""
    from diffvqa.files import write_text, writing_to
    from diffvqa.study.study_page import page_from

    page, out = page_from(folder), out or folder / "study.html"
    with writing_to("out", "the page cannot be written there"):
        write_text(out, page)
    print(f"page: {out}")
