"""The boxes of a phrase in a radiograph, after the same checks as for an answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image as PillowImage

from diffvqa.answering.answer import CANNOT_ANSWER, NOTICE
from diffvqa.answering.case import look_at
from diffvqa.answering.overlay import Marked, draw_overlay
from diffvqa.images.radiograph import Radiograph, read_radiograph
from diffvqa.inference.grounding import CAPTIONER, ProposedBox, ground_phrase
from diffvqa.inference.hub import model_folder
from diffvqa.inference.model import FinetunedModel
from diffvqa.models.captioner import Captioner
from diffvqa.models.folder import load_folder


@dataclass(frozen=True, slots=True)
class Grounded:
    """The boxes of a phrase in a radiograph, the most probable first; none if there is a reason against an answer.

    warnings: what a reader should know before relying on the boxes.
    """

    phrase: str
    radiograph: Radiograph
    boxes: Sequence[ProposedBox]
    reason: str | None
    warnings: Sequence[str]

    def as_json(self) -> str:
        """One JSON object; boxes in pixels of the file as stored."""
        listed = [{"box": list(one.box.as_tuple()), "share": one.share} for one in self.boxes]
        said = {"phrase": self.phrase, "box": listed[0]["box"] if listed else None, "boxes": listed}
        return json.dumps(
            {**said, "reason": self.reason, "warnings": list(self.warnings), "notice": NOTICE}, allow_nan=False
        )

    def lines(self) -> list[str]:
        """Lines for a terminal: the boxes (x1 y1 x2 y2) or the reason, the warnings and the notice."""
        lines = [
            " ".join(f"{value:.1f}" for value in one.box.as_tuple())
            + ("" if one.share is None else f"  share {one.share:.2f}")
            for one in self.boxes
        ]
        if self.reason:
            lines = [CANNOT_ANSWER, f"reason: {self.reason}"]
        elif not lines:
            lines = ["the captioner wrote no box for this phrase"]
        return [*lines, *(f"warning: {warning}" for warning in self.warnings), NOTICE]

    def picture(self) -> PillowImage.Image:
        """The radiograph with its boxes."""
        title = f"image: {CANNOT_ANSWER}" if self.reason else "image"
        return draw_overlay([(title, self.radiograph, [Marked(self.phrase, one.box) for one in self.boxes])])


def ground(
    model: Path,
    image: Path,
    phrase: str,
    count: int = 1,
    by: Literal["samples", "beams"] = "samples",
    seed: int = 0,
) -> Grounded:
    """Find up to `count` boxes of a phrase in the radiograph of a file, with a captioner or a model that has one.

    by, seed: as in `ground_phrase`. Raises InputError, which names the argument.
    """
    folder = model_folder(model)
    finetuned = (folder / CAPTIONER).is_dir()
    captioner = load_folder(Captioner, folder / CAPTIONER if finetuned else folder, "model")
    radiograph = read_radiograph(image, "image")
    score = None
    if finetuned:  # else nothing was measured
        (seen,) = FinetunedModel.load(folder, with_captioner=False).encode_radiographs([radiograph])
        score = seen.out_of_distribution
    warnings, reason = look_at({"image": radiograph.header}, {"image": radiograph.orientation}, {"image": score})
    boxes = [] if reason else ground_phrase(captioner, radiograph, phrase, count, by, seed)
    return Grounded(phrase, radiograph, boxes, reason, warnings)
