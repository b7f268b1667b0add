"""Faults of many kinds, put into every command: `make faults`, twenty minutes, ends with a table and no `wrong` in it.

python tests/faults [--minutes M] [--seed S] [--only WORD ...]    WORD: a kind, or a command
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults.kinds import KINDS, REFUSED, SURVIVED, WRONG, prepare_place
from faults.works import WORKS, empty, make_inputs


def main(arguments: Sequence[str]) -> int:
    """Put in faults for so long, and print the table; 1 where anything ended wrong, else 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[])
    given = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["HF_HUB_OFFLINE"] = "1"
    pairs = [(kind, work) for work in WORKS for kind, (_, fits) in KINDS.items() if fits(work)]
    if given.only:
        pairs = [(kind, work) for kind, work in pairs if {kind, work.name} & set(given.only)]
    counted: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory(prefix="diffvqa-faults-") as folder:
        make_inputs(Path(folder, "inputs"))
        works = tuple(dict.fromkeys(work for _, work in pairs))
        place = prepare_place(Path(folder), Path(folder, "inputs"), works)
        until = time.monotonic() + 60 * given.minutes
        # Every pair of a command and a kind as often as every other, and in an order of the seed's.
        random.Random(given.seed).shuffle(pairs)
        for number, (kind, work) in enumerate(itertools.cycle(pairs)):
            if time.monotonic() > until:
                break
            try:
                became, reason = KINDS[kind][0](place, work, random.Random(f"{given.seed}/{number}"))
            except PermissionError as error:
                became, reason = "not permitted here", str(error)
            empty(place.disk)
            counted[kind, became] += 1
            if became == WRONG:
                print(f"WRONG  {work.name}, {kind}, number {number}: {reason}", flush=True)
    print(table(counted))
    return int(any(became == WRONG for _, became in counted))


def table(counted: Counter[tuple[str, str]]) -> str:
    """How often each kind was tried, and what became of it, in Markdown."""
    columns = [SURVIVED, REFUSED, WRONG]
    columns += sorted({became for _, became in counted} - set(columns))
    lines = ["| fault | tried | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for kind in [*KINDS, "all"]:
        of_kind = [sum(n for (k, b), n in counted.items() if kind in (k, "all") and b == column) for column in columns]
        lines.append(f"| {kind} | {sum(of_kind)} | " + " | ".join(map(str, of_kind)) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
