"""Questions to answers and phrases to boxes, in batches, on images that are encoded already."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from diffvqa.boxes import Box
from diffvqa.errors import InputError
from diffvqa.models.captioner import Captioner
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.folder import ModelFolder
from diffvqa.records import Pair
from diffvqa.tasks.box_grammar import box_grammar
from diffvqa.tasks.collate import collate_prompts, encode_squares, pair_features
from diffvqa.tasks.text import encode_prompt, phrase_and_box, question_prompt

BATCH = 64

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Written:
    """An answer as the language model wrote it, and the mean probability (geometric) of its tokens, 0 to 1."""

    text: str
    confidence: float


def encoder_of(folder: ModelFolder) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
    """Grey squares to patch tokens by a folder's model and its own processor."""
    return lambda pixels: encode_squares(folder.model.encode, folder.processor, pixels)


def answer_questions(
    folder: ModelFolder[DifferenceModel],
    questions: Sequence[tuple[Pair, str]],
    features: Mapping[str, np.ndarray],
    progress: Progress | None = None,
) -> list[Written]:
    """The answer to each (pair, question), greedy; features: image identifier -> patch tokens.

    Raises InputError if a question leaves the model no room for an answer.
    """
    tokenizer, text_tokens = folder.tokenizer, folder.model.config.text_tokens
    answers: list[Written] = []
    for part in _batches(questions):
        prompts = [encode_prompt(tokenizer, question_prompt(text)) for _, text in part]
        longest = max(len(prompt) for prompt in prompts)
        if longest >= text_tokens:
            raise InputError(f"a question of {longest} tokens is too long: the model takes fewer than {text_tokens}")
        images = [pair_features(features, pair) for pair, _ in part]
        with torch.inference_mode():
            written = folder.model.write(
                prior=torch.stack([image["prior"] for image in images]),
                current=torch.stack([image["current"] for image in images]),
                has_prior=torch.tensor([image["has_prior"] for image in images]),
                **collate_prompts(prompts, tokenizer.pad_token_id),
                new_tokens=text_tokens - longest,
                return_dict_in_generate=True,
                output_logits=True,
            )
            log_probabilities = torch.stack(written.logits, dim=1).float().log_softmax(-1)
        for tokens, scores in zip(written.sequences.tolist(), log_probabilities, strict=True):
            # The end token counts: ending here is part of the answer.
            end = tokens.index(tokenizer.eos_token_id) if tokenizer.eos_token_id in tokens else len(tokens) - 1
            chosen = scores[torch.arange(end + 1), torch.tensor(tokens[: end + 1])]
            text = tokenizer.decode(tokens[: end + 1], skip_special_tokens=True)
            answers.append(Written(" ".join(text.split()), float(chosen.mean().exp())))
        if progress:
            progress(len(answers), len(questions))
    return answers


def write_boxes(
    folder: ModelFolder[Captioner],
    prompts: Sequence[tuple[str, tuple[str, ...]]],
    features: Mapping[str, np.ndarray],
    progress: Progress | None = None,
) -> list[tuple[str, Box | None]]:
    """For each (image identifier, prompt) the text that the captioner goes on with, and the box in it.

    The box is in pixels of the model's square; decoding is constrained so that it is always well formed. Raises
    InputError if a prompt is longer than the texts that the captioner was trained on.
    """
    config = folder.model.config
    size, tokenizer = config.vision_config.image_size, folder.tokenizer
    grammar = box_grammar(tokenizer, config.box_bins)
    found: list[tuple[str, Box | None]] = []
    for part in _batches(prompts):
        encoded = [encode_prompt(tokenizer, prompt) for _, prompt in part]
        longest = max(len(prompt) for prompt in encoded)
        if longest > config.text_tokens:
            raise InputError(f"a phrase of {longest} tokens is too long: the model takes {config.text_tokens}")
        tokens = torch.from_numpy(np.stack([features[image] for image, _ in part]).astype(np.float32))
        constraint = grammar.constraint([prompt for _, prompt in part], longest, config.text_tokens)
        with torch.inference_mode():
            written = folder.model.write(
                tokens,
                **collate_prompts(encoded, tokenizer.pad_token_id),
                new_tokens=config.text_tokens,
                prefix_allowed_tokens_fn=constraint,
            )
        for row in written.tolist():
            text = tokenizer.decode(row, skip_special_tokens=True)
            found.append((" ".join(text.split()), phrase_and_box(text, size, config.box_bins)[1]))
        if progress:
            progress(len(found), len(prompts))
    return found


def _batches(items: Sequence) -> Iterator[Sequence]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
