"""MIMIC-CXR-JPG at its real size, made up, and read: how long it takes, and how much memory.

    python benchmarks/index.py FOLDER                 the real size; takes some 4 GB of the disk
    python benchmarks/index.py FOLDER --scale 0.01    a hundredth, to try

The tree is made in FOLDER once and found there again. Each part runs in a process of its own, for its own greatest
memory, on files that may still lie in the system's memory from being written. Ends with one JSON line: seconds and MiB
of each part, and what was counted.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MARKER = "generated.json"
"""Written last: what the tree was made with."""


def generate_tree(folder: Path, scale: float, seed: int) -> dict[str, Any]:
    from mimic_sized import generate

    generate(folder, scale, seed)
    return {}


def read(folder: Path, *_: Any) -> dict[str, Any]:
    """The work of `diffvqa inspect` before it looks at the files."""
    from diffvqa.data import read_sources
    from diffvqa.data.inspection import summarise

    return {"counts": summarise(read_sources([f"mimic:{folder}"]))}


def read_and_check(folder: Path, *_: Any) -> dict[str, Any]:
    """The whole of `diffvqa inspect`; seconds_of_check: the looking at files alone."""
    from diffvqa.data import read_sources
    from diffvqa.data.inspection import check_files, summarise

    cohort = read_sources([f"mimic:{folder}"])
    start = time.perf_counter()
    checked = check_files(cohort)
    seconds = time.perf_counter() - start
    summarise(checked)
    return {"seconds_of_check": round(seconds, 1), "damaged": len(checked.problems) - len(cohort.problems)}


def write_index(folder: Path, *_: Any) -> dict[str, Any]:
    """The work of `diffvqa prepare` without pixels; seconds_of_index: the writing alone; bytes: the index's size."""
    from diffvqa.boxes import Frame
    from diffvqa.data import index, read_sources

    cohort = read_sources([f"mimic:{folder}"])
    start = time.perf_counter()
    images = (
        index.StoredImage(
            image.image_id, study.subject_id, study.study_id, study.order, study.split, image.view, study.report,
            study.findings, image.width, image.height, Frame.letterbox(image.width, image.height, 224), image.regions,
        )
        for study in cohort.studies
        for image in study.images
    )  # fmt: skip
    with tempfile.TemporaryDirectory(dir=folder) as out:
        files = [Path(out, name) for name in ("images.parquet", "questions.parquet")]
        index.write_images(files[0], images)
        index.write_questions(files[1], cohort.questions)
        written = sum(path.stat().st_size for path in files)
    return {"seconds_of_index": round(time.perf_counter() - start, 1), "bytes": written}


PARTS = {"read": read, "read_and_check": read_and_check, "write_index": write_index}
"""The parts that are measured, one after the other."""


def run_part(part: str, folder: Path, scale: float, seed: int) -> None:
    """Measure one part in a child process, and print a JSON line about it."""
    start = time.perf_counter()
    found = (generate_tree if part == "generate" else PARTS[part])(folder, scale, seed)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": round(seconds, 1), "peak_mib": round(peak), **found}))


def in_a_child(part: str, folder: Path, scale: float, seed: int) -> dict[str, Any]:
    # The parent imports nothing large: a child's greatest memory begins with that of its parent.
    command = [sys.executable, __file__, str(folder), "--scale", str(scale), "--seed", str(seed), "--part", part]
    print(f"{part} ...", file=sys.stderr, flush=True)
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result = json.loads(finished.stdout.splitlines()[-1])
    print(f"{part}: {result['seconds']} s, {result['peak_mib']} MiB", file=sys.stderr, flush=True)
    return result


def make_tree(folder: Path, scale: float, seed: int) -> None:
    """The tree in `folder`, made unless it is there."""
    marker, made_with = folder / MARKER, {"scale": scale, "seed": seed}
    if marker.is_file():
        if (found := json.loads(marker.read_text())) != made_with:
            sys.exit(f"the folder holds a tree made with {found}; give another folder")
        return
    if folder.exists() and any(folder.iterdir()):
        sys.exit("the folder is not empty and holds no whole tree; empty it, or give another")
    in_a_child("generate", folder, scale, seed)
    marker.write_text(json.dumps(made_with))


def device() -> str:
    """The processor's name and how many cores there are."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the real size")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        run_part(given.part, given.folder, given.scale, given.seed)
        return
    make_tree(given.folder, given.scale, given.seed)
    results = {part: in_a_child(part, given.folder, given.scale, given.seed) for part in PARTS}
    counts = results["read"].pop("counts")
    result = {
        "benchmark": "index",
        "date": datetime.date.today().isoformat(),
        "device": device(),
        "python": platform.python_version(),
        "scale": given.scale,
        **results,
        "counts": counts,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
