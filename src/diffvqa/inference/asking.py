"""Answers to questions about encoded images, in batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from diffvqa.errors import InputError, printable
from diffvqa.findings import CHANGE
from diffvqa.inference.change_weighing import Hypothesis, agreed_probabilities, change_probabilities, state_changes
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.folder import ModelFolder, device
from diffvqa.records import Pair
from diffvqa.tasks.collate import collate_pairs, collate_prompts, pair_images
from diffvqa.tasks.text import encode_prompt, question_prompt
from diffvqa.workers import Result, done_in_order

BATCH, BATCH_ON_GPU = 64, 512
"""Questions, or prompts, at a time."""

ROWS = 4
"""Rows of hypotheses for each question of a batch: several answers to a question share its images."""

HYPOTHESES = 8
"""Answers over which changes are weighed, unless as many beams are asked for."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class WrittenAnswer:
    """An answer, and the model's confidence in it, 0 to 1.

    confidence: the geometric mean of the token probabilities. The confidence of an answer that is composed of weighed
    changes is the probability of the whole answer. changed: the probability that anything has changed; None if changes
    are not weighed.
    """

    text: str
    confidence: float
    changed: float | None = None


def answer_questions(
    folder: ModelFolder[DifferenceModel],
    questions: Sequence[tuple[Pair, str]],
    features: Mapping[str, np.ndarray],
    progress: Progress | None = None,
    beams: int = 1,
    cluster: str | None = None,
) -> list[WrittenAnswer]:
    """Answer each (pair, question), greedily or by beam search.

    A model with a `change_threshold` weighs the changes between two images over several answers to both orders.
    features: image identifier -> patch tokens. cluster: address of a Ray cluster that answers. Raises InputError if a
    question leaves the model no room for an answer.
    """
    return in_batches(_answer_batch, folder, questions, (features, beams), progress, cluster)


def encode_question(folder: ModelFolder[DifferenceModel], text: str) -> list[int]:
    """The tokens of a question. Raises InputError if they leave the model no room for an answer."""
    prompt, most = encode_prompt(folder.tokenizer, question_prompt(text)), folder.model.config.text_tokens
    if len(prompt) >= most:
        raise InputError(
            f"expected fewer than {most} tokens, found {len(prompt)}; ask in fewer words", argument="question"
        )
    return prompt


def _answer_batch(
    folder: ModelFolder[DifferenceModel],
    questions: Sequence[tuple[Pair, str]],
    features: Mapping[str, np.ndarray],
    beams: int,
) -> list[WrittenAnswer]:
    weighed = [question for question in questions if _is_weighed(folder.model, *question)]
    others = [question for question in questions if not _is_weighed(folder.model, *question)]
    answers = {
        **dict(zip(weighed, _weigh_changes(folder, weighed, features, beams), strict=True)),
        **dict(zip(others, _most_probable(folder, others, features, beams), strict=True)),
    }
    return [answers[question] for question in questions]


def _is_weighed(model: DifferenceModel, pair: Pair, text: str) -> bool:
    """Whether changes are weighed: those between two images, for more of them have one order only."""
    compares = text.startswith(CHANGE) and pair.prior is not None and not pair.earlier
    return model.config.change_threshold is not None and compares


def _weigh_changes(
    folder: ModelFolder[DifferenceModel],
    questions: Sequence[tuple[Pair, str]],
    features: Mapping[str, np.ndarray],
    beams: int,
) -> list[WrittenAnswer]:
    turned = [(Pair(current=pair.prior or "", prior=pair.current), text) for pair, text in questions]
    # A pair that is asked about in both orders is read in each of them once.
    different = list(dict.fromkeys([*questions, *turned]))
    written = write_hypotheses(folder, different, features, beams if beams > 1 else HYPOTHESES)
    hypotheses = dict(zip(different, written, strict=True))
    answers = []
    for question, other in zip(questions, turned, strict=True):
        forward, backward = change_probabilities(hypotheses[question]), change_probabilities(hypotheses[other])
        if forward is None or backward is None:
            likeliest = hypotheses[question][0]
            answers.append(WrittenAnswer(likeliest.text, math.exp(likeliest.log_probability)))
        else:
            agreed = agreed_probabilities(forward, backward)
            _, nothing = state_changes(agreed, math.inf)
            stated = state_changes(agreed, folder.model.config.change_threshold)
            answers.append(WrittenAnswer(*stated, changed=1 - nothing))
    return answers


