"""Test sets: patients drawn for one question each, with the truth known; all are of the split test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

from diffvqa.errors import InputError
from diffvqa.phantom.acquisition import TYPICAL, WIDE, draw_acquisition
from diffvqa.phantom.cohort import (
    Condition,
    Encounter,
    Patient,
    assemble,
    course_generator,
    devices_of,
    draw_encounters,
    draw_patient,
    generator_for,
    is_critical,
)
from diffvqa.phantom.course import STILL, State, draw_course, draw_susceptibility
from diffvqa.phantom.factors import DEVICES, FACTORS, NONE, vary
from diffvqa.phantom.pathology import KINDS, SEVERITY, at_level

MANY = 200_000
"""How many patients a set can have; every set has indices of its own, so that no two sets share a patient."""

_TYPICAL, _ILLNESS = 20, 21
"""Purposes of generators, beside those of `cohort`."""


def draw_from(name: str | None, seed: int, index: int, size: int, still: float = STILL) -> Patient:
    """The patient of that index in the named set, or in a cohort; images' longer side is `size` pixels.

    still: in a cohort the chance that nothing changes from one study to the next.
    """
    if name is None:
        return draw_patient(seed, index, size, still)
    return SETS[name](seed, index, size)


def check_set(name: str | None) -> None:
    """Raises InputError for a name that no set has."""
    if name is not None and name not in SETS:
        raise InputError(f"expected one of {', '.join(SETS)}, found {name!r}", argument="test_set")


def _own(name: str, index: int) -> int:
    """The index of a set's patient among all."""
    return MANY * (1 + list(SETS).index(name)) + index


def _change(seed: int, index: int, size: int) -> Patient:
    """Two studies with at least one change between them."""
    index = _own("change", index)
    generator = course_generator(seed, index)
    patient = draw_susceptibility(generator, is_critical(seed, index))
    prior = patient.first(generator)
    while (current := patient.next(prior, generator)) == prior:
        pass
    return assemble(seed, index, draw_encounters(seed, index, [prior, current], size), "test")


def _acquisition(seed: int, index: int, size: int) -> Patient:
    """Studies of the same disease: one, the same once more, and one with one factor at each of its strengths.

    All but the first are compared with it alone. None has the grain of another. Of so many patients in a row as there
    are factors, one for each, all have equally many findings: factors are held against one another.
    """
    block, place = divmod(index, len(FACTORS))
    tried, block, index = list(FACTORS)[place], _own("acquisition", block), _own("acquisition", index)
    ill = _illness(draw_course(generator_for(seed, block, _ILLNESS), is_critical(seed, block))[0])
    courses, critical = course_generator(seed, index), is_critical(seed, index)
    findings = next(state for _ in count() if _illness(state := draw_course(courses, critical)[0]) == ill)
    generator = generator_for(seed, index, _TYPICAL)
    # The dose is lowered: a higher one makes two pictures more alike than a repeat.
    lowest = 1.0 if tried == "dose" else 0.0
    first = next(one for _ in count() if (one := draw_acquisition(size, generator, TYPICAL)).dose > lowest)
    devices = devices_of(seed, index, 0, first.view)
    encounters = [Encounter(findings, (first,), devices)]
    for factor, strength in ((NONE, 0), *((tried, strength) for strength in FACTORS[tried])):
        varied = replace(vary(first, factor, strength), seed=int(generator.integers(2**31)))
        others = devices
        if factor == DEVICES:
            others = next(new for attempt in count(1) if (new := devices_of(seed, index, 1, "AP", attempt)) != devices)
        condition = Condition("repeat" if factor == NONE else f"{factor} {strength}", factor, strength)
        encounters.append(Encounter(findings, (varied,), others, condition))
    return assemble(seed, index, encounters, "test", baseline=True)


def _illness(state: State) -> int:
    """The number of findings; many are as good as three."""
    return min(len(state), 3)


def _subtle(seed: int, index: int, size: int) -> Patient:
    """Two studies between which one finding moves by one level, counting absence as the level below the lowest."""
    index = _own("subtle", index)
    generator = course_generator(seed, index)
    patient = draw_susceptibility(generator, is_critical(seed, index))
    state = patient.first(generator)
    name = list(KINDS)[int(generator.integers(len(KINDS)))]
    upper = int(generator.integers(len(SEVERITY)))
    states = [_with_level(state, patient.sites, name, level) for level in (upper - 1, upper)]
    if generator.random() < 0.5:
        states.reverse()
    encounters = draw_encounters(seed, index, states, size, condition=Condition("one step"))
    return assemble(seed, index, encounters, "test")


def _with_level(state: State, sites: State, name: str, level: int) -> State:
    """The same findings, the named one at a level; -1: without it."""
    there = {**state, name: at_level(sites[name], level)} if level >= 0 else state
    return {kind: there[kind] for kind in KINDS if kind in there and (kind != name or level >= 0)}


def _shift(seed: int, index: int, size: int) -> Patient:
    """Usual courses, taken in ways that lie twice as far apart, and beyond the limits of the usual cohort."""
    index = _own("shift", index)
    states = draw_course(course_generator(seed, index), is_critical(seed, index))
    return assemble(seed, index, draw_encounters(seed, index, states, size, WIDE, Condition("shift")), "test")


SETS: dict[str, Callable[[int, int, int], Patient]] = {
    "change": _change,
    "acquisition": _acquisition,
    "subtle": _subtle,
    "shift": _shift,
}
"""Name -> (seed, index, size) -> the patient. New ones go to the end: the place in the table is part of the seed."""
