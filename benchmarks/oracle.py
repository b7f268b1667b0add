"""What stage 2 would reach with perfect eyes: its language model is given the truth about each image as tokens.

    python benchmarks/oracle.py STORE TRUTH WORK [key=value ...]

STORE, TRUTH: of one synthetic cohort. WORK: a new folder. The rest overrides configs/phantom/finetune.yaml. An image is
a token for each finding: which it is, its level and its sides. Ends with one JSON line: the change F1 and the rate of
false changes on difference questions of the validation split.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import yaml

from diffvqa.data.store import Store
from diffvqa.evaluating.prediction_rows import write_rows
from diffvqa.evaluating.questions import question_row
from diffvqa.evaluation.score import score_file
from diffvqa.inference.asking import answer_questions
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.folder import load_folder
from diffvqa.phantom.pathology import KINDS, SIDES
from diffvqa.training import finetune as stage_2
from diffvqa.training.config import FinetuneConfig, PretrainConfig, load_config
from diffvqa.training.pretrain import pretrain

CONFIGS = Path(__file__).parents[1] / "configs" / "phantom"
WIDTH, PATCH, MOST = 32, 32, 2000


def tokens_of(image: dict, patches: int) -> np.ndarray:
    """(patches, WIDTH): a row a finding, the rest zeros."""
    tokens, kinds = np.zeros((patches, WIDTH), dtype=np.float16), list(KINDS)
    for found in image["findings"]:
        kind = kinds.index(found["finding"])
        level = KINDS[found["finding"]].levels.index(found["level"])
        tokens[kind, [kind, len(kinds) + level]] = 1
        for side in found["sides"]:
            tokens[kind, len(kinds) + 4 + SIDES.index(side)] = 1
    return tokens


def main(store_folder: Path, truth: Path, work: Path, overrides: list[str]) -> None:
    store = Store.open(store_folder)
    patches = (store.size // PATCH) ** 2
    with (truth / "images.jsonl").open(encoding="utf-8") as file:
        features = {image["dicom_id"]: tokens_of(image, patches) for image in map(json.loads, file)}
    # An encoder of the right size, which stays as it begins and is never asked.
    encoder = {
        "model_type": "siglip_vision_model",
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "patch_size": PATCH,
    }
    encoder |= {"patch_size": PATCH, "num_hidden_layers": 1, "num_attention_heads": 1}
    given = {"store": str(store_folder), "out": str(work / "encoder"), "objective": "none", "encoder": encoder}
    stage_1 = yaml.safe_load((CONFIGS / "pretrain.yaml").read_text(encoding="utf-8")) | given
    trained = pretrain(PretrainConfig.model_validate(stage_1))
    settings = [f"store={store_folder}", f"encoder={trained}", f"out={work / 'model'}", "merge=1", *overrides]
    with mock.patch.object(stage_2, "encode_store", return_value=features):
        folder = stage_2.finetune(load_config(FinetuneConfig, CONFIGS / "finetune.yaml", settings))
    model = load_folder(DifferenceModel, folder, "model")
    asked = [one for one in store.questions if one.split == "validate" and one.type == "difference"][:MOST]
    answers = answer_questions(model, [(one.pair, one.text) for one in asked], features)
    rows = [question_row(one, answer.text) for one, answer in zip(asked, answers, strict=True)]
    write_rows(rows, work / "predictions.jsonl")
    changes = score_file(work / "predictions.jsonl")["changes"]
    print(json.dumps({"benchmark": "oracle", **{name: changes[name] for name in ("n", "f1", "false_change_rate")}}))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), sys.argv[4:])
