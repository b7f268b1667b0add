"""The evaluation of a model on a split of a store: everything that scoring and the report read, in one folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np

from diffvqa.data.history import with_earlier
from diffvqa.data.index import StoredImage
from diffvqa.data.pretraining_images import pretraining_images
from diffvqa.data.store import Store
from diffvqa.errors import InputError
from diffvqa.evaluating.change_boxes import predict_change_boxes
from diffvqa.evaluating.controls import (
    blank_images,
    mean_boxes,
    most_frequent,
    other_prior,
    retrieval,
    retrieval_bank,
    two_readings,
)
from diffvqa.evaluating.example_pictures import example_pairs, example_phrases
from diffvqa.evaluating.phrases import predict_grounding
from diffvqa.evaluating.prediction_rows import write_rows
from diffvqa.evaluating.questions import flagged, predict_answers, rescaled
from diffvqa.evaluating.truth import count_known, join_truth, read_lesions, read_truth
from diffvqa.inference.features import encode_blank
from diffvqa.inference.grounding import CAPTIONER
from diffvqa.inference.model import FinetunedModel
from diffvqa.inference.training_record import read_training
from diffvqa.inference.trust import Trust
from diffvqa.parsing import parse_json
from diffvqa.progress import progress_bar
from diffvqa.records import Question
from diffvqa.runs import Claim

SEED = 0


def evaluate(
    folder: Path,
    store_folder: Path,
    split: str,
    out: Path,
    beams: int = 1,
    cluster: str | None = None,
    training_store: Path | None = None,
    features_folder: Path | None = None,
    grounding: bool = True,
    truth_folder: Path | None = None,
    patients: int | None = None,
) -> None:
    """Ask the model and its controls the questions of a split, and write their predictions into `out` (mode 0700).

    The files are predictions.jsonl, controls/*.jsonl, curves.jsonl, examples.jsonl and phrases.jsonl with their
    pictures, and run.json. The boxes of all images with regions are scored if the store has no questions. No boxes are
    scored without a captioner, or with grounding=False.

    cluster: address of a Ray cluster that does the work. training_store: the store whose train split the controls learn
    from; the same store if not given. features_folder: folder that keeps the encoded images for the next evaluation of
    the same model; not kept if not given. truth_folder: the truth of the synthetic cohort from which the store was
    made. patients: ask about so many patients of the split, drawn the same for every model; all if not given.

    Raises InputError.
    """
    model = FinetunedModel.load(folder, with_captioner=grounding)
    captioner = model.captioner
    store = Store.open(store_folder)
    known = Store.open(training_store, "training") if training_store else store
    for argument, one in (("store", store), ("training", known)):
        if one.size != model.image_size:
            raise InputError(
                f"holds {one.size}-pixel images, but {{model}} takes {model.image_size}-pixel ones; "
                f"prepare it with --size {model.image_size}",
                argument=argument,
                mentions=("model",),
            )
    settings = read_training(model.path)["config"]
    questions = _questions(store, settings, split)
    if store.questions and not questions:
        raise _empty(split, "the store has no questions of the types that the model was trained on")
    if not questions and not captioner:
        raise _empty(split, "no boxes are asked for, and the store has no questions")
    with_regions = (one for one in store.images if one.split == split and one.regions)
    asked_about = _some_patients(questions or with_regions, patients)
    questions = [one for one in questions if one.subject_id in asked_about]
    training = _questions(known, settings, "train")
    truth = {} if truth_folder is None else read_truth(truth_folder)
    joined: dict[str, Any] = {} if truth_folder is None else {"truth": count_known(questions, truth)}
    shown = _shown(store, questions, split, asked_about)
    asked: dict[str, Any] = {"split": split, "beams": beams, "patients": len({image.subject_id for image in shown})}
    inputs = {"model": model.digest, "store": store.fingerprint}
    with Claim("evaluate", out, asked, inputs, scratch=("features",)).held() as run:
        run.write(
            **asked,
            **joined,
            **{"training store": known.fingerprint, "image size": store.size},
            dataset=", ".join(store.datasets) or "not recorded",
            seed=settings["seed"],
        )
        encoded = features_folder or out / "features"
        wanted = {image for one in questions for image in one.pair.images} | {image.image_id for image in shown}
        features = model.encode_store(store, wanted, encoded / "asked", cluster)
        bank = retrieval_bank(training, SEED)
        trained_on = {image for one in bank for image in one.pair.images[:2]}
        known_features = model.encode_store(known, trained_on, encoded / "known", cluster) if trained_on else {}
        with progress_bar("answer questions") as progress:
            rows, exchanged = predict_answers(model.difference, questions, features, progress, beams, cluster)
        # Both were measured on greedy answers.
        trust = model.trust if beams == 1 else Trust()
        rows = rescaled(rows, trust.confidence) if trust.confidence else rows
        rows = rows if trust.flag_threshold is None else flagged(rows, trust.flag_threshold)
        rows = join_truth(rows, questions, truth)
        grounded, of_captioner = [], features
        if captioner:
            images = [one.image_id for one in shown]
            of_captioner = model.encode_for_captioner(store, features, images, encoded / "captioner", cluster)
            with progress_bar("ground phrases") as progress:
                grounded = predict_grounding(captioner, shown, of_captioner, SEED, progress, cluster)
            lesions = {} if truth_folder is None else read_lesions(truth_folder)
            with progress_bar("find boxes of changes") as progress:
                grounded += predict_change_boxes(
                    captioner, rows, questions, store, of_captioner, lesions, SEED, progress, cluster
                )
        write_rows([*rows, *grounded], out / "predictions.jsonl")
        controls = {
            "most_frequent": most_frequent(questions, training),
            "retrieval": retrieval(questions, features, bank, known_features),
            "exchanged": exchanged,
            "other_prior": other_prior(model.difference, questions, features, SEED, beams, cluster),
            "blank_images": blank_images(model.difference, questions, encode_blank(model.difference), beams),
        }
        if "abnormality" in (model.taught or ()) and settings["questions"].get("level"):
            controls["two_readings"] = two_readings(model.difference, questions, features, beams, cluster)
        controls = {name: join_truth(control, questions, truth) for name, control in controls.items()}
        controls["mean_box"] = []
        if captioner:
            known_images = [known.images[position] for position in pretraining_images(known)[0]]
            controls["mean_box"] = mean_boxes(shown, known_images, captioner.model.config.tasks, SEED)
        for name, control in controls.items():
            file = out / "controls" / f"{name}.jsonl"
            if control:
                write_rows(control, file)
            else:
                # One of an earlier evaluation in this folder, with phrases.
                file.unlink(missing_ok=True)
        write_rows(_curves(model.path), out / "curves.jsonl")
        pairs = example_pairs(rows, questions, captioner, store, of_captioner, out)
        write_rows(pairs, out / "examples.jsonl")
        write_rows(example_phrases(grounded, store, out), out / "phrases.jsonl")
        run.finish()


def _questions(store: Store, settings: dict[str, Any], split: str) -> list[Question]:
    """The questions of a split that are of the types that the model was trained for."""
    types = [kind for kind, share in settings["questions"].items() if share > 0]
    asked = [one for one in store.questions if one.type in types and one.split == split]
    return with_earlier(asked, store, settings["priors"] - 1)


def _some_patients(asked: Iterable[Question | StoredImage], count: int | None) -> set[str]:
    """The patients who are asked about: at most `count`, drawn at random."""
    every = sorted({one.subject_id for one in asked})
    if count is None or count >= len(every):
        return set(every)
    return {every[place] for place in np.random.default_rng(SEED).choice(len(every), count, replace=False)}


def _shown(store: Store, questions: Sequence[Question], split: str, patients: Set[str]) -> list[StoredImage]:
    """The images that are grounded: those asked about, or where nothing is asked the patients' with regions."""
    if questions:
        asked_about = dict.fromkeys(image for one in questions for image in one.pair.images[:2][::-1])
        return [store.images[store.index[image]] for image in asked_about]
    shown = [image for image in store.images if image.split == split and image.regions and image.subject_id in patients]
    if not shown:
        raise _empty(split, "the store has neither questions nor images with regions")
    return shown


def _empty(split: str, found: str) -> InputError:
    return InputError(f"{found} in {split}; give another", argument="split")


def _curves(folder: Path) -> Iterable[dict[str, Any]]:
    for stage, log in (("pretrain", folder / CAPTIONER / "log.jsonl"), ("finetune", folder / "log.jsonl")):
        if log.is_file():
            for line in log.read_text(encoding="utf-8").splitlines():
                yield {"stage": stage, **parse_json(line)}
