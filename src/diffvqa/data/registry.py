"""The readers there are, and what they know of a dataset by the name that a store records."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import entry_points

from diffvqa.data import mimic, ms_cxr, nih14, padchest_gr, table, vindr
from diffvqa.data.mimic import gold
from diffvqa.data.reader import SYNTHETIC, Dataset, Reader
from diffvqa.errors import InputError

READERS: dict[str, Reader] = {
    reader.kind: reader
    for reader in (
        mimic.READER, nih14.READER, vindr.READER, padchest_gr.READER, ms_cxr.READER, gold.READER, table.READER,
    )
}  # fmt: skip
"""The readers of this package by kind, in the order in which the docs list them."""


@functools.cache
def readers() -> dict[str, Reader]:
    """READERS, then those that other packages offer as entry points of the group `diffvqa.readers`.

    A reader of another package cannot take the kind of one in READERS. Entry points are loaded at the first call, not
    at the import: those packages import this one.
    """
    offered: list[Reader] = [entry.load() for entry in entry_points(group="diffvqa.readers")]
    return READERS | {reader.kind: reader for reader in offered if reader.kind not in READERS}


def dataset_of(recorded: str) -> Dataset:
    """The facts about a dataset with this recorded name; the title has the version.

    A dataset that no reader knows is closed, and its terms are its owner's. A synthetic cohort has no terms, and the
    grey values of the dataset whose layout it has.
    """
    name, _, rest = recorded.partition(" ")
    known = (dataset for reader in readers().values() for dataset in reader.datasets)
    found = next((one for one in known if one.name == name), Dataset(name, name, "not known here; ask its owner"))
    if rest.endswith(SYNTHETIC):
        title = f"synthetic patients in the layout of {found.title}"
        return replace(found, title=title, terms="none; nothing in it is of a person", closed=False)
    return replace(found, title=f"{found.title} {rest}".strip())


def refuse_two_intensities(recorded: Iterable[str]) -> None:
    """Raises InputError if some of these datasets hold equalised grey values and others do not."""
    with_images = [name for name in recorded if dataset_of(name).has_images]
    equalised = [name for name in with_images if dataset_of(name).equalised]
    others = [name for name in with_images if name not in equalised]
    if equalised and others:
        raise InputError(
            f"the grey values of {', '.join(equalised)} are equalised, those of {', '.join(others)} are not, and a "
            "model reads all images of a store in one way; prepare them separately, each into a store of its own"
        )
