"""Two radiographs and a question to an answer: text, changes, boxes and confidence."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffvqa.answering.inference import answer_questions, encoder_of, write_boxes
from diffvqa.boxes import Box, Frame, clip
from diffvqa.errors import InputError
from diffvqa.findings import DIFFERENCE_QUESTION, Change, read_changes
from diffvqa.images import UnreadableImage, letterbox, read_image
from diffvqa.models.captioner import Captioner
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.folder import ModelFolder, load_folder
from diffvqa.records import Pair
from diffvqa.tasks.text import referring_prompt

SINGLE_IMAGE_QUESTION = "what abnormalities are seen in this image?"
"""Asked where there is one image and no question."""

LONGEST_QUESTION = 500

CHANGE = "what has changed"
"""Questions that begin so take two images."""

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class FoundBox:
    """A box in pixels of the source file: which image (prior or current), and what it shows."""

    image: str
    label: str
    box: Box


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says. `changes` is None where the text is not in the grammar of difference answers.

    confidence: the mean (geometric) probability of the answer's tokens, 0 to 1, not calibrated. boxes: None with the
    reason in `boxes_reason` where the model folder holds no captioner.
    """

    question: str
    text: str
    changes: tuple[Change, ...] | None
    confidence: float
    boxes: tuple[FoundBox, ...] | None
    boxes_reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The answer as plain values, boxes as [x1, y1, x2, y2] in pixels of the source file."""
        plain = asdict(self)
        if self.boxes is not None:
            plain["boxes"] = [{**asdict(found), "box": list(found.box.as_tuple())} for found in self.boxes]
        return {**plain, "notice": "Research software. Not for clinical use."}


class Answerer:
    """A model folder, loaded once, that answers questions about image files."""

    def __init__(self, difference: ModelFolder[DifferenceModel], captioner: ModelFolder[Captioner] | None) -> None:
        self.difference, self.captioner = difference, captioner

    @classmethod
    def from_pretrained(cls, folder: PathLike) -> Answerer:
        """Load a folder that `diffvqa finetune` has written. Raises InputError if it is none."""
        difference = load_folder(DifferenceModel, os.fspath(folder), "MODEL")
        inner = Path(folder) / "captioner"
        return cls(difference, load_folder(Captioner, inner, "MODEL/captioner") if inner.is_dir() else None)

    def __call__(self, current: PathLike, prior: PathLike | None = None, question: str | None = None) -> Answer:
        """Answer a question about one or two image files (PNG or JPEG). Raises InputError, naming the argument."""
        paths = {"prior": prior, "current": current}
        if prior is not None and _same_file(prior, current):
            raise InputError("--prior and --current are the same file; give two different radiographs")
        pictures = {name: read_radiograph(path, f"--{name}") for name, path in paths.items() if path is not None}
        if prior is not None and np.array_equal(pictures["prior"], pictures["current"]):
            raise InputError("--prior and --current show the same picture; give two different radiographs")
        if question is None:
            question = SINGLE_IMAGE_QUESTION if prior is None else DIFFERENCE_QUESTION
        question = " ".join(question.lower().split())
        if not question or len(question) > LONGEST_QUESTION:
            raise InputError(f"--question must have 1 to {LONGEST_QUESTION} characters, found {len(question)}")
        if prior is None and question.startswith(CHANGE):
            raise InputError("--question is about a change, which takes two radiographs; give --prior too")
        squares = [letterbox(pixels, self.size)[0] for pixels in pictures.values()]
        features = dict(zip(pictures, encoder_of(self.difference)(squares), strict=True))
        pair = Pair("current", "prior" if prior is not None else None)
        written = answer_questions(self.difference, [(pair, question)], features)[0]
        readings = read_changes(written.text)
        changes = tuple(sorted(readings[0], key=lambda change: change.finding)) if readings else None
        boxes, reason = self._boxes(changes or (), pictures, features)
        return Answer(question, written.text, changes, written.confidence, boxes, reason)

    @property
    def size(self) -> int:
        """The side of the model's square input, in pixels."""
        return self.difference.model.config.vision_config.image_size

    def _boxes(
        self, changes: Iterable[Change], pictures: dict[str, np.ndarray], features: dict[str, np.ndarray]
    ) -> tuple[tuple[FoundBox, ...] | None, str | None]:
        """Where each changed finding is: in the image that shows it, for a change of level in both."""
        if self.captioner is None:
            return None, "the model folder holds no captioner"
        shown = {"added": ("current",), "missing": ("prior",), "level": ("prior", "current")}
        asked = [(image, change.finding) for change in changes for image in shown[change.kind] if image in pictures]
        if not asked:
            return (), None
        return tuple(ground(self.captioner, asked, pictures, features)), None


def ground(
    captioner: ModelFolder[Captioner],
    asked: list[tuple[str, str]],
    pictures: dict[str, np.ndarray],
    features: dict[str, np.ndarray],
) -> list[FoundBox]:
    """The box of each (image, phrase), where the captioner writes one; image names a picture and its features."""
    prompts = [(image, referring_prompt(phrase)) for image, phrase in asked]
    size = captioner.model.config.vision_config.image_size
    found = []
    for (image, phrase), (_, box) in zip(asked, write_boxes(captioner, prompts, features), strict=True):
        height, width = pictures[image].shape
        inside = None if box is None else clip(Frame.letterbox(width, height, size).out_of(box), width, height)
        if inside is not None:
            found.append(FoundBox(image, phrase, inside))
    return found


def ground_phrase(captioner: ModelFolder[Captioner], pixels: np.ndarray, phrase: str) -> FoundBox | None:
    """The box of a phrase in grey pixels (uint8), in pixels of that image; None if the captioner writes none."""
    square, _ = letterbox(pixels, captioner.model.config.vision_config.image_size)
    features = {"image": encoder_of(captioner)([square])[0]}
    return next(iter(ground(captioner, [("image", phrase)], {"image": pixels}, features)), None)


def read_radiograph(path: PathLike, argument: str) -> np.ndarray:
    """The grey pixels of an image file. Raises InputError, naming the argument and not the path."""
    try:
        return read_image(path)
    except UnreadableImage as error:
        raise InputError(f"{argument}: expected a PNG or JPEG radiograph, found {error}; give another file") from error


def _same_file(a: PathLike, b: PathLike) -> bool:
    return Path(a).exists() and Path(b).exists() and os.path.samefile(a, b)
