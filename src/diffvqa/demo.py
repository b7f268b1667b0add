"""The demo: from dataset folders to a report on synthetic patients, with phantom-small or a newly trained model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from diffvqa.answering.answer import Answer
from diffvqa.answering.answer_text import answer_lines
from diffvqa.answering.answerer import Answerer
from diffvqa.answering.overlay import draw_answer
from diffvqa.data import read_sources
from diffvqa.data.prepare import prepare
from diffvqa.data.store import Store
from diffvqa.evaluating.evaluate import evaluate
from diffvqa.evaluation.predictions import read_predictions
from diffvqa.evaluation.report import write_report
from diffvqa.evaluation.score import score_folder
from diffvqa.files import write_picture, write_text, writing_to
from diffvqa.findings import DIFFERENCE_QUESTION, Change, read_changes
from diffvqa.images.radiograph import read_radiograph
from diffvqa.inference.hub import PHANTOM_SMALL
from diffvqa.phantom.writing import write_cohort
from diffvqa.progress import progress_bar
from diffvqa.records import Question
from diffvqa.training.config import FinetuneConfig, PretrainConfig, load_config
from diffvqa.training.finetune import finetune
from diffvqa.training.pretrain import pretrain
from diffvqa.workers import usable_cores

PATIENTS, PATIENTS_TO_LEARN_FROM = 200, 1500
SEED = 8
IMAGE_SIZE = 128
STEPS = 300, 500
"""Steps of both stages for `--train`: the recipe of phantom-small, shortened to a quarter of an hour."""

EXAMPLES: Mapping[str, Callable[[frozenset[Change], frozenset[Change]], bool]] = {
    "right": lambda stated, true: bool(true) and stated == true,
    "wrong": lambda stated, true: bool(true) and stated != true,
    "false-change": lambda stated, true: not true and bool(stated),
}
"""Kinds of answers that are shown one by one: the first of each kind, in the order of the test questions."""


def run_demo(out: Path, train: bool = False) -> tuple[dict[str, Any], Path]:
    """Make patients, read them back, evaluate a model, and show three answers; the scores, and the report's path.

    The model is the one that comes with the package, which has never seen these patients; train: one that is trained on
    others of them first. Each step is a folder in `out`; what is finished there is not done again. Raises InputError.
    """
    with writing_to("out", "cannot be made there"):
        out.mkdir(parents=True, exist_ok=True)
    cohort, store = out / "cohort", out / "store"
    workers = usable_cores()
    if not cohort.exists():
        patients = PATIENTS_TO_LEARN_FROM if train else PATIENTS
        with progress_bar("synthesise patients") as progress:
            write_cohort(cohort, patients, SEED, workers=workers, progress=progress)
    records = read_sources([f"mimic:{cohort}"])
    with progress_bar("prepare images") as progress:
        prepare(records, store, IMAGE_SIZE, workers=workers, progress=progress)
    model = _train(store, out) if train else Path(PHANTOM_SMALL)
    evaluate(model, store, "test", out / "evaluation", truth_folder=cohort / "truth")
    scores = score_folder(out / "evaluation")
    files = {image.image_id: image.path for study in records.studies for image in study.images}
    said = {row.id: row.changes for row in read_predictions(out / "evaluation" / "predictions.jsonl")}
    _show_answers(Answerer.from_pretrained(model), Store.open(store), files, said, out / "answers")
    return scores, write_report(out / "evaluation")


def _train(store: Path, out: Path) -> Path:
    captioner, model = out / "captioner", out / "model"
    stage_1 = [f"store={store}", f"out={captioner}", f"optimisation.steps={STEPS[0]}"]
    pretrain(load_config(PretrainConfig, config_file("phantom/pretrain.yaml"), stage_1))
    stage_2 = [f"store={store}", f"encoder={captioner}", f"out={model}", f"optimisation.steps={STEPS[1]}"]
    return finetune(load_config(FinetuneConfig, config_file("phantom/finetune.yaml"), stage_2))


def _show_answers(
    answerer: Answerer,
    store: Store,
    files: Mapping[str, Path],
    said: Mapping[str, frozenset[Change] | None],
    folder: Path,
) -> None:
    """Write the first answer of each kind in EXAMPLES: its text and its picture.

    said: the changes that the evaluation's answer to each question states; only a question whose kind is missing is
    asked again, about the files.
    """
    missing = dict(EXAMPLES)
    for question in store.questions:
        if not missing or question.split != "test" or question.text != DIFFERENCE_QUESTION or not question.pair.prior:
            continue
        (true,) = read_changes(question.answer)[:1] or (frozenset(),)
        if not any(fits(said[question.question_id] or frozenset(), true) for fits in missing.values()):
            continue
        current, prior = files[question.pair.current], files[question.pair.prior]
        answer = answerer(current, prior)
        for kind in [kind for kind, fits in missing.items() if fits(frozenset(answer.changes or ()), true)]:
            del missing[kind]
            _write_answer(kind, answer, question, {"current": current, "prior": prior}, folder)


def _write_answer(kind: str, answer: Answer, question: Question, paths: Mapping[str, Path], folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    lines = [f"{kind}, by the dataset's answer: {question.answer}", "", *answer_lines(answer)]
    write_text(folder / f"{kind}.txt", "\n".join(lines) + "\n")
    picture = draw_answer(answer, {name: read_radiograph(path, name) for name, path in paths.items()})
    write_picture(folder / f"{kind}.png", picture)


def config_file(name: str) -> Path:
    """A configuration that comes with the package: inside it when installed, beside it in a checkout."""
    here = Path(__file__).parent
    installed = here / "configs" / name
    return installed if installed.is_file() else here.parents[1] / "configs" / name
