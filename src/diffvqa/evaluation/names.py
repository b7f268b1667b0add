"""Names of systems and scores for readers, and the meaning of each score."""

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
    "false_change_rate_at_90": "False changes at detection .9",
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
    "f1": "The agreement of stated and true changes, in any order: 1 if all are found and none is invented.",
    "coarse_f1": "Change F1 that counts a change of level as right if its direction is right.",
    "precision": "The share of the stated changes that are true.",
    "recall": "The share of the true changes that are stated.",
    "false_change_rate": "The share of unchanged pairs in which a change is stated. Lower is better. A system that "
    "never states a change reaches 0, so read it beside recall.",
    "induced_change_rate": "The share of pairs with a stated change, if only the acquisition differs, and if the "
    "patient's repeat is called unchanged. Lower is better.",
    "flagged_changed": "The share of changed pairs that a threshold flags. It was chosen to flag nine of ten changed "
    "pairs of the validation split.",
    "flagged_unchanged": "The share of unchanged pairs that the same threshold flags. Lower is better. Two "
    "models can be compared by it if they flag as many changed pairs.",
    "order_consistency": "The F1 between the answers and those to exchanged images, turned round. 1 means that the "
    "answers turn round with the images.",
    "exact": "The share of answers equal to the reference, except for case and a full stop at the end.",
    "bleu_1": "BLEU-n: word sequences of up to n words that the answers share with the references.",
    "meteor": "Shared words, stems, synonyms and paraphrases, less a penalty for a different order.",
    "rouge_l": "The longest sequence of words that answer and reference share.",
    "cider": "Shared word sequences, weighted by their rarity, on a scale from 0 to 10. CIDEr depends on the set of "
    "answers: compare it only on the same set.",
    "accuracy_0.5": "The share of boxes that overlap the reference box by at least half (intersection over union). No "
    "box counts as wrong.",
    "iou": "The mean overlap (intersection over union): 1 for the same box, 0 for none.",
    "ece": "The mean distance between confidence and accuracy over ten bins of confidence. 0 is best.",
    "auroc": "The probability that a right answer has more confidence than a wrong one: 1 if always, 0.5 by chance.",
    "selective_100": "The share of right answers among all answers; then among the most confident answers only.",
}
"""Each score in plain words, for readers who meet it for the first time."""

TASKS = {
    "AREF": "AREF: find a phrase",
    "CAREF": "CAREF: describe a region and find it",
    "CHANGE": "boxes of correctly stated changes, against the dataset's smallest",
    "LESION": "boxes of correctly stated changes, against the lesion's own",
}
"""The grounding tasks in words."""

CHANGE_SCORES = ("f1", "coarse_f1", "precision", "recall", "false_change_rate")
"""The scores of changes; `change_scores` adds those that few files have."""

BOX_SCORES = ("accuracy_0.5", "iou")
"""The scores of a box, the main one first."""


def change_scores(changes: Mapping) -> tuple[str, ...]:
    """The scores of changes to show: those that few files have only where they are defined."""
    few = ("induced_change_rate", "flagged_changed", "flagged_unchanged", "order_consistency")
    return (*CHANGE_SCORES, *(key for key in few if changes.get(key)))


def system_name(name: str) -> str:
    """The name of a system; controls without a name of their own have that of their file."""
    return SYSTEMS.get(name, name.replace("_", " "))


def systems_of(metrics: Mapping) -> dict[str, Mapping]:
    """Name -> metrics of each system, the model first; for the metrics of a folder or of a single file."""
    return {"model": metrics["model"], **metrics["controls"]} if "model" in metrics else {"model": metrics}


def find_score(system: Mapping, path: Sequence[str]) -> Mapping | None:
    """The score at a path within a system's metrics; None if the system has no such score."""
    found: Any = system
    for key in path:
        found = (found or {}).get(key)
    return found


def value_and_interval(score: Mapping | None) -> tuple[str, str]:
    """A score and its interval in writing; a dash and nothing where there is none."""
    if score is None:
        return "–", ""
    return f"{score['value']:.3f}", f"{score['low']:.3f} – {score['high']:.3f}"
