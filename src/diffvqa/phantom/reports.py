"""Reports on synthetic studies: sentences with what they are about, so that regions can carry them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from diffvqa.phantom.cohort import Patient, Visit
from diffvqa.phantom.pathology import KINDS, Lesion

_T = TypeVar("_T")

OMITTED = 0.15
"""The chance that a report says nothing of a finding that is there."""

DENIED = 0.45
"""The chance that a report says of a finding that it is absent."""

COMPARED = 0.5
"""The chance that a finding known from the study before is said to have changed or not."""

SHUFFLED = 0.1
"""The chance that a report goes through the findings in an order of its own."""

HEDGED = 0.25
"""The chance that a finding of the lowest level is only called possible."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence in lower case. finding: what it is about ("" for anatomy). state: yes, no or maybe.

    regions: names of Chest ImaGenome. attributes: in its syntax. cue: comparison with the study before (improved,
    worsened, no change), "" if none. severity: the level's word.
    """

    text: str
    finding: str
    state: str
    regions: tuple[str, ...]
    attributes: tuple[str, ...]
    cue: str = ""
    severity: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """A study's report: its sentences and its text as a file holds it."""

    findings: tuple[Sentence, ...]
    impression: tuple[str, ...]
    text: str

    def mentioned(self, finding: str) -> str | None:
        """yes, no or maybe: what the report says of a finding, or None if nothing."""
        states = [sentence.state for sentence in self.findings if sentence.finding == finding]
        return states[0] if states else None


def write_report(patient: Patient, visit: Visit, prior: Visit | None, generator: np.random.Generator) -> Report:
    """A report on a study, written with or without the one before at hand."""
    sentences: list[Sentence] = []
    for name, kind in KINDS.items():
        lesion = visit.findings.get(name)
        before = prior.findings.get(name) if prior else None
        if lesion is not None:
            if generator.random() >= OMITTED:
                sentences.append(_positive(lesion, before, prior is not None, generator))
        elif before is not None and generator.random() < 0.5:
            sentences.append(_resolved(before, generator))
        elif generator.random() < DENIED:
            sentences.append(_negative(kind.name, generator))
    if not any(sentence.state != "no" for sentence in sentences):
        sentences.append(_clear(generator))
    if generator.random() < 0.5:
        sentences.append(_pick(generator, _ANATOMY))
    # Radiologists go through a picture in their own fixed order; now and then one begins elsewhere.
    if generator.random() < SHUFFLED:
        sentences = [sentences[place] for place in generator.permutation(len(sentences))]
    impression = _impression(sentences, generator)
    return Report(tuple(sentences), impression, _layout(patient, visit, prior, sentences, impression, generator))


def regions_of(lesion: Lesion) -> tuple[str, ...]:
    """The regions that a lesion is seen in."""
    if lesion.kind == "cardiomegaly":
        return ("cardiac silhouette",)
    if lesion.kind == "edema":
        return ("right lung", "left lung", "right hilar structures", "left hilar structures")
    if lesion.zone:
        side = lesion.sides[0]
        return (f"{side} {lesion.zone} lung zone", f"{side} lung")
    places = {
        "pleural effusion": ("costophrenic angle", "lung"),
        "pneumothorax": ("apical zone", "lung"),
        "atelectasis": ("lower lung zone", "lung"),
    }[lesion.kind]
    return tuple(f"{side} {place}" for side in lesion.sides for place in places)


def _pick(generator: np.random.Generator, choices: Sequence[_T]) -> _T:
    return choices[int(generator.integers(len(choices)))]


def _noun(lesion: Lesion) -> tuple[str, bool]:
    """A finding with its place, and whether it is a plural."""
    side = lesion.sides[0] if len(lesion.sides) == 1 else "bilateral"
    both = side == "bilateral"
    if lesion.kind == "pleural effusion":
        return f"{side} pleural effusion{'s' * both}", both
    if lesion.kind == "pneumothorax":
        return f"{side} pneumothorax", False
    if lesion.kind == "atelectasis":
        return f"{'bibasilar' if both else side + ' basilar'} atelectasis", False
    if lesion.kind == "consolidation":
        return f"{side} {lesion.zone} lung consolidation", False
    if lesion.kind == "nodule":
        return f"{side} {lesion.zone} lung nodule", False
    return {"cardiomegaly": "cardiomegaly", "edema": "pulmonary edema"}[lesion.kind], False


