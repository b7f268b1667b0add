"""A study from nothing to its tables: stores, cells, summary."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from diffvqa.data.files import write_text
from diffvqa.errors import InputError, RunFailed
from diffvqa.progress import progress_bar
from diffvqa.study.cells import run_cell
from diffvqa.study.config import StudyConfig, cells_of
from diffvqa.study.stores import study_store
from diffvqa.study.summary import write_summary
from diffvqa.workers import done_in_order

RECORD = "study.json"

SIDE_BY_SIDE = 4
"""Cells, which take 2 to 3 GB each, that run at once on a processor unless told otherwise."""


def run_study(config: StudyConfig, workers: int | None = None, cluster: str | None = None) -> Path:
    """Run every cell that is not finished and write the tables; the page's path.

    workers: cells that run side by side, each with its share of the processor; if not given one with a GPU, and without
    one as many as there are cores, up to SIDE_BY_SIDE. cluster: the address of a Ray cluster
    that runs them instead, on a file system that it shares. Raises InputError, and RunFailed where cells failed, after
    the others were run and the tables written.
    """
    out = Path(config.out)
    _claim(out, config)
    sources = {**config.stores, **config.tests}
    stores = {name: study_store(source, config.size, out / "stores" / name) for name, source in sources.items()}
    cells = cells_of(config)
    cores = os.cpu_count() or 1
    workers = workers or (1 if torch.cuda.is_available() else min(cores, len(cells), SIDE_BY_SIDE))
    threads = max(1, cores // workers)
    results = []
    jobs = ((config, cell, stores, threads) for cell in cells)
    with progress_bar("run cells") as progress:
        progress(0, len(cells))
        for result in done_in_order(run_cell, jobs, workers, cluster, on_gpu=True):
            results.append(result)
            progress(len(results), len(cells))
            write_summary(out, results)
    page = write_summary(out, results)
    failed = [f"{result['cell']} ({result['error']})" for result in results if "error" in result]
    if failed:
        raise RunFailed(f"{len(failed)} of {len(cells)} cells failed: {'; '.join(failed)}; mend that and run it again")
    return page


def _claim(out: Path, config: StudyConfig) -> None:
    """Make the study's folder, or find the same study in it. Raises InputError if it holds something else."""
    record = out / RECORD
    if record.is_file():
        try:
            found = StudyConfig.model_validate_json(record.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if found != config:
            raise InputError("`out` holds a study with other settings; give another folder, or remove that one")
        return
    try:
        if out.exists() and any(out.iterdir()):
            raise InputError("`out` holds files that are no study; give another folder")
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_text(record, config.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise InputError(f"`out` cannot be made or written to ({error.strerror}); give another folder") from error
