"""The findings of the synthetic cohort: their levels, how each changes, and lesions drawn from them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

SIDES = ("right", "left")
"""The patient's sides; the patient's right lies on the image's left."""

ZONES = ("upper", "mid", "lower")
"""The zones of a lung, from apex to base."""

SEVERITY = ((0.06, 0.16), (0.26, 0.38), (0.52, 0.66), (0.82, 1.0))
"""Severity, 0 none to 1 gross, from which the levels draw, one range per level, with gaps between them.

A level and its neighbour therefore never overlap: the level is a function of the severity.
"""

SHARES = (0.12, 0.22, 0.32, 0.34)
"""How often each level is drawn when a finding appears, from subtle to gross."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A finding that the phantom can have.

    name: in the words of the answers. levels: four words, from subtle to gross. placement: "side" (one side or, rarely,
    both), "zone" (one zone of one side) or "whole". pace: how readily it changes within weeks, 1 for the quickest.
    clears: the chance that one which gets better is gone at once, and not a level lower; None if it never gets better.
    attribute: its name in Chest ImaGenome. label: its column among the CheXpert labels.
    """

    name: str
    levels: tuple[str, str, str, str]
    placement: str
    pace: float
    clears: float | None
    attribute: str
    label: str


KINDS = {
    kind.name: kind
    for kind in (
        #    name                levels                                        placement pace clears
        Kind("pleural effusion", ("minimal", "small", "moderate", "severe"), "side", 0.95, 0.6, "pleural effusion",
             "Pleural Effusion"),
        Kind("consolidation", ("minimal", "mild", "moderate", "severe"), "zone", 0.9, 0.6, "consolidation",
             "Consolidation"),
        Kind("pneumothorax", ("minimal", "small", "moderate", "severe"), "side", 0.95, 0.65, "pneumothorax",
             "Pneumothorax"),
        Kind("cardiomegaly", ("minimal", "mild", "moderate", "severe"), "whole", 0.3, 0.0,
             "enlarged cardiac silhouette", "Cardiomegaly"),
        Kind("atelectasis", ("minimal", "mild", "moderate", "severe"), "side", 0.95, 0.65, "atelectasis",
             "Atelectasis"),
        Kind("nodule", ("subtle", "small", "moderate", "massive"), "zone", 0.2, None,
             "mass/nodule (not otherwise specified)", "Lung Lesion"),
        Kind("edema", ("minimal", "mild", "moderate", "severe"), "whole", 1.0, 0.65, "pulmonary edema/hazy opacity",
             "Edema"),
    )
}  # fmt: skip
"""The one table of findings. How often each occurs, and with which others: see course.draw_susceptibility."""

BILATERAL = {"pleural effusion": 0.25, "atelectasis": 0.2}
"""The chance that a finding placed by side is on both sides."""


@dataclass(frozen=True, slots=True)
class Lesion:
    """One finding as a patient has it.

    sides: one or both of SIDES ("whole" findings have both). zone: one of ZONES, or None. level: index into the levels
    of its kind. severity: 0 to 1, inside that level's range. shape: three numbers, 0 to 1, and a seed that fix its form
    and its place, and stay the same as long as the patient lives.
    """

    kind: str
    sides: tuple[str, ...]
    zone: str | None
    level: int
    severity: float
    shape: tuple[float, float, float]
    seed: int

    @property
    def word(self) -> str:
        """The level in the words of its kind."""
        return KINDS[self.kind].levels[self.level]


def level_of(severity: float) -> int:
    """The level, an index into SEVERITY, of a severity between 0 and 1: the nearest range."""
    return int(np.argmin([max(low - severity, severity - high, 0.0) for low, high in SEVERITY]))


def draw_lesion(kind: str, generator: np.random.Generator) -> Lesion:
    """A new lesion of the named kind, its level drawn by SHARES."""
    placement = KINDS[kind].placement
    level = int(generator.choice(len(SHARES), p=SHARES))
    side = SIDES[int(generator.integers(2))]
    both = generator.random() < BILATERAL.get(kind, 0.0)
    zone = ZONES[int(generator.choice(3, p=(0.25, 0.35, 0.4)))]
    first, second, third = (round(float(value), 6) for value in generator.random(3))
    seed = int(generator.integers(2**31))
    return Lesion(
        kind=kind,
        sides=SIDES if both or placement == "whole" else (side,),
        zone=zone if placement == "zone" else None,
        level=level,
        severity=_severity(seed, level),
        shape=(first, second, third),
        seed=seed,
    )


def at_level(lesion: Lesion, level: int) -> Lesion:
    """The same lesion at a level; always of the same severity there."""
    return replace(lesion, level=level, severity=_severity(lesion.seed, level))


def _severity(seed: int, level: int) -> float:
    low, high = SEVERITY[level]
    return round(float(np.random.default_rng([seed, level]).uniform(low, high)), 6)
