"""What a model says of the validation split at each threshold of change: for choosing `change_threshold`.

    python benchmarks/change_threshold.py MODEL STORE [QUESTIONS]

QUESTIONS: how many difference questions at the most, 1,200 if not given. Ends with one JSON line: by threshold the
change F1, the detection rate and the rate of false changes; "none" is the answer word by word.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from diffvqa.data.store import Store
from diffvqa.evaluating.prediction_rows import write_rows
from diffvqa.evaluating.questions import question_row
from diffvqa.evaluation.score import score_file
from diffvqa.inference.asking import HYPOTHESES, answer_questions, write_hypotheses
from diffvqa.inference.change_weighing import agreed_probabilities, change_probabilities, state_changes
from diffvqa.inference.features import encode_store
from diffvqa.inference.model import FinetunedModel
from diffvqa.records import Pair, Question

THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
SCORES = ("f1", "coarse_f1", "detection_rate", "false_change_rate")


def scores(questions: list[Question], answers: list[str], folder: Path) -> dict[str, float]:
    """The scores of answers to difference questions."""
    write_rows([question_row(*one) for one in zip(questions, answers, strict=True)], folder / "predictions.jsonl")
    changes = score_file(folder / "predictions.jsonl", replicates=1)["changes"]
    return {
        name: round(changes[name]["value"] if isinstance(changes[name], dict) else changes[name], 3) for name in SCORES
    }


def main(model: str, store_folder: str, most: str = "1200") -> None:
    folder, store = FinetunedModel.load(model).difference, Store.open(Path(store_folder))
    asked = [one for one in store.questions if one.split == "validate" and one.type == "difference" and one.pair.prior][
        : int(most)
    ]
    pairs = [(one.pair, one.text) for one in asked]
    turned = [(Pair(current=pair.prior or "", prior=pair.current), text) for pair, text in pairs]
    result = {}
    with tempfile.TemporaryDirectory() as scratch:
        images = {image for one in asked for image in one.pair.images}
        features = encode_store(folder, store, images, Path(scratch), "features")
        folder.model.config.change_threshold = None
        written = [one.text for one in answer_questions(folder, pairs, features)]
        result["none"] = scores(asked, written, Path(scratch))
        found = write_hypotheses(folder, [*pairs, *turned], features, HYPOTHESES)
        weighed = [
            agreed_probabilities(change_probabilities(one) or {}, change_probabilities(other) or {})
            for one, other in zip(found[: len(pairs)], found[len(pairs) :], strict=True)
        ]
        for threshold in THRESHOLDS:
            answers = [state_changes(one, threshold)[0] for one in weighed]
            result[str(threshold)] = scores(asked, answers, Path(scratch))
    for threshold, row in result.items():
        print(f"{threshold:>5}", *(f"{name} {value:.3f}" for name, value in row.items()), sep="  ")
    print(json.dumps({"benchmark": "change_threshold", "n": len(asked), **result}))


if __name__ == "__main__":
    main(*sys.argv[1:])
