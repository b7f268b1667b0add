"""Under which terms datasets are given out, by the names that a store records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from diffvqa.data.mimic.folders import SYNTHETIC


@dataclass(frozen=True, slots=True)
class Terms:
    """What a dataset is called, and its terms; closed: weights trained on it may not be published without consent."""

    title: str
    terms: str
    closed: bool


_PHYSIONET = "PhysioNet Credentialed Health Data License"

TERMS = {
    "mimic-cxr-jpg": Terms("MIMIC-CXR-JPG", _PHYSIONET, True),
    "mimic-cxr": Terms("MIMIC-CXR reports", _PHYSIONET, True),
    "chest-imagenome": Terms("Chest ImaGenome", _PHYSIONET, True),
    "medical-diff-vqa": Terms("Medical-Diff-VQA", _PHYSIONET, True),
    "ms-cxr": Terms("MS-CXR", _PHYSIONET, True),
    "imagenome-gold": Terms("Chest ImaGenome, gold annotations", _PHYSIONET, True),
    "vindr": Terms("VinDr-CXR", f"{_PHYSIONET}, or the rules of the Kaggle competition", True),
    "padchest-gr": Terms("PadChest-GR", "an agreement with BIMCV, for research", True),
    "nih14": Terms("NIH ChestX-ray14", "open; the NIH Clinical Center is to be named and its paper cited", False),
    "table": Terms("a hospital's own tables", "the hospital's", True),
}
"""By the first word of the recorded name; versions follow it."""


def terms_of(recorded: str) -> Terms:
    """The terms of a dataset by its recorded name; of one that is not known those of its owner, whom to ask."""
    name, _, rest = recorded.partition(" ")
    known = TERMS.get(name, Terms(name, "not known here; ask its owner", True))
    if rest.endswith(SYNTHETIC):
        return Terms(f"synthetic patients in the layout of {known.title}", "none; nothing in it is of a person", False)
    return Terms(f"{known.title} {rest}".strip(), known.terms, known.closed)


def closed_datasets(recorded: Iterable[str]) -> list[str]:
    """The titles of those that weights may not be published of without consent."""
    return [found.title for found in map(terms_of, recorded) if found.closed]
