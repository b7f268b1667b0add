"""Whether radiographs are such that a model can be asked about them: what is an error, a reason not to, or a warning.

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
    """Warnings about the order of files, which are given by name: current, prior, prior 2, ..., from late to early.

    Raises InputError where headers contradict the order, unless it is to be trusted.
    """
    warnings = []
    for (later, one), (earlier, other) in itertools.pairwise(headers.items()):
        if one is None or other is None or one.taken is None or other.taken is None:
            warnings.append(f"{later} and {earlier}: the order is as given; only DICOM files with dates tell it")
            continue
        if one.before(other):
            if not trusted:
                raise InputError(
                    f"{{{earlier}}} was taken later than {{{later}}}, by their headers; exchange them, or give "
                    "{trust_order} if the headers are wrong",
                    mentions=(earlier, later, "trust_order"),
                )
            warnings.append(f"{later} and {earlier}: the order is as given, though the headers say the contrary")
        elif not other.before(one):
            warnings.append(f"{later} and {earlier}: by their headers they were taken at the same time")
    return warnings


def check_identity(headers: Mapping[str, Header | None], trusted: bool) -> list[str]:
    """Warnings about whether the files show one patient.

    Raises InputError where headers say that they do not, unless identity is to be trusted.
    """
    warnings = []
    (current, one), *others = headers.items()
    for name, other in others:
        if one is not None and other is not None and _are_two_people(one, other):
            if not trusted:
                raise InputError(
                    f"{{{name}}} and {{{current}}} show different patients, by their headers; give files of one "
                    "patient, or {trust_identity} if it has several identifiers",
                    mentions=(name, current, "trust_identity"),
                )
            warnings.append(f"{current} and {name}: taken for one patient as told, though the headers differ")
        elif one is None or other is None or one.patient is None or other.patient is None:
            warnings.append(
                f"{current} and {name}: that they show one patient is not checked; only DICOM files tell it"
            )
    return warnings


def check_views(headers: Mapping[str, Header | None]) -> list[str]:
    """Warnings about views and pixels that are unlike those of most chest radiographs, and where frontal views differ.

    The latter alone makes hearts larger and lungs shorter.
    """
    known = {name: header for name, header in headers.items() if header}
    warnings = [f"{name}: {said}" for name, header in known.items() for said in (*header.doubts(), *header.remarks())]
    if {AP, PA} <= {header.view for header in known.values()}:
        warnings.append("one view is AP and another PA: sizes, of the heart above all, differ with the view")
    return warnings


def why_not(headers: Mapping[str, Header | None]) -> list[str]:
    """Reasons, by the headers, why a model cannot be asked about the files; none if it can."""
    return [f"{name}: {fault}" for name, header in headers.items() if header for fault in header.faults()]


def check_orientation(orientations: Mapping[str, Orientation]) -> list[str]:
    """A warning about each picture that was brought upright."""
    return [
        f"{name}: turned or mirrored by its header; boxes are in pixels of the file as stored"
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
