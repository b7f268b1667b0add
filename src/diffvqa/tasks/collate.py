"""Texts and pictures to tensors: token ids, loss masks aligned with the predictions, normalised pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from diffvqa.records import Pair
from diffvqa.tasks.text import IGNORED


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


def pack_texts(
    images: Sequence[Sequence[tuple[Encoded, bool]]], mask: int, padding: int, masks: int
) -> dict[str, torch.Tensor]:
    """The texts of each image, one after the other in its row; the tensors of `Captioner.forward`.

    images: for every image its encoded texts, each with whether it is predicted in parallel. In such a text `masks`
    mask tokens stand after the prefix, however long the target, so that its length is not betrayed
    (arXiv 2306.07915). labels[t] is what position t predicts: the next token, or in parallel the token of its place.
    """
    rows = [
        [
            _parallel_text(number, *encoded, mask, masks) if parallel else _causal_text(number, *encoded)
            for number, (encoded, parallel) in enumerate(texts)
        ]
        for texts in images
    ]
    fill = {"input_ids": padding, "position_ids": 0, "text_index": -1, "parallel": False, "labels": IGNORED}
    length = max(1, max(sum(len(text["input_ids"]) for text in row) for row in rows))
    packed = {}
    for name, value in fill.items():
        joined = [[item for text in row for item in text[name]] for row in rows]
        packed[name] = torch.tensor([items + [value] * (length - len(items)) for items in joined])
    return packed


def _causal_text(number: int, prefix: list[int], target: list[int]) -> dict[str, list]:
    given = [*prefix, *target[:-1]]
    return _packed_text(number, given, [IGNORED] * (len(prefix) - 1) + target, parallel=False)


def _parallel_text(number: int, prefix: list[int], target: list[int], mask: int, masks: int) -> dict[str, list]:
    labels = [IGNORED] * len(prefix) + target + [IGNORED] * (masks - len(target))
    return _packed_text(number, prefix + [mask] * masks, labels, parallel=True)


def _packed_text(number: int, input_ids: list[int], labels: list[int], parallel: bool) -> dict[str, list]:
    return {
        "input_ids": input_ids,
        "position_ids": list(range(len(input_ids))),
        "text_index": [number] * len(input_ids),
        "parallel": [parallel] * len(input_ids),
        "labels": labels,
    }


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


def pair_features(features: Mapping[str, np.ndarray], pair: Pair) -> dict[str, Any]:
    """The patch tokens of a pair's images, float (patches, width) each; zeros for a prior that is not there."""
    current = torch.from_numpy(features[pair.current].astype(np.float32))
    prior = torch.zeros_like(current) if pair.prior is None else features[pair.prior].astype(np.float32)
    return {"prior": torch.as_tensor(prior), "current": current, "has_prior": pair.prior is not None}


def encode_squares(
    encode: Callable[[torch.Tensor], torch.Tensor], processor: Any, pixels: Sequence[np.ndarray]
) -> np.ndarray:
    """The patch tokens of grey squares (uint8, size x size each) by `encode`, float16 (images, patches, width).

    Half precision everywhere, so that features kept on disk and features made for one answer are the same.
    """
    with torch.inference_mode():
        return encode(normalise(pixels, processor)).float().cpu().numpy().astype(np.float16)
