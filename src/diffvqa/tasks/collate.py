"""Texts and pictures to tensors: token ids, loss masks aligned with the predictions, normalised pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from diffvqa.records import Pair
from diffvqa.tasks.text import IGNORED, encode_prompt


def normalise(pixels: Sequence[np.ndarray], processor: Any) -> torch.Tensor:
    """Grey squares (uint8, size x size) as a model's pixels: float (images, channels, size, size).

    The processor's mean and standard deviation are those of the model's own convention.
    """
    grey = torch.from_numpy(np.stack(pixels)).float().unsqueeze(1) * processor.rescale_factor
    mean = torch.tensor(processor.image_mean).view(1, -1, 1, 1)
    deviation = torch.tensor(processor.image_std).view(1, -1, 1, 1)
    return (grey - mean) / deviation


Encoded = tuple[list[int], list[int]]
"""The token ids of a text: its prefix, and its target with the end token."""


@dataclass(frozen=True, slots=True)
class PretrainingText:
    """An encoded text, whether it is predicted in parallel, and how much each of its target tokens weighs."""

    encoded: Encoded
    parallel: bool = False
    weight: float = 1.0


def pack_texts(
    images: Sequence[Sequence[PretrainingText]], mask: int, padding: int, masks: int
) -> dict[str, torch.Tensor]:
    """The texts of each image, one after the other in its row; the tensors of `Captioner.forward`.

    In a text that is predicted in parallel `masks` mask tokens stand after the prefix, however long the target, so
    that its length is not betrayed (arXiv 2306.07915). labels[t] is what position t predicts: the next token, or in
    parallel the token of its place.
    """
    rows = [
        [
            _parallel_text(number, text, mask, masks) if text.parallel else _causal_text(number, text)
            for number, text in enumerate(texts)
        ]
        for texts in images
    ]
    fill = {
        "input_ids": padding,
        "position_ids": 0,
        "text_index": -1,
        "parallel": False,
        "labels": IGNORED,
        "weights": 0.0,
    }
    length = max(1, max(sum(len(text["input_ids"]) for text in row) for row in rows))
    packed = {}
    for name, value in fill.items():
        joined = [[item for text in row for item in text[name]] for row in rows]
        packed[name] = torch.tensor([items + [value] * (length - len(items)) for items in joined])
    return packed


def _causal_text(number: int, text: PretrainingText) -> dict[str, list]:
    prefix, target = text.encoded
    return _packed_text(number, [*prefix, *target[:-1]], [IGNORED] * (len(prefix) - 1) + target, text)


def _parallel_text(number: int, text: PretrainingText, mask: int, masks: int) -> dict[str, list]:
    prefix, target = text.encoded
    labels = [IGNORED] * len(prefix) + target + [IGNORED] * (masks - len(target))
    return _packed_text(number, prefix + [mask] * masks, labels, text)


def _packed_text(number: int, input_ids: list[int], labels: list[int], text: PretrainingText) -> dict[str, list]:
    length = len(input_ids)
    return {
        "input_ids": input_ids,
        "position_ids": list(range(length)),
        "text_index": [number] * length,
        "parallel": [text.parallel] * length,
        "labels": labels,
        "weights": [text.weight] * length,
    }


@dataclass(frozen=True, slots=True)
class Described:
    """What is said of a place in the image at this position of a batch: x1 y1 x2 y2 as shares of its side."""

    image: int
    text: str
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)


def collate_descriptions(described: Sequence[Described], tokenizer: Any, maximum: int) -> dict[str, torch.Tensor]:
    """Descriptions as the tensors of `ContrastiveHead.forward`: texts of at most `maximum` tokens, right-padded.

    text_key is equal where the text is, in any process: equal texts must not be told apart.
    """
    encoded = [(encode_prompt(tokenizer, (one.text,))[: maximum - 1], [tokenizer.eos_token_id]) for one in described]
    length = max((len(prefix) + 1 for prefix, _ in encoded), default=1)
    input_ids = torch.full((len(described), length), tokenizer.pad_token_id)
    attention_mask = torch.zeros((len(described), length), dtype=torch.long)
    for row, (prefix, end) in enumerate(encoded):
        input_ids[row, : len(prefix) + 1] = torch.tensor(prefix + end)
        attention_mask[row, : len(prefix) + 1] = 1
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "image_index": torch.tensor([one.image for one in described], dtype=torch.long),
        "boxes": torch.tensor([one.box for one in described], dtype=torch.float).view(-1, 4),
        "text_key": torch.tensor([_key(one.text) for one in described], dtype=torch.long),
    }


def _key(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)


def collate_findings(images: Sequence[Collection[str]], names: Sequence[str]) -> torch.Tensor:
    """Which of the named findings each image has: float (images, names), 1 or 0."""
    return torch.tensor([[float(name in findings) for name in names] for findings in images])


def collate_questions(texts: Sequence[Encoded], padding: int) -> dict[str, torch.Tensor]:
    """Encoded texts as right-padded `input_ids`, `attention_mask` and `labels`, each (texts, length).

    labels[t] is the token that position t predicts, that is the next one, and IGNORED outside the target.
    """
    length = max(len(prefix) + len(target) for prefix, target in texts) - 1
    input_ids = torch.full((len(texts), length), padding)
    attention_mask = torch.zeros((len(texts), length), dtype=torch.long)
    labels = torch.full((len(texts), length), IGNORED)
    for row, (prefix, target) in enumerate(texts):
        count = len(prefix) + len(target) - 1
        input_ids[row, :count] = torch.tensor([*prefix, *target[:-1]])
        attention_mask[row, :count] = 1
        labels[row, len(prefix) - 1 : count] = torch.tensor(target)
    return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}


def collate_prompts(prompts: Sequence[list[int]], padding: int) -> dict[str, torch.Tensor]:
    """Prompts to be gone on with, as left-padded `input_ids` and `attention_mask`, each (prompts, length)."""
    length = max(len(prompt) for prompt in prompts)
    input_ids = torch.full((len(prompts), length), padding)
    attention_mask = torch.zeros((len(prompts), length), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        input_ids[row, length - len(prompt) :] = torch.tensor(prompt)
        attention_mask[row, length - len(prompt) :] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def pair_images(images: Mapping[str, np.ndarray], pair: Pair, priors: int = 1) -> dict[str, Any]:
    """A pair's images out of `images`, patch tokens (patches, width) or grey squares (size, size).

    prior: (priors, ...), the nearest first, zeros where there is none, which has_prior (priors,) says.
    """
    current = images[pair.current]
    before = pair.images[1 : 1 + priors]
    absent = priors - len(before)
    return {
        "prior": np.stack([images[image] for image in before] + [np.zeros_like(current)] * absent),
        "current": current,
        "has_prior": [True] * len(before) + [False] * absent,
    }


def collate_pairs(pairs: Sequence[Mapping[str, Any]], processor: Any) -> dict[str, torch.Tensor]:
    """What `pair_images` gives, as the tensors of `DifferenceModel.forward`; grey squares are normalised."""
    current = np.stack([pair["current"] for pair in pairs])
    prior = np.stack([pair["prior"] for pair in pairs])
    if current.dtype == np.uint8:
        squares = normalise(prior.reshape(-1, *prior.shape[2:]), processor)
        made = {"prior": squares.view(*prior.shape[:2], *squares.shape[1:]), "current": normalise(current, processor)}
    else:
        made = {"prior": torch.from_numpy(prior), "current": torch.from_numpy(current)}
    return {**made, "has_prior": torch.tensor([pair["has_prior"] for pair in pairs])}
