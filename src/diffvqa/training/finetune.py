"""Stage 2: join the frozen encoder to a language model and train it on questions (arXiv 2603.04950)."""

from __future__ import annotations

import shutil
from pathlib import Path

from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    set_seed,
)

from diffvqa.data.features import encode_images
from diffvqa.data.store import Store
from diffvqa.errors import InputError
from diffvqa.models.captioner import Captioner
from diffvqa.models.difference import DifferenceConfig, DifferenceModel
from diffvqa.models.encoder import patch_grid
from diffvqa.models.folder import load_folder, weights_digest
from diffvqa.progress import progress_bar
from diffvqa.records import Question
from diffvqa.tasks.collate import encode_squares
from diffvqa.tasks.text import encode_prompt, question_prompt
from diffvqa.tasks.tokenizer import complete
from diffvqa.training.config import FinetuneConfig
from diffvqa.training.datasets import QuestionCollator, QuestionDraws
from diffvqa.training.run import claim_folder, discard_checkpoints, train, write_record
from diffvqa.training.sizes import explain_sizes, refuse_unknown_sizes

VALIDATION_QUESTIONS = 128


def finetune(config: FinetuneConfig) -> Path:
    """Train a difference model as configured and save it, with its captioner, in `config.out`.

    The encoder is the captioner's, frozen: every image is encoded once, before training. A run that was stopped goes
    on from its last checkpoint; a finished one is left as it is. Raises InputError.
    """
    store = Store.open(Path(config.store))
    captioner = load_folder(Captioner, config.captioner, "`captioner`")
    size = captioner.model.config.vision_config.image_size
    if store.size != size:
        raise InputError(f"`store` holds {store.size}-pixel images, but the captioner was trained on {size}-pixel ones")
    tokenizer = _tokenizer(config, captioner.tokenizer)
    questions, too_long = _questions(store, config, tokenizer)
    if not questions["train"]:
        raise InputError(f"`questions`: the store has no training questions of the types {', '.join(config.questions)}")
    set_seed(config.seed)
    with explain_sizes("`language_model`, `merge`"):
        model = _model(config, captioner.model, tokenizer)
    out = claim_folder(config)
    if out is None:
        return Path(config.out)
    with progress_bar("encode images") as progress:
        features = encode_images(
            lambda pixels: encode_squares(model.encode, captioner.processor, pixels),
            store,
            {
                image
                for part in questions.values()
                for question in part
                for image in (question.pair.prior, question.pair.current)
                if image
            },
            out / "features",
            key=weights_digest(config.captioner),
            progress=progress,
        )
    count = config.optimisation.draws(len(questions["train"]))
    train(
        model,
        QuestionDraws(questions["train"], config.questions, features, config.seed, count),
        QuestionDraws(questions["validate"], config.questions, features, config.seed, VALIDATION_QUESTIONS)
        if questions["validate"]
        else None,
        QuestionCollator(tokenizer, config.text_tokens),
        config.optimisation,
        out,
        config.seed,
        "finetune",
    )
    for part in (model, tokenizer, captioner.processor):
        part.save_pretrained(out)
    shutil.copytree(
        config.captioner, out / "captioner", ignore=shutil.ignore_patterns("checkpoints", "encoder"), dirs_exist_ok=True
    )
    shutil.rmtree(out / "features")
    write_record(
        out,
        config.model_dump(mode="json"),
        finished=True,
        questions=len(questions["train"]),
        questions_too_long=too_long,
        questions_seen=count,
        store=store.fingerprint,
    )
    discard_checkpoints(out)
    return out


def _questions(
    store: Store, config: FinetuneConfig, tokenizer: PreTrainedTokenizerBase
) -> tuple[dict[str, list[Question]], int]:
    """The questions of each split that are of the configured types, and how many more leave an answer no room."""
    questions: dict[str, list[Question]] = {"train": [], "validate": []}
    too_long = 0
    for question in store.questions:
        if question.split not in questions or not config.questions.get(question.type):
            continue
        if len(encode_prompt(tokenizer, question_prompt(question.text))) > config.text_tokens // 2:
            too_long += 1
        else:
            questions[question.split].append(question)
    return questions, too_long


def _tokenizer(config: FinetuneConfig, captioners: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    if isinstance(config.language_model, str):
        return complete(AutoTokenizer.from_pretrained(config.language_model), mask=False)
    return captioners


def _model(config: FinetuneConfig, captioner: Captioner, tokenizer: PreTrainedTokenizerBase) -> DifferenceModel:
    vision = captioner.config.vision_config
    if isinstance(config.language_model, str):
        language_model = AutoModelForCausalLM.from_pretrained(config.language_model)
        _refuse_too_few_positions(config, vision, language_model.config)
        model = DifferenceModel(DifferenceConfig(vision, language_model.config, config.text_tokens, config.merge))
        model.language_model = language_model
    else:
        kind = AutoConfig.for_model(config.language_model.get("model_type", "gpt2"))
        refuse_unknown_sizes(config.language_model, type(kind), "language_model")
        sizes = {
            "model_type": "gpt2",
            "n_positions": _positions_needed(config, vision),
            **config.language_model,
            "vocab_size": len(tokenizer),
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        }
        difference = DifferenceConfig(vision, sizes, config.text_tokens, config.merge)
        _refuse_too_few_positions(config, vision, difference.language_config)
        model = DifferenceModel(difference)
    model.encoder.load_state_dict(captioner.encoder.state_dict())
    return model


def _positions_needed(config: FinetuneConfig, vision: PreTrainedConfig, merge: int | None = None) -> int:
    """The places in the language model that two images, a question and its answer take."""
    return 2 * (patch_grid(vision) // (merge or config.merge)) ** 2 + config.text_tokens


def _refuse_too_few_positions(config: FinetuneConfig, vision: PreTrainedConfig, language: PreTrainedConfig) -> None:
    """Raises InputError where the language model has learnt fewer places than it would be given (GPT-2 has 1,024)."""
    needed, there = _positions_needed(config, vision), getattr(language, "max_position_embeddings", None)
    if there is None or needed <= there:
        return
    grid = patch_grid(vision)
    fitting = [
        f"merge={merge}"
        for merge in range(config.merge + 1, grid + 1)
        if grid % merge == 0 and _positions_needed(config, vision, merge) <= there
    ]
    raise InputError(
        f"`language_model` has {there} positions, but two images and `text_tokens` take {needed}; "
        + (f"merge patches ({' or '.join(fitting)}), or " if fitting else "")
        + "give a model with more"
    )
