"""Datasets as they lie on disk, read into records. A new dataset is one file here and one entry in `registry`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from diffvqa.data.chronology import ReversedPairs, settle_pairs
from diffvqa.data.reader import Reader
from diffvqa.data.registry import readers
from diffvqa.data.splits import split_by_patient
from diffvqa.errors import InputError
from diffvqa.records import Cohort


def _read_source(source: str) -> Cohort:
    """The cohort named by `KIND:PATH`, or by `KIND:name=PATH,name=PATH` for a kind that lies in several folders.

    Raises InputError for an unknown kind or name and for a folder or file that is not there.
    """
    kind, colon, rest = source.partition(":")
    known = ", ".join(readers())
    reader = readers().get(kind)
    if reader is None and not colon:
        raise InputError(f"expected KIND:PATH, found no colon; the kinds are {known}")
    if reader is None:
        raise InputError(f"no kind of dataset is called {kind!r}; there are: {known} (written KIND:PATH)")
    if not rest:
        raise InputError(f"{kind}: the folder is missing; write {kind}:PATH")
    if not re.match(r"\w+=", rest):
        return _named(reader.read(_existing(kind, rest)), reader)
    if reader.read_parts is None:
        raise InputError(f"{kind}: takes one folder, not named ones; write {kind}:PATH")
    parts: dict[str, Path | str] = {}
    for item in rest.split(","):
        name, equals, path = item.partition("=")
        if not equals or name not in reader.parts or name in parts:
            raise InputError(
                f"{kind}: every part is written name=PATH, once, with a name of {', '.join(reader.parts)}; "
                f"found {name if equals else 'a part without a name'!r}"
            )
        parts[name] = path if name in reader.words else _existing(f"{kind}:{name}", path)
    return _named(reader.read_parts(**parts), reader)


def _named(cohort: Cohort, reader: Reader) -> Cohort:
    """The cohort with the first dataset of its reader where it names none."""
    return cohort if cohort.datasets else replace(cohort, datasets=(reader.datasets[0].name,))


def _existing(argument: str, path: str) -> Path:
    """The folder or file of that path. Raises InputError if there is none; readers check which of the two it is."""
    place = Path(path).expanduser()
    if not place.exists():
        raise InputError(f"{argument}: the path given does not exist")
    return place


def read_sources(
    sources: Sequence[str], reversed_pairs: ReversedPairs = "drop", split_seed: int | None = None
) -> Cohort:
    """Read several sources (`KIND:PATH`) as one cohort, with every pair of images in the order of time.

    reversed_pairs: drop questions whose prior image is the later one, or turn them round. split_seed: split by patient
    with this seed and ignore the datasets' own splits, also for images that are for test only.

    Raises InputError if two sources hold an image of the same identifier. They must not hold the same patient, either,
    unless their patients come from one register, like those of MIMIC-CXR.
    """
    cohort = settle_pairs(_joined(sources), reversed_pairs)
    return cohort if split_seed is None else split_by_patient(cohort, split_seed)


def _joined(sources: Sequence[str]) -> Cohort:
    if not sources:
        raise InputError("no source given; write KIND:PATH with a KIND of " + ", ".join(readers()))
    cohorts = [_read_source(source) for source in sources]
    if len(cohorts) == 1:
        return cohorts[0]
    _refuse_shared_images(cohorts)
    _refuse_shared_patients([readers()[source.partition(":")[0]] for source in sources], cohorts)
    return Cohort(
        studies=tuple(study for cohort in cohorts for study in cohort.studies),
        questions=tuple(question for cohort in cohorts for question in cohort.questions),
        problems=tuple(problem for cohort in cohorts for problem in cohort.problems),
        datasets=tuple(dataset for cohort in cohorts for dataset in cohort.datasets),
    )


def _refuse_shared_images(cohorts: Sequence[Cohort]) -> None:
    images = ([image.image_id for study in cohort.studies for image in study.images] for cohort in cohorts)
    for other, number in _shared(images):
        raise InputError(
            f"sources {other} and {number} hold an image of the same identifier; "
            "give each dataset once, and prepare cohorts that overlap separately"
        )


def _refuse_shared_patients(read_by: Sequence[Reader], cohorts: Sequence[Cohort]) -> None:
    """Two people of one number would be one person, with a history and a split that neither has."""
    for other, number in _shared([study.subject_id for study in cohort.studies] for cohort in cohorts):
        one, two = read_by[other - 1], read_by[number - 1]
        if one.patients is None or one.patients != two.patients:
            raise InputError(
                f"sources {other} ({one.kind}) and {number} ({two.kind}) hold a patient of the same identifier; "
                "if these are two people, give the patients of one source other identifiers, or prepare the "
                "sources separately"
            )


def _shared(identifiers: Iterable[Iterable[str]]) -> Iterator[tuple[int, int]]:
    """The numbers of two sources, counted from 1, for every identifier of the second that the first has too."""
    first: dict[str, int] = {}
    for number, of_source in enumerate(identifiers, start=1):
        for one in of_source:
            if first.setdefault(one, number) != number:
                yield first[one], number
