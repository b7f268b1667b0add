"""What the Trainer draws from: every item a function of (seed, epoch, index), so that a resumed run goes on alike."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from diffvqa.data.features import Features
from diffvqa.data.store import Store
from diffvqa.records import Question
from diffvqa.tasks import collate
from diffvqa.tasks.collate import pair_features
from diffvqa.tasks.pretraining import Phrase, Seen, draw_texts
from diffvqa.tasks.text import box_to_text, encode, question
from diffvqa.tasks.transform import augment
from diffvqa.training.config import PretrainConfig


def shuffled(count: int, seed: tuple[int, ...], position: int) -> tuple[int, int]:
    """(epoch, index) of the position-th draw when `count` things are gone through again and again, each time anew."""
    epoch, place = divmod(position, count)
    return epoch, int(_permutation(count, (*seed, epoch))[place])


# A run asks for its places one after the other, so a few permutations are all that is worth keeping.
@functools.lru_cache(maxsize=16)
def _permutation(count: int, seed: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).permutation(count)


class PretrainingDraws(Dataset):
    """Item n is the n-th image of the run, augmented, with the texts drawn for it; as many items as the run needs."""

    def __init__(self, store: Store, images: Sequence[int], config: PretrainConfig, length: int) -> None:
        self.store, self.images, self.config, self.length = store, images, config, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, position: int) -> dict[str, Any]:
        epoch, index = shuffled(len(self.images), (self.config.seed,), position)
        random = np.random.default_rng((self.config.seed, epoch, index))
        stored = self.store.images[self.images[index]]
        regions = [region for region in stored.regions if region.phrases]
        boxes = [stored.frame.into(region.box) for region in regions]
        pixels, moved = augment(self.store.pixels(self.images[index]), boxes, self.config.augmentation, random)
        phrases = [
            Phrase(phrase, box, region.name)
            for box, region in zip(moved, regions, strict=True)
            if box is not None
            for phrase in region.phrases
        ]
        seen = Seen(stored.report, phrases, lambda box: box_to_text(box, self.store.size, self.config.box_bins))
        return {"pixels": pixels, "texts": draw_texts(seen, self.config.texts, self.config.parallel, random)}


class PretrainingCollator:
    """Images with their texts to the tensors of `Captioner.forward`."""

    def __init__(self, tokenizer: Any, processor: Any, text_tokens: int) -> None:
        self.tokenizer, self.processor, self.text_tokens = tokenizer, processor, text_tokens

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        texts = [
            [(encode(self.tokenizer, drawn.text, self.text_tokens), drawn.parallel) for drawn in item["texts"]]
            for item in items
        ]
        return {
            "pixel_values": collate.normalise([item["pixels"] for item in items], self.processor),
            **collate.pack_texts(
                texts, self.tokenizer.mask_token_id, self.tokenizer.pad_token_id, masks=self.text_tokens
            ),
        }


class QuestionDraws(Dataset):
    """Item n is the n-th question of the run with the frozen features of its images.

    Question types are drawn in the proportions of `shares`; within a type every question comes once an epoch.
    """

    def __init__(
        self, questions: Sequence[Question], shares: dict[str, float], features: Features, seed: int, length: int
    ) -> None:
        self.by_type = {
            kind: [question for question in questions if question.type == kind]
            for kind, share in shares.items()
            if share > 0
        }
        self.by_type = {kind: found for kind, found in self.by_type.items() if found}
        weights = np.array([shares[kind] for kind in self.by_type])
        self.types = list(self.by_type)
        # The type of every draw is fixed ahead, and with it which question of its type it is.
        chosen = np.random.default_rng((seed, 1)).choice(len(self.types), size=length, p=weights / weights.sum())
        places = np.zeros(length, dtype=np.int64)
        for kind in range(len(self.types)):
            places[chosen == kind] = np.arange(np.count_nonzero(chosen == kind))
        self.draws = list(zip(chosen.tolist(), places.tolist(), strict=True))
        self.features, self.seed = features, seed

    def __len__(self) -> int:
        return len(self.draws)

    def __getitem__(self, position: int) -> dict[str, Any]:
        kind, place = self.draws[position]
        questions = self.by_type[self.types[kind]]
        _, index = shuffled(len(questions), (self.seed, kind), place)
        drawn = questions[index]
        return {"text": question(drawn.text, drawn.answer), **pair_features(self.features, drawn.pair)}


class QuestionCollator:
    """Questions with their features to the tensors of `DifferenceModel.forward`."""

    def __init__(self, tokenizer: Any, text_tokens: int) -> None:
        self.tokenizer, self.text_tokens = tokenizer, text_tokens

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        encoded = [encode(self.tokenizer, item["text"], self.text_tokens) for item in items]
        return {
            "prior": torch.stack([item["prior"] for item in items]),
            "current": torch.stack([item["current"] for item in items]),
            "has_prior": torch.tensor([item["has_prior"] for item in items]),
            **collate.collate_questions(encoded, self.tokenizer.pad_token_id),
        }
