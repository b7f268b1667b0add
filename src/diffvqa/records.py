"""The records that flow from the datasets to everything else: frozen, and validated when they are made."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from diffvqa.boxes import Box

SPLITS = ("train", "validate", "test")
"""The names of the splits; readers map their dataset's own names to these."""

QUESTION_TYPES = ("difference", "abnormality", "presence", "view", "location", "level", "type")
"""The question types of Medical-Diff-VQA; only `difference` looks at two images."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Region:
    """A box in an image, in pixels of the source file, with its anatomical name and its phrases."""

    box: Box
    name: str | None = None
    phrases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require(bool(self.name or self.phrases), "a region needs a name or a phrase")


@dataclass(slots=True, eq=False, repr=False)
class Regions(Sequence[Region]):
    """The regions of one image, kept small: MIMIC-CXR has nine million. A region is made when it is asked for.

    corners: x1 y1 x2 y2 of each region, one after the other. names and phrases: one entry a region.
    """

    corners: array[float]
    names: tuple[str | None, ...]
    phrases: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, regions: Iterable[Region]) -> Regions:
        """The same regions, kept small."""
        if isinstance(regions, Regions):
            return regions
        regions = tuple(regions)
        if not regions:
            return NO_REGIONS
        return cls(
            array("d", (edge for region in regions for edge in region.box.as_tuple())),
            tuple(region.name for region in regions),
            tuple(region.phrases for region in regions),
        )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return tuple(self[one] for one in range(*place.indices(len(self))))
        start = 4 * range(len(self))[place]
        return Region(Box(*self.corners[start : start + 4]), self.names[place], self.phrases[place])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))


NO_REGIONS = Regions(array("d"), (), ())
"""The regions of an image without known regions."""


@dataclass(frozen=True, slots=True)
class Image:
    """One image file. Width and height are pixels of the file; the view is in the dataset's words (PA, AP, ...)."""

    image_id: str
    path: Path
    width: int
    height: int
    view: str = ""
    regions: Sequence[Region] = NO_REGIONS

    def __post_init__(self) -> None:
        object.__setattr__(self, "regions", Regions.of(self.regions))
        _require(bool(self.image_id), "an image needs an identifier")
        _require(self.width > 0 and self.height > 0, "an image needs a width and a height")

    @property
    def file(self) -> str:
        """The dataset's name for the file: the identifier if it is a path, else the file's name."""
        return self.image_id if self.image_id.endswith(self.path.name) else self.path.name


@dataclass(frozen=True, slots=True)
class Study:
    """One visit of a patient: its frontal images, its report and its labels.

    order: a number that increases with time within a patient; equal values are a tie. split: one of SPLITS, for
    pretraining. findings: the labels of the dataset.
    """

    study_id: str
    subject_id: str
    order: float
    split: str
    images: tuple[Image, ...]
    report: str = ""
    findings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require(bool(self.study_id and self.subject_id), "a study needs an identifier and a patient")
        _require(self.split in SPLITS, f"a split is one of {', '.join(SPLITS)}")
        _require(bool(self.images), "a study needs an image")


@dataclass(frozen=True, slots=True)
class Pair:
    """The identifiers of the images that a question is about; prior is None for a question about one image.

    earlier: images before the prior, the nearest first. Datasets do not ask about them, but a model may see them.
    """

    current: str
    prior: str | None = None
    earlier: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require(self.prior != self.current, "prior and current are the same image")
        _require(self.prior is not None or not self.earlier, "an earlier image needs a prior one")

    @property
    def images(self) -> tuple[str, ...]:
        """All images of the pair, the current one first, then back in time."""
        return (self.current, *([] if self.prior is None else [self.prior]), *self.earlier)


class Source(NamedTuple):
    """The place where something was read: the name of a file, and the row (the header is row 1)."""

    file: str
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a pair of images, with its answer.

    type: one of QUESTION_TYPES, or another name. split: one of SPLITS, for finetuning and evaluation. source: the place
    where the question was read, for later messages.
    """

    question_id: str
    subject_id: str
    type: str
    pair: Pair
    text: str
    answer: str
    split: str
    source: Source | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        _require(bool(self.text and self.answer), "a question needs a text and an answer")
        _require(self.split in SPLITS, f"a split is one of {', '.join(SPLITS)}")
        _require(self.type != "difference" or self.pair.prior is not None, "a difference question needs a prior image")


@dataclass(frozen=True, slots=True)
class Problem:
    """A row or a file that was skipped, mended or doubtful: the kind, where it was read, and the reason."""

    kind: str
    source: Source
    reason: str


@dataclass(frozen=True)
class Cohort:
    """All that a reader found in a dataset; datasets: what was read, with versions as far as folders are called so."""

    studies: tuple[Study, ...]
    questions: tuple[Question, ...] = ()
    problems: tuple[Problem, ...] = field(default=())
    datasets: tuple[str, ...] = ()
