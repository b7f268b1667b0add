"""The description of a dataset: how to read it, the names that a store records, and its terms."""

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
    """The facts about a dataset that stores, runs and model cards show.

    name: one word; a record may add a version and SYNTHETIC. title, terms: as a model card shows them. closed: weights
    trained on the dataset may not be published without consent. has_images: False for texts, boxes and questions about
    the images of another dataset. equalised: the files hold equalised grey values.
    """

    name: str
    title: str
    terms: str
    closed: bool = True
    has_images: bool = True
    equalised: bool = False


@dataclass(frozen=True, slots=True)
class Reader:
    """One kind of dataset, with the function that reads it.

    kind: the name that users type. description: one line for the docs. read: reads the dataset from one folder.
    datasets: the datasets that a cohort may name; a cohort that names none is recorded as the first. parts: names of
    folders or files that users may give one by one (`KIND:name=path,...`); `read_parts` gets them as keyword arguments.
    words: those of `parts` that are no paths. patients: the register of the patients' identifiers; readers share
    patients only if they name the same register.
    """

    kind: str
    description: str
    read: Callable[[Path], Cohort]
    datasets: tuple[Dataset, ...]
    parts: tuple[str, ...] = ()
    read_parts: Callable[..., Cohort] | None = None
    words: tuple[str, ...] = ()
    patients: str | None = None
