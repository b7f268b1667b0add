"""How a patient's findings go from study to study."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from diffvqa.phantom.pathology import KINDS, SHARES, Lesion, at_level, draw_lesion

STUDIES = {2: 0.2, 3: 0.35, 4: 0.25, 5: 0.2}
"""How many studies a patient has, and how often."""

HEALTHY = 0.23
"""The share of patients whose first study is normal."""

STILL = 0.19
"""The chance that nothing at all changes from one study to the next."""

RESOLVES, GROWS, SHRINKS = 0.26, 0.09, 0.09
"""Where something changes: what a present finding may do; else it stays exactly as it was."""

APPEARS = 0.28
"""Where something changes: the chance of a new finding, relative to its prevalence."""

State = Mapping[str, Lesion]
"""The findings of one study, by name."""


def draw_course(generator: np.random.Generator) -> list[State]:
    """The findings of each of a patient's studies, in order.

    A patient has one site of each kind of finding: what comes back, comes back there, and what returns to a level
    returns to the same severity. Two studies with the same findings at the same levels are therefore exactly the same
    disease.
    """
    sites = {name: draw_lesion(name, generator) for name in KINDS}
    number = int(generator.choice(list(STUDIES), p=list(STUDIES.values())))
    states = [_first(sites, generator)]
    while len(states) < number:
        states.append(_next(sites, states[-1], generator))
    return states


def _first(sites: State, generator: np.random.Generator) -> dict[str, Lesion]:
    if generator.random() < HEALTHY:
        return {}
    chances = np.array([kind.prevalence for kind in KINDS.values()])
    while True:
        present = generator.random(len(KINDS)) < chances
        if present.any():
            return {name: sites[name] for name, there in zip(KINDS, present, strict=True) if there}


def _next(sites: State, state: State, generator: np.random.Generator) -> dict[str, Lesion]:
    if generator.random() < STILL:
        return dict(state)
    following: dict[str, Lesion] = {}
    for name, kind in KINDS.items():
        chance = float(generator.random())
        fresh = int(generator.choice(len(SHARES), p=SHARES))
        if name not in state:
            if chance < APPEARS * kind.prevalence:
                following[name] = at_level(sites[name], fresh)
            continue
        lesion = state[name]
        if chance < RESOLVES:
            continue
        step = 1 if chance < RESOLVES + GROWS else -1 if chance < RESOLVES + GROWS + SHRINKS else 0
        # At the end of the scale a change can only go the other way.
        level = lesion.level + step if 0 <= lesion.level + step < len(SHARES) else lesion.level - step
        following[name] = at_level(lesion, level)
    return following
