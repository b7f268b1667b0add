"""An answer as lines to be read on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from diffvqa.answering.answer import NOTICE, Answer
from diffvqa.findings import Change


def answer_lines(answer: Answer) -> list[str]:
    """The text, then changes and findings with their boxes (x1 y1 x2 y2), warnings, the model and the notice."""
    lines = [answer.text]
    if answer.reason:
        lines.append(f"reason: {answer.reason}")
    else:
        if answer.confidence is not None:
            lines.append(f"confidence {answer.confidence:.2f} ({'' if answer.calibrated else 'not '}calibrated)")
        lines += _changes(answer)
        lines += _findings(answer)
        if answer.boxes is None:
            lines.append(f"no boxes: {answer.boxes_reason}")
    lines += [f"warning: {warning}" for warning in answer.warnings]
    model = answer.model
    lines.append(f"model {model.name}, version {model.version}, diffvqa {model.diffvqa}")
    return [*lines, NOTICE]


def _changes(answer: Answer) -> Iterator[str]:
    for change in answer.changes or ():
        yield f"change: {_wording(change)}"
        yield from _boxes(answer, change.finding, ("prior", "current"), "change")


def _findings(answer: Answer) -> Iterator[str]:
    if answer.findings is None:
        yield f"no findings by image: {answer.findings_reason}"
        return
    for image, names in answer.findings.items():
        yield f"{image} image: {', '.join(names) or 'no findings'}"
        for name in names:
            yield from _boxes(answer, name, (image,), "finding")


def _boxes(answer: Answer, label: str, images: tuple[str, ...], kind: str) -> Iterator[str]:
    for found in answer.boxes or ():
        if found.label == label and found.image in images and found.kind == kind:
            corners = " ".join(f"{value:.1f}" for value in found.box.as_tuple())
            yield f"  {found.phrase or found.label}, {found.image} image: {corners}"


def _wording(change: Change) -> str:
    if change.kind == "level":
        return f"{change.finding} from {change.before} to {change.after}"
    return f"{change.finding} {change.kind}"
