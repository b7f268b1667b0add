"""The objectives of stage 1: the method, and what it is held against, on one backbone and the same images."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import CLIPTextConfig, GPT2Config

from diffvqa.models.classifier import ClassificationHead
from diffvqa.models.contrastive import ContrastiveHead
from diffvqa.models.paired import PairedHead
from diffvqa.tasks.collate import Described, PretrainingText, collate_descriptions, collate_findings, pack_texts
from diffvqa.tasks.paired import change_text
from diffvqa.tasks.text import DoesNotFit, encode


@dataclass(frozen=True)
class Surroundings:
    """What a head is made for: the encoder's width, a decoder's and a text encoder's sizes, the tokenizer, the names of
    findings."""

    width: int
    decoder_config: GPT2Config
    text_config: CLIPTextConfig
    tokenizer: Any
    text_tokens: int
    findings: Sequence[str]


Items = Sequence[Mapping[str, Any]]
"""What `PretrainingDraws` gives: pixels, texts, report, phrases, findings of each image and whether these are known,
and of pairs their changes."""


@dataclass(frozen=True)
class Objective:
    """One objective: tasks of the captioning head, or a head of its own with what makes its input; or nothing.

    needs: what it learns from, any of these: reports, phrases, findings, changes. pairs: whether images are drawn as
    pairs of prior and current ones.
    """

    summary: str
    needs: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    make_head: Callable[[Surroundings], nn.Module] | None = None
    make_input: Callable[[Items, Surroundings], dict[str, torch.Tensor]] | None = None
    pairs: bool = False


def _contrast(sigmoid: bool, local: bool) -> Callable[[Surroundings], nn.Module]:
    return lambda around: ContrastiveHead(around.width, around.text_config, sigmoid, local)


def _reports(items: Items, around: Surroundings) -> dict[str, torch.Tensor]:
    described = [Described(image, item["report"]) for image, item in enumerate(items) if item["report"]]
    return collate_descriptions(described, around.tokenizer, around.text_tokens)


def _phrases(items: Items, around: Surroundings) -> dict[str, torch.Tensor]:
    described = [Described(image, *phrase) for image, item in enumerate(items) for phrase in item["phrases"]]
    return collate_descriptions(described, around.tokenizer, around.text_tokens)


def _findings(items: Items, around: Surroundings) -> dict[str, torch.Tensor]:
    return {
        "findings": collate_findings([item["findings"] for item in items], around.findings),
        "known": torch.tensor([item["findings_known"] for item in items]),
    }


def _changes(items: Items, around: Surroundings) -> dict[str, torch.Tensor]:
    tokenizer, length = around.tokenizer, around.text_tokens
    rows: list[list[PretrainingText]] = []
    for prior, current in zip(items[::2], items[1::2], strict=True):
        text = change_text(current["changes"], prior["places"], current["places"], tokenizer, length)
        rows.append([])
        with contextlib.suppress(DoesNotFit):
            rows[-1].append(PretrainingText(encode(tokenizer, text, length)))
    return pack_texts(rows, tokenizer.mask_token_id, tokenizer.pad_token_id, masks=length)


OBJECTIVES: dict[str, Objective] = {
    "location_aware": Objective(
        "captions, and phrases with their boxes: the method", ("reports", "phrases"), ("Cap", "AREF", "GCAP", "CAREF")
    ),
    "cap": Objective("captions of whole images", ("reports",), ("Cap",)),
    "local_captioning": Objective("phrases with their boxes", ("phrases",), ("AREF", "GCAP", "CAREF")),
    "clip": Objective(
        "images against reports, softmax", ("reports",), (), _contrast(sigmoid=False, local=False), _reports
    ),
    "siglip": Objective(
        "images against reports, sigmoid", ("reports",), (), _contrast(sigmoid=True, local=False), _reports
    ),
    "local_contrastive": Objective(
        "patches under boxes against phrases, softmax", ("phrases",), (), _contrast(sigmoid=False, local=True), _phrases
    ),
    "classification": Objective(
        "the dataset's findings",
        ("findings",),
        (),
        lambda around: ClassificationHead(around.width, len(around.findings)),
        _findings,
    ),
    "paired": Objective(
        "what changed between two images of a patient, each change with its box",
        ("changes",),
        (),
        lambda around: PairedHead(around.width, around.decoder_config),
        _changes,
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


def draws_phrases(objectives: Mapping[str, float]) -> bool:
    """Whether any of these objectives learns from phrases by a head of its own."""
    return any(OBJECTIVES[name].make_input is _phrases for name in objectives)


def make_heads(objectives: Mapping[str, float], around: Surroundings) -> dict[str, nn.Module]:
    """The heads of these objectives but for the captioning head, by the objective's name."""
    makers = {name: OBJECTIVES[name].make_head for name in objectives}
    return {name: make(around) for name, make in makers.items() if make}


def head_inputs(objectives: Mapping[str, float], items: Items, around: Surroundings) -> dict[str, Any]:
    """What the same heads are given of a batch of images, by the objective's name."""
    makers = {name: OBJECTIVES[name].make_input for name in objectives}
    return {name: make(items, around) for name, make in makers.items() if make}
