"""What systems and scores are called where people read them, and what each score means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SYSTEMS = {
    "model": "This model",
    "most_frequent": "Most frequent answer",
    "retrieval": "Nearest neighbour",
    "two_readings": "Two readings",
    "exchanged": "Images exchanged",
    "other_prior": "Another's prior",
    "blank_images": "Blank images",
    "mean_box": "Mean training box",
}
"""The model and the known controls, by the stem of their file."""

SCORES = {
    "f1": "Change F1",
    "coarse_f1": "Coarse F1",
    "precision": "Precision",
    "recall": "Recall",
    "detection_rate": "Detection rate",
    "false_change_rate": "False-change rate",
    "induced_change_rate": "Induced changes",
    "flagged_changed": "Changed pairs flagged",
    "flagged_unchanged": "Unchanged pairs flagged",
    "order_consistency": "Order consistency",
    "exact": "Exact",
    "bertscore": "BERTScore",
    **{f"bleu_{order}": f"BLEU-{order}" for order in (1, 2, 3, 4)},
    "meteor": "METEOR",
    "rouge_l": "ROUGE-L",
    "cider": "CIDEr",
    "accuracy_0.5": "Accuracy at IoU 0.5",
    "iou": "Mean IoU",
    "aref_accuracy": "AREF accuracy",
    "ece": "Calibration error",
    "auroc": "AUROC",
    **{f"selective_{share}": f"Accuracy, top {share} %" for share in (100, 80, 60, 40, 20)},
}
"""Scores by their key in the metrics."""

MEANINGS = {
    "f1": "How well the changes stated agree with the true ones, in any order: 1 if all are found, none invented.",
    "coarse_f1": "The same, a change of level being right if its direction is: new, worse, better, resolved.",
    "precision": "The share of the stated changes that are true.",
    "recall": "The share of the true changes that are stated.",
    "false_change_rate": "Among pairs in which nothing changed, the share where a change is stated all the same. Lower "
    "is better; whoever never states a change reaches 0, so read it beside recall.",
    "induced_change_rate": "Among pairs that differ only in how they were taken, where nothing is said to have changed "
    "if they are taken alike: the share where a change is stated. Lower is better; it says what acquisition adds.",
    "flagged_changed": "Among changed pairs, the share that is flagged by a threshold. It was chosen so that it flags "
    "nine of ten changed pairs of the validation split.",
    "flagged_unchanged": "Among unchanged pairs, the share that the same threshold flags. Lower is better. It compares "
    "models fairly, because all of them flag as many changed pairs.",
    "order_consistency": "With the images exchanged the answer must turn round: the F1 between what is stated of a "
    "pair and what is stated of it the other way round.",
    "exact": "The share of answers equal to the reference but for case and a full stop at the end.",
    "bleu_1": "BLEU-n: word sequences of up to n words that the answers share with the references.",
    "meteor": "Shared words, stems, synonyms and paraphrases, less a penalty for a different order.",
    "rouge_l": "The longest sequence of words that answer and reference share.",
    "cider": "Shared word sequences, rare ones weighing more, on a scale from 0 to 10. It depends on which answers are "
    "scored, and how many: compare it only on the same set.",
    "accuracy_0.5": "The share of boxes that overlap the reference box by at least half (intersection over union). "
    "No box counts as wrong.",
    "iou": "The mean overlap (intersection over union): 1 for the same box, 0 for none.",
    "ece": "The mean distance between confidence and accuracy over ten bins of confidence: 0 for a confidence that is "
    "right as often as it says.",
    "auroc": "The chance that a right answer has more confidence than a wrong one: 1 if always, 0.5 if confidence says "
    "nothing.",
    "selective_100": "The share of right answers among all; then among the most confident only.",
}
"""Each score in plain words, for who has not met it before."""

TASKS = {
    "AREF": "AREF: find a phrase",
    "CAREF": "CAREF: describe a region and find it",
    "CHANGE": "boxes of rightly stated changes, against the dataset's smallest",
    "LESION": "boxes of rightly stated changes, against the lesion's own",
}
"""What the grounding tasks ask."""

CHANGE_SCORES = ("f1", "coarse_f1", "precision", "recall", "false_change_rate")
"""The scores of changes; `change_scores` adds those that few files have."""

BOX_SCORES = ("accuracy_0.5", "iou")
"""The scores of a box, the main one first."""


def change_scores(changes: Mapping) -> tuple[str, ...]:
    """The scores of changes to show: those that few files have only where they are defined."""
    few = ("induced_change_rate", "flagged_changed", "flagged_unchanged", "order_consistency")
    return (*CHANGE_SCORES, *(key for key in few if changes.get(key)))


def system_name(name: str) -> str:
    """What a system is called; controls that are not known by their file's name."""
    return SYSTEMS.get(name, name.replace("_", " "))


def systems_of(metrics: Mapping) -> dict[str, Mapping]:
    """Name -> metrics of each system, the model first; for the metrics of a folder or of a single file."""
    return {"model": metrics["model"], **metrics["controls"]} if "model" in metrics else {"model": metrics}


def find_score(system: Mapping, path: Sequence[str]) -> Mapping | None:
    """What lies at a path within a system's metrics; None where it has no such score."""
    found: Any = system
    for key in path:
        found = (found or {}).get(key)
    return found


def value_and_interval(score: Mapping | None) -> tuple[str, str]:
    """A score and its interval in writing; a dash and nothing where there is none."""
    if score is None:
        return "–", ""
    return f"{score['value']:.3f}", f"{score['low']:.3f} – {score['high']:.3f}"
