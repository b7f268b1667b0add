"""A model on a split of a store: everything that scoring and the report read, written into one folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffvqa.answering import predict
from diffvqa.answering.examples import example_pairs, example_phrases
from diffvqa.answering.inference import encoder_of
from diffvqa.data.features import encode_images
from diffvqa.data.store import Store
from diffvqa.errors import InputError
from diffvqa.models.captioner import Captioner
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.folder import ModelFolder, load_folder, weights_digest
from diffvqa.progress import progress_bar
from diffvqa.records import Question

SEED = 0


def evaluate(folder: Path, store_folder: Path, split: str, out: Path) -> None:
    """Predict on a split with the model and its controls, into `out` (made with mode 0700).

    Writes predictions.jsonl, controls/*.jsonl, curves.jsonl, examples.jsonl and phrases.jsonl with
    their pictures, and run.json.
    Raises InputError.
    """
    model = load_folder(DifferenceModel, folder, "MODEL")
    captioner = load_folder(Captioner, folder / "captioner", "MODEL/captioner")
    store = Store.open(store_folder)
    _require_same_size(model, store)
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    types = [kind for kind, share in record["config"]["questions"].items() if share > 0]
    questions = [one for one in store.questions if one.split == split and one.type in types]
    if not questions:
        raise InputError(f"--split {split}: the store has no questions of the types {', '.join(types)} in it")
    training = [one for one in store.questions if one.split == "train" and one.type in types]
    shown = [store.images[store.index[image]] for image in _images_of(questions)]
    _claim_folder(
        out,
        {
            "model": weights_digest(folder),
            "split": split,
            "store": store.fingerprint,
            "image size": store.size,
            "patients": len({one.subject_id for one in questions}),
            "seed": record["config"]["seed"],
            "date": date.today().isoformat(),
            "device": "CUDA " + torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        },
    )
    with progress_bar("encode images") as progress:
        features = encode_images(
            encoder_of(model),
            store,
            [*_images_of(questions), *_images_of(training)],
            out / "features",
            key=weights_digest(folder),
            progress=progress,
        )
    with progress_bar("answer questions") as progress:
        rows = predict.predict_answers(model, questions, features, progress)
    with progress_bar("ground phrases") as progress:
        grounded = predict.predict_grounding(captioner, shown, features, SEED, progress)
    predict.write_rows([*rows, *grounded], out / "predictions.jsonl")
    blank = encoder_of(model)([np.zeros((store.size, store.size), dtype=np.uint8)])[0]
    trained_on = [image for image in store.images if image.split == "train"]
    controls = {
        "most_frequent": predict.most_frequent(questions, training),
        "retrieval": predict.retrieval(questions, training, features, SEED),
        "blank_images": predict.blank_images(model, questions, blank),
        "mean_box": predict.mean_boxes(shown, trained_on, SEED),
    }
    for name, control in controls.items():
        if control:
            predict.write_rows(control, out / "controls" / f"{name}.jsonl")
    predict.write_rows(_curves(folder), out / "curves.jsonl")
    pairs = example_pairs(rows, questions, captioner, store, features, out)
    predict.write_rows(pairs, out / "examples.jsonl")
    predict.write_rows(example_phrases(grounded, store, out), out / "phrases.jsonl")
    shutil.rmtree(out / "features")


def _claim_folder(out: Path, facts: dict[str, Any]) -> None:
    """Make the evaluation's folder and write `run.json`, or find in it the same evaluation, to be done again.

    Raises InputError if the folder holds something else, which results would be mixed with.
    """
    record = out / "run.json"
    if out.exists() and not out.is_dir():
        raise InputError("--out: expected a folder, found a file; give another")
    if out.exists() and any(out.iterdir()):
        try:
            found = json.loads(record.read_text(encoding="utf-8"))
            same = all(found[name] == facts[name] for name in ("model", "store", "split"))
        except (OSError, ValueError, TypeError, KeyError):
            same = False
        if not same:
            raise InputError(
                "--out: the folder holds other files than this evaluation's (same model, store and split); "
                "give a new folder, or delete that one"
            )
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    out.chmod(0o700)
    record.write_text(json.dumps(facts, indent=2), encoding="utf-8")


def _require_same_size(model: ModelFolder[DifferenceModel], store: Store) -> None:
    size = model.model.config.vision_config.image_size
    if store.size != size:
        raise InputError(f"STORE holds {store.size}-pixel images, the model takes {size}-pixel ones; prepare it anew")


def _images_of(questions: Sequence[Question]) -> list[str]:
    images = (image for one in questions for image in (one.pair.prior, one.pair.current) if image)
    return list(dict.fromkeys(images))


def _curves(folder: Path) -> Iterable[dict[str, Any]]:
    for stage, log in (("pretrain", folder / "captioner" / "log.jsonl"), ("finetune", folder / "log.jsonl")):
        if log.is_file():
            for line in log.read_text(encoding="utf-8").splitlines():
                yield {"stage": stage, **json.loads(line)}
