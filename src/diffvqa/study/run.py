"""A study from nothing to its tables: stores, cells, summary."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml

from diffvqa.errors import InputError, RunFailed
from diffvqa.files import finished_in, hold, write_text
from diffvqa.progress import progress_bar
from diffvqa.study.cells import is_whole, run_cell, was_asked, written_cell
from diffvqa.study.config import SIZE, StudyConfig, cells_of
from diffvqa.study.stores import StudyStore, check_questions, check_source, study_store
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
    with _claimed(Path(config.out), config) as claimed:
        return _run_cells(claimed, workers, cluster)


def _run_cells(config: StudyConfig, workers: int | None, cluster: str | None) -> Path:
    out, cells = Path(config.out), cells_of(config)
    found = {cell.name: written for cell in cells if (written := written_cell(config, cell))}
    page = write_summary(out, list(found.values()), len(cells))
    waiting = [cell for cell in cells if cell.name not in found or not is_whole(config, found[cell.name])]
    if waiting:
        stores = {size: _stores(config, size) for size in dict.fromkeys(cell.size for cell in waiting)}
        cores = usable_cores()
        workers = workers or (1 if torch.cuda.is_available() else min(cores, len(cells), SIDE_BY_SIDE))
        threads = 1 if cluster else max(1, cores // workers)
        jobs = ((config, cell, stores[cell.size], threads) for cell in waiting)
        with progress_bar("run cells") as progress:
            done = len(cells) - len(waiting)
            progress(done, len(cells))
            # All at once: a cell that takes long keeps none of the others waiting.
            for result in done_in_order(run_cell, jobs, workers, cluster, on_gpu=True, ahead=len(cells)):
                found[result["cell"]] = result
                done += 1
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
    """What a study is made of: its settings, those in the files of both stages, and which stores it was given."""
    stages = {stage: yaml.safe_load(Path(getattr(config, stage)).read_text(encoding="utf-8")) for stage in STAGES}
    sources = {**config.stores, **config.tests}
    sizes = config.axes.get(SIZE, [config.size])
    given = {
        name: found for name, source in sources.items() if (found := check_source(name, source, sizes, config.size))
    }
    # The contents of files count, wherever they are seen from.
    return {"study": config.model_dump(mode="json", exclude={"out", *STAGES}), **stages, "given stores": given}


@contextmanager
def _claimed(out: Path, config: StudyConfig) -> Iterator[StudyConfig]:
    """Make the study's folder, or find the same study in it, or a smaller one, which then grows to this; and hold it.

    The settings that it is run with: the files of both stages are copied into the folder, so that whoever edits them
    meanwhile changes no cell. Raises InputError if the folder holds something else, or another run holds it.
    """
    record, settings = out / RECORD, _record_of(config)
    try:
        if record.is_file():
            if differing := _differing(out, settings, config):
                raise InputError(
                    f"`out` holds a study with other settings ({', '.join(differing)}); give another folder, remove "
                    "that one, or restore the settings to go on with it"
                )
        elif out.exists() and finished_in(out):
            raise InputError("`out` holds files that are no study; give another folder")
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(out, os.O_RDONLY)
    except OSError as error:
        raise _unusable(error) from error
    try:
        if not hold(folder):
            raise InputError("`out` is being written by another run of the study; wait for it, or end it")
        yield _written(out, config, settings)
    finally:
        os.close(folder)


def _written(out: Path, config: StudyConfig, settings: Mapping[str, Any]) -> StudyConfig:
    record, copies = out / RECORD, {stage: out / f"{stage}.yaml" for stage in STAGES}
    try:
        for name, test in (_recorded(record).tests if record.is_file() else {}).items():
            # No cell was asked it. Its patients would be taken for those of a new test of that name.
            if config.tests.get(name) != test and (out / "stores" / name).exists():
                shutil.rmtree(out / "stores" / name)
        for stage, copy in copies.items():
            write_text(copy, Path(getattr(config, stage)).read_text(encoding="utf-8"))
        write_text(record, json.dumps(settings, indent=1) + "\n")
    except OSError as error:
        raise _unusable(error) from error
    return config.model_copy(update={stage: str(copy) for stage, copy in copies.items()})


def _unusable(error: OSError) -> InputError:
    return InputError(f"`out` cannot be made or written to ({error.strerror}); give another folder")


def _differing(out: Path, settings: dict[str, Any], config: StudyConfig) -> list[str]:
    """Which settings of a study are others than its folder says; `study` where that cannot be read.

    Axes that have every cell of those in the folder, and more, are no others, nor are tests that have every one that a
    cell has been asked.
    """
    try:
        found = json.loads((out / RECORD).read_text(encoding="utf-8"))
        given = _recorded(out / RECORD)
        before = given.model_dump(mode="json")
        cells = cells_of(config)
        if all(cell in cells for cell in cells_of(given)):
            before["axes"] = settings["study"]["axes"]
        if {name: test for name, test in given.tests.items() if was_asked(out, name)}.items() <= config.tests.items():
            before["tests"] = settings["study"]["tests"]
        same = {**given.stores, **given.tests}.items() & {**config.stores, **config.tests}.items()
        stores = {name: found.get("given stores", {}).get(name) for name, _ in same}
        return [
            *(_in_words(key, before[key], now) for key, now in settings["study"].items() if before[key] != now),
            *(_in_words(key, found[key], settings[key]) for key in STAGES if found[key] != settings[key]),
            *(
                f"what is in store {name}"
                for name, now in settings["given stores"].items()
                if stores.get(name) not in (None, now)
            ),
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return ["study"]


def _in_words(key: str, before: Any, now: Any) -> str:
    """A setting that differs: which keys in it do, or both values."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = dict.fromkeys([*before, *now])
        return ", ".join(f"{key}.{inner}" for inner in keys if before.get(inner) != now.get(inner))
    return f"{key}: {before} there, {now} given"


def _recorded(record: Path) -> StudyConfig:
    """The study that a folder's record is of; settings that did not exist when it was written are as if not given."""
    found = json.loads(record.read_text(encoding="utf-8"))
    return StudyConfig.model_validate(found["study"] | {"out": "", **dict.fromkeys(STAGES, "")})
