"""What is known of a dataset: how it is read, the names that a store records, and the terms it is given out under."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from diffvqa.records import Cohort

PHYSIONET = "PhysioNet Credentialed Health Data License"
"""The terms of most of PhysioNet's datasets of patients."""

SYNTHETIC = "(synthetic)"
"""Ends the recorded name of a dataset of which nothing but the layout is real."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """What a store, a run and a model's card say about a dataset.

    name: one word; a record may add a version and SYNTHETIC to it. title, terms: as a model's card shows them. closed:
    weights trained on it may not be published without consent. has_images: False for texts, boxes and questions on the
    images of another dataset. equalised: its files hold equalised grey values.
    """

    name: str
    title: str
    terms: str
    closed: bool = True
    has_images: bool = True
    equalised: bool = False


@dataclass(frozen=True, slots=True)
class Reader:
    """One kind of dataset, and all that is known of it.

    kind: what users type. description: one line for the docs. read: from the one folder that holds it. datasets: those
    that a cohort may name; a cohort that names none is recorded as the first. parts: names of folders or files that may
    be given one by one instead (`KIND:name=path,...`), which `read_parts` then gets as keyword arguments; those in
    `words` are no paths. patients: the register that its patients' identifiers come from; readers of one register share
    patients, all others must not.
    """

    kind: str
    description: str
    read: Callable[[Path], Cohort]
    datasets: tuple[Dataset, ...]
    parts: tuple[str, ...] = ()
    read_parts: Callable[..., Cohort] | None = None
    words: tuple[str, ...] = ()
    patients: str | None = None
