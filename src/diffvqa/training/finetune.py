"""Stage 2: join the frozen encoder to a language model, and train it on questions (arXiv 2603.04950)."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

from transformers import PreTrainedTokenizerBase, set_seed

from diffvqa.data.history import with_earlier
from diffvqa.data.store import Store
from diffvqa.errors import InputError
from diffvqa.images.intensities import EQUALISED, intensity_of
from diffvqa.inference.features import Features, encode_store
from diffvqa.inference.grounding import CAPTIONER
from diffvqa.inference.measure_trust import TrustSample, draw_sample, is_measured, measure_trust
from diffvqa.inference.shown_pictures import StorePixels
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.folder import ModelFolder, device, load_folder, weights_digest
from diffvqa.models.gathering import processes
from diffvqa.models.source import read_tokenizer
from diffvqa.progress import progress_bar
from diffvqa.records import Question
from diffvqa.runs import read_record
from diffvqa.sealed_folder import FILES, RECORD, digests_of, seal
from diffvqa.tasks.text import encode_prompt, question_prompt
from diffvqa.tasks.tokenizer import complete
from diffvqa.training.config import FinetuneConfig
from diffvqa.training.config_errors import explain_sizes, explain_source
from diffvqa.training.datasets import QuestionCollator, QuestionDraws
from diffvqa.training.difference_model import build_model
from diffvqa.training.lora import add_adapters
from diffvqa.training.precision import usable_precision
from diffvqa.training.pretrained import Pretrained, read_pretrained
from diffvqa.training.processes import first_goes_first, is_first, join_processes
from diffvqa.training.train import FEATURES, claimed, count_parameters, share_of_batch, train

VALIDATION_QUESTIONS = 128


def finetune(config: FinetuneConfig) -> Path:
    """Train a difference model as configured, and save it in `config.out`, with its captioner if it has one.

    A frozen encoder encodes every image once, before training. Confidence and input check are measured at the end. A
    stopped run continues from its last checkpoint. A finished run is left unchanged. Raises InputError and RunFailed.
    """
    join_processes()
    store = Store.open(Path(config.store))
    pretrained = read_pretrained(config.encoder, store.size)
    # An encoder that learnt from equalised images is shown such, whatever the store's are.
    if intensity_of(pretrained.processor) != EQUALISED:
        pretrained.processor.intensity = store.intensity
    tokenizer = _tokenizer(config, pretrained)
    questions, too_long = _questions(store, config, tokenizer)
    if not questions["train"]:
        raise InputError(
            f"the store has no training questions of the types {', '.join(config.questions)}", argument="questions"
        )
    by_type = Counter(one.type for one in questions["train"])
    if is_first() and (absent := [kind for kind, share in config.questions.items() if share and not by_type[kind]]):
        print(f"finetune: the store has no questions of type {', '.join(absent)}: the model will not learn them")
    share_of_batch(config.optimisation)
    set_seed(config.seed)
    with explain_sizes("language_model", "merge", "trainable_blocks"):
        model = build_model(config, pretrained.encoder, tokenizer)
    adapters = add_adapters(model.language_model, config.lora_rank) if config.lora_rank else None
    digest = pretrained.digest()
    with claimed("finetune", config, store=store.fingerprint, encoder_digest=digest) as run:
        if run.finished:
            # Perhaps by a version that measured nothing.
            if is_first() and not is_measured(run.out):
                _measure(run.out, store, draw_sample(store, config.priors))
                run.discard()
                seal(run.out, run.claim.scratch)
            return run.out
        sample = draw_sample(store, config.priors)
        features = None
        if not config.trainable_blocks:
            wanted = sample.images.union(*(one.pair.images for part in questions.values() for one in part))
            model.to(device())  # type: ignore[arg-type]  # transformers hides what it takes
            frozen = ModelFolder(model, tokenizer, pretrained.processor, run.out, "encoder")
            with first_goes_first(), progress_bar("encode images") as progress:
                features = encode_store(frozen, store, wanted, run.out / FEATURES, digest, progress)
        images = StorePixels(store, pretrained.processor.intensity) if features is None else features
        count = config.optimisation.draws(len(questions["train"]))

        def draws(split: str, length: int) -> QuestionDraws:
            exchanged = config.exchanged if split == "train" else 0.0
            return QuestionDraws(
                questions[split], config.questions, images, config.priors, config.seed, length, exchanged
            )

        trained = train(
            model,
            draws("train", count),
            draws("validate", VALIDATION_QUESTIONS) if questions["validate"] else None,
            QuestionCollator(tokenizer, pretrained.processor, config.text_tokens),
            config.optimisation,
            run,
            config.seed,
            "finetune",
        )
        if trained is None:
            return run.out
        if adapters:
            adapters.merge_and_unload()
        for part in (trained, tokenizer, pretrained.processor):
            part.save_pretrained(run.out)
        if pretrained.captioner:
            ignored = shutil.ignore_patterns("checkpoints", "encoder")
            shutil.copytree(pretrained.captioner.path, run.out / CAPTIONER, ignore=ignored, dirs_exist_ok=True)
            if weights_digest(run.out / CAPTIONER) != pretrained.captioner.digest:
                raise InputError(
                    "its weights were replaced during the training; restore the old ones, and run the command again",
                    argument="encoder",
                )
        _measure(run.out, store, sample, features)
        run.finish(
            questions=len(questions["train"]),
            questions_by_type=dict(by_type),
            questions_too_long=too_long,
            questions_seen=count,
            parameters=count_parameters(trained),
            processes=processes(),
            precision=usable_precision(config.optimisation.precision),
            intensity=pretrained.processor.intensity,
            datasets=list(store.datasets),
            encoder_datasets=read_record(Path(config.encoder) / RECORD).get("datasets"),
            **{FILES: digests_of(run.out, run.claim.scratch)},
        )
    return run.out


def _measure(out: Path, store: Store, sample: TrustSample, features: Features | None = None) -> None:
    """Measure how far the saved model can be trusted; features: of its encoder, where it stayed as it was."""
    model = load_folder(DifferenceModel, out, "out")
    if features is None and sample.images:
        with progress_bar("encode images") as progress:
            features = encode_store(model, store, sample.images, out / FEATURES, model.digest, progress)
    measure_trust(model, store, sample, features or {})


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
    return {split: with_earlier(found, store, config.priors - 1) for split, found in questions.items()}, too_long


def _tokenizer(config: FinetuneConfig, pretrained: Pretrained) -> PreTrainedTokenizerBase:
    if isinstance(config.language_model, str):
        with explain_source("language_model", config.language_model):
            return complete(read_tokenizer(config.language_model), mask=False)
    if config.lora_rank:
        raise InputError(
            "adapts a trained language model; give a folder or hub name as {language_model}",
            argument="lora_rank",
            mentions=("language_model",),
        )
    if pretrained.tokenizer is None:
        raise InputError(
            "a new language model takes the tokenizer of {encoder}, which has none; "
            "give the folder or hub name of a language model",
            argument="language_model",
            mentions=("encoder",),
        )
    return complete(pretrained.tokenizer, mask=False)
