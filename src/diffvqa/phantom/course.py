"""The course of a patient's findings from study to study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from diffvqa.phantom.pathology import KINDS, SHARES, Lesion, at_level, draw_lesion

STUDIES = {2: 0.2, 3: 0.35, 4: 0.25, 5: 0.2}
"""How many studies a patient has, and how often."""

HEALTHY = 0.23
"""The share of patients whose first study is normal."""

STILL = 0.1
"""The chance that nothing at all changes from one study to the next, as usual."""

TRENDS = {-1: 0.46, 0: 0.18, 1: 0.36}
"""How often an illness gets better, stays, or gets worse between two studies, where something may change."""

FOLLOWS = 0.85
"""The chance that a finding goes with its illness, times its pace."""

APPEARS = 0.38
"""The chance that an illness which is not there breaks out, relative to its prevalence."""

SPREADS = 0.4
"""The chance that an illness which gets worse gains a finding, relative to how often it has it."""

BOTH_LUNGS = 0.45
"""The chance that an effusion of heart failure is on both sides."""

State = Mapping[str, Lesion]
"""The findings of one study, by name."""


@dataclass(frozen=True, slots=True)
class Illness:
    """A common cause of several findings of a patient. findings: how often each is there when the illness is.

    prevalence: the chance that a patient's first study has it.
    """

    prevalence: float
    findings: Mapping[str, float]


def draw_course(generator: np.random.Generator, critical: bool = False, still: float = STILL) -> list[State]:
    """The findings of each of a patient's studies, in order. critical: the patient is in intensive care.

    still: the chance that nothing at all changes from one study to the next, however ill the patient is. A patient has
    one site of each kind of finding. A finding that comes back does so at its site, and a level that comes back has the
    same severity. Two studies with the same findings at the same levels are therefore exactly the same disease.
    """
    patient = draw_susceptibility(generator, critical)
    number = int(generator.choice(list(STUDIES), p=list(STUDIES.values())))
    states: list[State] = [patient.first(generator)]
    while len(states) < number:
        states.append(patient.next(states[-1], generator, still))
    return states


@dataclass(frozen=True, slots=True)
class Susceptibility:
    """The findings that a patient may get. sites: the place of each. illnesses: those that belong together."""

    sites: State
    illnesses: tuple[Illness, ...]

    def first(self, generator: np.random.Generator) -> dict[str, Lesion]:
        """The findings of a first study; none for the healthy."""
        if generator.random() < HEALTHY:
            return {}
        while True:
            state: dict[str, Lesion] = {}
            for illness in self.illnesses:
                if generator.random() < illness.prevalence:
                    state |= self._outbreak(illness, generator)
            if state:
                return _ordered(state)

    def next(self, state: State, generator: np.random.Generator, still: float = STILL) -> dict[str, Lesion]:
        """The findings of the study that follows one with these."""
        if generator.random() < still:
            return dict(state)
        following: dict[str, Lesion] = {}
        for illness in self.illnesses:
            if any(name in state for name in illness.findings):
                following |= self._go_on(illness, state, generator)
            elif generator.random() < APPEARS * illness.prevalence:
                following |= self._outbreak(illness, generator)
        return _ordered(following)

    def _outbreak(self, illness: Illness, generator: np.random.Generator) -> dict[str, Lesion]:
        """An illness's findings as it breaks out: at least one."""
        names, shares = list(illness.findings), list(illness.findings.values())
        while True:
            there = generator.random(len(names)) < shares
            if there.any():
                return {name: self._fresh(name, generator) for name, one in zip(names, there, strict=True) if one}

    def _fresh(self, name: str, generator: np.random.Generator) -> Lesion:
        return at_level(self.sites[name], int(generator.choice(len(SHARES), p=SHARES)))

    def _go_on(self, illness: Illness, state: State, generator: np.random.Generator) -> dict[str, Lesion]:
        trend = int(generator.choice(list(TRENDS), p=list(TRENDS.values())))
        following: dict[str, Lesion] = {}
        for name, share in illness.findings.items():
            chance = float(generator.random())
            if name in state:
                moves = chance < FOLLOWS * KINDS[name].pace
                lesion = _moved(state[name], trend, generator) if moves else state[name]
                if lesion:
                    following[name] = lesion
            elif trend > 0 and chance < SPREADS * share * KINDS[name].pace:
                following[name] = self._fresh(name, generator)
        return following


def draw_susceptibility(generator: np.random.Generator, critical: bool = False) -> Susceptibility:
    """Draw a patient's possible findings. critical: in intensive care, where a lung collapses more often."""
    sites = {name: draw_lesion(name, generator) for name in KINDS}
    # Fluid has a cause, and the lung above fluid collapses.
    source = ("heart", "lung", "tumour", "none")[int(generator.choice(4, p=(0.55, 0.2, 0.1, 0.15)))]
    squeezed = generator.random() < 0.55
    heart = {"cardiomegaly": 0.5, "edema": 0.55}
    lung = {"consolidation": 1.0}
    tumour = {"nodule": 1.0}
    fluid: dict[str, float] = {}
    group, share = {"heart": (heart, 0.75), "lung": (lung, 0.6), "tumour": (tumour, 0.6), "none": (fluid, 1.0)}[source]
    group["pleural effusion"] = share
    if source == "heart" and generator.random() < BOTH_LUNGS:
        sites["pleural effusion"] = replace(sites["pleural effusion"], sides=sites["edema"].sides)
    if squeezed:
        group["atelectasis"] = 0.7 * share
        sites["atelectasis"] = replace(sites["atelectasis"], sides=sites["pleural effusion"].sides)
    return Susceptibility(
        sites,
        (
            Illness(0.33, heart),
            Illness(0.22, lung),
            Illness(0.13, tumour),
            Illness(0.24 if critical else 0.1, {"pneumothorax": 1.0}),
            *([] if squeezed else [Illness(0.27, {"atelectasis": 1.0})]),
            *([Illness(0.42, fluid)] if fluid else []),
        ),
    )


def _moved(lesion: Lesion, trend: int, generator: np.random.Generator) -> Lesion | None:
    """A finding that goes with its illness: a level up or down, or gone."""
    kind = KINDS[lesion.kind]
    if trend < 0 and kind.clears is not None and (lesion.level == 0 or generator.random() < kind.clears):
        return None
    level = lesion.level + trend
    if level < 0 or level >= len(SHARES) or (trend < 0 and kind.clears is None):
        return lesion
    return at_level(lesion, level)


def _ordered(state: State) -> dict[str, Lesion]:
    return {name: state[name] for name in KINDS if name in state}
