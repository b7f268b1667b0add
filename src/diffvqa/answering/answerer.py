"""Two radiographs and a question to an answer: text, changes, boxes and confidence."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffvqa.answering.grounding import load_captioner, propose_boxes, write_boxes
from diffvqa.answering.inference import answer_questions, encoder_of
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

    def __init__(
        self,
        difference: ModelFolder[DifferenceModel],
        captioner: ModelFolder[Captioner] | None,
        no_boxes_reason: str | None = "the model holds no captioner",
    ) -> None:
        self.difference, self.captioner, self.no_boxes_reason = difference, captioner, no_boxes_reason

    @classmethod
    def from_pretrained(cls, folder: PathLike) -> Answerer:
        """Load a folder that `diffvqa finetune` has written. Raises InputError if it is none."""
        return cls(load_folder(DifferenceModel, os.fspath(folder), "MODEL"), *load_captioner(Path(folder)))

    def __call__(
        self,
        current: PathLike,
        prior: PathLike | Sequence[PathLike] | None = None,
        question: str | None = None,
        beams: int = 1,
    ) -> Answer:
        """Answer a question about a radiograph and what came before it (PNG or JPEG files).

        prior: one file, or the nearest and those before it, of which the model takes as many as it was trained with.
        beams: of the beam search; 1 is greedy. Raises InputError, naming the argument.
        """
        paths = self._named(current, prior)
        pictures = {name: read_radiograph(path, f"--{name.split()[0]}") for name, path in paths.items()}
        for (name, one), (other, another) in itertools.combinations(pictures.items(), 2):
            if np.array_equal(one, another):
                raise InputError(f"--{name} and --{other} show the same picture; give different radiographs")
        if question is None:
            question = DIFFERENCE_QUESTION if "prior" in paths else SINGLE_IMAGE_QUESTION
        question = " ".join(question.lower().split())
        if not question or len(question) > LONGEST_QUESTION:
            raise InputError(f"--question must have 1 to {LONGEST_QUESTION} characters, found {len(question)}")
        if "prior" not in paths and question.startswith(CHANGE):
            raise InputError("--question is about a change, which takes two radiographs; give --prior too")
        squares = [letterbox(pixels, self.size)[0] for pixels in pictures.values()]
        features = dict(zip(pictures, encoder_of(self.difference)(squares), strict=True))
        pair = Pair("current", *list(paths)[1:2], earlier=tuple(paths)[2:])
        written = answer_questions(self.difference, [(pair, question)], features, beams=beams)[0]
        readings = read_changes(written.text)
        changes = tuple(sorted(readings[0], key=lambda change: change.finding)) if readings else None
        if self.captioner and self.difference.model.config.trainable_blocks:
            # The captioner knows the encoder as stage 1 left it.
            features = dict(zip(pictures, encoder_of(self.captioner)(squares), strict=True))
        boxes, reason = self._boxes(changes or (), pictures, features)
        return Answer(question, written.text, changes, written.confidence, boxes, reason)

    @property
    def size(self) -> int:
        """The side of the model's square input, in pixels."""
        return self.difference.model.config.vision_config.image_size

    def _named(self, current: PathLike, prior: PathLike | Sequence[PathLike] | None) -> dict[str, PathLike]:
        """The files by their names: current, prior, prior 2 and so on."""
        priors = [prior] if isinstance(prior, str | os.PathLike) else list(prior or ())
        taken = self.difference.model.config.priors
        if len(priors) > taken:
            raise InputError(f"--prior was given {len(priors)} times, but the model takes {taken} at the most")
        paths = {"current": current}
        for number, path in enumerate(priors, start=1):
            paths["prior" if number == 1 else f"prior {number}"] = path
        for (name, one), (other, another) in itertools.combinations(paths.items(), 2):
            if _same_file(one, another):
                raise InputError(f"--{name} and --{other} are the same file; give different radiographs")
        return paths

    def _boxes(
        self, changes: Iterable[Change], pictures: dict[str, np.ndarray], features: dict[str, np.ndarray]
    ) -> tuple[tuple[FoundBox, ...] | None, str | None]:
        """Where each changed finding is: in the image that shows it, for a change of level in both."""
        if self.captioner is None:
            return None, self.no_boxes_reason
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


@dataclass(frozen=True, slots=True)
class ProposedBox:
    """A box in pixels of the source file; where there were several to choose from, its share of them, 0 to 1."""

    box: Box
    share: float | None


def ground_phrase(
    captioner: ModelFolder[Captioner],
    pixels: np.ndarray,
    phrase: str,
    count: int = 1,
    by: str = "samples",
    seed: int = 0,
) -> list[ProposedBox]:
    """Up to `count` boxes of a phrase in grey pixels (uint8), in pixels of that image, the likeliest first.

    One box is written greedily; several are told apart among samples, drawn with a seed, or beams. Raises InputError if
    the captioner has not learnt to write boxes.
    """
    if "AREF" not in captioner.model.config.tasks:
        raise InputError(
            f"MODEL has learnt no boxes of phrases, only {', '.join(captioner.model.config.tasks)}; give one that was "
            "pretrained with AREF"
        )
    height, width = pixels.shape
    square, frame = letterbox(pixels, captioner.model.config.vision_config.image_size)
    features, prompt = encoder_of(captioner)([square])[0], referring_prompt(phrase)
    if count == 1:
        found = [(box, None) for _, box in write_boxes(captioner, [("image", prompt)], {"image": features}) if box]
    else:
        found = [(one.box, one.share) for one in propose_boxes(captioner, prompt, features, count, by, seed)]
    inside = [(clip(frame.out_of(box), width, height), share) for box, share in found]
    return [ProposedBox(box, share) for box, share in inside if box is not None]


def read_radiograph(path: PathLike, argument: str) -> np.ndarray:
    """The grey pixels of an image file. Raises InputError, naming the argument and not the path."""
    try:
        return read_image(path)
    except UnreadableImage as error:
        raise InputError(f"{argument}: expected a PNG or JPEG radiograph, found {error}; give another file") from error


def _same_file(a: PathLike, b: PathLike) -> bool:
    return Path(a).exists() and Path(b).exists() and os.path.samefile(a, b)
