"""A model on a split of a store: everything that scoring and the report read, written into one folder."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PillowImage

from diffvqa.answering import predict
from diffvqa.answering.inference import encoder_of, write_boxes
from diffvqa.boxes import Box
from diffvqa.data.features import encode_images
from diffvqa.data.store import Store
from diffvqa.errors import InputError
from diffvqa.findings import Change, read_changes
from diffvqa.models.captioner import Captioner
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.folder import ModelFolder, load_folder, weights_digest
from diffvqa.progress import progress_bar
from diffvqa.records import Question
from diffvqa.tasks.text import referring_prompt

EXAMPLES = 12
_NEGATED = re.compile(r"\b(?:no|not|without|resolved)\b")
SEED = 0


def evaluate(folder: Path, store_folder: Path, split: str, out: Path) -> None:
    """Predict on a split with the model and its controls, into `out` (made with mode 0700).

    Writes predictions.jsonl, controls/*.jsonl, curves.jsonl, examples.jsonl with its pictures, and run.json.
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
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
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
    predict.write_rows(_examples(rows, questions, captioner, store, features, out), out / "examples.jsonl")
    shutil.rmtree(out / "features")
    facts = {
        "model": weights_digest(folder),
        "split": split,
        "store": store.fingerprint,
        "image size": store.size,
        "patients": len({one.subject_id for one in questions}),
        "seed": record["config"]["seed"],
        "date": date.today().isoformat(),
        "device": "CUDA " + torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
    }
    (out / "run.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")


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


def _examples(
    rows: Sequence[Mapping[str, Any]],
    questions: Sequence[Question],
    captioner: ModelFolder[Captioner],
    store: Store,
    features: Mapping[str, np.ndarray],
    out: Path,
) -> list[dict[str, Any]]:
    """A dozen pairs, of different patients as far as there are, drawn before anyone looks at the answers."""
    order = np.random.default_rng(SEED).permutation(len(questions)).tolist()
    order = [index for index in order if questions[index].type == "difference"]
    first = {questions[index].subject_id: index for index in reversed(order)}
    chosen = [*first.values(), *(index for index in order if index not in first.values())]
    (out / "examples").mkdir(mode=0o700, exist_ok=True)
    examples = []
    for number, index in enumerate(chosen[:EXAMPLES]):
        question, row = questions[index], rows[index]
        sides = {"prior": question.pair.prior, "current": question.pair.current}
        pictures = {}
        for side, image in sides.items():
            pictures[side] = f"examples/{number}-{side}.png"
            PillowImage.fromarray(store.pixels(store.index[image])).save(out / pictures[side])
        predicted, reference = read_changes(str(row["answer"])), read_changes(question.answer)
        boxes: dict[str, list[dict[str, Any]]] = {}
        for side, image in sides.items():
            boxes[side] = [
                *_predicted_boxes(_shown(side, predicted), image, captioner, features),
                *_reference_boxes(_shown(side, reference), image, store),
            ]
        examples.append(
            {
                **pictures,
                "question": question.text,
                "reference": question.answer,
                "answer": row["answer"],
                "confidence": row["confidence"],
                "boxes": boxes,
            }
        )
    return examples


def _shown(side: str, readings: Sequence[frozenset[Change]]) -> list[str]:
    """The changed findings that are to be seen on one side of a pair."""
    kinds = ("missing", "level") if side == "prior" else ("added", "level")
    return sorted({change.finding for change in (readings[0] if readings else ()) if change.kind in kinds})


def _predicted_boxes(
    findings: Sequence[str], image: str, captioner: ModelFolder[Captioner], features: Mapping[str, np.ndarray]
) -> list[dict[str, Any]]:
    prompts = [(image, referring_prompt(finding)) for finding in findings]
    boxes = zip(findings, write_boxes(captioner, prompts, features), strict=True)
    return [_labelled(finding, box, "predicted") for finding, (_, box) in boxes if box is not None]


def _reference_boxes(findings: Sequence[str], image: str, store: Store) -> list[dict[str, Any]]:
    """The smallest box of the dataset whose phrase names the finding: the place that says most."""
    stored = store.images[store.index[image]]
    found = []
    for finding in findings:
        named = [
            region.box
            for region in stored.regions
            if any(finding in phrase and not _NEGATED.search(phrase) for phrase in region.phrases)
        ]
        if named:
            smallest = min(named, key=lambda box: box.area)
            found.append(_labelled(finding, stored.frame.into(smallest), "reference"))
    return found


def _labelled(label: str, box: Box, kind: str) -> dict[str, Any]:
    return {"label": label, "box": [round(value, 2) for value in box.as_tuple()], "kind": kind}
