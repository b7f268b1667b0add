"""The main scores as tables for the terminal, narrow enough for 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from diffvqa.evaluation.comparison import COMPARED
from diffvqa.evaluation.names import BOX_SCORES, SCORES, change_scores, find_score, system_name, systems_of
from diffvqa.evaluation.published import PUBLISHED, SCORES_OF_ROW, remarks

# 80 columns have no room for them.
_REPORT_ALONE = ("coarse_f1", "flagged_changed", "flagged_unchanged", "order_consistency")
_ABREAST = 4  # scores that 80 columns have room for, with the systems that they compare


def print_probe(scores: Mapping) -> Group:
    """A table for a rich console of the scores of probes: means over names, with intervals below."""
    table = Table(title="Probes of the frozen encoder", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for label in ("", "n", "patients", "score"):
        table.add_column(label, justify="left" if not label else "right")
    notes = []
    for kind, found in scores.items():
        if "reason" in found:
            notes.append(f"{kind}: {found['reason']}")
            continue
        if kind == "boxes":
            rows = [
                ("boxes, accuracy at IoU 0.5", found["accuracy_0.5"], found),
                ("mean training box, the same", found["mean_box"]["accuracy_0.5"], found),
            ]
        else:
            rows = [
                (f"{kind} by {pooling}, {label}", score, part)
                for pooling, part in found.items()
                for label, key in (("mean area", "mean"), ("anything came or went, area", "changed"))
                if (score := part.get(key)) is not None
            ]
        for label, score, part in rows:
            table.add_row(label, str(part["n"]), str(part["patients"]), _cell(score))
    return Group(table, *_notes(notes))


def print_table(metrics: Mapping) -> Group:
    """Tables for a rich console of the metrics of a folder or of one file: changes, texts of answers, boxes.

    Systems are rows, the model first, then the controls that have such scores; each score has its 95 % interval below
    it, each title its n. The texts are those of the difference questions, or of all questions if none is one. Further
    tables follow if there are such scores: exact agreement by type of question, the model's changes by group,
    confidence, boxes, and the row below the published ones. A tokenizer other than the PTB tokenizer, and the notes,
    are written below.
    """
    systems = systems_of(metrics)
    first = systems["model"]
    texts = "difference" if "difference" in first["answers"] else "all"
    parts: list[Table | str] = []
    if first["changes"]:
        changes = first["changes"]
        title = (
            f"Changes (n = {changes['n']}: {changes['pairs_changed']} changed, "
            f"{changes['pairs_unchanged']} not; {changes['unreadable']} answers unreadable)"
        )
        shown = [name for name in change_scores(changes) if name not in _REPORT_ALONE]
        parts.append(_table(title, systems, shown, "changes"))
    if texts in first["answers"]:
        title = f"Texts, {texts} questions (n = {first['answers'][texts]['n']})"
        names = (*SCORES_OF_ROW, *(["bertscore"] if "bertscore" in first["answers"][texts] else []))
        parts.append(_table(title, systems, names, "answers", texts))
    if len(first["answers"]) > 2:
        parts += _types(systems)
    if first["groups"]:
        parts.append(_groups(first["groups"]))
    if first["calibration"]:
        title = f"Confidence, difference questions (n = {first['calibration']['n']})"
        names = ("ece", "auroc", "selective_100", "selective_60", "selective_20")
        parts.append(_table(title, systems, names, "calibration"))
    for task, scores in first["grounding"].items():
        title = f"Boxes, {task} (n = {scores['n']}, {scores['without_box']} without a box)"
        parts.append(_table(title, systems, BOX_SCORES, "grounding", task))
    if metrics.get("published_row"):
        parts += _published(metrics["published_row"])
    below = f"95 % intervals: {first['replicates']} resamples of {first['patients']} patients, seed {first['seed']}."
    if first["tokenizer"] not in (None, "ptb"):
        below += f" BLEU, ROUGE-L and CIDEr: over {first['tokenizer']}."
    return Group(*parts, below, *_notes(metrics.get("notes", ())))


def print_comparison(result: Mapping) -> Group:
    """Tables for a rich console of the result of comparison.compare: scores of systems, then their differences."""
    known = [name for name in COMPARED if any(system[name] for system in result["systems"].values())]
    tables = [
        table
        for start in range(0, len(known), _ABREAST)
        for table in _compared(result, known[start : start + _ABREAST])
    ]
    below = (
        f"Paired over {result['replicates']} resamples of {result['patients']} patients, seed {result['seed']}; "
        "Holm's correction over all comparisons of one score. Seeds are averaged, not resampled."
    )
    return Group(*tables, below, *_notes(result["notes"]))


def _compared(result: Mapping, names: Sequence[str]) -> tuple[Table, Table]:
    """These scores of the systems, and their differences."""
    scores = _empty_table("Systems, mean over their seeds", ["Seeds", *(SCORES[name] for name in names)])
    for system, found in result["systems"].items():
        scores.add_row(escape(system), str(found["seeds"]), *(_cell(found[name]) for name in names))
    differences = _empty_table("First minus second", [SCORES[name] for name in names])
    compared = {name: {(row["first"], row["second"]): row for row in result["comparisons"][name]} for name in names}
    for first, second in dict.fromkeys(pair for rows in compared.values() for pair in rows):
        found = [rows.get((first, second)) for rows in compared.values()]
        differences.add_row(f"{escape(first)}\n− {escape(second)}", *map(_difference, found))
    _make_room(scores, len("0.12–0.34"))
    _make_room(differences, len("+0.12 to +0.34"))
    return scores, differences


def _difference(row: Mapping | None) -> str:
    if row is None:
        return "–"
    interval = f"{row['low']:+.2f} to {row['high']:+.2f}"
    return f"{row['value']:+.3f}\n{interval}\np {row['p']:.4f}\nHolm {row['p_holm']:.4f}\n"


def _table(title: str, systems: Mapping[str, Mapping], keys: Sequence[str], *path: str) -> Table:
    """The scores `keys`, which lie at a path within a system's metrics."""
    table = _empty_table(title, [SCORES[key] for key in keys])
    for name, system in systems.items():
        scores = [find_score(system, [*path, key]) for key in keys]
        if any(scores) or name == "model":
            style = "bold" if name == "model" else None
            table.add_row(escape(system_name(name)), *map(_cell, scores), style=style)
    return table