def _positive(lesion: Lesion, before: Lesion | None, has_prior: bool, generator: np.random.Generator) -> Sentence:
    noun, plural = _noun(lesion)
    level = lesion.word
    countable = lesion.kind not in ("cardiomegaly", "edema", "atelectasis") and not plural
    article = "a " if countable else ""
    verb = "are" if plural else "is"
    cue, state = "", "yes"
    if has_prior and before is not None and generator.random() < COMPARED:
        if lesion.level > before.level:
            cue = "worsened"
            text = _pick(generator, (
                f"{level} {noun} {verb} increased.",
                f"{level} {noun} {'have' if plural else 'has'} worsened since the prior study.",
            ))  # fmt: skip
        elif lesion.level < before.level:
            cue = "improved"
            text = _pick(generator, (
                f"{level} {noun} {verb} decreased.",
                f"{level} {noun} {'have' if plural else 'has'} improved since the prior study.",
            ))  # fmt: skip
        else:
            cue = "no change"
            text = _pick(generator, (
                f"{level} {noun} {verb} unchanged.",
                f"{level} {noun} {verb} stable compared to the prior study.",
            ))  # fmt: skip
    elif has_prior and before is None and generator.random() < COMPARED:
        cue = "worsened"
        text = f"there {verb} {article}new {level} {noun}."
    elif lesion.level == 0 and generator.random() < HEDGED:
        state = "maybe"
        text = f"possible {level} {noun}."
    else:
        text = _pick(generator, (
            f"there {verb} {article}{level} {noun}.",
            f"{level} {noun}.",
            f"{level} {noun} {verb} seen.",
            f"{article}{level} {noun} {verb} present.",
        ))  # fmt: skip
    return Sentence(
        text=text,
        finding=lesion.kind,
        state=state,
        regions=regions_of(lesion),
        attributes=_attributes(lesion.kind, "yes"),
        cue=cue,
        severity=level,
    )


def _attributes(kind: str, answer: str) -> tuple[str, ...]:
    named = [f"anatomicalfinding|{answer}|{KINDS[kind].attribute}"]
    if kind in ("consolidation", "edema", "atelectasis", "pleural effusion", "nodule"):
        named.append(f"anatomicalfinding|{answer}|lung opacity")
    return (*named, "nlp|yes|abnormal" if answer == "yes" else "nlp|yes|normal")


_PLACES = {
    "pleural effusion": ("right costophrenic angle", "left costophrenic angle", "right lung", "left lung"),
    "pneumothorax": ("right apical zone", "left apical zone", "right lung", "left lung"),
    "cardiomegaly": ("cardiac silhouette",),
    "edema": ("right lung", "left lung", "right hilar structures", "left hilar structures"),
}
"""Where a finding is said to be absent; both lungs if not listed."""

_DENIALS = {
    "pleural effusion": ("no pleural effusion.", "there is no pleural effusion.", "the costophrenic angles are sharp."),
    "consolidation": ("no focal consolidation.", "there is no consolidation."),
    "pneumothorax": ("no pneumothorax.", "there is no pneumothorax.", "no pneumothorax is seen."),
    "cardiomegaly": ("the heart is normal in size.", "the cardiac silhouette is normal in size."),
    "atelectasis": ("no atelectasis.", "there is no atelectasis."),
    "nodule": ("no pulmonary nodule.", "no nodule is seen."),
    "edema": ("no pulmonary edema.", "there is no pulmonary edema."),
}

