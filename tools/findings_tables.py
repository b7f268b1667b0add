"""Writes the tables of docs/findings.md from the study that is kept: python tools/findings_tables.py

Cells hold a score and its 95 % interval over patients, or a difference: the first system minus another one. Bold
differences have a p-value below .05 after Holm's correction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from diffvqa.evaluation.names import find_score
from diffvqa.study.score_tables import SIGNIFICANT
from diffvqa.study.study_page import read_records
from diffvqa.study.systems import System

STUDY = Path(__file__).resolve().parent.parent / "results" / "study" / "claim"

EQUAL = "false_change_rate_at_90"
CHANGE_F1 = [("test", "f1"), ("change", "f1"), ("subtle", "f1"), ("shift", "f1")]
FALSE_CHANGES = [
    ("test", EQUAL),
    ("shift", EQUAL),
    ("acquisition", EQUAL),
    ("acquisition", "flagged_unchanged"),
    ("acquisition", "induced_change_rate"),
]
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
    records = read_records(STUDY)
    compared = {name: found[0] for name, found in records.comparisons.items() if found}
    systems = {system.name: system for system in records.systems}
    first = next(iter(systems))
    others = [name for name in systems if name != first]

    def score(name: str, column: tuple[str, str]) -> str:
        return in_writing(compared[column[0]]["systems"][name][column[1]])

    def first_minus(name: str, column: tuple[str, str]) -> str:
        return difference(compared[column[0]]["comparisons"][column[1]], first, name)

    for title, columns in (("Change F1", CHANGE_F1), ("False changes at one detection rate", FALSE_CHANGES)):
        print(f"\n## {title}\n")
        show(systems, columns, score)
        print()
        show(others, columns, first_minus)
    print("\n## The model's own answers, and probes\n")
    show(systems, OWN_ANSWERS, lambda name, column: own(systems[name], *column))


def show(names: Sequence[str] | Mapping[str, Any], columns: Sequence[Any], cell: Callable[[str, Any], str]) -> None:
    """Print a row for each system."""
    for name in names:
        print(f"| `{name}` | {' | '.join(cell(name, column) for column in columns)} |")


def difference(pairs: Sequence[Mapping[str, Any]], first: str, second: str) -> str:
    """The first system minus the second, whichever way round it was compared."""
    for pair in pairs:
        if {pair["first"], pair["second"]} == {first, second}:
            value, low, high = pair["value"], pair["low"], pair["high"]
            if pair["first"] != first:
                value, low, high = -value, -high, -low
            written = in_writing({"value": value, "low": low, "high": high}, "+")
            return f"**{written}**" if pair["p_holm"] < SIGNIFICANT else written
    return "–"


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


def in_writing(score: Mapping[str, float] | None, sign: str = "") -> str:
    """A score with three decimals, and its interval with two."""
    if score is None:
        return "–"
    value, low, high = (score[part] for part in ("value", "low", "high"))
    return f"{number(value, f'{sign}.3f')} ({number(low, f'{sign}.2f')} to {number(high, f'{sign}.2f')})"


def number(value: float, form: str) -> str:
    """A number without the zero before its point."""
    return re.sub(r"^([+-]?)0\.", r"\1.", format(value, form))


if __name__ == "__main__":
    main()
