"""Stage 1: train an image encoder, by location-aware pretraining (arXiv 2603.04950) or another objective."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase, SiglipImageProcessorPil, set_seed

from diffvqa.data.pretraining_images import pretraining_images
from diffvqa.data.store import Store
from diffvqa.errors import InputError
from diffvqa.findings import degrees_named
from diffvqa.models.captioner import Captioner, CaptionerConfig
from diffvqa.models.checkpoint import image_statistics, make_processor
from diffvqa.models.gathering import processes
from diffvqa.models.pretraining import PretrainingModel
from diffvqa.models.source import read_tokenizer
from diffvqa.sealed_folder import FILES, digests_of
from diffvqa.tasks.box_text import add_location_tokens
from diffvqa.tasks.text import caption, region_referring
from diffvqa.tasks.tokenizer import complete, train_tokenizer
from diffvqa.training.config import PretrainConfig
from diffvqa.training.config_errors import explain_sizes, explain_source
from diffvqa.training.datasets import PretrainingCollator, PretrainingDraws, pairs_to_learn
from diffvqa.training.objectives import CAPTIONING, NONE, OBJECTIVES, draws_pairs
from diffvqa.training.precision import usable_precision
from diffvqa.training.pretraining_model import build_encoder, build_model, captioner_config, make_head_context
from diffvqa.training.processes import is_first, join_processes
from diffvqa.training.train import claimed, count_parameters, read_log, share_of_batch, train

VALIDATION_IMAGES = 128
ENCODER = "encoder"
"""The folder, in a captioner's, of the encoder alone."""


def pretrain(config: PretrainConfig) -> Path:
    """Train an encoder as configured, and save it in `config.out` with its tokenizer and processor.

    An objective with a text decoder saves a captioner, others save the encoder. A stopped run continues from its last
    checkpoint. A finished run is left unchanged. Images of patients with validation or test questions are left out,
    unless `keep_evaluation_patients` is set. Raises InputError and RunFailed.
    """
    join_processes()
    store = Store.open(Path(config.store))
    images, left_out = pretraining_images(store, config.keep_evaluation_patients)
    if not images:
        raise InputError(
            "there are no images to pretrain on (none of the train split); prepare others", argument="store"
        )
    set_seed(config.seed)
    tokenizer = _tokenizer(config, store, images)
    with explain_sizes("encoder", "decoder"):
        encoder = build_encoder(config, store.size)
        processor = _processor(config, store, encoder.config.num_channels)
        findings = sorted({finding for index in images for finding in store.images[index].findings})
        context = make_head_context(config, encoder, tokenizer, findings)
        model = build_model(config, encoder, context)
    _refuse_nothing_to_learn(config, store, images)
    if share_of_batch(config.optimisation) % 2 and draws_pairs(config.objective):
        raise InputError(
            "the objective learns from pairs; give every process an even number of images a step",
            argument="optimisation.batch_size",
        )
    with claimed("pretrain", config, store=store.fingerprint) as run:
        if run.finished:
            return run.out
        learns = NONE not in config.objective
        count = config.optimisation.draws(len(images)) if learns else 0
        trained: PretrainingModel | None = model
        if learns:
            trained = train(
                model,
                PretrainingDraws(store, images, config, count),
                _validation(store, config),
                PretrainingCollator(config.objective, context, processor),
                config.optimisation,
                run,
                config.seed,
                "pretrain",
            )
        if trained is None or not is_first():
            return run.out
        _save(trained, captioner_config(config, encoder, tokenizer), tokenizer, processor, run.out)
        run.finish(
            images=len(images),
            images_left_out=left_out.images,
            patients_left_out=left_out.patients,
            images_seen=count,
            parameters=count_parameters(trained),
            processes=processes(),
            precision=usable_precision(config.optimisation.precision),
            negatives=_mean_negatives(run.out),
            intensity=store.intensity,
            datasets=list(store.datasets),
            **{FILES: digests_of(run.out, run.claim.scratch)},
        )
    return run.out


