"""Tables of scores as HTML, and what the scores mean."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from diffvqa.evaluation.names import MEANINGS, SCORES, system_name, value_and_interval

Cells = Sequence[tuple[str, object]]
"""The cells of a row: label of the column, and a text, a plain number or a score."""


def score_table(
    caption: str, bodies: Sequence[tuple[str, Sequence[tuple[str, Cells]]]], first: str = "", signed: bool = False
) -> str:
    """A table of scores: bodies are (heading, rows), a row is its name (of a system, or any other) with its cells.

    All rows have the same columns. signed: scores are differences, shown with their sign.
    """
    labels = [label for label, _ in bodies[0][1][0][1]]
    head = "".join(f'<th scope="col">{escape(label)}</th>' for label in labels)
    parts = [
        f'<table><caption>{escape(caption)}</caption><thead><tr><th scope="col">{escape(first)}</th>{head}</tr></thead>'
    ]
    for heading, rows in bodies:
        parts.append("<tbody>")
        if heading:
            parts.append(
                f'<tr class="heading"><th scope="rowgroup" colspan="{len(labels) + 1}">{escape(heading)}</th></tr>'
            )
        for name, cells in rows:
            kind = ' class="is-model"' if name == "model" else ""
            written = "".join(f'<td data-label="{escape(label)}">{_cell(value, signed)}</td>' for label, value in cells)
            parts.append(f'<tr{kind}><th scope="row">{escape(system_name(name))}</th>{written}</tr>')
        parts.append("</tbody>")
    return "".join([*parts, "</table>"])


def _cell(value: object, signed: bool) -> str:
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.3f}"
    if value is None:
        return "–"
    if signed:
        low, high = f"{value['low']:+.3f}", f"{value['high']:+.3f}"
        return f'{value["value"]:+.3f}<span class="interval">{low} to {high}</span>'
    written, interval = value_and_interval(value)
    return f'{written}<span class="interval">{interval}</span>'


def meanings_of(names: Sequence[str]) -> str:
    """What these scores mean, for those of which it is said."""
    titles = {name: "BLEU-1 to 4" if name == "bleu_1" else SCORES[name] for name in names if name in MEANINGS}
    entries = [
        f"<div><dt>{escape(title)}</dt> <dd>{escape(MEANINGS[name])}</dd></div>" for name, title in titles.items()
    ]
    return f'<dl class="meanings">{"".join(entries)}</dl>'
