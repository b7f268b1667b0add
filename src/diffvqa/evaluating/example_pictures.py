"""The examples of the report: pairs of images with question and answer, and phrases with their boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from diffvqa.boxes import Box
from diffvqa.data.store import Store
from diffvqa.files import write_picture
from diffvqa.findings import SHOWN_IN, Change, read_changes
from diffvqa.inference.finding_boxes import find_boxes
from diffvqa.models.captioner import Captioner
from diffvqa.models.folder import ModelFolder
from diffvqa.records import Question
from diffvqa.tasks.change_texts import place_findings
from diffvqa.tasks.image_texts import Phrase

EXAMPLES = 12
PICTURES = "examples"
SEED = 0


def example_pairs(
    rows: Sequence[Mapping[str, Any]],
    questions: Sequence[Question],
    captioner: ModelFolder[Captioner] | None,
    store: Store,
    features: Mapping[str, np.ndarray],
    out: Path,
) -> list[dict[str, Any]]:
    """A dozen pairs, of different patients as far as there are, drawn before anyone looks at the answers.

    They have no predicted boxes if there is no captioner, whose features these are.
    """
    order = np.random.default_rng(SEED).permutation(len(questions)).tolist()
    order = [index for index in order if questions[index].type == "difference"]
    first = {questions[index].subject_id: index for index in reversed(order)}
    # Keys keep their order, and each index comes once.
    chosen = list(dict.fromkeys([*first.values(), *order]))
    examples = []
    for number, index in enumerate(chosen[:EXAMPLES]):
        question, row = questions[index], rows[index]
        sides = {"prior": question.pair.prior, "current": question.pair.current}
        pictures = {side: _save_picture(store, image, out, f"{number}-{side}") for side, image in sides.items()}
        predicted, reference = read_changes(str(row["answer"])), read_changes(question.answer)
        boxes = {
            side: [
                *_predicted_boxes(_shown(side, predicted), image, captioner, features),
                *_reference_boxes(_shown(side, reference), image, store),
            ]
            for side, image in sides.items()
        }
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


def example_phrases(grounded: Sequence[Mapping[str, Any]], store: Store, out: Path) -> list[dict[str, Any]]:
    """A dozen phrases that were looked for, in different images, drawn before anyone looks at the boxes found."""
    asked = [row for row in grounded if row["task"] == "AREF"]
    order = np.random.default_rng(SEED).permutation(len(asked)).tolist()
    first = {asked[index]["id"].rsplit("/", 2)[0]: index for index in reversed(order)}
    examples = []
    for number, (image, index) in enumerate(list(first.items())[:EXAMPLES]):
        row, frame = asked[index], store.images[store.index[image]].frame
        examples.append(
            {
                "picture": _save_picture(store, image, out, f"phrase-{number}"),
                "phrase": row["question"],
                "boxes": [
                    _labelled("", frame.into(Box(*corners)), kind)
                    for kind, name in (("predicted", "boxes"), ("reference", "reference_boxes"))
                    for corners in row[name]
                ],
            }
        )
    return examples


def _save_picture(store: Store, image: str, out: Path, name: str) -> str:
    """Save an image of the store as PNG; its name in the evaluation folder."""
    (out / PICTURES).mkdir(mode=0o700, exist_ok=True)
    write_picture(out / PICTURES / f"{name}.png", PillowImage.fromarray(store.pixels(store.index[image])))
    return f"{PICTURES}/{name}.png"


def _shown(side: str, readings: Sequence[frozenset[Change]]) -> list[str]:
    """The changed findings that are to be seen on one side of a pair."""
    return sorted({change.finding for change in (readings[0] if readings else ()) if side in SHOWN_IN[change.kind]})


def _predicted_boxes(
    findings: Sequence[str], image: str, captioner: ModelFolder[Captioner] | None, features: Mapping[str, np.ndarray]
) -> list[dict[str, Any]]:
    if captioner is None:
        return []
    found = find_boxes(captioner, {image: findings}, features)
    return [_labelled(finding, one.box, "predicted") for (_, finding), boxes in found.items() for one in boxes]


def _reference_boxes(findings: Sequence[str], image: str, store: Store) -> list[dict[str, Any]]:
    """The smallest box of the dataset whose phrase names the finding: the place that says most."""
    stored = store.images[store.index[image]]
    phrases = [Phrase(phrase, region.box) for region in stored.regions for phrase in region.phrases]
    places = place_findings(findings, phrases)
    return [_labelled(finding, stored.frame.into(box), "reference") for finding, box in places.items()]


def _labelled(label: str, box: Box, kind: str) -> dict[str, Any]:
    return {"label": label, "box": [round(value, 2) for value in box.as_tuple()], "kind": kind}
