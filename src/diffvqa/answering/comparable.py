"""Checks whether a model can be asked about radiographs: errors, reasons not to answer, and warnings.

Texts are fixed here: none quotes a header.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from diffvqa.errors import InputError
from diffvqa.images.header import Header
from diffvqa.images.orientation import UPRIGHT, Orientation
from diffvqa.images.views import AP, PA


def check_order(headers: Mapping[str, Header | None], trusted: bool) -> list[str]:
    """Warnings about the order of files, given by name from late to early: current, prior, prior 2, ...

    Raises InputError if headers contradict the order, unless `trusted` is true.
    """
    warnings = []
    for (later, one), (earlier, other) in itertools.pairwise(headers.items()):
        if one is None or other is None or one.taken is None or other.taken is None:
            warnings.append(
                f"{later} and {earlier}: the files do not say which was taken first; the given order is used"
            )
            continue
        if one.before(other):
            if not trusted:
                raise InputError(
                    f"{{{earlier}}} was taken later than {{{later}}}, according to their headers; exchange them, "
                    "or give {trust_order} if the headers are wrong",
                    mentions=(earlier, later, "trust_order"),
                )
            warnings.append(f"{later} and {earlier}: the given order is used, although the headers contradict it")
        elif not other.before(one):
            warnings.append(f"{later} and {earlier}: taken at the same time, according to their headers")
    return warnings


def check_identity(headers: Mapping[str, Header | None], trusted: bool) -> list[str]:
    """Warnings about whether the files show one patient.

    Raises InputError if headers say that they do not, unless `trusted` is true.
    """
    warnings = []
    (current, one), *others = headers.items()
    for name, other in others:
        if one is not None and other is not None and _are_two_people(one, other):
            if not trusted:
                raise InputError(
                    f"{{{name}}} and {{{current}}} show different patients, according to their headers; give files "
                    "of one patient, or {trust_identity} if the patient has several identifiers",
                    mentions=(name, current, "trust_identity"),
                )
            warnings.append(f"{current} and {name}: treated as one patient, as requested, although the headers differ")
        elif one is None or other is None or one.patient is None or other.patient is None:
            warnings.append(f"{current} and {name}: the files do not say whether they show the same patient")
    return warnings


def check_views(headers: Mapping[str, Header | None]) -> list[str]:
    """Warnings about unusual views and pixels, and about frontal views that differ.

    An AP view shows a larger heart and shorter lungs than a PA view.
    """
    known = {name: header for name, header in headers.items() if header}
    warnings = [f"{name}: {said}" for name, header in known.items() for said in (*header.doubts(), *header.remarks())]
    if {AP, PA} <= {header.view for header in known.values()}:
        warnings.append("one view is AP and another PA: sizes differ with the view, above all that of the heart")
    return warnings


def why_not(headers: Mapping[str, Header | None]) -> list[str]:
    """Reasons in the headers why a model cannot be asked about the files; none if it can."""
    return [f"{name}: {fault}" for name, header in headers.items() if header for fault in header.faults()]


def check_orientation(orientations: Mapping[str, Orientation]) -> list[str]:
    """A warning about each picture that was turned upright."""
    return [
        f"{name}: turned or mirrored, as its header says; boxes are in pixels of the file as stored"
        for name, orientation in orientations.items()
        if orientation != UPRIGHT
    ]


def _are_two_people(one: Header, other: Header) -> bool:
    """Whether identifiers, birth dates or sexes differ, each where both headers say it."""
    if one.patient and other.patient and _differ(one.patient, other.patient):
        return True
    return any(a and b and a != b for a, b in ((one.born, other.born), (one.sex, other.sex)))


def _differ(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether identifiers, each with its issuer, are not the same; an issuer that is not said may be any."""
    (number, issuer), (other_number, other_issuer) = one, other
    return number != other_number or bool(issuer and other_issuer and issuer != other_issuer)
