"""Datasets as they lie on disk, read into records. A new dataset is one file here and one entry in READERS."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from diffvqa.data import mimic, ms_cxr, nih14, padchest_gr, table, vindr
from diffvqa.data.chronology import ReversedPairs, settle_pairs
from diffvqa.data.mimic import gold
from diffvqa.data.splits import split_by_patient
from diffvqa.errors import InputError
from diffvqa.records import Cohort


@dataclass(frozen=True)
class Reader:
    """How one kind of dataset is read.

    read: from the one folder that holds it. parts: names of folders or files that may be given one by one instead
    (`KIND:name=path,...`), which `read_parts` then gets as keyword arguments.
    """

    description: str
    read: Callable[[Path], Cohort]
    parts: tuple[str, ...] = ()
    read_parts: Callable[..., Cohort] | None = None


READERS: dict[str, Reader] = {
    "mimic": Reader(
        "MIMIC-CXR-JPG with MIMIC-CXR reports, Chest ImaGenome and Medical-Diff-VQA (PhysioNet)",
        mimic.read,
        mimic.PARTS,
        mimic.read_parts,
    ),
    "nih14": Reader("NIH ChestX-ray14 with its boxes; follow-ups become difference questions (open)", nih14.read),
    "vindr": Reader("VinDr-CXR with its readers' boxes; single images, no questions (PhysioNet or Kaggle)", vindr.read),
    "padchest-gr": Reader(
        "PadChest-GR: sentences with boxes; prior images become difference questions (by agreement)", padchest_gr.read
    ),
    "ms-cxr": Reader(
        "MS-CXR: phrases with boxes on images of MIMIC-CXR-JPG (PhysioNet)",
        ms_cxr.read,
        ms_cxr.PARTS,
        ms_cxr.read_parts,
    ),
    "imagenome-gold": Reader(
        "Chest ImaGenome's gold boxes and sentences on MIMIC-CXR-JPG, all for test (PhysioNet)",
        gold.read,
        gold.PARTS,
        gold.read_parts,
    ),
    "table": Reader(
        "a hospital's own tables of images, boxes and questions (docs/table.md)",
        table.read,
        table.PARTS,
        table.read_parts,
    ),
}


_OF_MIMIC = {"mimic", "ms-cxr", "imagenome-gold"}
"""Kinds that share the patients of MIMIC-CXR, and their identifiers."""


def _read_source(source: str) -> Cohort:
    """The cohort named by `KIND:PATH`, or by `KIND:name=PATH,name=PATH` for a kind that lies in several folders.

    Raises InputError for an unknown kind or name and for a folder or file that is not there.
    """
    kind, colon, rest = source.partition(":")
    known = ", ".join(READERS)
    if not colon and kind not in READERS:
        raise InputError(f"expected KIND:PATH, found no colon; the kinds are {known}")
    if kind not in READERS:
        raise InputError(f"no kind of dataset is called {kind!r}; there are: {known} (written KIND:PATH)")
    if not rest:
        raise InputError(f"{kind}: the folder is missing; write {kind}:PATH")
    reader = READERS[kind]
    if not re.match(r"\w+=", rest):
        return _named(reader.read(_existing(kind, rest)), kind)
    if reader.read_parts is None:
        raise InputError(f"{kind}: takes one folder, not named ones; write {kind}:PATH")
    parts: dict[str, Path] = {}
    for item in rest.split(","):
        name, equals, path = item.partition("=")
        if not equals or name not in reader.parts or name in parts:
            raise InputError(
                f"{kind}: every part is written name=PATH, once, with a name of {', '.join(reader.parts)}; "
                f"found {name if equals else 'a part without a name'!r}"
            )
        parts[name] = _existing(f"{kind}:{name}", path)
    return _named(reader.read_parts(**parts), kind)


def _named(cohort: Cohort, kind: str) -> Cohort:
    """The cohort with its kind as its dataset where its reader does not say more."""
    return cohort if cohort.datasets else replace(cohort, datasets=(kind,))


def _existing(argument: str, path: str) -> Path:
    """The folder or file of that path. Raises InputError if there is none; readers check which of the two it is."""
    place = Path(path).expanduser()
    if not place.exists():
        raise InputError(f"{argument}: the path given does not exist")
    return place


def read_sources(
    sources: Sequence[str], reversed_pairs: ReversedPairs = "drop", split_seed: int | None = None
) -> Cohort:
    """Several sources as one cohort, every pair of images in the order of time.

    reversed_pairs: what becomes of questions whose prior image is the later one. split_seed: split by patient with this
    seed, in place of the datasets' own splits; images that a dataset gives for test alone (those of Chest ImaGenome's
    gold patients) are then split like all others. Raises InputError if two sources hold an image of the same
    identifier, or a patient, unless both are parts of MIMIC-CXR.
    """
    cohort = settle_pairs(_joined(sources), reversed_pairs)
    return cohort if split_seed is None else split_by_patient(cohort, split_seed)


def _joined(sources: Sequence[str]) -> Cohort:
    if not sources:
        raise InputError("no source given; write KIND:PATH with a KIND of " + ", ".join(READERS))
    cohorts = [_read_source(source) for source in sources]
    if len(cohorts) == 1:
        return cohorts[0]
    _refuse_shared_images(cohorts)
    _refuse_shared_patients([source.partition(":")[0] for source in sources], cohorts)
    return Cohort(
        studies=tuple(study for cohort in cohorts for study in cohort.studies),
        questions=tuple(question for cohort in cohorts for question in cohort.questions),
        problems=tuple(problem for cohort in cohorts for problem in cohort.problems),
        datasets=tuple(dataset for cohort in cohorts for dataset in cohort.datasets),
    )


def _refuse_shared_images(cohorts: Sequence[Cohort]) -> None:
    seen: dict[str, int] = {}
    for number, cohort in enumerate(cohorts, start=1):
        for study in cohort.studies:
            for image in study.images:
                other = seen.setdefault(image.image_id, number)
                if other != number:
                    raise InputError(
                        f"sources {other} and {number} hold an image of the same identifier; "
                        "give each dataset once, and prepare cohorts that overlap separately"
                    )


def _refuse_shared_patients(kinds: Sequence[str], cohorts: Sequence[Cohort]) -> None:
    """Two people of one number would be one person, with a history and a split that neither has."""
    seen: dict[str, int] = {}
    for number, cohort in enumerate(cohorts, start=1):
        for study in cohort.studies:
            other = seen.setdefault(study.subject_id, number)
            if other != number and not {kinds[other - 1], kinds[number - 1]} <= _OF_MIMIC:
                raise InputError(
                    f"sources {other} ({kinds[other - 1]}) and {number} ({kinds[number - 1]}) hold a patient of the "
                    "same identifier; if these are two people, give the patients of one source other identifiers, "
                    "or prepare the sources separately"
                )
