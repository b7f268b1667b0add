"""Texts and pictures to tensors: token ids, loss masks aligned with the predictions, normalised pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

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


def collate_causal(texts: Sequence[tuple[list[int], list[int]]], padding: int) -> dict[str, torch.Tensor]:
    """Encoded (prefix, target) texts as right-padded `input_ids`, `attention_mask` and `labels`, each (texts, length).

    labels[t] is the token that position t predicts, that is the next one, and IGNORED outside the target.
    """
    length = max(len(prefix) + len(target) for prefix, target in texts) - 1
    input_ids = torch.full((len(texts), length), padding)
    attention_mask = torch.zeros((len(texts), length), dtype=torch.long)
    labels = torch.full((len(texts), length), IGNORED)
    for row, (prefix, target) in enumerate(texts):
        tokens = prefix + target
        count = len(tokens) - 1
        input_ids[row, :count] = torch.tensor(tokens[:-1])
        attention_mask[row, :count] = 1
        labels[row, len(prefix) - 1 : count] = torch.tensor(target)
    return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}


def collate_parallel(
    texts: Sequence[tuple[list[int], list[int]]], mask: int, padding: int, length: int
) -> dict[str, torch.Tensor]:
    """Encoded texts for parallel prediction (arXiv 2306.07915): every target input is the mask token.

    `length` masks follow each prefix whatever the target's length, so that it is not betrayed; labels are the
    unshifted targets, their end token among them, and IGNORED at the masks beyond it.
    """
    longest = max(len(prefix) for prefix, _ in texts)
    input_ids = torch.full((len(texts), longest + length), padding)
    attention_mask = torch.zeros_like(input_ids)
    labels = torch.full_like(input_ids, IGNORED)
    for row, (prefix, target) in enumerate(texts):
        start = len(prefix)
        input_ids[row, :start] = torch.tensor(prefix)
        input_ids[row, start : start + length] = mask
        attention_mask[row, : start + length] = 1
        labels[row, start : start + len(target)] = torch.tensor(target)
    return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}


def collate_texts(
    causal: Sequence[tuple[list[int], list[int]]],
    parallel: Sequence[tuple[list[int], list[int]]],
    tokenizer: Any,
    parallel_length: int,
) -> dict[str, torch.Tensor]:
    """Both kinds of texts in one batch, the causal ones first, padded to the longest."""
    padding = tokenizer.pad_token_id
    parts = []
    if causal:
        parts.append(collate_causal(causal, padding))
    if parallel:
        parts.append(collate_parallel(parallel, tokenizer.mask_token_id, padding, parallel_length))
    length = max(part["input_ids"].shape[1] for part in parts)
    fill = {"input_ids": padding, "attention_mask": 0, "labels": IGNORED}
    return {
        name: torch.cat([functional.pad(part[name], (0, length - part[name].shape[1]), value=value) for part in parts])
        for name, value in fill.items()
    }


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
