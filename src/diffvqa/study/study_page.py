"""A study as one HTML page that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from diffvqa import __version__
from diffvqa.study.systems import Column, System, columns_of
from diffvqa.study.tables import ABOUT, Row, asked_in_words, programs_of, remarks_on, rows_of, significant


def render_page(
    systems: Sequence[System],
    comparisons: Mapping[str, Sequence[Mapping[str, Any]]],
    figures: Mapping[str, str],
    results: Sequence[Mapping[str, Any]],
    cells: int,
) -> str:
    """The whole page.

    comparisons: of each evaluation. figures: name -> SVG, an evaluation's begin with its name. cells: how many the
    study has, run or not.
    """
    body = [
        _remarks(results, cells),
        *(_evaluation(systems, name, compared, figures) for name, compared in comparisons.items()),
    ]
    return Template(files("diffvqa.study").joinpath("page.html").read_text(encoding="utf-8")).substitute(
        style=files("diffvqa.evaluation").joinpath("page.css").read_text(encoding="utf-8").strip(),
        about=escape(ABOUT),
        facts=_facts(systems, results),
        body="\n".join(part for part in body if part),
        version=escape(__version__),
    )


def _facts(systems: Sequence[System], results: Sequence[Mapping[str, Any]]) -> str:
    finished = [result for result in results if "error" not in result]
    facts = {
        "Systems": len(systems),
        "Cells finished": len(finished),
        "Program": ", ".join(programs_of(results)) or "not recorded",
        "Device": ", ".join(sorted({result["device"] for result in finished})) or "none yet",
        "Images seen in stage 1": ", ".join(f"{number:,}" for number in sorted({one.images_seen for one in systems})),
    }
    return (
        '<dl class="facts">'
        + "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(str(value))}</dd></div>" for name, value in facts.items())
        + "</dl>"
    )


def _remarks(results: Sequence[Mapping[str, Any]], cells: int) -> str:
    lines = "".join(f"<p>{escape(line)}</p>" for line in remarks_on(results, cells))
    return f'<div class="notes" role="note">{lines}</div>' if lines else ""


def _evaluation(
    systems: Sequence[System],
    evaluation: str,
    compared: Sequence[Mapping[str, Any]],
    figures: Mapping[str, str],
) -> str:
    columns = columns_of(systems, evaluation)
    head = "".join(f'<th scope="col">{escape(column.title)}</th>' for column in columns)
    rows = "".join(_row(row, columns) for row in rows_of(systems, columns))
    drawings = "".join(
        f'<section class="panel">{drawing}</section>'
        for name, drawing in figures.items()
        if name.rpartition("-")[0] == evaluation
    )
    return (
        f"<h2>{escape(evaluation)}</h2><p>{escape(asked_in_words(systems, evaluation))}.</p>"
        "<table><caption>The systems, and the controls of each below.</caption>"
        f'<thead><tr><th scope="col"></th>{head}</tr></thead><tbody>{rows}</tbody></table>'
        f'<div class="panels">{drawings}</div>' + _differences(compared)
    )


def _differences(compared: Sequence[Mapping[str, Any]]) -> str:
    """The table of what differs by more than other patients would explain."""
    titles = ("First", "Second", "Score", "Difference", "p")
    rows = [
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(
            f'<td data-label="{title}">{escape(cell)}</td>' for title, cell in zip(titles[1:], cells, strict=True)
        )
        + "</tr>"
        for first, *cells in significant(compared)
    ]
    if not rows:
        return "<p>No difference was found that other patients would not explain as well.</p>" if compared else ""
    head = "".join(f'<th scope="col">{title}</th>' for title in titles)
    return (
        f"<details><summary>{len(rows)} differences that other patients would not explain</summary><table><thead><tr>"
        f"{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></details>"
    )


def _row(row: Row, columns: Sequence[Column]) -> str:
    cells = "".join(
        f'<td data-label="{escape(column.title)}">{value}'
        + "".join(f'<span class="interval">{escape(below)}</span>' for below in others)
        + "</td>"
        for column, (value, *others) in zip(columns, row.cells, strict=True)
    )
    kind = ' class="is-model"' if row.of == "model" else ""
    return f'<tr{kind}><th scope="row">{escape(row.name)}</th>{cells}</tr>'
