"""The synthetic cohort on disk, in the layouts in which the datasets are downloaded."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from diffvqa.errors import InputError, RunFailed
from diffvqa.files import is_full, remove_abandoned, work_folder, writing_to
from diffvqa.phantom.cohort_tables import IMAGENOME, JPG, QUESTIONS, REPORTS, SYNTHETIC, Tables
from diffvqa.phantom.course import STILL
from diffvqa.phantom.patient_files import write_patient
from diffvqa.phantom.reports import AS_USUAL, Reporting
from diffvqa.phantom.sets import MANY, check_set
from diffvqa.workers import done_in_order, usable_cores

SMALLEST_PICTURE, LARGEST_PICTURE = 64, 4096
"""Pixels of the longer side of the pictures that can be made."""

_FEW = 12
"""Patients so few that starting processes takes longer than drawing them."""

_NOBODY = "A synthetic cohort: no image, report or identifier in it belongs to a person.\n"


def write_cohort(
    out: Path,
    patients: int,
    seed: int,
    size: int = 256,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    test_set: str | None = None,
    reporting: Reporting = AS_USUAL,
    still: float = STILL,
) -> None:
    """Writes a cohort into the folder `out`: images, reports, scene graphs, questions, and the truth beside them.

    size: longer side of the images, pixels. workers: processes, as many as there are cores if None; the bytes do not
    depend on it. progress: called with (patients done, patients in all). test_set: one of sets.SETS, or None for
    a cohort. reporting: how complete the reports are. still: in a cohort the chance that nothing changes from one study
    to the next. Raises InputError if `out` exists and is not an empty folder, for a number that makes no cohort, and
    for an unknown set; RunFailed if the disk is full, or a worker ends early. Nothing is left behind if it fails; what
    a run that was killed has left there is removed.
    """
    # A name such as "." or a link is none to rename a folder to.
    out = Path(out).resolve()
    remove_abandoned(out)
    _check(out, patients, seed, size, workers, still)
    check_set(test_set)
    workers = workers or (1 if patients < _FEW else usable_cores())
    with writing_to("out", "cannot be made there"):
        out.parent.mkdir(parents=True, exist_ok=True)
    with work_folder(out) as work:
        try:
            jobs = ((work, seed, index, size, test_set, reporting, still) for index in range(patients))
            with Tables(work) as tables, closing(done_in_order(write_patient, jobs, workers)) as drawn:
                for done, rows in enumerate(drawn, start=1):
                    tables.add(rows)
                    if progress:
                        progress(done, patients)
            for dataset in (JPG, REPORTS, IMAGENOME.parent, QUESTIONS):
                (work / dataset / SYNTHETIC).write_text(_NOBODY, encoding="utf-8")
            readme = _readme(patients, seed, size, test_set, reporting, still)
            (work / "README.txt").write_text(readme, encoding="utf-8")
        except OSError as error:
            if is_full(error):
                raise RunFailed(
                    "the disk is full, and nothing is kept of the cohort; make room, and give the same command again"
                ) from error
            raise
        with writing_to("out", "cannot be put there"):
            _put_in_place(work, out)


def _put_in_place(work: Path, out: Path) -> None:
    """Makes the finished folder `work` the folder `out`; one that was there is filled, and stays the same folder."""
    if work.parent != out:
        work.rename(out)
        return
    for entry in list(work.iterdir()):
        entry.rename(out / entry.name)
    work.rmdir()


def _check(out: Path, patients: int, seed: int, size: int, workers: int | None, still: float) -> None:
    if not 1 <= patients <= MANY:
        raise InputError(f"expected 1 to {MANY}, found {patients}", argument="patients")
    if seed < 0:
        raise InputError(f"expected 0 or more, found {seed}", argument="seed")
    if not SMALLEST_PICTURE <= size <= LARGEST_PICTURE:
        raise InputError(f"expected {SMALLEST_PICTURE} to {LARGEST_PICTURE} pixels, found {size}", argument="size")
    if not 0 <= still <= 1:
        raise InputError(f"expected a chance from 0 to 1, found {still:g}", argument="still")
    if workers is not None and workers < 1:
        raise InputError(f"expected at least 1, found {workers}", argument="workers")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            "expected a folder that does not exist or is empty, found one with files, perhaps hidden ones; "
            "give another",
            argument="out",
        )


def _readme(patients: int, seed: int, size: int, test_set: str | None, reporting: Reporting, still: float) -> str:
    rates = ", ".join(f"{name} {rate:g}" for name, rate in asdict(reporting).items())
    stillness = "" if test_set else f"chance that nothing changes from one study to the next: {still:g}\n"
    return (
        f"{_NOBODY}"
        "Made by diffvqa for developing and testing. Research software, not for clinical use.\n\n"
        f"{f'test set {test_set}, ' if test_set else ''}patients {patients}, seed {seed}, "
        f"longer side of the images {size} pixels\n"
        f"rates of the reports: {rates}\n"
        f"{stillness}\n"
        "mimic-cxr-jpg     images and tables in the layout of MIMIC-CXR-JPG 2.1.0\n"
        "mimic-cxr         reports in the layout of MIMIC-CXR 2.1.0\n"
        "chest-imagenome   scene graphs and splits in the layout of Chest ImaGenome 1.0.0\n"
        "medical-diff-vqa  questions in the layout of Medical-Diff-VQA 1.0.1\n"
        "truth             what is really in each image, and what changed in each pair; for evaluation only\n"
    )
