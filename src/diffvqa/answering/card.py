"""A model card: the facts about a finetuned model, in the form that the Hugging Face hub shows."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from diffvqa import __version__, runs
from diffvqa.answering.answer import NOTICE
from diffvqa.data.registry import dataset_of
from diffvqa.errors import InputError
from diffvqa.files import write_text, writing_to
from diffvqa.inference.grounding import CAPTIONER
from diffvqa.inference.training_record import read_training
from diffvqa.inference.trust import read_record
from diffvqa.models.difference import DifferenceConfig
from diffvqa.models.folder import weights_digest
from diffvqa.models.source import read_config
from diffvqa.parsing import parse_json

FILE = "README.md"
"""The name under which the hub looks for a card."""

_HEAD = """---
license: other
license_name: terms-of-the-training-data
library_name: diffvqa
pipeline_tag: visual-question-answering
language: en
tags:
- chest-x-ray
- radiology
- difference-vqa
- research-only
---
"""

_WHAT = """# Difference questions about chest radiographs

**Research software. Not for clinical use.** The model is not a medical device. Its answers are often wrong.

The model answers what has changed between a prior and a current frontal chest radiograph, in words and with boxes.
It joins a pretrained image encoder to a language model. The method is
*Location-Aware Pretraining for Medical Difference Visual Question Answering*
([arXiv 2603.04950](https://arxiv.org/abs/2603.04950)). The program is `diffvqa`.
"""

_WARNING = (
    "> **WARNING.** {why} Weights can reveal their training data. Do not publish them without the consent of the "
    "data's owners."
)

_LIMITS = f"""## Limits

- {NOTICE}
- The model knows frontal radiographs like those of its training. It has not been tested on other views, devices, ages
  and hospitals, unless the scores above say so. It finds only findings of its training.
- It states changes that are not there, and misses others. Read the false-change rate beside recall.
- Findings and boxes come from separate questions. They may contradict the changes.
- A calibrated confidence holds for patients like those of the validation split.
"""

_USE = """## Use

`MODEL` is the folder of these files, or their name on the hub (owner/name).

```bash
diffvqa answer MODEL --prior A.dcm --current B.dcm --json
diffvqa predict MODEL PAIRS.csv --out predictions.jsonl
```

```python
from diffvqa import Answerer
from diffvqa.parsing import parse_json

answer = Answerer.from_pretrained("MODEL")(prior="A.dcm", current="B.dcm")
answer.text, answer.changes, answer.boxes, answer.confidence
```
"""


def write_card(folder: Path, out: Path, evaluation: Path | None = None) -> str | None:
    """Write the card of a model folder, and return its warning, or None.

    evaluation: a folder that `diffvqa evaluate` has written of the same weights. Raises InputError.
    """
    text, warning = model_card(folder, evaluation)
    if out.exists():
        raise InputError(
            "there is a file already ({model}/README.md if none was given); give another name, or remove the file",
            argument="out",
            mentions=("model",),
        )
    with writing_to("out"):
        write_text(out, text)
    return warning


def model_card(folder: Path, evaluation: Path | None = None) -> tuple[str, str | None]:
    """The card of a model folder and its warning, or None. Raises InputError as `write_card` does."""
    run, config = read_training(folder), _read_config(folder)
    digest = weights_digest(folder)
    warning = _warning(run)
    parts = [
        _HEAD + "\n" + _WHAT,
        *([_WARNING.format(why=warning) + "\n"] if warning else []),
        _data(run),
        _model(folder, run, config, digest),
        _trust(folder, digest),
        _scores(evaluation, digest),
        _LIMITS,
        _USE,
        "## Versions\n\n"
        f"This card: diffvqa {__version__}, torch {torch.__version__}, transformers {transformers.__version__}, Python "
        f"{platform.python_version()}.\n",
    ]
    return "\n".join(parts), warning


def _read_config(folder: Path) -> DifferenceConfig:
    try:
        found = read_config(folder)
        if not isinstance(found, DifferenceConfig):
            raise ValueError("another kind of model")
        return found
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            "the folder's config.json cannot be read; give a folder that is whole", argument="model"
        ) from error


_STAGES = {"datasets": "questions and language model", "encoder_datasets": "image encoder"}


def _warning(run: Mapping[str, Any]) -> str | None:
    """The reason against publishing the weights, or None."""
    recorded = [run.get(key) for key in _STAGES]
    found = [dataset_of(name) for names in recorded for name in names or ()]
    closed = dict.fromkeys(dataset.title for dataset in found if dataset.closed)
    if closed:
        return f"The model was trained on data under a licence or an agreement: {', '.join(closed)}."
    if not all(recorded):
        return "The training data are not recorded, or not completely. They may be patients' data."
    return None


def _data(run: Mapping[str, Any]) -> str:
    rows = []
    for key, stage in _STAGES.items():
        found = [dataset_of(name) for name in run.get(key) or ()]
        rows += [(stage, one.title, one.terms) for one in found] or [(stage, "not recorded", "not known")]
    return "## Trained on\n\n" + _table(("what", "dataset", "terms"), rows)


def _model(folder: Path, run: Mapping[str, Any], config: DifferenceConfig, digest: str) -> str:
    vision, language = config.vision_config, config.language_config
    asked = ", ".join(kind for kind, share in run["config"]["questions"].items() if share)
    rows = [
        ("version", f"`{digest[:12]}` (SHA-256 of the weights)"),
        (
            "image encoder",
            f"{vision.model_type}: {vision.image_size} pixels, patches of {vision.patch_size}, width "
            f"{vision.hidden_size}, {vision.num_hidden_layers} layers",
        ),
        (
            "language model",
            f"{language.model_type}: width {language.hidden_size}, {language.num_hidden_layers} layers, "
            f"{language.vocab_size} tokens",
        ),
        ("priors", f"{config.priors} at the most"),
        ("grey values", run.get("intensity", "not recorded")),
        ("questions", asked),
        ("boxes", "yes, by its captioner" if (folder / CAPTIONER).is_dir() else "none: it holds no captioner"),
        ("parameters", f"{sum(run.get('parameters', {}).values()):,}"),
        ("training, stage 1", _stage_one(folder)),
        ("training, stage 2", f"{_length(run)}; {run.get('questions_seen', 0):,} questions seen"),
    ]
    return "## Model\n\n" + _table(("", ""), rows)


def _stage_one(folder: Path) -> str:
    try:
        run = runs.read_record(folder / CAPTIONER / runs.RECORD)
        return f"{' + '.join(run['config']['objective'])}; {_length(run)}; {run['images_seen']:,} images seen"
    except (LookupError, TypeError):
        return "not recorded"


def _length(run: Mapping[str, Any]) -> str:
    settings = run["config"]["optimisation"]
    steps = f"{settings['steps']:,} steps" if settings["steps"] else f"{settings['epochs']} epochs"
    return f"{steps} of {settings['batch_size']}"


def _trust(folder: Path, digest: str) -> str:
    record = read_record(folder)
    if record.get("weights") != digest:
        return "## How far to trust an answer\n\nNot measured: confidence is the model's own, images are not checked.\n"
    answers, images = record["confidence"], record["input_check"]
    lines = [
        f"- Confidence: calibrated on {answers['answers']:,} answers of the validation split, of which "
        f"{answers['right']:,} were right."
        if answers["scale"]
        else f"- Confidence: the model's own; {answers['answers']} validation answers were too few to calibrate it.",
        f"- Input check: from {images['train_images']:,} training and {images['validate_images']:,} validation images."
        if images["measured"]
        else "- Input check: none; there were too few images.",
    ]
    return "## How far to trust an answer\n\n" + "\n".join(lines) + "\n"


_SCORES = ("f1", "recall", "false_change_rate")


def _scores(evaluation: Path | None, digest: str) -> str:
    if evaluation is None:
        return "## Scores\n\nThis card has no scores.\n"
    try:
        run, metrics = (
            parse_json((evaluation / name).read_text(encoding="utf-8")) for name in ("run.json", "metrics.json")
        )
        systems = {"this model": metrics["model"], **metrics["controls"]}
        found = {name: scores["changes"] for name, scores in systems.items() if scores.get("changes")}
        rows = [
            (name.replace("_", " "), *(_interval(changes[score]) for score in _SCORES))
            for name, changes in found.items()
            if changes["n"]
        ]
        # Stores of older cohorts do not say that they are synthetic, but only of those is the truth known.
        dataset = f"{'a synthetic cohort, ' if 'truth' in run else ''}{run['dataset']}"
        about = (
            f"Split `{run['split']}` of {dataset}: {run['patients']} patients, "
            f"{metrics['model']['changes']['n']} difference questions, {run['date']}."
        )
        same = run["model"] == digest
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            "the folder holds no scores; give one that `diffvqa evaluate` wrote", argument="evaluation"
        ) from error
    if not same:
        raise InputError("these are scores of other weights; give the evaluation of this model", argument="evaluation")
    intervals = "Brackets hold 95 % intervals over patients. The rows below the model are its controls."
    table = _table(("", "change F1", "recall", "false-change rate"), rows)
    return f"## Scores\n\n{about}\n{intervals}\n\n{table}"


def _interval(score: Mapping[str, float] | None) -> str:
    return "–" if score is None else f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
