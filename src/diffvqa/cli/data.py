"""Commands about datasets and stores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from diffvqa.cli.application import NOTICE, app
from diffvqa.cli.arguments import Cluster, ReversedPairs, Sources, SplitSeed, StoreFolder, Strict
from diffvqa.cli.pictures import require_new_picture, save_picture
from diffvqa.cli.printing import counts_in_words
from diffvqa.errors import InputError

_STORE = "store:"
"""The prefix by which `inspect` tells a store from a dataset."""


@app.command(rich_help_panel="Data")
def synth(
    out: Annotated[Path, typer.Argument(help="a new or empty folder")],
    patients: Annotated[int, typer.Option(min=10, help="number of patients")],
    seed: Annotated[int, typer.Option(min=0, help="the same seed makes the same bytes")] = 0,
    size: Annotated[int, typer.Option(min=64, max=2048, help="pixels of the longer side")] = 256,
    workers: Annotated[int | None, typer.Option(min=1, help="number of processes; all cores if not given")] = None,
    test_set: Annotated[
        Literal["change", "acquisition", "subtle", "shift"] | None,
        typer.Option("--set", help="write a test set of known truth instead of a cohort"),
    ] = None,
    omitted: Annotated[
        float, typer.Option(min=0, max=1, help="probability that a report omits a finding of the image")
    ] = 0.15,
    still: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="probability that nothing changes between two studies; 0.1 if not given"),
    ] = None,
) -> None:
    """Write synthetic patients in the layouts of MIMIC-CXR-JPG, its reports, Chest ImaGenome and Medical-Diff-VQA."""
    from diffvqa.phantom.course import STILL
    from diffvqa.phantom.reports import Reporting
    from diffvqa.phantom.writing import write_cohort
    from diffvqa.progress import progress_bar

    if test_set and still is not None:
        raise InputError(
            "a test set has its own pairs; give either {test_set} or {still}",
            argument="still",
            mentions=("test_set", "still"),
        )
    reporting = Reporting(omitted=omitted)
    still = STILL if still is None else still
    with progress_bar("synthesise patients") as progress:
        write_cohort(out, patients, seed, size, workers, progress, test_set, reporting, still)
    print(f"{patients} synthetic patients written; next: diffvqa inspect mimic:{out}")


@app.command(rich_help_panel="Data")
def inspect(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="KIND:PATH...", help="datasets, such as mimic:/data, or one store, such as store:/folder"
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    deep: Annotated[bool, typer.Option(help="decode every image of a dataset; check every file of a store")] = False,
    problems: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="write a list of all faults to this file: kind, file, row, reason"),
    ] = None,
    reversed_pairs: ReversedPairs = "drop",
    split_seed: SplitSeed = None,
    strict: Strict = False,
) -> None:
    """Count what a dataset or a store holds: images, splits, shared patients, bad rows and files."""
    from diffvqa.data import read_sources
    from diffvqa.data.inspection import check_files, summarise, summarise_store
    from diffvqa.data.problems import refuse_faults, require_place, write_problems
    from diffvqa.data.store import Store
    from diffvqa.files import writing_to

    if any(source.startswith(_STORE) for source in sources):
        if len(sources) > 1 or problems or strict or split_seed is not None:
            raise InputError("a store takes only --deep and --json, and no second source; leave out the rest")
        store = Store.open(sources[0].removeprefix(_STORE))
        if deep:
            store.check()
        summary = summarise_store(store)
    else:
        if problems:
            require_place(problems)
        cohort = check_files(read_sources(sources, reversed_pairs, split_seed), deep)
        if problems:
            with writing_to("problems"):
                write_problems(problems, cohort.problems)
        if strict:
            refuse_faults(cohort.problems)
        summary = summarise(cohort)
    if as_json:
        print(json.dumps(summary, indent=2))
    else:
        _print_summary(summary)


@app.command(rich_help_panel="Data")
def prepare(
    sources: Sources,
    out: Annotated[Path, typer.Option(help="folder of the store; a stopped run continues there")],
    size: Annotated[int, typer.Option(min=32, max=2048, help="side of the square images in pixels")] = 224,
    workers: Annotated[int, typer.Option(min=1, help="number of processes")] = 1,
    cluster: Cluster = None,
    reversed_pairs: ReversedPairs = "drop",
    split_seed: SplitSeed = None,
    strict: Strict = False,
) -> None:
    """Decode every image once, and write the store that training reads."""
    from diffvqa.data import read_sources
    from diffvqa.data.inspection import check_files
    from diffvqa.data.prepare import prepare as prepare_store
    from diffvqa.data.problems import refuse_faults
    from diffvqa.progress import progress_bar

    cohort = read_sources(sources, reversed_pairs, split_seed)
    if strict:
        refuse_faults(check_files(cohort).problems)
    with progress_bar("prepare images") as progress:
        store = prepare_store(cohort, out, size, workers, cluster, progress, strict)
    print(f"{len(store.images)} images and {len(store.questions)} questions prepared; checksum {store.checksum}")
    if store.problems:
        print("skipped or mended, listed in problems.csv in the store: " + counts_in_words(store.problems))


@app.command(rich_help_panel="Data")
def sheet(
    store: StoreFolder,
    out: Annotated[Path, typer.Option(help="PNG file to write")],
    images: Annotated[int, typer.Option(min=1, max=600, help="number of images")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="seed of the choice of images")] = 0,
) -> None:
    """Draw a contact sheet of a store: images with their boxes, as training sees them."""
    from diffvqa.data.contact_sheet import draw_sheet
    from diffvqa.data.store import Store

    require_new_picture("out", out)
    save_picture(draw_sheet(Store.open(store), images, seed), "out", out)
    print(f"contact sheet written; it shows patients' images. {NOTICE}")


def _print_summary(summary: dict) -> None:
    for name in ("images", "patients", "studies", "pairs", "boxes"):
        print(f"{name:>16}  {summary[name]}")
    print(f"{'questions':>16}  {counts_in_words(summary['questions']) or 'none'}")
    for split, counts in summary["splits"].items():
        print(f"{split:>16}  {counts_in_words(counts)}")
    shared = {name: count for name, count in summary["shared"].items() if count}
    print(
        f"{'shared patients':>16}  {summary['shared_patients']}" + (f" ({counts_in_words(shared)})" if shared else "")
    )
    print(f"{'problems':>16}  {counts_in_words(summary['problems']) or 'none'}")