def _types(systems: Mapping[str, Mapping]) -> Iterator[Table]:
    """Exact agreement, a row for each type of question, a column for each system that answers any; few abreast."""
    answering = {name: system["answers"] for name, system in systems.items() if system["answers"]}
    every = list(answering)
    for start in range(0, len(every), _ABREAST):
        names = every[start : start + _ABREAST]
        table = _empty_table("Exact agreement by type of question", ["n", *map(system_name, names)])
        for kind, scores in answering["model"].items():
            cells = [_cell((answering[name].get(kind) or {}).get("exact")) for name in names]
            table.add_row(escape(kind), str(scores["n"]), *cells)
        yield table


def _groups(groups: Mapping[str, Mapping]) -> Table:
    """The model's change scores in each group of pairs."""
    names = ("f1", "recall", "false_change_rate")
    table = _empty_table("Changes by group, this model", ["n", *(SCORES[name] for name in names)])
    for group, scores in groups.items():
        table.add_row(escape(group), str(scores["n"]), *(_cell(scores[name]) for name in names))
    return table


def _published(row: Mapping) -> list[Table | str]:
    """The model's row below those that others have published, and what must be said of it."""
    table = _empty_table("Beside published results", ["n", *(SCORES[name] for name in SCORES_OF_ROW)])
    for one in PUBLISHED:
        table.add_row(escape(f"{one.system} ({one.year})"), "", *map(_number, one.scores))
    # Without intervals, which stand in the table of texts: eight columns leave no room for them.
    own = [row[name] and row[name]["value"] for name in SCORES_OF_ROW]
    table.add_row("This model", str(row["n"]), *map(_number, own), style="bold")
    return [table, *map(escape, remarks(row)), ""]


def _empty_table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=escape(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.padding = (0, 0, 0, 1)
    table.add_column("", no_wrap=True)
    for label in columns:
        table.add_column(escape(label), justify="right")
    return table


def _make_room(table: Table, width: int) -> None:
    """Break names, which may be of any length, rather than scores, which take so many columns of the terminal."""
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    for column in table.columns[1:]:
        column.min_width = width


def _notes(notes: Iterable[str]) -> list[str]:
    return [f"Note: {escape(note)}" for note in notes]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _cell(score: Mapping | None) -> str:
    return "–" if score is None else f"{score['value']:.3f}\n{score['low']:.2f}–{score['high']:.2f}"
