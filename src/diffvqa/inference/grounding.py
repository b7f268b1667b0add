"""Boxes of phrases, in pixels of the files that show them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diffvqa.boxes import Box
from diffvqa.errors import InputError
from diffvqa.images.radiograph import Radiograph
from diffvqa.inference.box_writing import propose_boxes, write_boxes
from diffvqa.inference.features import encode_radiographs
from diffvqa.models.captioner import Captioner
from diffvqa.models.folder import ModelFolder, load_folder
from diffvqa.tasks.text import referring_prompt

CAPTIONER = "captioner"
"""The folder, in a finetuned model's, of its captioner."""


def load_captioner(folder: Path) -> tuple[ModelFolder[Captioner] | None, str | None]:
    """Load the captioner in a finetuned model's folder, or None with the reason if none there writes boxes.

    Raises InputError if the captioner is damaged.
    """
    if not (folder / CAPTIONER).is_dir():
        return None, "the model folder holds no captioner"
    captioner = load_folder(Captioner, folder / CAPTIONER, f"model/{CAPTIONER}")
    if "AREF" not in captioner.model.config.tasks:
        return None, f"the captioner has learnt no boxes of phrases, only {', '.join(captioner.model.config.tasks)}"
    return captioner, None


@dataclass(frozen=True, slots=True)
class ProposedBox:
    """A box in pixels of the source file, and its share of the samples (0 to 1) if several boxes were asked for."""

    box: Box
    share: float | None


def ground_phrase(
    captioner: ModelFolder[Captioner],
    radiograph: Radiograph,
    phrase: str,
    count: int = 1,
    by: Literal["samples", "beams"] = "samples",
    seed: int = 0,
) -> list[ProposedBox]:
    """Find up to `count` boxes of a phrase in a radiograph, in pixels of its file, the most probable first.

    A single box is written greedily. Several boxes come from samples, drawn with a seed, or from beams. Raises
    InputError if the captioner was not trained to write boxes.
    """
    if "AREF" not in captioner.model.config.tasks:
        raise InputError(
            f"expected a model with the task AREF, found {', '.join(captioner.model.config.tasks)} only; "
            "give a model that was pretrained with AREF",
            argument="model",
        )
    features, prompt = {"image": encode_radiographs(captioner, [radiograph])[0]}, referring_prompt(phrase)
    if count == 1:
        found: list[tuple[Box, float | None]] = [
            (box, None) for _, box in write_boxes(captioner, [("image", prompt)], features) if box
        ]
    else:
        proposed = propose_boxes(captioner, prompt, features["image"], count, by, seed)
        found = [(one.box, one.share) for one in proposed]
    inside = [(radiograph.frame.out_of_square(box, captioner.image_size), share) for box, share in found]
    return [ProposedBox(box, share) for box, share in inside if box is not None]
