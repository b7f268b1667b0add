"""Whose images are, by the rows of a table and the headers of its files: no two people are taken for one."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from diffvqa.cells import NOBODY, read_sex, why_nobody
from diffvqa.images.header import Header
from diffvqa.images.moments import Moment, moment_of
from diffvqa.records import Problem, Source

_WRITTEN = "birth date as it is written"
"""Of tables alone: a birth date that cannot be read can be compared with its like, but not with that of a header."""


class People:
    """The patients of a table by their identifiers, with their birth dates and sexes as far as they are said."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, str]] = {}

    def fault(self, identifier: str, where: Source, birth_date: str = "", sex: str = "") -> Problem | None:
        """Why an image cannot be given to the patient of an identifier, or None if it can; the cells as they stand."""
        reason = why_nobody(identifier)
        if reason == NOBODY:
            return Problem("patient_missing", where, reason)
        if reason:
            return Problem("patient_unreadable", where, reason)
        born = _day(moment_of(birth_date))
        said = {"birth date": born, _WRITTEN: born or birth_date, "sex": read_sex(sex)}
        return self._contradiction(identifier, where, said)

    def fault_of_header(self, identifier: str, where: Source, header: Header) -> Problem | None:
        """The same by the header of the image's file, whose own identifier may be another than the table's."""
        return self._contradiction(identifier, where, {"birth date": _day(header.born), "sex": header.sex})

    def _contradiction(self, identifier: str, where: Source, said: Mapping[str, str]) -> Problem | None:
        """The problem that a patient is two people, where what is said is not what was said; "" contradicts nothing."""
        known = self._known.setdefault(sys.intern(identifier), {})
        for name, value in said.items():
            if value and known.get(name, value) != value:
                what = "birth date" if name == _WRITTEN else name
                return Problem("patient_of_two_people", where, f"rows or files above give the patient another {what}")
        # It is kept only when all of it is known to be the same person's.
        known.update({name: value for name, value in said.items() if value})
        return None


def _day(moment: Moment | None) -> str:
    return f"{moment.first:%Y%m%d}" if moment else ""