_CLEARED = (
    Sentence("the lungs are clear.", "", "no", ("right lung", "left lung"), ("nlp|yes|normal",)),
    Sentence("the lungs are well expanded and clear.", "", "no", ("right lung", "left lung"), ("nlp|yes|normal",)),
    Sentence(
        "no acute cardiopulmonary process.",
        "",
        "no",
        ("right lung", "left lung", "cardiac silhouette", "mediastinum"),
        ("nlp|yes|normal",),
    ),
)

_ANATOMY = (
    Sentence("the mediastinal contours are unremarkable.", "", "no", ("mediastinum",), ("nlp|yes|normal",)),
    Sentence(
        "the hilar contours are normal.",
        "",
        "no",
        ("right hilar structures", "left hilar structures"),
        ("nlp|yes|normal", "anatomicalfinding|no|enlarged hilum"),
    ),
    Sentence("the trachea is midline.", "", "no", ("trachea",), ("nlp|yes|normal",)),
    Sentence(
        "no acute osseous abnormality.",
        "",
        "no",
        ("right clavicle", "left clavicle", "spine"),
        ("nlp|yes|normal", "anatomicalfinding|no|rib fracture"),
    ),
    Sentence(
        "no free air below the diaphragm.", "", "no", ("abdomen",), ("anatomicalfinding|no|sub-diaphragmatic air",)
    ),
)


def _negative(kind: str, generator: np.random.Generator) -> Sentence:
    places = _PLACES.get(kind, ("right lung", "left lung"))
    return Sentence(_pick(generator, _DENIALS[kind]), kind, "no", places, _attributes(kind, "no"))


def _resolved(before: Lesion, generator: np.random.Generator) -> Sentence:
    noun, plural = _noun(before)
    text = _pick(generator, (
        f"the previously seen {noun} {'have' if plural else 'has'} resolved.",
        f"{noun} {'are' if plural else 'is'} no longer seen.",
    ))  # fmt: skip
    return Sentence(text, before.kind, "no", regions_of(before), _attributes(before.kind, "no"), "improved")


def _clear(generator: np.random.Generator) -> Sentence:
    return _pick(generator, _CLEARED)


def _impression(sentences: Iterable[Sentence], generator: np.random.Generator) -> tuple[str, ...]:
    positive = [sentence.text for sentence in sentences if sentence.state != "no"]
    if not positive:
        return (_pick(generator, ("no acute cardiopulmonary process.", "normal chest radiograph.")),)
    return tuple(positive[: int(generator.integers(1, 4))])


def _layout(
    patient: Patient,
    visit: Visit,
    prior: Visit | None,
    sentences: list[Sentence],
    impression: tuple[str, ...],
    generator: np.random.Generator,
) -> str:
    view = visit.pictures[0].acquisition.view
    examination = "CHEST (PORTABLE AP)" if view == "AP" else "CHEST (PA)"
    reason = _pick(generator, ("cough", "dyspnea", "fever", "chest pain", "follow-up", "shortness of breath"))
    comparison = "Chest radiograph from ___." if prior else _pick(generator, ("None.", "___."))
    lines = [
        " " * 33 + "FINAL REPORT",
        f" EXAMINATION:  {examination}",
        "",
        f" INDICATION:  ___{patient.body.sex} with {reason}.",
        "",
        f" COMPARISON:  {comparison}",
        "",
        " FINDINGS:",
        "",
        *_wrapped([sentence.text for sentence in sentences]),
        "",
        " IMPRESSION:",
        "",
        *_wrapped(impression),
    ]
    if generator.random() < 0.12:
        lines += ["", *_wrapped(["findings were discussed with Dr. ___ by telephone on ___."])]
    return "\n".join(lines) + "\n"


def _wrapped(sentences: Iterable[str], width: int = 78) -> list[str]:
    """Sentences with capitals as indented lines, two blanks between sentences."""
    lines, line = [], ""
    for word in "  ".join(text[0].upper() + text[1:] for text in sentences).split(" "):
        if line and len(line) + 1 + len(word) > width:
            lines.append(" " + line.rstrip())
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, " " + line.rstrip()]
