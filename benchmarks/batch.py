"""A table of pairs answered by `diffvqa predict`, against one call of `Answerer` a pair.

    python benchmarks/batch.py MODEL

In one process, on synthetic patients made here (256 pixels): each study against every one before it, so that pairs
share images. Either way in turn; the single calls have the model loaded already, `predict` loads it every time. Ends
with one JSON line: pairs a second (medians of the repeats), their ratio, and the share of pairs with the same text.
"""

from __future__ import annotations

import datetime
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from index import device

from diffvqa.answering.answerer import Answerer
from diffvqa.answering.batch.predict import predict_pairs
from diffvqa.phantom.writing import write_cohort

PATIENTS, SEED, SIZE, REPEATS = 30, 11, 256, 3


def make_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """(current, prior) of every two studies of a patient, also as a table, `pairs.csv`."""
    write_cohort(folder / "cohort", PATIENTS, SEED, SIZE)
    files = {path.stem: path for path in (folder / "cohort").rglob("*.jpg")}
    lines = (folder / "cohort" / "truth" / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    pairs = [(files[pair["current"]], files[pair["prior"]]) for pair in map(json.loads, lines)]
    rows = ["current,prior", *(f"{current},{prior}" for current, prior in pairs)]
    (folder / "pairs.csv").write_text("\n".join(rows), encoding="utf-8")
    return pairs


def seconds_of(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    model = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pairs = make_pairs(folder)
        answerer = Answerer.from_pretrained(model)
        out, single = folder / "out.jsonl", []

        def predict() -> None:
            out.unlink(missing_ok=True)
            predict_pairs(model, folder / "pairs.csv", out)

        def one_by_one() -> None:
            single[:] = [answerer(current, prior).text for current, prior in pairs]

        times: dict[str, list[float]] = {"predict": [], "one_by_one": []}
        for repeat in range(REPEATS + 1):
            for way, call in (("predict", predict), ("one_by_one", one_by_one)):
                seconds = seconds_of(call)
                if repeat:  # the first warms up
                    times[way].append(seconds)
        written = [json.loads(line)["text"] for line in out.read_text(encoding="utf-8").splitlines()]
    rates = {way: len(pairs) / statistics.median(found) for way, found in times.items()}
    same = sum(one == other for one, other in zip(written, single, strict=True))
    result = {
        "benchmark": "batch",
        "date": datetime.date.today().isoformat(),
        "device": device(),
        "threads": torch.get_num_threads(),
        "model": answerer.version.version,
        "pairs": len(pairs),
        "images": len({image for pair in pairs for image in pair}),
        **{f"pairs_a_second_{way}": round(rate, 2) for way, rate in rates.items()},
        "ratio": round(rates["predict"] / rates["one_by_one"], 2),
        "same_text": round(same / len(pairs), 4),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
