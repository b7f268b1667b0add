"""Texts and pictures to tensors: token ids, loss masks aligned with the predictions, normalised pixels."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from diffvqa.records import Pair
from diffvqa.tasks.image_texts import Phrase
from diffvqa.tasks.text import IGNORED, DoesNotFit, Text, encode, encode_prompt


def normalise(pixels: Sequence[np.ndarray], processor: Any) -> torch.Tensor:
    """Grey squares (uint8, size x size) as a model's pixels: float (images, channels, size, size).

    The processor's mean and standard deviation are those of the model's own convention.
    """
    grey = torch.from_numpy(np.stack(pixels)).float().unsqueeze(1) * processor.rescale_factor
    mean = torch.tensor(processor.image_mean).view(1, -1, 1, 1)
    deviation = torch.tensor(processor.image_std).view(1, -1, 1, 1)
    return (grey - mean) / deviation


def pack_texts(images: Sequence[Sequence[Text]], tokenizer: Any, maximum: int) -> dict[str, torch.Tensor]:
    """The texts of each image, one after the other in its row; the tensors of `CaptioningHead.forward`.

    A text has at most `maximum` tokens; one that cannot be cut to so many is left out. A text that is predicted in
    parallel has `maximum` mask tokens after its prefix, so that they do not reveal the target's length (arXiv
    2306.07915). labels[t] is what position t predicts: the next token, or in parallel the token of its place.
    """
    rows: list[list[dict[str, list]]] = []
    for texts in images:
        rows.append([])
        for text in texts:
            with contextlib.suppress(DoesNotFit):
                rows[-1].append(_pack_text(len(rows[-1]), text, tokenizer, maximum))
    fill = {
        "input_ids": tokenizer.pad_token_id,
        "position_ids": 0,
        "text_index": -1,
        "parallel": False,
        "labels": IGNORED,
        "weights": 0.0,
    }
    return {
        name: _padded([[item for text in row for item in text[name]] for row in rows], value)
        for name, value in fill.items()
    }


def _pack_text(number: int, text: Text, tokenizer: Any, maximum: int) -> dict[str, list]:
    prefix, target = encode(tokenizer, text, maximum)
    if text.parallel:
        input_ids = prefix + [tokenizer.mask_token_id] * maximum
        labels = [IGNORED] * len(prefix) + target + [IGNORED] * (maximum - len(target))
    else:
        input_ids = prefix + target[:-1]
        labels = [IGNORED] * (len(prefix) - 1) + target
    length = len(input_ids)
    return {
        "input_ids": input_ids,
        "position_ids": list(range(length)),
        "text_index": [number] * length,
        "parallel": [text.parallel] * length,
        "labels": labels,
        "weights": [text.weight] * length,
    }


def collate_phrases(
    images: Sequence[Sequence[Phrase]], image_size: int, tokenizer: Any, maximum: int
) -> dict[str, torch.Tensor]:
    """The phrases of each image as the tensors of `ContrastiveHead.forward`: of at most `maximum` tokens, right-padded.

    Images are squares of `image_size` pixels. text_key is equal where the text is, in any process: equal texts must not
    be told apart.
    """
    placed = [(place, phrase) for place, phrases in enumerate(images) for phrase in phrases]
    end = [tokenizer.eos_token_id]
    encoded = [encode_prompt(tokenizer, (phrase.phrase,))[: maximum - 1] + end for _, phrase in placed]
    boxes = [[edge / image_size for edge in phrase.box.as_tuple()] for _, phrase in placed]
    return {
        **_padded_with_mask(encoded, tokenizer.pad_token_id),
        "image_index": torch.tensor([place for place, _ in placed], dtype=torch.long),
        "boxes": torch.tensor(boxes, dtype=torch.float).view(-1, 4),
        "text_key": torch.tensor([_key(phrase.phrase) for _, phrase in placed], dtype=torch.long),
    }


def _key(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)


def collate_findings(images: Sequence[Collection[str] | None], names: Sequence[str]) -> dict[str, torch.Tensor]:
    """The findings of each image, None where they are unknown, as the tensors of `ClassificationHead.forward`."""
    return {
        "findings": torch.tensor([[float(name in (findings or ())) for name in names] for findings in images]),
        "known": torch.tensor([findings is not None for findings in images]),
    }


def collate_levels(images: Sequence[Mapping[str, int]], names: Sequence[str]) -> dict[str, torch.Tensor]:
    """The levels of each image's findings as the tensors of `LevelHead.forward`, IGNORED where none is given."""
    return {"levels": torch.tensor([[levels.get(name, IGNORED) for name in names] for levels in images])}


def collate_questions(texts: Sequence[Text], tokenizer: Any, maximum: int) -> dict[str, torch.Tensor]:
    """Questions of at most `maximum` tokens as right-padded `input_ids`, `attention_mask`, `labels`: (texts, length).

    labels[t] is the token that position t predicts, that is the next one, and IGNORED outside the target.
    """
    encoded = [encode(tokenizer, text, maximum) for text in texts]
    labels = _padded([[IGNORED] * len(prefix[1:]) + target for prefix, target in encoded], IGNORED)
    inputs = [prefix + target[:-1] for prefix, target in encoded]
    return {**_padded_with_mask(inputs, tokenizer.pad_token_id), "labels": labels}


def _padded(rows: Sequence[list], padding: float) -> torch.Tensor:
    """Rows of numbers of the kind of `padding`, made equally long on the right: (rows, length), at least one long."""
    length = max([1, *map(len, rows)])
    padded = [[*row, *[padding] * (length - len(row))] for row in rows]
    return torch.tensor(padded, dtype=torch.tensor(padding).dtype).view(-1, length)


def _padded_with_mask(rows: Sequence[list[int]], padding: int) -> dict[str, torch.Tensor]:
    """Token ids, padded on the right, and a mask of where they stand: (rows, length) each."""
    return {"input_ids": _padded(rows, padding), "attention_mask": _padded([[1] * len(row) for row in rows], 0)}


def collate_prompts(prompts: Sequence[list[int]], padding: int) -> dict[str, torch.Tensor]:
    """Prompts to be gone on with, as left-padded `input_ids` and `attention_mask`, each (prompts, length)."""
    padded = _padded_with_mask([prompt[::-1] for prompt in prompts], padding)
    return {name: tensor.flip(1) for name, tensor in padded.items()}


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
    """Tensors for `DifferenceModel.forward` from the result of `pair_images`; grey squares are normalised."""
    current = np.stack([pair["current"] for pair in pairs])
    prior = np.stack([pair["prior"] for pair in pairs])
    if current.dtype == np.uint8:
        squares = normalise(list(prior.reshape(-1, *prior.shape[2:])), processor)
        of_priors = squares.view(*prior.shape[:2], *squares.shape[1:])
        made = {"prior": of_priors, "current": normalise(list(current), processor)}
    else:
        made = {"prior": torch.from_numpy(prior), "current": torch.from_numpy(current)}
    return {**made, "has_prior": torch.tensor([pair["has_prior"] for pair in pairs])}
