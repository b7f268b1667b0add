"""Images as the rows of tables name them, and the studies that they make."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from diffvqa.records import Image, Region, Source, Study


@dataclass(frozen=True, slots=True)
class ImageRow:
    """An image that can be used; size: width and height in pixels of its file. order: as in Study."""

    where: Source
    image_id: str
    subject_id: str
    study_id: str
    path: Path
    size: tuple[int, int]
    view: str
    order: float
    split: str


def studies_of(
    rows: Iterable[ImageRow],
    regions: Callable[[ImageRow], Iterable[Region]],
    report: Callable[[ImageRow], str] = lambda _: "",
    findings: Mapping[str, Iterable[str]] | None = None,
) -> tuple[Study, ...]:
    """The studies of these images, each at the time of its earliest image, and in the split of its first.

    regions: those of an image. report: that of the study of an image. findings: study -> its findings.
    """
    by_study: dict[str, list[ImageRow]] = defaultdict(list)
    for row in rows:
        by_study[row.study_id].append(row)
    return tuple(
        Study(
            study_id=study_id,
            subject_id=of_study[0].subject_id,
            order=min(row.order for row in of_study),
            split=of_study[0].split,
            report=report(of_study[0]),
            images=tuple(Image(row.image_id, row.path, *row.size, row.view, tuple(regions(row))) for row in of_study),
            findings=tuple((findings or {}).get(study_id, ())),
        )
        for study_id, of_study in by_study.items()
    )
