"""Whose images are, by the rows of a table: no two people are taken for one."""

from __future__ import annotations

import sys

from diffvqa.cells import NOBODY, read_sex, why_nobody
from diffvqa.images.moments import moment_of
from diffvqa.records import Problem, Source


class People:
    """The patients of a table by their identifiers, with their birth dates and sexes where the table has them."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, str]] = {}

    def fault(self, identifier: str, where: Source, birth_date: str = "", sex: str = "") -> Problem | None:
        """Why an image cannot be given to the patient of an identifier, or None if it can; the cells as they stand."""
        reason = why_nobody(identifier)
        if reason == NOBODY:
            return Problem("patient_missing", where, reason)
        if reason:
            return Problem("patient_unreadable", where, reason)
        born = moment_of(birth_date)
        said = {"birth date": f"{born.first:%Y%m%d}" if born else birth_date, "sex": read_sex(sex)}
        known = self._known.setdefault(sys.intern(identifier), {})
        for name, value in said.items():
            if value and known.setdefault(name, value) != value:
                return Problem("patient_of_two_people", where, f"rows above give the patient another {name}")
        return None
