"""The objectives of stage 1: the method, and what it is held against, on one backbone and the same images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import CLIPTextConfig, GPT2Config

from diffvqa.boxes import Box
from diffvqa.findings import HIGHEST_DEGREE, NAMES, Change, degrees_named
from diffvqa.models.captioner import CaptioningHead
from diffvqa.models.classifier import ClassificationHead, LevelHead
from diffvqa.models.contrastive import ContrastiveHead
from diffvqa.models.paired_head import PairedHead
from diffvqa.tasks.change_texts import change_text, place_findings
from diffvqa.tasks.collate import collate_findings, collate_levels, collate_phrases, pack_texts
from diffvqa.tasks.image_texts import ImageTexts, Mixture, Phrase, draw_phrases, draw_texts
from diffvqa.tasks.text import Text, one_line

CAPTIONING = "captioning"
"""The name of the head that all captioning objectives share."""


@dataclass(frozen=True)
class HeadContext:
    """The sizes, tokenizer and names of findings that a head is made for."""

    width: int
    image_size: int
    decoder_config: GPT2Config
    text_config: CLIPTextConfig
    tokenizer: Any
    text_tokens: int
    findings: Sequence[str]


@dataclass(frozen=True)
class Head:
    """A head: how it is made, what it takes of an image, and how what it took of a batch's images becomes its input."""

    make: Callable[[HeadContext], nn.Module]
    take: Callable[[ImageTexts, Mixture, np.random.Generator], Any]
    collate: Callable[[Sequence[Any], HeadContext], dict[str, torch.Tensor]]


@dataclass(frozen=True)
class Objective:
    """One objective: what it learns by a head, or nothing.

    needs: what it learns from, any of these: reports, phrases, levels, findings, changes. tasks: those that it teaches
    the captioning head; other heads are of one objective. pairs: whether images are drawn as pairs of prior and current
    ones.
    """

    summary: str
    needs: tuple[str, ...] = ()
    head: Head | None = None
    tasks: tuple[str, ...] = ()
    pairs: bool = False


def _take_report(image: ImageTexts, mixture: Mixture, random: np.random.Generator) -> list[Phrase]:
    report = one_line(image.report)
    return [Phrase(report, Box(0, 0, image.size, image.size))] if report else []


Places = tuple[frozenset[Change], dict[str, str]]
"""The changes of a pair, and where one of its images shows the findings: boxes as text."""


def _take_places(image: ImageTexts, mixture: Mixture, random: np.random.Generator) -> Places:
    places = place_findings((change.finding for change in image.changes), image.phrases)
    return image.changes, {finding: image.write_box(box) for finding, box in places.items()}


def _take_levels(image: ImageTexts, mixture: Mixture, random: np.random.Generator) -> dict[str, int]:
    return {name: degree for one in image.phrases for name, degree in degrees_named(one.phrase).items()}


def _pack_texts(images: Sequence[Sequence[Text]], context: HeadContext) -> dict[str, torch.Tensor]:
    return pack_texts(images, context.tokenizer, context.text_tokens)


def _pack_changes(images: Sequence[Places], context: HeadContext) -> dict[str, torch.Tensor]:
    texts = [
        [change_text(changes, prior, current, context.tokenizer, context.text_tokens)]
        for (_, prior), (changes, current) in zip(images[::2], images[1::2], strict=True)
    ]
    return _pack_texts(texts, context)


def _contrast(sigmoid: bool, local: bool) -> Head:
    return Head(
        lambda context: ContrastiveHead(context.width, context.text_config, sigmoid, local),
        draw_phrases if local else _take_report,
        lambda images, context: collate_phrases(images, context.image_size, context.tokenizer, context.text_tokens),
    )


_CAPTIONS = Head(lambda context: CaptioningHead(context.width, context.decoder_config), draw_texts, _pack_texts)

