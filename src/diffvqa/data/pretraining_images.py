"""The images of a store that encoders are pretrained on."""

from __future__ import annotations

from dataclasses import dataclass

from diffvqa.data.store import Store


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How many images, of how many patients, are not pretrained on for the sake of the evaluation."""

    images: int
    patients: int


def pretraining_images(store: Store, keep_evaluation_patients: bool = False) -> tuple[list[int], LeftOut]:
    """Positions of the images to pretrain on, and what was left out for the patients' sake.

    These are the images of train studies, without those of patients with a question in validate or test, unless they
    are to be kept: an encoder must not have seen the patients that the questions are scored on.
    """
    asked = zip(*map(store.questions.column, ("split", "subject_id")), strict=True)
    held_out = {subject_id for split, subject_id in asked if split != "train"}
    # Columns are read, because making a record of every image takes long in a large store.
    columns = map(store.images.column, ("split", "subject_id"))
    train = {
        position: subject_id
        for position, (split, subject_id) in enumerate(zip(*columns, strict=True))
        if split == "train"
    }
    if keep_evaluation_patients:
        return list(train), LeftOut(0, 0)
    left_out = {position: subject_id for position, subject_id in train.items() if subject_id in held_out}
    kept = [position for position in train if position not in left_out]
    return kept, LeftOut(len(left_out), len(set(left_out.values())))
