"""A study of synthetic patients that has to be done in so many seconds: measure a step, then run the steps that fit.

    python benchmarks/study_in_time.py configs/study/vits16.yaml --seconds 700 --out FOLDER \
        [--workers 5] [--asked STORE] [key=value ...]

While the study's stores are made, the same study of TRIAL patients and TRIAL_STEPS steps is run, which shows that all
stages work on this machine and how long a step of each takes beside the others. What is left of the time, but for
`--reserve` seconds of encoding, evaluation and probes, is divided between both stages, a quarter for the second, and
between the cells that have to wait for one another. The number of steps depends on the time alone. With `--asked` every
encoder is then probed on that store too, such as one of real images, into `cells/NAME/asked`. Ends with one JSON line:
seconds a step, steps, seconds in all.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median

from diffvqa.evaluation.probe import score_probe
from diffvqa.study.config import LENGTH, Cell, StudyConfig, cells_of, read_study
from diffvqa.study.run import record_study, run_study
from diffvqa.study.stores import study_store
from diffvqa.training.probe import probe
from diffvqa.workers import done_in_order

TRIAL, TRIAL_STEPS, LOG_EVERY = 60, 60, 10
SECOND_LENGTH = "finetune.optimisation.steps"
STAGES = {"encoder": LENGTH, "model": SECOND_LENGTH}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--reserve", type=float, default=170)
    parser.add_argument("--workers", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--asked", type=Path)
    parser.add_argument("--make-stores", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_intermixed_args()
    config = read_study(given.study, [*given.overrides, f"out={given.out / 'study'}"])
    if given.make_stores:
        os.nice(19)
        for name, source in {**config.tests, **config.stores}.items():
            study_store(source, config.size, Path(config.out) / "stores" / name)
        return
    start = time.monotonic()
    making = subprocess.Popen([sys.executable, *sys.argv, "--make-stores"])
    rates = try_out(config, given.out / "trial", given.workers)
    if making.wait():
        raise SystemExit("the stores could not be made")
    waves = math.ceil(len(cells_of(config)) / given.workers)
    left = (given.seconds - (time.monotonic() - start)) / waves - given.reserve
    if left <= 0:
        raise SystemExit(f"no time is left for training ({left:.0f} s a cell); give more --seconds, or fewer cells")
    steps = {SECOND_LENGTH: whole(left / 4 / rates[SECOND_LENGTH])}
    steps[LENGTH] = whole((left - steps[SECOND_LENGTH] * rates[SECOND_LENGTH]) / rates[LENGTH])
    print(f"{left:.0f} s left for {steps} of a cell", flush=True)
    config = with_axes(config, steps)
    record_study(config)
    run_study(config, given.workers)
    if given.asked:
        list(done_in_order(probe_on, ((given.asked, config, cell) for cell in cells_of(config)), given.workers))
    seconds = time.monotonic() - start
    print(json.dumps({"benchmark": "study_in_time", "seconds a step": rates, "steps": steps, "seconds": seconds}))


def whole(steps: float) -> int:
    """A number of steps, rounded down to a multiple of ten."""
    return max(10, math.floor(steps / 10) * 10)


def with_axes(config: StudyConfig, steps: dict[str, int]) -> StudyConfig:
    """A study with these lengths of its stages, a tenth of each to warm up and two checkpoints."""
    axes = dict(config.axes)
    for axis, count in steps.items():
        optimisation = axis.removesuffix("steps")
        axes[axis] = [count]
        axes[optimisation + "warmup_steps"] = [max(1, count // 10)]
        axes[optimisation + "save_every"] = [max(1, count // 2)]
    return config.model_copy(update={"axes": axes})


def try_out(config: StudyConfig, out: Path, workers: int) -> dict[str, float]:
    """Run the study with few patients and steps; the seconds a step of each stage takes in its slowest cell."""
    small = with_axes(config, dict.fromkeys((LENGTH, SECOND_LENGTH), TRIAL_STEPS))
    frequent = {axis.removesuffix("steps") + "log_every": [LOG_EVERY] for axis in STAGES.values()}
    few = {name: one.model_copy(update={"patients": TRIAL}) for name, one in config.stores.items()}
    tests = {name: one.model_copy(update={"patients": 13}) for name, one in list(config.tests.items())[:1]}
    update = {"out": str(out), "stores": few, "tests": tests, "axes": {**small.axes, **frequent}}
    small = small.model_copy(update=update)
    path = out.with_suffix(".yaml")
    # JSON is YAML.
    out.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(small.model_copy(update=absolute(small)).model_dump_json())
    running = subprocess.Popen([sys.executable, "-m", "diffvqa", "study", str(path), "--workers", str(workers)])
    seen: dict[tuple[str, str, int], float] = {}
    while running.poll() is None:
        for key in logged(out, small):
            seen.setdefault(key, time.monotonic())
        time.sleep(0.1)
    if running.returncode:
        raise SystemExit("the trial failed, see its cells' log.txt")
    return {axis: max(seconds_a_step(seen, stage)) for stage, axis in STAGES.items()}


def absolute(config: StudyConfig) -> dict[str, str]:
    """The files of both stages, from wherever they are looked for."""
    return {stage: str(Path(getattr(config, stage)).resolve()) for stage in ("pretrain", "finetune")}


def logged(out: Path, config: StudyConfig) -> Iterator[tuple[str, str, int]]:
    """Cell, stage and step of every training loss that has been logged so far."""
    for cell in cells_of(config):
        for stage in STAGES:
            path = out / "cells" / cell.name / stage / "log.jsonl"
            for line in path.read_text().splitlines() if path.is_file() else ():
                if '"loss"' in line and line.endswith("}"):
                    yield cell.name, stage, json.loads(line)["step"]


def seconds_a_step(seen: dict[tuple[str, str, int], float], stage: str) -> Iterator[float]:
    """What a step took in each cell: the median of the stretches between two lines of its log."""
    for cell in sorted({cell for cell, one, _ in seen if one == stage}):
        steps = sorted(step for one, of, step in seen if (one, of) == (cell, stage))
        stretches = [
            (seen[cell, stage, after] - seen[cell, stage, before]) / (after - before)
            for before, after in pairwise(steps)
        ]
        print(f"{cell}, {stage}: {1000 * median(stretches):.0f} ms a step", flush=True)
        yield median(stretches)


def probe_on(store: Path, config: StudyConfig, cell: Cell) -> None:
    """Probe a cell's encoder, with what its own store teaches, on another store."""
    folder, own = Path(config.out) / "cells" / cell.name, Path(config.out) / "stores" / cell.store / "store"
    probe(str(folder / "encoder"), own, folder / "asked", test_folder=store)
    score_probe(folder / "asked")


if __name__ == "__main__":
    main()
