"""The report as one HTML page: every text escaped, pictures inside, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template

from diffvqa import __version__
from diffvqa.evaluation.changes import best_agreement
from diffvqa.evaluation.curves import Curve, draw_curve
from diffvqa.evaluation.examples import Example, PhraseExample, Picture
from diffvqa.evaluation.names import (
    BOX_SCORES,
    MEANINGS,
    SCORES,
    TASKS,
    change_scores,
    find_score,
    system_name,
    systems_of,
    value_and_interval,
)
from diffvqa.evaluation.page_details import calibration_section, groups_section, parts_section, published_section
from diffvqa.evaluation.page_tables import Cells, meanings_of, score_table
from diffvqa.findings import Change, read_changes

TEXT_SCORES = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "meteor", "rouge_l", "cider", "exact")
SHORT_TEXT_SCORES = ("exact", "bleu_1", "meteor", "rouge_l", "cider")  # most answers have one or two words
STAGES = {"pretrain": "Pretraining", "finetune": "Finetuning"}


def render_page(
    metrics: Mapping,
    run: Mapping,
    curves: Sequence[Curve],
    examples: Sequence[Example],
    phrases: Sequence[PhraseExample],
) -> str:
    """The whole page. metrics: as score_folder returns them; run: free facts about the run."""
    body = [
        _notes(metrics),
        _summary(metrics),
        _differences(metrics),
        published_section(metrics),
        parts_section(metrics["model"]),
        groups_section(metrics["model"]),
        calibration_section(metrics),
        _other_questions(metrics),
        _grounding(metrics),
        _curves(curves),
        _examples(examples),
        _phrases(phrases),
    ]
    resources = files("diffvqa.evaluation")
    return Template(resources.joinpath("page.html").read_text(encoding="utf-8")).substitute(
        title="diffvqa: evaluation report",
        style=resources.joinpath("page.css").read_text(encoding="utf-8").strip(),
        facts=_facts(run),
        body="\n".join(part for part in body if part),
        version=escape(__version__),
    )


def _facts(run: Mapping) -> str:
    """The facts of a run as a grid; long ones take a line of their own."""
    entries = []
    for name, value in run.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key}: {item}" for key, item in value.items())
        written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        wide = ' class="wide"' if len(written) > 48 else ""
        label = str(name).replace("_", " ").capitalize()
        entries.append(f"<div{wide}><dt>{escape(label)}</dt><dd>{escape(written)}</dd></div>")
    return f'<dl class="facts">{"".join(entries)}</dl>' if entries else ""


def _notes(metrics: Mapping) -> str:
    notes = "".join(f"<p>{escape(note)}</p>" for note in metrics["notes"])
    return f'<div class="notes" role="note">{notes}</div>' if notes else ""


def _summary(metrics: Mapping) -> str:
    """The main scores as dots with intervals, all systems beneath each other, and the paired differences."""
    model = metrics["model"]
    accuracy = SCORES["accuracy_0.5"]
    groups = [
        [
            _panel(metrics, ("changes", name), SCORES[name])
            for name in change_scores(model["changes"])
            if name != "precision"
        ]
        if model["changes"]
        else [],
        [_panel(metrics, ("grounding", task, "accuracy_0.5"), f"{task}: {accuracy}") for task in model["grounding"]],
    ]
    if not any(groups):
        return ""
    panels = "".join(f'<div class="panels">{"".join(group)}</div>' for group in groups if group)
    return (
        "<h2>In short</h2>"
        f"<p>Dots are scores, bars their 95 % intervals: {int(model['replicates'])} resamples of the "
        f"{int(model['patients'])} patients, the same for every system (seed {int(model['seed'])}).</p>"
        f"{panels}{_paired(metrics)}"
    )


def _panel(metrics: Mapping, path: Sequence[str], title: str) -> str:
    rows = []
    for name, system in systems_of(metrics).items():
        score = find_score(system, path)
        if score is None:
            continue
        low, value, high = (100 * min(max(score[key], 0.0), 1.0) for key in ("low", "value", "high"))
        kind = " is-model" if name == "model" else ""
        written, interval = value_and_interval(score)
        rows.append(
            f'<span class="name{kind}">{escape(system_name(name))}</span>'
            f'<span class="track{kind}" title="{interval}"><span class="range" style="left:{low:.2f}%;'
            f'width:{high - low:.2f}%"></span><span class="dot" style="left:{value:.2f}%"></span></span>'
            f'<span class="number{kind}">{written}</span>'
        )
    if not rows:
        return ""
    scale = '<span></span><span class="scale" aria-hidden="true"><span>0</span><span>1</span></span><span></span>'
    return (
        f'<section class="panel"><h3>{escape(title)}</h3><p>{escape(MEANINGS[path[-1]])}</p>'
        f'<div class="bars">{"".join(rows)}{scale}</div></section>'
    )


def _paired(metrics: Mapping) -> str:
    """The model minus each control, on the rows that both have."""
    columns = [(("changes", "f1"), SCORES["f1"])]
    columns += [(("grounding", task, "accuracy_0.5"), f"{task} accuracy") for task in metrics["model"]["grounding"]]
    rows: list[tuple[str, Cells]] = []
    for name, pairs in metrics["paired"].items():
        cells = [(label, find_score(pairs, path)) for path, label in columns]
        if any(score is not None for _, score in cells):
            rows.append((name, cells))
    if not rows:
        return ""
    caption = "This model minus each control, with the interval of the paired difference: above 0, the model is better."
    return score_table(caption, [("", rows)], first="This model minus …", signed=True)


def _differences(metrics: Mapping) -> str:
    model = metrics["model"]
    tables = []
    if model["changes"]:
        counts = model["changes"]
        caption = (
            f"What the answers say has changed. {counts['n']} pairs: {counts['pairs_changed']} changed, "
            f"{counts['pairs_unchanged']} not."
        )
        shown = change_scores(counts)
        rows = [
            (
                name,
                [
                    *((SCORES[key], system["changes"].get(key)) for key in shown),
                    ("Unreadable answers", system["changes"]["unreadable"]),
                    ("n", system["changes"]["n"]),
                ],
            )
            for name, system in systems_of(metrics).items()
            if system["changes"]
        ]
        tables.append(score_table(caption, [("", rows)]) + meanings_of(shown))
    group = next((group for group in ("difference", "all") if group in model["answers"]), None)
    if group == "difference" or (group and model["changes"]):
        caption = f"How the answers are worded. {_tokenizer(metrics)}"
        tables.append(score_table(caption, [("", _text_rows(metrics, group, TEXT_SCORES))]) + meanings_of(TEXT_SCORES))
    return f"<h2>Difference questions</h2>{''.join(tables)}" if tables else ""


def _other_questions(metrics: Mapping) -> str:
    groups = [group for group in metrics["model"]["answers"] if group not in ("difference", "all")]
    if not groups and "difference" not in metrics["model"]["answers"] and not metrics["model"]["changes"]:
        groups = [group for group in metrics["model"]["answers"] if group == "all"]
    if not groups:
        return ""
    bodies = [(group.capitalize(), _text_rows(metrics, group, SHORT_TEXT_SCORES)) for group in groups]
    caption = f"Questions on one image, by type. {_tokenizer(metrics)}"
    return f"<h2>Other questions</h2>{score_table(caption, bodies)}{meanings_of(('exact',))}"


def _text_rows(metrics: Mapping, group: str, names: Sequence[str]) -> list[tuple[str, Cells]]:
    return [
        (name, [*((SCORES[key], scores[key]) for key in names), ("n", scores["n"])])
        for name, system in systems_of(metrics).items()
        if (scores := system["answers"].get(group))
    ]


def _tokenizer(metrics: Mapping) -> str:
    if metrics["tokenizer"] == "ptb":
        return "By pycocoevalcap's definitions, over its PTB tokens."
    if metrics["tokenizer"] is None:
        return "Exact agreement only: the other scores need pycocoevalcap."
    return f"Over {metrics['tokenizer']}: not comparable with published figures."


def _grounding(metrics: Mapping) -> str:
    bodies = []
    for task in metrics["model"]["grounding"]:
        rows: list[tuple[str, Cells]] = []
        for name, system in systems_of(metrics).items():
            if scores := system["grounding"].get(task):
                cells = [(SCORES[key], scores[key]) for key in BOX_SCORES]
                rows.append((name, [*cells, ("Without a box", scores["without_box"]), ("n", scores["n"])]))
        bodies.append((TASKS.get(task, task), rows))
    if not bodies:
        return ""
    caption = "How well the predicted box covers what is named; the best of several reference boxes counts."
    return f"<h2>Where: grounding</h2>{score_table(caption, bodies)}{meanings_of(BOX_SCORES)}"


def _curves(curves: Sequence[Curve]) -> str:
    panels = [
        f'<section class="panel"><h3>{escape(STAGES.get(curve.stage, curve.stage))}</h3>{drawing}</section>'
        for curve in curves
        if (drawing := draw_curve(curve))
    ]
    if not panels:
        return ""
    key = (
        '<ul class="key"><li><svg class="curve" viewBox="0 0 34 14" aria-hidden="true"><polyline class="training" '
        'points="1,7 33,7"/></svg>training loss</li><li><svg class="curve" viewBox="0 0 34 14" aria-hidden="true">'
        '<polyline class="evaluation" points="1,7 33,7"/><circle class="evaluation" cx="17" cy="7" r="3"/></svg>'
        "loss on the validation split</li></ul>"
    )
    return f'<h2>Training</h2>{key}<div class="panels">{"".join(panels)}</div>'


def _examples(examples: Sequence[Example]) -> str:
    if not examples:
        return ""
    pairs = "".join(_example(number, example) for number, example in enumerate(examples, start=1))
    return (
        "<h2>Pairs, one by one</h2><p>The prior radiograph left, the current one right; the answers call them the "
        "reference and the main image. Numbers name the boxes below each picture.</p>"
        f'{_box_key()}<div class="pairs">{pairs}</div>'
    )


def _phrases(phrases: Sequence[PhraseExample]) -> str:
    if not phrases:
        return ""
    figures = "".join(
        f'<article class="pair">{_figure(example.phrase, example.picture)}</article>' for example in phrases
    )
    return (
        "<h2>Phrases, one by one</h2><p>What was looked for in each radiograph, the box found, and the boxes that its "
        f'dataset gives.</p>{_box_key()}<div class="phrases">{figures}</div>'
    )


def _box_key() -> str:
    items = "".join(
        f'<li><svg viewBox="0 0 34 14" aria-hidden="true"><rect x="2" y="2" width="30" height="10" fill="none" '
        f'class="{kind}"/></svg>{words}</li>'
        for kind, words in (
            ("predicted", "predicted box (orange, dashed)"),
            ("reference", "reference box (blue, solid)"),
        )
    )
    return f'<ul class="key">{items}</ul>'


def _example(number: int, example: Example) -> str:
    confidence = "" if example.confidence is None else f'<span class="soft">confidence {example.confidence:.2f}</span>'
    texts = (
        ("Question", example.question),
        ("Reference", example.reference),
        ("Answer", example.answer or "(nothing)"),
    )
    said = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in texts)
    return (
        f'<article class="pair"><header><h3>Pair {number}</h3>{confidence}</header><div class="pictures">'
        f"{_figure('Prior', example.prior)}{_figure('Current', example.current)}</div>"
        f'<dl class="said">{said}</dl>{_agreement(example)}</article>'
    )


def _figure(title: str, picture: Picture) -> str:
    source = "data:image/png;base64," + base64.b64encode(picture.png).decode("ascii")
    size = max(picture.width, picture.height)
    tag = 0.075 * size
    shapes, items = [], []
    for number, marked in enumerate(picture.boxes, start=1):
        x1, y1, x2, y2 = marked.corners
        place = f'x="{x1:.1f}" y="{y1:.1f}" width="{max(x2 - x1, 0):.1f}" height="{max(y2 - y1, 0):.1f}"'
        left = min(max(x1, 0), picture.width - tag)
        # Above the box where there is room, so that two tags in one corner are rare: reference above, predicted inside.
        top = min(max(y1 - tag if marked.kind == "reference" else y1, 0), picture.height - tag)
        shapes.append(
            f'<rect class="halo" {place}/><rect class="{marked.kind}" {place}/>'
            f'<rect class="tag tag-{marked.kind}" x="{left:.1f}" y="{top:.1f}" width="{tag:.1f}" height="{tag:.1f}"/>'
            f'<text x="{left + tag / 2:.1f}" y="{top + tag / 2:.1f}" font-size="{0.85 * tag:.1f}">{number}</text>'
        )
        words = f"{escape(marked.label)} ({marked.kind})" if marked.label else f"{marked.kind} box"
        items.append(f'<li class="by-{marked.kind}"><b>{number}</b> {words}</li>')
    title = escape(title)
    label = f"{title}, radiograph with {len(items)} boxes" if items else f"{title}, radiograph"
    listed = f'<ol class="boxes">{"".join(items)}</ol>' if items else ""
    return (
        f'<figure><figcaption>{title}</figcaption><svg class="picture" viewBox="0 0 {picture.width} {picture.height}" '
        f'role="img" aria-label="{label}"><image href="{source}" width="{picture.width}" height="{picture.height}"/>'
        f"{''.join(shapes)}</svg>{listed}</figure>"
    )


def _agreement(example: Example) -> str:
    """Which changes the answer finds, misses and invents: a mark and a word each, never colour alone."""
    reference, predicted = read_changes(example.reference), read_changes(example.answer)
    if not reference:
        return ""
    if not predicted:
        items = [("false", "✕", "The answer cannot be read as changes", "it counts as wrong")]
    else:
        said, true = best_agreement(predicted, reference)
        items = [("found", "✓", _describe(change), "found") for change in sorted(said & true, key=_order)]
        items += [("missed", "○", _describe(change), "missed") for change in sorted(true - said, key=_order)]
        items += [
            ("false", "✕", _describe(change), "not in the reference") for change in sorted(said - true, key=_order)
        ]
        if not items:
            items = [("found", "✓", "Nothing has changed", "agreed")]
    rows = "".join(
        f'<li class="{kind}"><span class="mark" aria-hidden="true">{mark}</span><span>{escape(text)} '
        f'<span class="verdict">– {verdict}</span></span></li>'
        for kind, mark, text, verdict in items
    )
    return f'<ul class="changes">{rows}</ul>'


def _order(change: Change) -> tuple[str, ...]:
    return (change.finding, change.kind, change.before or "", change.after or "")


def _describe(change: Change) -> str:
    if change.kind == "level":
        return f"{change.finding}: {change.before} → {change.after}"
    return f"{change.finding}: {change.kind}"
