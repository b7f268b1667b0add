"""Questions of Medical-Diff-VQA on synthetic studies, answered from the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diffvqa.findings import DIFFERENCE_QUESTION, Change, level_question, write_changes
from diffvqa.phantom.cohort import Patient, Visit, true_changes
from diffvqa.phantom.pathology import KINDS, Lesion

AREA_QUESTIONS = 0.3
"""The chance that a change of level is also asked for by its area."""

_ZONE_WORDS = {"upper": "upper", "mid": "middle", "lower": "lower"}
_PLACE_WORDS = {"pleural effusion": "pleural", "pneumothorax": "apical", "atelectasis": "basilar"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A row of the table of questions."""

    study_id: int
    ref_id: int
    type: str
    question: str
    answer: str


def ask(patient: Patient, generator: np.random.Generator) -> list[Asked]:
    """All questions on a patient: every pair of an earlier and a later study, and a few on each study."""
    asked: list[Asked] = []
    visits = patient.visits
    for place, current in enumerate(visits):
        other = visits[place - 1] if place else visits[1]
        asked += [
            Asked(current.study_id, other.study_id, kind, question, answer)
            for kind, question, answer in _about_one(current, generator)
        ]
        for prior in patient.priors(place):
            changes = shuffled(true_changes(prior, current), generator)
            said = [(DIFFERENCE_QUESTION, write_changes(changes))]
            for change in changes:
                area = location(current.findings[change.finding]) if change.kind == "level" else ""
                if area and generator.random() < AREA_QUESTIONS:
                    said.append((f"what has changed in the {area} area?", write_changes([change])))
            asked += [Asked(current.study_id, prior.study_id, "difference", *one) for one in said]
    return asked


def shuffled(changes: list[Change], generator: np.random.Generator) -> list[Change]:
    """Levels and additions in an order of chance, as the dataset has them; what is missing keeps its order."""
    fixed = [change for change in changes if change.kind == "missing"]
    loose = [change for change in changes if change.kind != "missing"]
    return [*(loose[place] for place in generator.permutation(len(loose))), *fixed]


def location(lesion: Lesion) -> str:
    """The place of a lesion, in the location words of the dataset; empty for the heart."""
    if lesion.kind == "cardiomegaly":
        return ""
    side = lesion.sides[0] if len(lesion.sides) == 1 else "bilateral"
    if lesion.kind == "edema":
        return "bilateral lung"
    return f"{side} {_ZONE_WORDS[lesion.zone] if lesion.zone else _PLACE_WORDS[lesion.kind]}"


def type_of(lesion: Lesion) -> str:
    """The type of a finding, where its picture shows one; else empty."""
    if lesion.kind == "atelectasis":
        return "linear" if lesion.level < 2 else "plate-like"
    if lesion.kind == "consolidation":
        return "patchy" if lesion.shape[2] < 0.5 else "dense"
    if lesion.kind == "edema":
        return "interstitial" if lesion.level < 2 else "ground-glass"
    return ""


def _about_one(visit: Visit, generator: np.random.Generator) -> Iterator[tuple[str, str, str]]:
    """(type, question, answer), three to five a study, no two alike."""
    candidates = {
        "abnormality": list(_abnormality(visit)),
        "presence": list(_presence(visit, generator)),
        "view": list(_view(visit)),
        "location": list(_locations(visit)),
        "level": [(level_question(name), lesion.word) for name, lesion in visit.findings.items()],
        "type": [(f"what type is the {name}?", type_of(one)) for name, one in visit.findings.items() if type_of(one)],
    }
    # About the shares that the dataset has.
    shares = {"abnormality": 0.27, "presence": 0.29, "view": 0.1, "location": 0.16, "level": 0.13, "type": 0.1}
    for _ in range(int(generator.integers(3, 6))):
        kinds = [kind for kind, rows in candidates.items() if rows]
        weights = np.array([shares[kind] for kind in kinds])
        kind = kinds[int(generator.choice(len(kinds), p=weights / weights.sum()))]
        rows = candidates[kind]
        question, answer = rows.pop(int(generator.integers(len(rows))))
        yield kind, question, answer


def _abnormality(visit: Visit) -> Iterator[tuple[str, str]]:
    names = list(visit.findings)
    yield "is there evidence of any abnormalities in this image?", "yes" if names else "no"
    if names:
        yield "what abnormalities are seen in this image?", ", ".join(names)
    for side in ("left", "right"):
        here = [name for name, lesion in visit.findings.items() if name != "cardiomegaly" and side in lesion.sides]
        if len(here) == 1:
            yield f"what abnormalities are seen in the {side} lung?", here[0]


def _presence(visit: Visit, generator: np.random.Generator) -> Iterator[tuple[str, str]]:
    absent = [name for name in KINDS if name not in visit.findings]
    # Absent findings are asked as often as present ones, so that "yes" is no good guess.
    number = max(1, len(visit.findings))
    picked = [absent[place] for place in generator.permutation(len(absent))[:number]]
    for name in [*visit.findings, *picked]:
        answer = "yes" if name in visit.findings else "no"
        template = ("is there evidence of {} in this image?", "is there {}?")[int(generator.integers(2))]
        yield template.format(name), answer
    for name, lesion in visit.findings.items():
        if KINDS[name].placement == "side":
            yield f"is the {name} bilateral?", "yes" if len(lesion.sides) == 2 else "no"
        if KINDS[name].placement != "whole" and len(lesion.sides) == 1:
            side = ("left", "right")[int(generator.integers(2))]
            yield f"is there {name} in the {side} area?", "yes" if side in lesion.sides else "no"


def _view(visit: Visit) -> Iterator[tuple[str, str]]:
    view = visit.pictures[0].acquisition.view
    yield "which view is this image taken?", f"{view} view"
    for name in ("PA", "AP"):
        yield f"is this {name} view?", "yes" if name == view else "no"


def _locations(visit: Visit) -> Iterator[tuple[str, str]]:
    for name, lesion in visit.findings.items():
        words = location(lesion)
        if not words:
            continue
        yield f"where in the image is the {name} located?", f"{words} area"
        yield f"where is the {name}?", f"{words} area"
        if len(lesion.sides) == 1:
            yield f"is the {name} located on the left side or right side?", f"{lesion.sides[0]} side"
