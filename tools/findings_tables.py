"""Writes the tables of docs/findings.md from the studies that are kept: python tools/findings_tables.py

Cells hold a score and its 95 % interval over patients, or a difference: the first system minus another one. Of several
seeds they hold the mean, and after a semicolon the lowest and the highest seed. A bold cell is told apart from the
first system: its p-value is below .05 after Holm's correction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

from diffvqa.evaluation.names import find_score
from diffvqa.study.score_tables import SIGNIFICANT
from diffvqa.study.study_page import Records, read_records
from diffvqa.study.systems import System

STUDIES = Path(__file__).resolve().parent.parent / "results" / "study"

EQUAL = "false_change_rate_at_90"
CHANGE_F1 = [("test", "f1"), ("change", "f1"), ("subtle", "f1"), ("shift", "f1")]
FALSE_CHANGES = [
    ("test", EQUAL),
    ("shift", EQUAL),
    ("acquisition", EQUAL),
    ("acquisition", "flagged_unchanged"),
    ("acquisition", "induced_change_rate"),
]
SEEDS = [("test", "f1"), *FALSE_CHANGES, ("acquisition", "groups/repeat/flagged_unchanged")]
OWN_ANSWERS = [
    ("test", "model", "changes/detection_rate"),
    ("test", "model", "changes/false_change_rate"),
    ("shift", "model", "changes/false_change_rate"),
    ("acquisition", "model", "changes/false_change_rate"),
    ("acquisition", "model", "groups/repeat/false_change_rate"),
    *(("acquisition", "model", f"steps {strength}") for strength in (1, 2, 3)),
    ("test", "other_prior", "changes/f1"),
    ("probe", "model", "boxes/accuracy_0.5"),
    ("probe", "model", "findings/attention/mean"),
]
"""The last element of a column: the path of a score, or `steps N`: false changes at this strength, over all factors."""


def main() -> None:
    """Print the tables, each below its name."""
    claim, seeds = (read_records(STUDIES / name) for name in ("claim", "claim-seeds"))
    print("\n## Three seeds\n")
    show_scores(seeds, SEEDS)
    print()
    show_differences(seeds, SEEDS)
    print("\n## Change F1\n")
    show_scores(claim, CHANGE_F1)
    print("\n## False changes at one detection rate\n")
    show_scores(claim, FALSE_CHANGES)
    print("\n## The model's own answers, and probes\n")
    systems = {system.name: system for system in claim.systems}
    show(systems, OWN_ANSWERS, lambda name, column: own(systems[name], *column))


def show_scores(records: Records, columns: Sequence[tuple[str, str]]) -> None:
    """Print a row of scores for each system."""
    systems = {system.name: system for system in records.systems}
    first = next(iter(systems))

    def score(name: str, column: tuple[str, str]) -> str:
        evaluation, of = column
        found = systems[name].mean(evaluation, of if "/" in of else f"changes/{of}")
        spread = (found.lowest, found.highest) if found and found.seeds > 1 else ()
        compared = records.comparisons[evaluation][0]
        if of not in compared["comparisons"]:
            return in_writing(asdict(found) if found else None, spread=spread)
        written = in_writing(compared["systems"][name][of], spread=spread)
        return bold_if_told_apart(written, pair_of(compared["comparisons"][of], first, name))

    show(systems, columns, score)


def show_differences(records: Records, columns: Sequence[tuple[str, str]]) -> None:
    """Print a row for each system but the first: the first system minus this one."""
    first, *others = [system.name for system in records.systems]

    def first_minus(name: str, column: tuple[str, str]) -> str:
        pair = pair_of(records.comparisons[column[0]][0]["comparisons"].get(column[1], []), first, name)
        return bold_if_told_apart(in_writing(pair, "+"), pair)

    show(others, columns, first_minus)


def show(names: Sequence[str] | Mapping[str, Any], columns: Sequence[Any], cell: Callable[[str, Any], str]) -> None:
    """Print a row for each system."""
    for name in names:
        print(f"| `{name}` | {' | '.join(cell(name, column) for column in columns)} |")


def pair_of(pairs: Sequence[Mapping[str, Any]], first: str, second: str) -> Mapping[str, Any] | None:
    """The first system minus the second, whichever way round the two were compared."""
    for pair in pairs:
        if (pair["first"], pair["second"]) == (first, second):
            return pair
        if (pair["first"], pair["second"]) == (second, first):
            return {**pair, "value": -pair["value"], "low": -pair["high"], "high": -pair["low"]}
    return None


def bold_if_told_apart(written: str, pair: Mapping[str, Any] | None) -> str:
    """A cell. pair: the comparison of its system with the first."""
    return f"**{written}**" if pair and pair["p_holm"] < SIGNIFICANT else written


def own(system: System, evaluation: str, of: str, path: str) -> str:
    """A mean over seeds."""
    if path.startswith("steps "):
        return number(mean(of_strength(cell["evaluations"][evaluation], path[6:]) for cell in system.cells), ".3f")
    found = system.mean(evaluation, path, of)
    return number(found.value, ".3f") if found else "–"


def of_strength(evaluation: Mapping[str, Any], strength: str) -> float:
    """The mean over the factors that have this strength. Every factor has equally many pairs."""
    groups = {name: group for name, group in evaluation["model"]["groups"].items() if name.endswith(f" {strength}")}
    return mean(find_score(group, ["false_change_rate"])["value"] for group in groups.values())


def in_writing(score: Mapping[str, float] | None, sign: str = "", spread: Sequence[float] = ()) -> str:
    """A score with three decimals, and its interval with two."""
    if score is None:
        return "–"
    value, low, high = (
        number(score[part], f"{sign}.{digits}f") for part, digits in (("value", 3), ("low", 2), ("high", 2))
    )
    seeds = f"; {' to '.join(number(one, '.3f') for one in spread)}" if spread else ""
    return f"{value} ({low} to {high}{seeds})"


def number(value: float, form: str) -> str:
    """A number without the zero before its point."""
    return re.sub(r"^([+-]?)0\.", r"\1.", format(value, form))


if __name__ == "__main__":
    main()
