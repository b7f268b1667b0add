"""A study's page: of one that runs, or made anew from the records that its folder holds."""

from __future__ import annotations

import lzma
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffvqa.errors import InputError
from diffvqa.evaluation.page import Chart, Row, Table, render
from diffvqa.evaluation.predictions import read_object
from diffvqa.study.figures import FIGURES, draw_figures
from diffvqa.study.score_tables import ABOUT, read_csv, significant, table_of
from diffvqa.study.systems import System, systems_of

SUMMARY, COMPARISONS, SCORES = "summary.json", "comparisons.json", "study.csv"


def render_page(
    systems: Sequence[System],
    comparisons: Mapping[str, Sequence[Mapping[str, Any]]],
    figures: Mapping[str, str],
    summary: Mapping[str, Any],
) -> str:
    """The whole page.

    comparisons: of each evaluation. figures: as draw_figures gives them. summary: the facts and remarks of the study,
    and how much each evaluation asked, in words.
    """
    evaluations = [
        {
            "name": name,
            "asked": summary["asked"][name],
            "scores": _score_table(systems, name, compared),
            "figures": [Chart(figures[key], FIGURES[kind]) for kind in FIGURES if (key := f"{name}-{kind}") in figures],
            "compared": bool(compared),
            "differences": _difference_table(compared),
        }
        for name, compared in comparisons.items()
    ]
    return render(
        "study/study_page.html",
        about=ABOUT,
        facts=summary["facts"],
        remarks=summary["remarks"],
        evaluations=evaluations,
    )


@dataclass(frozen=True)
class Records:
    """The records in the folder of a study: systems with their scores, paired tests, and facts about cells."""

    systems: Sequence[System]
    comparisons: Mapping[str, Sequence[Mapping[str, Any]]]
    summary: Mapping[str, Any]


def read_records(folder: Path) -> Records:
    """The records of the study whose summary.json, comparisons.json and study.csv (or study.csv.xz) lie in a folder.

    Raises InputError for a folder that lacks one of them, or has others than `diffvqa study` writes.
    """
    summary, comparisons = read_object(folder / SUMMARY), read_object(folder / COMPARISONS)
    scores = next((path for path in (folder / SCORES, folder / f"{SCORES}.xz") if path.is_file()), None)
    if summary is None or comparisons is None or scores is None:
        raise InputError(
            f"FOLDER: expected {SUMMARY}, {COMPARISONS} and {SCORES}, found no study with all of them; "
            "give the command of the study again: it writes them, and trains nothing that is finished"
        )
    try:
        content = scores.read_bytes()
        evaluations = read_csv((lzma.decompress(content) if scores.suffix == ".xz" else content).decode())
        results = [{**cell, "evaluations": evaluations.get(cell["cell"], {})} for cell in summary["cells"]]
        return Records(systems_of(results), comparisons, summary)
    except (KeyError, TypeError, ValueError, AttributeError, lzma.LZMAError) as error:
        raise _not_as_written() from error


def page_from(folder: Path) -> str:
    """The page of the study whose records lie in a folder. Raises InputError as `read_records` does."""
    records = read_records(folder)
    try:
        figures = draw_figures(records.systems, list(records.comparisons))
        return render_page(records.systems, records.comparisons, figures, records.summary)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _not_as_written() from error


def _not_as_written() -> InputError:
    return InputError(
        "FOLDER: its files are not as `diffvqa study` writes them; copy them again from the study's own folder"
    )


def _score_table(systems: Sequence[System], evaluation: str, compared: Sequence[Mapping[str, Any]]) -> Table:
    titles, rows = table_of(systems, evaluation, compared)
    return Table(["", *titles], [("", rows)], "The systems, and the controls of each below.")


def _difference_table(compared: Sequence[Mapping[str, Any]]) -> Table:
    """The differences that are larger than other patients would explain."""
    rows = [Row(first, [(cell,) for cell in cells]) for first, *cells in significant(compared)]
    return Table(["First", "Second", "Score", "Difference", "p"], [("", rows)])
