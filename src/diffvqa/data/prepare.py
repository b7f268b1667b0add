"""Preparation of a store: decode every image of a cohort once, and write an index beside the pixels."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from diffvqa.boxes import Frame
from diffvqa.data import index, shards
from diffvqa.data.index import StoredImage
from diffvqa.data.mending import fit_to_file
from diffvqa.data.problems import count_kinds, left_out, notes, refuse_faults, write_problems
from diffvqa.data.pruning import without_images
from diffvqa.data.registry import refuse_two_intensities
from diffvqa.data.shards import Progress, Shard
from diffvqa.data.store import (
    ABOUT,
    IMAGES,
    PROBLEMS,
    QUESTIONS,
    SCHEMA,
    STARTED,
    Store,
    checksum_of,
    damaged_files,
)
from diffvqa.errors import InputError
from diffvqa.files import digest_of, is_unfinished, write_text
from diffvqa.images import Seen
from diffvqa.records import Cohort, Image, Problem, Regions, Study
from diffvqa.runs import Claim, read_record
from diffvqa.sealed import read_sealed, write_sealed


def prepare(
    cohort: Cohort,
    folder: Path,
    size: int,
    workers: int = 1,
    cluster: str | None = None,
    progress: Progress | None = None,
    strict: bool = False,
) -> Store:
    """Decode every image of a cohort into a store.

    The same call continues a stopped run. A finished store is compared with its checksums and with the image files.
    What is damaged, or was made from other files, is written again. Images that cannot be read, or are no frontal chest
    radiographs by their headers, are left out with their questions and listed in problems.csv. The next call tries them
    again.

    size: pixels a side of the squares. workers: number of processes that decode. cluster: address of a Ray cluster that
    decodes instead. strict: refuse any fault.

    Raises InputError if the folder holds something else, if no image can be read, and if only some of the datasets hold
    equalised grey values.
    """
    if size < 16:
        raise InputError(f"expected at least 16 pixels, found {size}", argument="size")
    if workers < 1:
        raise InputError(f"expected at least 1, found {workers}", argument="workers")
    refuse_two_intensities(cohort.datasets)
    pairs = [(study, image) for study in cohort.studies for image in study.images]
    if not pairs:
        raise InputError("the sources hold no image that can be prepared; see `diffvqa inspect` for the reasons")
    folder = Path(folder)
    fingerprint = _fingerprint(cohort, size)
    _mend_record(folder)
    with Claim("prepare", folder, {"fingerprint": fingerprint}, record=STARTED).held() as run:
        images = [image for _, image in pairs]
        finished = _is_finished(folder)
        outdated = shards.outdated_shards(folder, images, size)
        _have_made_anew(folder, outdated)
        if finished and not outdated:
            return Store.open(folder)
        run.write()
        written = shards.write_shards(folder, images, size, workers, cluster, progress)
        outcomes = [outcome for shard in written for outcome in shard.outcomes]
        if all(isinstance(outcome, str) for outcome in outcomes):
            shutil.rmtree(folder)
            raise InputError(f"not one of the {len(pairs)} images can be read; the first: {outcomes[0]}")
        lost, seen = {}, {}
        for image, outcome in zip(images, outcomes, strict=True):
            if isinstance(outcome, str):
                lost[image.image_id] = left_out(image, outcome)
            else:
                seen[image.image_id] = outcome
        _write_index(folder, without_images(cohort, lost), seen, size, written, fingerprint, strict)
        run.finish()
    return Store.open(folder)


def _write_index(
    folder: Path,
    cohort: Cohort,
    seen: dict[str, Seen],
    size: int,
    written: Sequence[Shard],
    fingerprint: str,
    strict: bool,
) -> None:
    problems = list(cohort.problems)
    index.write_images(
        folder / IMAGES,
        (
            _stored(study, image, seen[image.image_id], size, problems)
            for study in cohort.studies
            for image in study.images
        ),
        itertools.chain.from_iterable(shard.sums for shard in written),
    )
    if strict:
        refuse_faults(problems)
    index.write_questions(folder / QUESTIONS, cohort.questions)
    write_problems(folder / PROBLEMS, problems)
    digests = {name: digest_of(folder / name) for name in (IMAGES, QUESTIONS, PROBLEMS)}
    for number, shard in enumerate(written):
        for side, digest in zip((size, shards.larger_size(size)), shard.digests, strict=True):
            digests[shards.name_of(number, side)] = digest
    about = {
        "schema": SCHEMA,
        "size": size,
        "larger_size": shards.larger_size(size),
        "fingerprint": fingerprint,
        "datasets": cohort.datasets,
        "images": len(seen),
        "patients": len({study.subject_id for study in cohort.studies}),
        "questions": len(cohort.questions),
        "problems": count_kinds(problems),
        "shard_images": [shard.images for shard in written],
        "checksum": checksum_of(digests),
        "checksums": digests,
    }
    for path in (*folder.iterdir(), *(folder / shards.FOLDER).iterdir()):
        if is_unfinished(path):
            path.unlink(missing_ok=True)
    # Last of all: a folder with this file is a store that was finished.
    write_sealed(folder / ABOUT, about)


def _about(folder: Path) -> dict[str, Any]:
    """The description of a finished store; empty if the store is unfinished or its description is damaged."""
    with suppress(OSError, ValueError):
        return read_sealed(folder / ABOUT)
    return {}


def _mend_record(folder: Path) -> None:
    """Write the record anew that was lost or damaged of a finished store, which says itself what it is of."""
    about, record = _about(folder), read_record(folder / STARTED)
    # Older records have it beside the settings.
    recorded = {**record, **(record.get("config") or {})}.get("fingerprint")
    if "fingerprint" in about and about["fingerprint"] != recorded:
        write_text(folder / STARTED, json.dumps({"fingerprint": about["fingerprint"]}) + "\n")


def _is_finished(folder: Path) -> bool:
    """Whether the folder holds a finished store whose files are what they were; what is not is to be made anew."""
    checksums = _about(folder).get("checksums", {})
    damaged = damaged_files(folder, checksums)
    _have_made_anew(folder, damaged)
    return bool(checksums) and not damaged


def _have_made_anew(folder: Path, names: Sequence[str]) -> None:
    """Have the shards of these files written anew; with any of them, the store is no longer a finished one."""
    if names:
        (folder / ABOUT).unlink(missing_ok=True)
        shards.discard(folder, names)


def _stored(study: Study, image: Image, found: Seen, size: int, problems: list[Problem]) -> StoredImage:
    """An image with what belongs to it."""
    problems += notes(image, found.remarks)
    image = fit_to_file(image, (found.width, found.height), problems)
    frame = Frame.letterbox(image.width, image.height, size)
    return StoredImage(
        image.image_id, study.subject_id, study.study_id, study.order, study.split, image.view, study.report,
        study.findings, image.width, image.height, frame, Regions.of(image.regions),
    )  # fmt: skip


def _fingerprint(cohort: Cohort, size: int) -> str:
    """A digest of all that decides what a store holds, but for where the files lie."""
    digest = hashlib.sha256(_bytes([SCHEMA, shards.IMAGES, size]))
    for study in cohort.studies:
        digest.update(
            _bytes([study.study_id, study.subject_id, study.order, study.split, study.report, study.findings])
        )
        for image in study.images:
            regions = Regions.of(image.regions)
            digest.update(_bytes([image.image_id, image.path.name, image.width, image.height, image.view]))
            digest.update(regions.corners.tobytes())
            digest.update(_bytes([regions.names, regions.phrases]))
    for question in cohort.questions:
        digest.update(
            _bytes(
                [question.question_id, question.subject_id, question.type, question.pair.current, question.pair.prior,
                 question.text, question.answer, question.split]
            )
        )  # fmt: skip
    digest.update(_bytes([[one.kind, one.source, one.reason] for one in cohort.problems]))
    return digest.hexdigest()


def _bytes(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
