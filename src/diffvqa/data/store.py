"""A prepared cohort: every image decoded once into squares of one size, in shards that are mapped into memory."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffvqa.boxes import Box, Frame
from diffvqa.data import shards
from diffvqa.data.problems import write_problems
from diffvqa.data.shards import write_text
from diffvqa.errors import InputError
from diffvqa.records import Cohort, Image, Pair, Problem, Question, Region, Source, Study

SCHEMA = 2
"""The version of what lies in a store's folder."""

_STORE, _STARTED, _IMAGES, _QUESTIONS, _PROBLEMS = (
    "store.json", "started.json", "images.jsonl", "questions.jsonl", "problems.csv",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image of a store with what its study says of it.

    width, height and regions are in pixels of the source file; frame takes them into the store's squares. order
    increases with time within a patient.
    """

    image_id: str
    subject_id: str
    study_id: str
    order: float
    split: str
    view: str
    report: str
    findings: tuple[str, ...]
    width: int
    height: int
    frame: Frame
    regions: tuple[Region, ...]


class Store:
    """A store opened for reading.

    size: pixels a side. images: in the order of `pixels`. index: image identifier -> position.
    problems: how many of each kind were met, in reading the cohort and in preparing it; problems.csv lists them.
    Memory maps are opened where they are first used, so that a store can be sent to worker processes.
    """

    def __init__(
        self,
        folder: Path,
        size: int,
        fingerprint: str,
        images: list[StoredImage],
        questions: list[Question],
        problems: dict[str, int],
        shard_images: Sequence[int],
    ) -> None:
        self.folder, self.size, self.fingerprint = folder, size, fingerprint
        self.images, self.questions, self.problems = images, questions, problems
        self.index = {image.image_id: position for position, image in enumerate(images)}
        self._starts = [0, *itertools.accumulate(shard_images)]
        self._shards: dict[int, np.ndarray] = {}

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Store:
        """The finished store in a folder. Raises InputError if there is none, or one that was not finished."""
        folder = Path(folder)
        if not (folder / _STORE).is_file():
            if (folder / _STARTED).is_file():
                raise InputError("store: the folder given holds a store that was not finished; run `prepare` again")
            raise InputError("store: the folder given holds no store (no store.json); make one with `diffvqa prepare`")
        try:
            about = json.loads((folder / _STORE).read_text(encoding="utf-8"))
            if about["schema"] != SCHEMA:
                raise InputError(
                    f"store: made by another version (schema {about['schema']}, expected {SCHEMA}); prepare it anew"
                )
            size = about["size"]
            images = [_image_of(row, size) for row in _read_lines(folder / _IMAGES)]
            questions = [_question_of(row) for row in _read_lines(folder / _QUESTIONS)]
            problems, shard_images = about["problems"], about["shard_images"]
        except (OSError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError("store: the folder given holds a damaged store; delete it and prepare it anew") from error
        whole = all(
            path.is_file() and path.stat().st_size >= count * size * size
            for path, count in ((shards.path_of(folder, shard), count) for shard, count in enumerate(shard_images))
        )
        if sum(shard_images) != len(images) or not whole:
            raise InputError("store: its index and its shards disagree; delete the folder and prepare it anew")
        return cls(folder, size, about["fingerprint"], images, questions, problems, shard_images)

    def pixels(self, position: int) -> np.ndarray:
        """The grey square of the image at a position: uint8 (size, size), a copy."""
        position = range(len(self.images))[position]
        shard = bisect.bisect_right(self._starts, position) - 1
        if shard not in self._shards:
            self._shards[shard] = np.load(shards.path_of(self.folder, shard), mmap_mode="r", allow_pickle=False)
        return np.array(self._shards[shard][position - self._starts[shard]])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_shards": {}}


def prepare(
    cohort: Cohort, folder: Path, size: int, workers: int = 1, progress: shards.Progress | None = None
) -> Store:
    """Decode every image of a cohort into a store; the same call again goes on where the last was stopped.

    size: pixels a side of the squares. workers: processes that decode. Images that cannot be read are left out with
    the questions on them, and listed in problems.csv. Raises InputError if the folder holds something else, or if
    not one image can be read.
    """
    if size < 16:
        raise InputError(f"size: expected at least 16 pixels, found {size}")
    if workers < 1:
        raise InputError(f"workers: expected at least 1, found {workers}")
    pairs = [(study, image) for study in cohort.studies for image in study.images]
    if not pairs:
        raise InputError("the sources hold no image that can be prepared; see `diffvqa inspect` for the reasons")
    folder = Path(folder)
    fingerprint = _fingerprint(cohort, size)
    if _begin(folder, fingerprint):
        return Store.open(folder)

    outcomes = shards.write(folder, [image for _, image in pairs], size, workers, progress)
    if all(isinstance(outcome, str) for outcome in outcomes):
        shutil.rmtree(folder)
        raise InputError(f"not one of the {len(pairs)} images can be read; the first: {outcomes[0]}")
    problems = list(cohort.problems)
    stored = []
    for (study, image), outcome in zip(pairs, outcomes, strict=True):
        if isinstance(outcome, str):
            problems.append(Problem("image_unreadable", Source(image.path.name), outcome))
        else:
            stored.append(_stored(study, image, outcome, size, problems))
    known = {None, *(image.image_id for image in stored)}
    questions = []
    for question in cohort.questions:
        if question.pair.current in known and question.pair.prior in known:
            questions.append(question)
        else:
            problems.append(
                Problem("question_without_image", question.source or Source("questions"), "an image cannot be read")
            )

    write_text(folder / _IMAGES, "".join(_line(_image_row(image)) for image in stored))
    write_text(folder / _QUESTIONS, "".join(_line(_question_row(question)) for question in questions))
    write_problems(folder / _PROBLEMS, problems)
    shard_images = [
        sum(not isinstance(outcome, str) for outcome in outcomes[start : start + shards.IMAGES])
        for start in range(0, len(outcomes), shards.IMAGES)
    ]
    about = {
        "schema": SCHEMA,
        "size": size,
        "fingerprint": fingerprint,
        "images": len(stored),
        "patients": len({image.subject_id for image in stored}),
        "questions": len(questions),
        "problems": dict(sorted(Counter(problem.kind for problem in problems).items())),
        "shard_images": shard_images,
    }
    # Last of all: a folder with this file is a store that was finished.
    write_text(folder / _STORE, json.dumps(about, indent=1) + "\n")
    return Store.open(folder)


def _begin(folder: Path, fingerprint: str) -> bool:
    """Make the folder ready for this cohort; True if it holds the finished store already."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = os.listdir(folder)
    except OSError as error:
        raise InputError(f"the store's folder cannot be made or read ({error.strerror}); choose another") from error
    started = folder / _STARTED
    if started.is_file():
        try:
            found = json.loads(started.read_text(encoding="utf-8")).get("fingerprint")
        except (ValueError, AttributeError):
            found = None
        if found != fingerprint:
            raise InputError(
                "the store's folder holds a store of another cohort or another size; "
                "choose another folder, or delete that one"
            )
        return (folder / _STORE).is_file()
    if names:
        raise InputError("the store's folder is not empty and holds no store; choose another, or an empty one")
    os.chmod(folder, 0o700)
    write_text(started, json.dumps({"fingerprint": fingerprint}) + "\n")
    return False


def _stored(study: Study, image: Image, size: tuple[int, int], side: int, problems: list[Problem]) -> StoredImage:
    """An image with what belongs to it; its boxes follow if the file has another size than its dataset says."""
    width, height = size
    regions = image.regions
    if size != (image.width, image.height):
        along, down = width / image.width, height / image.height
        resized = abs(along / down - 1) < 0.02
        problems.append(
            Problem(
                "size_differs",
                Source(image.path.name),
                f"{width}x{height} pixels, its dataset says {image.width}x{image.height}: its boxes are "
                + ("scaled along" if resized else "left out, for the shape differs too"),
            )
        )
        regions = tuple(
            Region(
                Box(region.box.x1 * along, region.box.y1 * down, region.box.x2 * along, region.box.y2 * down),
                region.name,
                region.phrases,
            )
            for region in (regions if resized else ())
        )
    frame = Frame.letterbox(width, height, side)
    return StoredImage(
        image.image_id, study.subject_id, study.study_id, study.order, study.split, image.view, study.report,
        study.findings, width, height, frame, regions,
    )  # fmt: skip


def _fingerprint(cohort: Cohort, size: int) -> str:
    """A digest of all that decides what a store holds, but for where the files lie."""
    digest = hashlib.sha256(json.dumps([SCHEMA, shards.IMAGES, size]).encode())
    for study in cohort.studies:
        images = [
            [image.image_id, image.path.name, image.width, image.height, image.view, _region_rows(image.regions)]
            for image in study.images
        ]
        digest.update(
            _line(
                [study.study_id, study.subject_id, study.order, study.split, study.report, study.findings, images]
            ).encode()
        )
    for question in cohort.questions:
        digest.update(_line(_question_row(question)).encode())
    return digest.hexdigest()


def _region_rows(regions: Iterable[Region]) -> list[list[Any]]:
    return [[*region.box.as_tuple(), region.name, region.phrases] for region in regions]


def _image_row(image: StoredImage) -> dict[str, Any]:
    return {
        "image_id": image.image_id,
        "subject_id": image.subject_id,
        "study_id": image.study_id,
        "order": image.order,
        "split": image.split,
        "view": image.view,
        "report": image.report,
        "findings": image.findings,
        "width": image.width,
        "height": image.height,
        "regions": _region_rows(image.regions),
    }


def _image_of(row: dict[str, Any], size: int) -> StoredImage:
    regions = tuple(
        Region(Box(x1, y1, x2, y2), name, tuple(phrases)) for x1, y1, x2, y2, name, phrases in row.pop("regions")
    )
    frame = Frame.letterbox(row["width"], row["height"], size)
    return StoredImage(**{**row, "findings": tuple(row["findings"])}, frame=frame, regions=regions)


def _question_row(question: Question) -> dict[str, Any]:
    return {
        "question_id": question.question_id,
        "subject_id": question.subject_id,
        "type": question.type,
        "current": question.pair.current,
        "prior": question.pair.prior,
        "text": question.text,
        "answer": question.answer,
        "split": question.split,
    }


def _question_of(row: dict[str, Any]) -> Question:
    pair = Pair(current=row.pop("current"), prior=row.pop("prior"))
    return Question(pair=pair, **row)


def _line(value: Any) -> str:
    return json.dumps(value, separators=(",", ":")) + "\n"


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
