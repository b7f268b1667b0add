"""Published results on the difference questions of Medical-Diff-VQA, and the row to be put below them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SCORES_OF_ROW = ("bleu_1", "bleu_4", "meteor", "rouge_l", "cider")
CAUTION = (
    "The published figures were measured by others, on test sets and at checkpoints of their choice. CIDEr depends on "
    "n, and on which answers those are: compare it only on the same set."
)
MEDICAL_DIFF_VQA = "medical-diff-vqa"
"""How a run's record names the dataset that the published figures are of."""


@dataclass(frozen=True, slots=True)
class Published:
    """One published row; a score that was not found is None.

    source: where the figures come from; second hand: from papers that compare with it.
    remark: what is doubtful about one of them.
    """

    system: str
    year: int
    source: str
    scores: tuple[float | None, ...]
    remark: str = ""


_SECOND_HAND = "second hand"

PUBLISHED = (
    Published("MCCFormers", 2021, _SECOND_HAND, (0.214, None, 0.319, 0.340, 0.0)),
    Published("IDCPCL", 2022, _SECOND_HAND, (0.614, 0.414, 0.303, 0.582, 0.703)),
    Published("EKAID", 2023, "arXiv 2307.11986", (0.628, 0.434, 0.339, 0.577, 1.027)),
    Published("PLURAL", 2024, "arXiv 2402.08966", (0.704, 0.520, 0.381, 0.653, 1.832), "BLEU-4 not checked"),
    Published("RegioMix", 2024, _SECOND_HAND, (0.705, None, 0.381, 0.651, 1.804)),
    Published("VED", 2025, "MIDL 2025", (0.716, None, 0.389, 0.670, 2.119)),
    Published(
        "Attention-consistent", 2026, "arXiv 2606.06534", (0.747, 0.425, 0.700, 0.703, 2.011),
        "probably another METEOR",
    ),
    Published("Best of nine objectives", 2026, "arXiv 2609.31985", (None, 0.480, None, 0.660, None)),
)  # fmt: skip
"""Published rows in order of time; scores as in SCORES_OF_ROW."""


def own_row(metrics: Mapping, run: Mapping) -> dict | None:
    """The row of a model on the test split of Medical-Diff-VQA, from its metrics and `run.json`; None for any other.

    {"n", "split", "dataset" (its parts with versions, as their folders are called), "implementation", and each of
    SCORES_OF_ROW with its interval}.
    """
    scores, dataset = metrics["answers"].get("difference"), run.get("dataset", "")
    synthetic = "truth" in run or "(synthetic)" in dataset
    if scores is None or run.get("split") != "test" or synthetic or MEDICAL_DIFF_VQA not in dataset:
        return None
    return {
        "n": scores["n"],
        "split": "test",
        "dataset": dataset,
        "implementation": _implementation(metrics["tokenizer"], scores["meteor"] is not None),
        **{name: scores[name] for name in SCORES_OF_ROW},
    }


def remarks(row: Mapping) -> list[str]:
    """Remarks that must stand wherever the row is shown among the published ones."""
    said = [CAUTION, f"This row: {row['implementation']}; dataset {row['dataset']}."]
    said += [f"{one.system}: {one.remark}." for one in PUBLISHED if one.remark]
    return said


def _implementation(tokenizer: str | None, meteor: bool) -> str:
    if tokenizer is None:
        return "pycocoevalcap is missing, and so are all scores"
    tokens = "PTB tokens" if tokenizer == "ptb" else f"{tokenizer} in place of PTB tokens, not comparable"
    return f"pycocoevalcap, {tokens}, {'METEOR 1.5 in Java' if meteor else 'METEOR is missing'}"
