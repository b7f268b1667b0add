"""Reports on synthetic studies: sentences with what they are about, so that regions can carry them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

import numpy as np

from diffvqa.errors import InputError
from diffvqa.phantom.cohort import Patient, Visit
from diffvqa.phantom.devices import KINDS as DEVICES
from diffvqa.phantom.devices import Device, tube_tip
from diffvqa.phantom.pathology import KINDS, Lesion

_T = TypeVar("_T")

SUPPORT_DEVICES = "support devices"
"""The subject of a sentence on a tube, a line or another device."""


@dataclass(frozen=True, slots=True)
class Reporting:
    """The completeness and clarity of reports: probabilities, 0 to 1.

    omitted: nothing is said of a finding or a device that is there; where nothing abnormal is left to say, the report
    may call the image normal, as one does in which the finding was overlooked. denied: an absent finding is said to be
    absent. compared: a finding is said to have changed or not since the study before. shuffled: the findings come in an
    order of the report's own. hedged: a finding of the lowest level is only called possible. placed: a finding on one
    side is said to be on that side. Raises InputError for a number that is no chance.
    """

    omitted: float = 0.15
    denied: float = 0.45
    compared: float = 0.5
    shuffled: float = 0.1
    hedged: float = 0.25
    placed: float = 1.0

    def __post_init__(self) -> None:
        for name, rate in asdict(self).items():
            if not 0.0 <= rate <= 1.0:
                raise InputError(f"expected a chance from 0 to 1, found {rate:g}", argument=name)


AS_USUAL = Reporting()
"""The cohort's reports."""


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


def write_report(
    patient: Patient,
    visit: Visit,
    prior: Visit | None,
    generator: np.random.Generator,
    reporting: Reporting = AS_USUAL,
) -> Report:
    """A report on a study, written with or without the one before at hand.

    Two reports with the same draws use the same words. The one that omits less states every finding that the other
    states.
    """
    devices = [_on_device(device, generator, reporting) for device in visit.devices]
    sentences: list[Sentence] = []
    # Each finding's words are a stream of their own: what is left out changes none of the others.
    for name, words in zip(KINDS, generator.spawn(len(KINDS)), strict=True):
        lesion = visit.findings.get(name)
        before = prior.findings.get(name) if prior else None
        said = words.random()
        if lesion is not None:
            if said >= reporting.omitted:
                sentences.append(_positive(lesion, before, prior is not None, words, reporting))
        elif before is not None and words.random() < 0.5:
            sentences.append(_resolved(before, words, reporting))
        elif said < reporting.denied:
            sentences.append(_negative(name, words))
    if not any(sentence.state != "no" for sentence in sentences):
        sentences.append(_pick(generator, _CLEARED))
    impression = _impression(sentences, generator)
    sentences = [*(sentence for sentence in devices if sentence), *sentences]
    if generator.random() < 0.5:
        sentences.append(_pick(generator, _ANATOMY))
    # Radiologists go through a picture in their own fixed order; now and then one begins elsewhere.
    if generator.random() < reporting.shuffled:
        sentences = [sentences[place] for place in generator.permutation(len(sentences))]
    return Report(tuple(sentences), impression, _layout(patient, visit, prior, sentences, impression, generator))


def regions_of(lesion: Lesion) -> tuple[str, ...]:
    """The regions that a lesion is seen in."""
    if KINDS[lesion.kind].placement == "whole":
        return _PLACES[lesion.kind]
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


def _noun(lesion: Lesion, placed: bool) -> tuple[str, bool]:
    """A finding with its place, if that is said, and whether it is a plural."""
    side = lesion.sides[0] if len(lesion.sides) == 1 else "bilateral"
    both = side == "bilateral"
    if not placed and not both:
        return {"consolidation": "lung consolidation", "nodule": "lung nodule"}.get(lesion.kind, lesion.kind), False
    noun = {
        "pleural effusion": f"{side} pleural effusion{'s' * both}",
        "pneumothorax": f"{side} pneumothorax",
        "atelectasis": f"{'bibasilar' if both else side + ' basilar'} atelectasis",
        "consolidation": f"{side} {lesion.zone} lung consolidation",
        "nodule": f"{side} {lesion.zone} lung nodule",
        "cardiomegaly": "cardiomegaly",
        "edema": "pulmonary edema",
    }[lesion.kind]
    return noun, both and lesion.kind == "pleural effusion"


def _positive(
    lesion: Lesion, before: Lesion | None, has_prior: bool, generator: np.random.Generator, reporting: Reporting
) -> Sentence:
    placed = generator.random() < reporting.placed
    noun, plural = _noun(lesion, placed)
    level = lesion.word
    countable = lesion.kind not in ("cardiomegaly", "edema", "atelectasis") and not plural
    article = "a " if countable else ""
    verb = "are" if plural else "is"
    cue, state = "", "yes"
    if before is not None and generator.random() < reporting.compared:
        cue, words = _COMPARED[int(np.sign(lesion.level - before.level))]
        text = f"{level} {noun} {_pick(generator, words).format(be=verb, have='have' if plural else 'has')}."
    elif before is None and has_prior and generator.random() < reporting.compared:
        cue = "worsened"
        text = f"there {verb} {article}new {level} {noun}."
    elif lesion.level == 0 and generator.random() < reporting.hedged:
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
        regions=regions_of(lesion) if placed else _places(lesion.kind),
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
"""The region of an absent finding, or of a finding without a side; both lungs if not listed."""

