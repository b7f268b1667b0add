"""A study from nothing to its tables: stores, cells, summary."""

from __future__ import annotations

import functools
import shutil
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from diffvqa.errors import RunFailed
from diffvqa.files import write_text
from diffvqa.parsing import parse_yaml
from diffvqa.progress import progress_bar
from diffvqa.runs import Claim, Run, Settings
from diffvqa.study.cells import is_whole, run_cells, was_asked, written_cell
from diffvqa.study.stores import StudyStore, check_questions, check_source, study_store
from diffvqa.study.study_config import SIZE, Cell, StudyConfig, cells_of
from diffvqa.study.summary import write_summary
from diffvqa.workers import done_in_order, usable_cores

RECORD = "study.json"
STAGES = ("pretrain", "finetune")

SIDE_BY_SIDE = 4
"""Cells, which take 2 to 3 GB each, that run at once on a processor unless told otherwise."""


def run_study(config: StudyConfig, workers: int | None = None, cluster: str | None = None) -> Path:
    """Run every cell that is not finished and write the tables; the page's path.

    workers: cells that run side by side, each with its share of the processor; if not given one with a GPU, and without
    one as many as there are cores, up to SIDE_BY_SIDE. cluster: the address of a Ray cluster that runs them instead, a
    core or a GPU each, on a file system that it shares. Raises InputError, and RunFailed where cells failed, after the
    others were run and the tables written.
    """
    # A smaller study in the folder grows to this one.
    differing = functools.partial(_differing, config)
    claim = Claim("study", Path(config.out), _record_of(config), record=RECORD, differing=differing)
    with claim.held() as run:
        page = _run_cells(_begin(run, config), workers, cluster)
        if not run.finished:
            run.finish()
    return page


def _run_cells(config: StudyConfig, workers: int | None, cluster: str | None) -> Path:
    out, cells = Path(config.out), cells_of(config)
    found = {cell.name: written for cell in cells if (written := written_cell(config, cell))}
    page = write_summary(out, list(found.values()), len(cells))
    waiting = [cell for cell in cells if cell.name not in found or not is_whole(config, found[cell.name])]
    if waiting:
        stores = {size: _stores(config, size) for size in dict.fromkeys(cell.size for cell in waiting)}
        cores = usable_cores()
        # Cells that share an encoder run one after the other: the encoder is trained once.
        sharing: dict[str, list[Cell]] = defaultdict(list)
        for cell in waiting:
            sharing[cell.encoder].append(cell)
        workers = workers or (1 if torch.cuda.is_available() else min(cores, len(sharing), SIDE_BY_SIDE))
        threads = 1 if cluster else max(1, cores // workers)
        jobs = ((config, together, stores[together[0].size], threads) for together in sharing.values())
        # All at once: a cell that takes long keeps none of the others waiting.
        running = done_in_order(run_cells, jobs, workers, cluster, on_gpu=True, ahead=len(cells))
        with progress_bar("run cells") as progress, closing(running):
            done = len(cells) - len(waiting)
            progress(done, len(cells))
            for results in running:
                found |= {result["cell"]: result for result in results}
                done += len(results)
                progress(done, len(cells))
                page = write_summary(out, [found[cell.name] for cell in cells if cell.name in found], len(cells))
    reasons = {name: result.get("error", result.get("failed_test")) for name, result in found.items()}
    failed = [f"{name} ({reason})" for name, reason in reasons.items() if reason]
    if failed:
        raise RunFailed(f"{len(failed)} of {len(cells)} cells failed: {'; '.join(failed)}; mend that and run it again")
    return page


def _stores(config: StudyConfig, size: int) -> dict[str, StudyStore]:
    folder = Path(config.out) / "stores"
    sources = {**config.stores, **config.tests}
    stores = {name: study_store(source, size, folder / name, config.size) for name, source in sources.items()}
    for name, store in stores.items():
        check_questions(name, store.folder, ("train", "test") if name in config.stores else ("test",))
    return stores


def _record_of(config: StudyConfig) -> dict[str, Any]:
    """The inputs of a study: its settings, those in the files of both stages, and its stores."""
    stages = {stage: parse_yaml(Path(getattr(config, stage)).read_text(encoding="utf-8")) for stage in STAGES}
    sources = {**config.stores, **config.tests}
    sizes = config.axes.get(SIZE, [config.size])
    given = {
        name: found for name, source in sources.items() if (found := check_source(name, source, sizes, config.size))
    }
    # The contents of files count, wherever they are seen from.
    return {"study": config.model_dump(mode="json", exclude={"out", *STAGES}), **stages, "given stores": given}


def _begin(run: Run, config: StudyConfig) -> StudyConfig:
    """The settings that the study is run with: the files of both stages are copied into its folder.

    So whoever edits them meanwhile changes no cell.
    """
    out, copies = run.out, {stage: run.out / f"{stage}.yaml" for stage in STAGES}
    try:
        for name, test in (_recorded(run.before).tests if run.before else {}).items():
            # No cell was asked it. Its patients would be taken for those of a new test of that name.
            if config.tests.get(name) != test and (out / "stores" / name).exists():
                shutil.rmtree(out / "stores" / name)
        for stage, copy in copies.items():
            write_text(copy, Path(getattr(config, stage)).read_text(encoding="utf-8"))
    except OSError as error:
        raise run.claim.unusable(error) from error
    if not run.finished:
        run.write()
    return config.model_copy(update={stage: str(copy) for stage, copy in copies.items()})


def _differing(config: StudyConfig, before: Settings, now: Settings) -> list[str]:
    """Which settings of a study are others than those in its record; `study` where these cannot be read.

    Axes that have every cell of those in the record, and more, are no others, nor are tests that have every one that a
    cell has been asked.
    """
    try:
        given = _recorded(before)
        study = given.model_dump(mode="json")
        cells = cells_of(config)
        if all(cell in cells for cell in cells_of(given)):
            study["axes"] = now["study"]["axes"]
        asked = {name: test for name, test in given.tests.items() if was_asked(Path(config.out), name)}
        if asked.items() <= config.tests.items():
            study["tests"] = now["study"]["tests"]
        same = {**given.stores, **given.tests}.items() & {**config.stores, **config.tests}.items()
        stores = {name: before.get("given stores", {}).get(name) for name, _ in same}
        return [
            *(_in_words(key, study[key], value) for key, value in now["study"].items() if study[key] != value),
            *(_in_words(key, before[key], now[key]) for key in STAGES if before[key] != now[key]),
            *(
                f"what is in store {name}"
                for name, found in now["given stores"].items()
                if stores.get(name) not in (None, found)
            ),
        ]
    except (ValueError, KeyError, TypeError):
        return ["study"]


def _in_words(key: str, before: Any, now: Any) -> str:
    """A setting that differs: which keys in it do, or both values."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = dict.fromkeys([*before, *now])
        return ", ".join(f"{key}.{inner}" for inner in keys if before.get(inner) != now.get(inner))
    return f"{key}: {before} there, {now} given"


def _recorded(settings: Settings) -> StudyConfig:
    """The study that settings in a record are of; those that did not exist when it was written are as if not given."""
    return StudyConfig.model_validate(settings["study"] | {"out": "", **dict.fromkeys(STAGES, "")})
