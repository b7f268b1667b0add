"""Controls beside the model's predictions: answers and boxes of systems that do not see, or do not compare."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from diffvqa.boxes import Box, mean_box
from diffvqa.data.index import StoredImage
from diffvqa.evaluating.phrases import grounding_prompts
from diffvqa.evaluating.prediction_rows import Row
from diffvqa.evaluating.questions import question_row
from diffvqa.findings import DIFFERENCE_QUESTION, changes_between, level_question, write_changes
from diffvqa.inference.asking import answer_questions
from diffvqa.inference.image_findings import name_findings
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.folder import ModelFolder
from diffvqa.records import Pair, Question

RETRIEVAL_BANK = 20_000
"""Training questions that the retrieval control looks through; drawn where there are more."""


def most_frequent(questions: Sequence[Question], training: Sequence[Question]) -> list[Row]:
    """Control: the most frequent training answer to the same question, or to its type."""
    counts: dict[tuple[str, str | None], Counter[str]] = defaultdict(Counter)
    for one in training:
        counts[one.type, one.text][one.answer] += 1
        counts[one.type, None][one.answer] += 1

    def answer(question: Question) -> str:
        answers = counts.get((question.type, question.text)) or counts.get((question.type, None))
        # Ties go to the first in the alphabet, so that the order of the rows does not matter.
        return min(answers, key=lambda text: (-answers[text], text)) if answers else ""

    return [question_row(question, answer(question)) for question in questions]


def blank_images(
    folder: ModelFolder[DifferenceModel], questions: Sequence[Question], blank: np.ndarray, beams: int = 1
) -> list[Row]:
    """Control: the same model shown black squares; blank: their patch tokens, (patches, width)."""
    features = {"blank prior": blank, "blank current": blank}

    def asked(question: Question) -> tuple[Pair, str]:
        return Pair("blank current", "blank prior" if question.pair.prior else None), question.text

    # The images are the same for all, so every different question needs one answer only.
    different = list(dict.fromkeys(asked(question) for question in questions))
    answers = dict(zip(different, answer_questions(folder, different, features, beams=beams), strict=True))
    return [question_row(question, answers[asked(question)].text) for question in questions]


def other_prior(
    folder: ModelFolder[DifferenceModel],
    questions: Sequence[Question],
    features: Mapping[str, np.ndarray],
    seed: int,
    beams: int = 1,
    cluster: str | None = None,
) -> list[Row]:
    """Control: the same model shown another patient's prior images, in the questions that have one.

    A model that compares gets much worse; one that goes by the current image alone does not. A single patient gives no
    rows.
    """
    asked = [question for question in questions if question.pair.prior]
    pairs: dict[str, list[Pair]] = defaultdict(list)
    for question in asked:
        pairs[question.subject_id].append(question.pair)
    if len(pairs) < 2:
        return []
    patients = sorted(pairs)
    order = [patients[place] for place in np.random.default_rng(seed).permutation(len(patients))]
    other = dict(zip(order, order[1:] + order[:1], strict=True))
    turns: Counter[str] = Counter()
    shown = []
    for question in asked:
        theirs = pairs[other[question.subject_id]]
        past = theirs[turns[question.subject_id] % len(theirs)]
        shown.append((replace(past, current=question.pair.current), question.text))
        turns[question.subject_id] += 1
    answers = answer_questions(folder, shown, features, beams=beams, cluster=cluster)
    return [question_row(question, answer.text) for question, answer in zip(asked, answers, strict=True)]


def two_readings(
    folder: ModelFolder[DifferenceModel],
    questions: Sequence[Question],
    features: Mapping[str, np.ndarray],
    beams: int = 1,
    cluster: str | None = None,
) -> list[Row]:
    """Control: the same model asked about each image alone, its findings with their levels, and the two compared.

    A model that compares is better than that. Only for questions about whole images.
    """
    asked = [question for question in questions if question.text == DIFFERENCE_QUESTION]
    images = dict.fromkeys(image for question in asked for image in question.pair.images[:2])
    named = name_findings(folder, {image: features[image] for image in images}, beams, cluster)
    there = [(image, finding) for image, findings in named.items() for finding in findings or ()]
    prompts = [(Pair(image), level_question(finding)) for image, finding in there]
    levels = answer_questions(folder, prompts, features, beams=beams, cluster=cluster)
    read: dict[str, dict[str, str | None]] = {image: {} for image in images}
    for (image, finding), level in zip(there, levels, strict=True):
        read[image][finding] = level.text.strip(". ") or None
    pairs = [(read[one.pair.prior or ""], read[one.pair.current]) for one in asked]
    return [question_row(one, write_changes(changes_between(*pair))) for one, pair in zip(asked, pairs, strict=True)]


def retrieval_bank(training: Sequence[Question], seed: int) -> Sequence[Question]:
    """The training questions that the retrieval control looks through: RETRIEVAL_BANK of them, or all."""
    if len(training) <= RETRIEVAL_BANK:
        return training
    chosen = np.random.default_rng(seed).choice(len(training), RETRIEVAL_BANK, replace=False)
    return [training[index] for index in sorted(chosen)]


def retrieval(
    questions: Sequence[Question],
    features: Mapping[str, np.ndarray],
    training: Sequence[Question],
    training_features: Mapping[str, np.ndarray],
) -> list[Row]:
    """Control: the answer of the training question, of the same text if there is one, whose images are most alike.

    Alike: the cosine between the mean patch tokens of the prior and of the current image, standardised over the
    training images. features, training_features: image identifier -> patch tokens.
    """
    if not training:
        return [question_row(question, "") for question in questions]
    bank_pooled, asked_pooled = _pooled(training_features), _pooled(features)
    every = np.stack(list(bank_pooled.values()))
    mean, deviation = every.mean(0), every.std(0) + 1e-6

    def vectors(asked: Sequence[Question], pooled: Mapping[str, np.ndarray]) -> np.ndarray:
        pooled = {image: (pooled[image] - mean) / deviation for one in asked for image in one.pair.images[:2]}
        nothing = np.zeros_like(mean)
        stacked = np.stack(
            [
                np.concatenate([pooled[one.pair.prior] if one.pair.prior else nothing, pooled[one.pair.current]])
                for one in asked
            ]
        )
        return stacked / (np.linalg.norm(stacked, axis=1, keepdims=True) + 1e-6)

    banks: dict[tuple[str, str | None], list[Question]] = defaultdict(list)
    for known in training:
        banks[known.type, known.text].append(known)
        banks[known.type, None].append(known)
    groups: dict[tuple[str, str | None], list[Question]] = defaultdict(list)
    for question in questions:
        same = (question.type, question.text)
        groups[same if same in banks else (question.type, None)].append(question)
    answers: dict[str, str] = {}
    for key, group in groups.items():
        if bank := banks.get(key):
            nearest = (vectors(group, asked_pooled) @ vectors(bank, bank_pooled).T).argmax(1)
            answers |= {one.question_id: bank[index].answer for one, index in zip(group, nearest, strict=True)}
    return [question_row(question, answers.get(question.question_id, "")) for question in questions]


def _pooled(features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {image: tokens.astype(np.float32).mean(0) for image, tokens in features.items()}


def mean_boxes(
    images: Sequence[StoredImage], training: Sequence[StoredImage], tasks: Collection[str], seed: int
) -> list[Row]:
    """Control: the mean training box of the same phrase (of the region it is most often said of) or region.

    tasks: those that the captioner has learnt, so that it is asked the same.
    """
    by_phrase: dict[str, dict[str | None, list[Box]]] = defaultdict(lambda: defaultdict(list))
    by_region: dict[str | None, list[Box]] = defaultdict(list)
    for image in training:
        for region in image.regions:
            box = image.frame.into(region.box)
            if region.name:
                by_region[region.name].append(box)
            for phrase in region.phrases:
                by_phrase[phrase][region.name].append(box)
    every = [box for found in by_phrase.values() for boxes in found.values() for box in boxes]
    fallback = mean_box(every) if every else None
    phrase_means = {phrase: mean_box(max(found.values(), key=len)) for phrase, found in by_phrase.items()}
    region_means = {name: mean_box(found) for name, found in by_region.items()}
    asked = [one for image in images for one in grounding_prompts(image, tasks, seed)]
    return [
        one.row("", (phrase_means if one.task == "AREF" else region_means).get(one.words, fallback)) for one in asked
    ]