_DENIALS = {
    "pleural effusion": ("no pleural effusion.", "there is no pleural effusion.", "the costophrenic angles are sharp."),
    "consolidation": ("no focal consolidation.", "there is no consolidation."),
    "pneumothorax": ("no pneumothorax.", "there is no pneumothorax.", "no pneumothorax is seen."),
    "cardiomegaly": ("the heart is normal in size.", "the cardiac silhouette is normal in size."),
    "atelectasis": ("no atelectasis.", "there is no atelectasis."),
    "nodule": ("no pulmonary nodule.", "no nodule is seen."),
    "edema": ("no pulmonary edema.", "there is no pulmonary edema."),
}

_COMPARED = {
    1: ("worsened", ("{be} increased", "{have} worsened since the prior study")),
    -1: ("improved", ("{be} decreased", "{have} improved since the prior study")),
    0: ("no change", ("{be} unchanged", "{be} stable compared to the prior study")),
}
"""Direction of a change of level -> its cue, and the words for it."""


def _normal(text: str, *regions: str, attributes: tuple[str, ...] = ("nlp|yes|normal",)) -> Sentence:
    return Sentence(text, "", "no", regions, attributes)


_CLEARED = (
    _normal("the lungs are clear.", "right lung", "left lung"),
    _normal("the lungs are well expanded and clear.", "right lung", "left lung"),
    _normal("no acute cardiopulmonary process.", "right lung", "left lung", "cardiac silhouette", "mediastinum"),
)

_ANATOMY = (
    _normal("the mediastinal contours are unremarkable.", "mediastinum"),
    _normal("the hilar contours are normal.", "right hilar structures", "left hilar structures",
            attributes=("nlp|yes|normal", "anatomicalfinding|no|enlarged hilum")),
    _normal("the trachea is midline.", "trachea"),
    _normal("no acute osseous abnormality.", "right clavicle", "left clavicle", "spine",
            attributes=("nlp|yes|normal", "anatomicalfinding|no|rib fracture")),
    _normal("no free air below the diaphragm.", "abdomen",
            attributes=("anatomicalfinding|no|sub-diaphragmatic air",)),
)  # fmt: skip


def _places(kind: str) -> tuple[str, ...]:
    """The regions of a finding of which no side is said."""
    return _PLACES.get(kind, ("right lung", "left lung"))


def _negative(kind: str, generator: np.random.Generator) -> Sentence:
    return Sentence(_pick(generator, _DENIALS[kind]), kind, "no", _places(kind), _attributes(kind, "no"))


def _resolved(before: Lesion, generator: np.random.Generator, reporting: Reporting) -> Sentence:
    placed = generator.random() < reporting.placed
    noun, plural = _noun(before, placed)
    text = _pick(generator, (
        f"the previously seen {noun} {'have' if plural else 'has'} resolved.",
        f"{noun} {'are' if plural else 'is'} no longer seen.",
    ))  # fmt: skip
    regions = regions_of(before) if placed else _places(before.kind)
    return Sentence(text, before.kind, "no", regions, _attributes(before.kind, "no"), "improved")


def _on_device(device: Device, generator: np.random.Generator, reporting: Reporting) -> Sentence | None:
    """The sentence of a report on a device, if any."""
    said, text = generator.random(), _pick(generator, _DEVICE_WORDS[device.name])
    kind = DEVICES[device.name]
    if kind.attribute is None or said < reporting.omitted:
        return None
    text = text.format(distance=f"{tube_tip(device):.1f}")
    return Sentence(text, SUPPORT_DEVICES, "yes", kind.regions, (kind.attribute,))


_DEVICE_WORDS = {
    "endotracheal tube": (
        "endotracheal tube terminates {distance} cm above the carina.",
        "the endotracheal tube is in standard position.",
    ),
    "central venous line": (
        "right internal jugular central line terminates near the cavoatrial junction.",
        "the tip of the right internal jugular line projects over the svc.",
    ),
    "enteric tube": (
        "enteric tube courses below the diaphragm.",
        "the tip of the enteric tube projects over the stomach.",
    ),
    "pacemaker": (
        "left chest wall pacemaker is seen.",
        "a left-sided pacemaker with leads in unchanged position is present.",
    ),
    "ECG leads": ("",),
}


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


def _wrapped(sentences: Iterable[str]) -> list[str]:
    """Sentences with capitals as indented lines, two blanks between sentences."""
    text = "  ".join(text[0].upper() + text[1:] for text in sentences)
    return textwrap.wrap(text, 79, initial_indent=" ", subsequent_indent=" ", break_on_hyphens=False)