def write_hypotheses(
    folder: ModelFolder[DifferenceModel],
    questions: Sequence[tuple[Pair, str]],
    features: Mapping[str, np.ndarray],
    beams: int,
) -> list[list[Hypothesis]]:
    """The most probable answers to each question, one for each beam, the most probable first."""
    found: list[list[Hypothesis]] = []
    # So many questions at a time fill the rows of a batch.
    at_once = max(1, (BATCH_ON_GPU if device().type == "cuda" else BATCH) * ROWS // beams)
    for start in range(0, len(questions), at_once):
        part = questions[start : start + at_once]
        settings = {"num_return_sequences": beams, "output_scores": True, "length_penalty": 0.0, "early_stopping": True}
        texts, _, written = _write(folder, part, features, beams, **settings)
        require_numbers(written.sequences_scores)
        rows = [Hypothesis(*one) for one in zip(texts, written.sequences_scores.tolist(), strict=True)]
        found += [rows[place : place + beams] for place in range(0, len(rows), beams)]
    return found


def _most_probable(
    folder: ModelFolder[DifferenceModel],
    questions: Sequence[tuple[Pair, str]],
    features: Mapping[str, np.ndarray],
    beams: int,
) -> list[WrittenAnswer]:
    if not questions:
        return []
    texts, ended, written = _write(
        folder, questions, features, beams, output_logits=beams == 1, output_scores=beams > 1
    )
    # Beam search gives the mean log probability itself.
    confidences = _confidences(written, ended) if beams == 1 else written.sequences_scores.exp()
    require_numbers(confidences)
    return [WrittenAnswer(text, one) for text, one in zip(texts, confidences.tolist(), strict=True)]


def require_numbers(values: torch.Tensor) -> None:
    """Raise InputError if a probability is not a number, because the answer then means nothing."""
    if values.isnan().any():
        raise InputError(
            "its output for these images is not finite, so that there is no answer; its weights are damaged, or its "
            "training failed",
            argument="model",
        )


def _write(
    folder: ModelFolder[DifferenceModel],
    questions: Sequence[tuple[Pair, str]],
    features: Mapping[str, np.ndarray],
    beams: int,
    **settings: Any,
) -> tuple[list[str], list[list[int]], Any]:
    """The output of the language model, one row after the other: texts, their tokens, and the result of `write`."""
    tokenizer, text_tokens = folder.tokenizer, folder.model.config.text_tokens
    prompts = [encode_question(folder, text) for _, text in questions]
    longest = max(len(prompt) for prompt in prompts)
    pairs = [pair_images(features, pair, folder.model.config.priors) for pair, _ in questions]
    with torch.inference_mode():
        written = folder.model.write(
            **collate_pairs(pairs, folder.processor),
            **collate_prompts(prompts, tokenizer.pad_token_id),
            new_tokens=text_tokens - longest,
            num_beams=beams,
            **settings,
        )
    ended = [_until_end(tokens, tokenizer.eos_token_id) for tokens in written.sequences.tolist()]
    texts = [written_text(tokenizer, tokens) for tokens in ended]
    return texts, ended, written


def written_text(tokenizer: Any, tokens: list[int]) -> str:
    """The text of tokens in one line. A stranger's model could write what a terminal takes for a command."""
    return printable(" ".join(tokenizer.decode(tokens, skip_special_tokens=True).split()))


def _until_end(tokens: list[int], end: int) -> list[int]:
    """Tokens up to the end token, which counts: ending there is part of the answer."""
    return tokens[: tokens.index(end) + 1] if end in tokens else tokens


def _confidences(written: Any, ended: Sequence[Sequence[int]]) -> torch.Tensor:
    """The geometric mean of the probabilities of each answer's tokens, up to where it ended."""
    every = torch.stack(written.logits, dim=1).float().log_softmax(-1)
    chosen = every.gather(-1, written.sequences[:, :, None]).squeeze(-1).cpu()
    return torch.stack([row[: len(tokens)].mean().exp() for row, tokens in zip(chosen, ended, strict=True)])


def in_batches(
    function: Callable[..., list[Result]],
    folder: ModelFolder,
    items: Sequence,
    arguments: tuple[Any, ...],
    progress: Progress | None,
    cluster: str | None,
) -> list[Result]:
    """The results of `function(folder, some items, *arguments)` for batches of BATCH items, here or on a Ray cluster.

    Batches are larger on a GPU, because small ones leave it idle between two tokens.
    """
    count = BATCH_ON_GPU if device().type == "cuda" else BATCH
    jobs = ((folder, items[start : start + count], *arguments) for start in range(0, len(items), count))
    results: list[Result] = []
    for done in done_in_order(function, jobs, cluster=cluster, on_gpu=True):
        results += done
        if progress:
            progress(len(results), len(items))
    return results