def _save(
    model: PretrainingModel, config: CaptionerConfig, tokenizer: PreTrainedTokenizerBase, processor: Any, out: Path
) -> None:
    """A captioner with its encoder alone in a folder of its own, for AutoModel; or that encoder and nothing else."""
    folders = {out: model.encoder}
    if CAPTIONING in model.heads:
        captioner = Captioner(config)
        captioner.encoder = model.encoder
        captioner.add_module("head", model.heads[CAPTIONING])
        folders = {out: captioner, out / ENCODER: model.encoder}
    for folder, part in folders.items():
        part.save_pretrained(folder)
        processor.save_pretrained(folder)
    tokenizer.save_pretrained(out)


def _mean_negatives(out: Path) -> dict[str, float]:
    """How many negatives a text was compared with, on average over the steps that were logged, by objective."""
    found: dict[str, list[float]] = defaultdict(list)
    for line in read_log(out):
        for name, number in line.get("negatives", {}).items():
            found[name].append(number)
    return {name: round(sum(numbers) / len(numbers), 2) for name, numbers in found.items()}


def _validation(store: Store, config: PretrainConfig) -> PretrainingDraws | None:
    """The data for the loss on the validation split, if the store has any."""
    images = [place for place, split in enumerate(store.images.column("split")) if split == "validate"]
    items = pairs_to_learn(store, images, "validate") if draws_pairs(config.objective) else images
    return PretrainingDraws(store, images, config, VALIDATION_IMAGES, "validate") if items else None


def _refuse_nothing_to_learn(config: PretrainConfig, store: Store, places: list[int]) -> None:
    """Raises InputError if no image has what an objective needs."""
    available = {
        "reports": any(store.images[place].report for place in places),
        "phrases": any(region.phrases for place in places for region in store.images[place].regions),
        "levels": any(
            degrees_named(phrase)
            for place in places
            for region in store.images[place].regions
            for phrase in region.phrases
        ),
        "findings": any(store.images[place].findings for place in places),
        "changes": draws_pairs(config.objective) and bool(pairs_to_learn(store, places, "train")),
    }
    for name in config.objective:
        needed = OBJECTIVES[name].needs
        if needed and not any(available[kind] for kind in needed):
            raise InputError(
                f"{name} learns from {' or '.join(needed)}, but no image to pretrain on has any; "
                "give another objective or prepare a dataset that has them",
                argument="objective",
            )


def _tokenizer(config: PretrainConfig, store: Store, images: list[int]) -> PreTrainedTokenizerBase:
    if isinstance(config.tokenizer, str):
        with explain_source("tokenizer", config.tokenizer):
            tokenizer = complete(read_tokenizer(config.tokenizer), mask=True)
    else:
        texts = []
        for index in images:
            image = store.images[index]
            texts.append("".join(caption(image.report).target))
            for region in image.regions:
                for phrase in region.phrases:
                    made = region_referring(region.name or "", phrase, "")
                    texts.append("".join(made.prefix + made.target))
        # Questions and answers use words that reports do not; the tokenizer serves both stages.
        texts += [f"{question.text}\n{question.answer}" for question in store.questions if question.split == "train"]
        tokenizer = train_tokenizer(texts, config.tokenizer)
    if config.location_tokens:
        add_location_tokens(tokenizer, config.box_bins)
    return tokenizer


def _processor(config: PretrainConfig, store: Store, channels: int) -> SiglipImageProcessorPil:
    """The processor of the encoder's pixels, from its checkpoint, else as configured."""
    mean, deviation = config.image_mean, config.image_std
    if isinstance(config.encoder, str):
        with suppress(OSError, ValueError) if mean and deviation else explain_source("encoder", config.encoder):
            mean, deviation = image_statistics(config.encoder)
    mean, deviation = (tuple(values or (0.5,) * channels) for values in (mean, deviation))
    if not len(mean) == len(deviation) == channels:
        raise InputError(
            f"{{image_mean}} and {{image_std}} have {len(mean)} and {len(deviation)} values, but the encoder takes "
            f"{channels} channels; give one value a channel",
            mentions=("image_mean", "image_std"),
        )
    return make_processor(store.size, mean, deviation, store.intensity)
