"""Dates, times and zones as DICOM headers, tables and reports write them: moments, known as far as they are written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

_DAY = r"(?P<year>\d{4})(?P<mark>[-./]?)(?P<month>\d{2})(?P=mark)(?P<day>\d{2})"
_TIME = r"(?P<hour>\d{2})(?::?(?P<minute>\d{2})(?::?(?P<second>\d{2})(?:[.,](?P<fraction>\d+))?)?)?"
_ZONE = r"(?P<zone>Z|[+-]\d{2}:?\d{2})"
_MOMENT = re.compile(rf"{_DAY}(?:[T\s]*{_TIME}\s*{_ZONE}?)?")
_OFFSET = re.compile(_ZONE)
_LASTING = {
    "fraction": timedelta(microseconds=1), "second": timedelta(seconds=1), "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1), "day": timedelta(days=1),
}  # fmt: skip


@dataclass(frozen=True, slots=True, repr=False)
class Moment:
    """A local time, from `first` to before `last` as far as it is written: a whole day where the time is missing.

    zone: how far local time is ahead of UTC; None where that is not said. Not shown: it may be a patient's.
    """

    first: datetime
    last: datetime
    zone: timedelta | None = None

    def before(self, other: Moment) -> bool:
        """Whether it was surely earlier; where the zone of either is missing, local times are compared as they are."""
        if self.zone is None or other.zone is None:
            return self.last <= other.first
        # Moments are not turned into UTC: the first and the last days of the calendar have no such moment.
        return self.last - other.first <= self.zone - other.zone


def moment_of(text: str, time: str = "", zone: str = "") -> Moment | None:
    """The moment of a date, or of date and time: `20240131`, `20240131 0930`, `2024-01-31T09:30:15.5+01:00`.

    time: where it is written apart; one that cannot be read is missing. zone: that which holds where none is written
    there. None for what cannot be read. A time that is missing, or written without seconds, is not known any better;
    digits of a second after the sixth are passed over.
    """
    return (_read(f"{text} {time}", zone) if time.strip() else None) or _read(text, zone)


def _read(text: str, zone: str) -> Moment | None:
    found = _MOMENT.fullmatch(text.strip())
    if not found:
        return None
    year, month, day, hour, minute = (int(found[name] or 0) for name in ("year", "month", "day", "hour", "minute"))
    second = int(found["second"] or 0)
    second -= second == 60  # which is one that was put in
    fraction = int((found["fraction"] or "")[:6].ljust(6, "0"))
    try:
        first = datetime(year, month, day, hour, minute, second, fraction)
        last = first + next(lasting for name, lasting in _LASTING.items() if found[name])
    except (ValueError, OverflowError):
        return None
    ahead = _offset(found["zone"] or zone)
    return None if found["zone"] and ahead is None else Moment(first, last, ahead)


def _offset(zone: str) -> timedelta | None:
    """How far ahead of UTC a zone is; None for what is none, or farther than any."""
    if not _OFFSET.fullmatch(zone):
        return None
    if zone == "Z":
        return timedelta()
    hours, minutes = int(zone[1:3]), int(zone[-2:])
    if hours > 14 or minutes > 59:
        return None
    ahead = timedelta(hours=hours, minutes=minutes)
    return ahead if zone[0] == "+" else -ahead
