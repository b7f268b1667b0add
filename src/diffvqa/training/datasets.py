"""The items that the Trainer draws: each a function of (seed, epoch, index), so that a resumed run draws the same."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from diffvqa.boxes import Frame
from diffvqa.data.store import Store
from diffvqa.findings import DIFFERENCE_QUESTION, Change, read_changes, turn_round
from diffvqa.records import Pair, Question
from diffvqa.tasks import collate
from diffvqa.tasks.augmentation import Augmentation, augment
from diffvqa.tasks.collate import pair_images
from diffvqa.tasks.image_texts import ImageTexts, Phrase
from diffvqa.tasks.text import question
from diffvqa.training.config import PretrainConfig
from diffvqa.training.objectives import HeadContext, draws_pairs, heads_of, looks_at_places


def shuffled(count: int, seed: tuple[int, ...], position: int) -> tuple[int, int]:
    """(epoch, index) of the position-th draw when `count` things are gone through again and again, each time anew."""
    epoch, place = divmod(position, count)
    return epoch, int(_permutation(count, (*seed, epoch))[place])


# A run asks for its places one after the other, so a few permutations are all that is worth keeping.
@functools.lru_cache(maxsize=16)
def _permutation(count: int, seed: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).permutation(count)


Changes = frozenset[Change]


def pairs_to_learn(store: Store, images: Sequence[int], split: str) -> list[tuple[int, int, Changes]]:
    """Pairs of these images with what changed between them, as the store's difference questions of that split say.

    Each is the place of the prior image, that of the current one, and the changes. Questions about a part of the
    images, and answers that cannot be read, or in several ways, are left out.
    """
    wanted = set(images)
    found = {}
    for asked in store.questions:
        places = [store.index[image] for image in asked.pair.images[:2]]
        if asked.split != split or asked.text != DIFFERENCE_QUESTION or not wanted.issuperset(places):
            continue
        readings = read_changes(asked.answer)
        if len(readings) == 1:
            found[places[1], places[0]] = readings[0]
    return [(prior, current, changes) for (prior, current), changes in found.items()]


class PretrainingDraws(Dataset):
    """The images of a run in their order, augmented, with what each head takes of them.

    If an objective learns from pairs, items 2n and 2n + 1 are the prior and the current image of the n-th pair.
    split: that of the questions which say what changed.
    """

    def __init__(
        self, store: Store, images: Sequence[int], config: PretrainConfig, length: int, split: str = "train"
    ) -> None:
        self.store, self.images, self.config, self.length = store, images, config, length
        self.pairs = pairs_to_learn(store, images, split) if draws_pairs(config.objective) else None
        self.mixture, self.places = config.mixture, looks_at_places(config.objective)
        # In a store with reports, an image that has no report and no named finding may have any finding.
        self.reported = any(store.images[place].report for place in images)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, position: int) -> dict[str, Any]:
        place, seed, changes = self._draw(position)
        random = np.random.default_rng(seed)
        stored = self.store.images[place]
        regions = [region for region in stored.regions if region.phrases] if self.places else []
        size = self.store.size
        # An augmented image is read one size larger, so that it is as sharp as the others.
        larger = self.config.augmentation != Augmentation()
        pixels = (self.store.larger_pixels if larger else self.store.pixels)(place)
        frame = Frame.letterbox(stored.width, stored.height, pixels.shape[0])
        boxes = [frame.into(region.box) for region in regions]
        pixels, moved = augment(pixels, boxes, self.config.augmentation, random, size)
        phrases = [
            Phrase(phrase, box, region.name)
            for box, region in zip(moved, regions, strict=True)
            if box is not None
            for phrase in region.phrases
        ]
        known = stored.findings or stored.report or not self.reported
        image = ImageTexts(
            stored.report, phrases, size, self.config.notation, stored.findings if known else None, changes
        )
        # The order matters: all heads draw from the same random numbers.
        taken = {name: head.take(image, self.mixture, random) for name, head in heads_of(self.config.objective).items()}
        return {"pixels": pixels, **taken}

    def identifier(self, position: int) -> str:
        """Which image the draw at a position shows."""
        return self.store.images[self._draw(position)[0]].image_id

    def _draw(self, position: int) -> tuple[int, tuple[int, ...], Changes]:
        """The place of an image in the store, the seed of all that is drawn for it, and its pair's changes."""
        if self.pairs is None:
            epoch, index = shuffled(len(self.images), (self.config.seed,), position)
            return self.images[index], (self.config.seed, epoch, index), frozenset()
        epoch, index = shuffled(len(self.pairs), (self.config.seed,), position // 2)
        prior, current, changes = self.pairs[index]
        side = position % 2
        return (current if side else prior), (self.config.seed, epoch, index, side), changes


class PretrainingCollator:
    """Images with what the heads take of them to the tensors of `PretrainingModel.forward`."""

    def __init__(self, objective: Mapping[str, float], context: HeadContext, processor: Any) -> None:
        self.objective, self.context, self.processor = objective, context, processor

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        heads = heads_of(self.objective)
        return {
            "pixel_values": collate.normalise([item["pixels"] for item in items], self.processor),
            **{name: head.collate([item[name] for item in items], self.context) for name, head in heads.items()},
        }


class QuestionDraws(Dataset):
    """Item n is the n-th question of the run with its images: frozen features, or grey squares.

    Question types are drawn in the proportions of `shares`; within a type every question comes once an epoch.
    exchanged: the share of difference questions that are turned round in time, with their answers.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        shares: dict[str, float],
        images: Mapping[str, np.ndarray],
        priors: int,
        seed: int,
        length: int,
        exchanged: float = 0.0,
    ) -> None:
        self.by_type = {
            kind: found
            for kind, share in shares.items()
            if share > 0 and (found := [question for question in questions if question.type == kind])
        }
        weights = np.array([shares[kind] for kind in self.by_type])
        self.types = list(self.by_type)
        # The type of every draw is fixed ahead, and with it which question of its type it is.
        chosen = np.random.default_rng((seed, 1)).choice(len(self.types), size=length, p=weights / weights.sum())
        places = np.zeros(length, dtype=np.int64)
        for kind in range(len(self.types)):
            places[chosen == kind] = np.arange(np.count_nonzero(chosen == kind))
        self.draws = list(zip(chosen.tolist(), places.tolist(), strict=True))
        self.images, self.priors, self.seed, self.exchanged = images, priors, seed, exchanged

    def __len__(self) -> int:
        return len(self.draws)

    def __getitem__(self, position: int) -> dict[str, Any]:
        drawn = self._question(position)
        if self.exchanged and np.random.default_rng((self.seed, 2, position)).random() < self.exchanged:
            drawn = turn_question_round(drawn)
        return {"text": question(drawn.text, drawn.answer), **pair_images(self.images, drawn.pair, self.priors)}

    def identifier(self, position: int) -> str:
        """Which question is drawn at a position."""
        return self._question(position).question_id

    def _question(self, position: int) -> Question:
        kind, place = self.draws[position]
        questions = self.by_type[self.types[kind]]
        _, index = shuffled(len(questions), (self.seed, kind), place)
        return questions[index]


def turn_question_round(question: Question) -> Question:
    """A difference question about two images, and its answer, with these exchanged; any other as it is."""
    pair, answer = question.pair, turn_round(question.answer)
    if question.type != "difference" or pair.prior is None or pair.earlier or answer is None:
        return question
    return replace(question, pair=Pair(current=pair.prior, prior=pair.current), answer=answer)


class QuestionCollator:
    """Questions with their images to the tensors of `DifferenceModel.forward`."""

    def __init__(self, tokenizer: Any, processor: Any, text_tokens: int) -> None:
        self.tokenizer, self.processor, self.text_tokens = tokenizer, processor, text_tokens

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        return {
            **collate.collate_pairs(items, self.processor),
            **collate.collate_questions([item["text"] for item in items], self.tokenizer, self.text_tokens),
        }
