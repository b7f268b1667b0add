"""Images as the rows of tables name them, and the studies that they make."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from diffvqa.images.moments import Moment
from diffvqa.records import Image, Region, Source, Study


@dataclass(frozen=True, slots=True)
class ImageRow:
    """An image that can be used; size: width and height in pixels of its file. order: as in Study.

    until: to which the order reaches at the most, where its time is not known in full; a whole day without a time.
    """

    where: Source
    image_id: str
    subject_id: str
    study_id: str
    path: Path
    size: tuple[int, int]
    view: str
    order: float
    split: str
    until: float = -math.inf


def studies_of(
    rows: Iterable[ImageRow],
    regions: Callable[[ImageRow], Iterable[Region]],
    report: Callable[[ImageRow], str] = lambda _: "",
    findings: Mapping[str, Iterable[str]] | None = None,
) -> tuple[Study, ...]:
    """The studies of these images, each at the time of its earliest image, and in the split of its first.

    Studies of a patient whose times overlap, as where one of them has the day alone, are a tie. regions: those of an
    image. report: that of the study of an image. findings: study -> its findings.
    """
    by_study: dict[str, list[ImageRow]] = defaultdict(list)
    for row in rows:
        by_study[row.study_id].append(row)
    orders = _orders(by_study)
    return tuple(
        Study(
            study_id=study_id,
            subject_id=of_study[0].subject_id,
            order=orders[study_id],
            split=of_study[0].split,
            report=report(of_study[0]),
            images=tuple(Image(row.image_id, row.path, *row.size, row.view, tuple(regions(row))) for row in of_study),
            findings=tuple((findings or {}).get(study_id, ())),
        )
        for study_id, of_study in by_study.items()
    )


def span_of(moment: Moment) -> tuple[float, float]:
    """The earliest and the latest time that a moment may mean, in seconds since the year 1 (UTC if it has a zone)."""
    ahead = moment.zone or timedelta()
    first, last = ((one - datetime.min - ahead).total_seconds() for one in (moment.first, moment.last))
    return first, last


def _orders(by_study: Mapping[str, Iterable[ImageRow]]) -> dict[str, float]:
    """Study -> its order: that of the image which surely was early, and the same where times overlap."""
    of_patient: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for study_id, rows in by_study.items():
        early = min(rows, key=lambda row: (max(row.order, row.until), row.order))
        of_patient[early.subject_id].append((early.order, early.until, study_id))
    orders: dict[str, float] = {}
    for studies in of_patient.values():
        begin = end = -math.inf
        for order, until, study_id in sorted(studies):
            if order >= end:
                begin = order
            orders[study_id], end = begin, max(end, until)
    return orders