OBJECTIVES: dict[str, Objective] = {
    "location_aware": Objective(
        "captions, and phrases with their boxes: the method",
        ("reports", "phrases"),
        _CAPTIONS,
        ("Cap", "AREF", "GCAP", "CAREF"),
    ),
    "cap": Objective("captions of whole images", ("reports",), _CAPTIONS, ("Cap",)),
    "local_captioning": Objective("phrases with their boxes", ("phrases",), _CAPTIONS, ("AREF", "GCAP", "CAREF")),
    "clip": Objective("images against reports, softmax", ("reports",), _contrast(sigmoid=False, local=False)),
    "siglip": Objective("images against reports, sigmoid", ("reports",), _contrast(sigmoid=True, local=False)),
    "local_contrastive": Objective(
        "patches under boxes against phrases, softmax", ("phrases",), _contrast(sigmoid=False, local=True)
    ),
    "classification": Objective(
        "the dataset's findings",
        ("findings",),
        Head(
            lambda context: ClassificationHead(context.width, len(context.findings)),
            lambda image, *_: image.findings,
            lambda images, context: collate_findings(images, context.findings),
        ),
    ),
    "levels": Objective(
        "how severe each finding is, as phrases say it",
        ("levels",),
        Head(
            lambda context: LevelHead(context.width, len(NAMES), HIGHEST_DEGREE + 1),
            _take_levels,
            lambda images, context: collate_levels(images, sorted(NAMES)),
        ),
    ),
    "paired": Objective(
        "what changed between two images of a patient, each change with its box",
        ("changes",),
        Head(lambda context: PairedHead(context.width, context.decoder_config), _take_places, _pack_changes),
        pairs=True,
    ),
    "none": Objective("nothing: the encoder stays as it begins"),
}
"""Each objective by its name."""

NONE = "none"


def read_objective(asked: str | Mapping[str, float]) -> dict[str, float]:
    """Objectives with their weights, from a name, a sum of names (`clip+cap`) or a mapping. Raises ValueError."""
    if isinstance(asked, str):
        names = [name.strip() for name in asked.split("+")]
        if len(set(names)) < len(names):
            raise ValueError(f"an objective stands twice in {asked!r}; for a weight of 2 give {{NAME: 2}}")
        asked = dict.fromkeys(names, 1.0)
    if not isinstance(asked, Mapping):
        raise ValueError(f"expected a name, a sum of names or names with weights, found {asked!r}")
    weights = dict(asked)
    for name, weight in weights.items():
        if name not in OBJECTIVES:
            raise ValueError(f"there is no objective {name!r}; the objectives are {', '.join(OBJECTIVES)}")
        if not (isinstance(weight, int | float) and 0 < weight < math.inf):
            raise ValueError(f"the weight of {name!r} must be a number above 0, found {weight!r}")
    if not weights or (NONE in weights and len(weights) > 1):
        raise ValueError(
            f"give {NONE!r} alone, or one or several of {', '.join(name for name in OBJECTIVES if name != NONE)}"
        )
    return weights


def task_weights(objectives: Mapping[str, float]) -> dict[str, float]:
    """The captioning tasks of these objectives, each with the weight of its target tokens."""
    weights: dict[str, float] = {}
    for name, weight in objectives.items():
        for task in OBJECTIVES[name].tasks:
            weights[task] = weights.get(task, 0.0) + weight
    return weights


def draws_pairs(objectives: Mapping[str, float]) -> bool:
    """Whether any of these objectives learns from pairs of images."""
    return any(OBJECTIVES[name].pairs for name in objectives)


def looks_at_places(objectives: Mapping[str, float]) -> bool:
    """Whether any of these objectives learns from boxes in an image."""
    return any({"phrases", "levels", "changes"}.intersection(OBJECTIVES[name].needs) for name in objectives)


def heads_of(objectives: Mapping[str, float]) -> dict[str, Head]:
    """The heads of these objectives: the captioning head, which several share, first, then each by its objective."""
    named = [(CAPTIONING if OBJECTIVES[name].tasks else name, OBJECTIVES[name].head) for name in objectives]
    return dict(sorted([(name, head) for name, head in named if head], key=lambda entry: entry[0] != CAPTIONING))


def make_heads(objectives: Mapping[str, float], context: HeadContext) -> dict[str, nn.Module]:
    """New heads of these objectives, by name."""
    heads = heads_of(objectives)
    # The captioning head last, so that a seed gives the weights that it has always given.
    made = {name: heads[name].make(context) for name in sorted(heads, key=lambda name: name == CAPTIONING)}
    return {name: made[name] for name in heads}
