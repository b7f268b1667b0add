"""Stage 1: train an image encoder by reading out phrases and their boxes (arXiv 2603.04950)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import (
    AutoTokenizer,
    GPT2Config,
    PreTrainedTokenizerBase,
    SiglipImageProcessorPil,
    SiglipVisionConfig,
    set_seed,
)

from diffvqa.data.splits import pretraining_images
from diffvqa.data.store import Store
from diffvqa.errors import InputError
from diffvqa.models.captioner import Captioner, CaptionerConfig
from diffvqa.models.checkpoint import image_statistics, load_encoder
from diffvqa.models.encoder import encoder_config_class, set_sine_positions
from diffvqa.tasks.text import caption, region_referring
from diffvqa.tasks.tokenizer import complete, train_tokenizer
from diffvqa.training.config import PretrainConfig
from diffvqa.training.datasets import PretrainingCollator, PretrainingDraws
from diffvqa.training.run import claim_folder, discard_checkpoints, train, write_record
from diffvqa.training.sizes import explain_sizes, refuse_unknown_sizes

VALIDATION_IMAGES = 128
ENCODER = "encoder"
"""The folder, in a captioner's, of the encoder alone."""


def pretrain(config: PretrainConfig) -> Path:
    """Train a captioner as configured and save it, with its tokenizer and processor, in `config.out`.

    A run that was stopped goes on from its last checkpoint; a finished one is left as it is. Images of patients who
    have validation or test questions are left out. Raises InputError.
    """
    store = Store.open(Path(config.store))
    images, left_out = pretraining_images(store)
    if not images:
        raise InputError("`store`: there are no images to pretrain on (none of the train split); prepare others")
    validation = [index for index, image in enumerate(store.images) if image.split == "validate"]
    set_seed(config.seed)
    tokenizer = _tokenizer(config, store, images)
    with explain_sizes("`encoder`, `decoder`"):
        model, processor = build_captioner(config, store.size, tokenizer), _processor(config, store.size)
    out = claim_folder(config)
    if out is None:
        return Path(config.out)
    count = config.optimisation.draws(len(images))
    train(
        model,
        PretrainingDraws(store, images, config, count),
        PretrainingDraws(store, validation, config, VALIDATION_IMAGES) if validation else None,
        PretrainingCollator(tokenizer, processor, config.text_tokens),
        config.optimisation,
        out,
        config.seed,
        "pretrain",
    )
    for part in (model, tokenizer, processor):
        part.save_pretrained(out)
    # The encoder by itself, for AutoModel and for whoever wants no more than its features.
    for part in (model.encoder, processor):
        part.save_pretrained(out / ENCODER)
    write_record(
        out,
        config.model_dump(mode="json"),
        finished=True,
        images=len(images),
        images_left_out=left_out,
        images_seen=count,
        store=store.fingerprint,
    )
    discard_checkpoints(out)
    return out


def _tokenizer(config: PretrainConfig, store: Store, images: list[int]) -> PreTrainedTokenizerBase:
    if isinstance(config.tokenizer, str):
        return complete(AutoTokenizer.from_pretrained(config.tokenizer), mask=True)
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
    return train_tokenizer(texts, config.tokenizer)


def _processor(config: PretrainConfig, size: int) -> SiglipImageProcessorPil:
    mean, deviation = [0.5] * 3, [0.5] * 3
    if isinstance(config.encoder, str) and not (config.image_mean and config.image_std):
        with _explain_checkpoint(config.encoder):
            mean, deviation = image_statistics(config.encoder)
    return SiglipImageProcessorPil(
        size={"height": size, "width": size},
        image_mean=list(config.image_mean or mean),
        image_std=list(config.image_std or deviation),
    )


def build_captioner(config: PretrainConfig, size: int, tokenizer: PreTrainedTokenizerBase) -> Captioner:
    """A captioner as configured for images of `size` pixels a side, its encoder new or a checkpoint's.

    Raises InputError, and what explain_sizes explains.
    """
    refuse_unknown_sizes(config.decoder, GPT2Config, "decoder")
    decoder: dict[str, Any] = {
        # The longest prefix stands before a full length of masks.
        "n_positions": 2 * config.text_tokens,
        **config.decoder,
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if isinstance(config.encoder, str):
        with _explain_checkpoint(config.encoder):
            encoder = load_encoder(config.encoder, size)
        model = Captioner(CaptionerConfig(encoder.config, decoder, config.box_bins, config.text_tokens))
        model.encoder.load_state_dict(encoder.state_dict())
        return model
    sizes = _encoder_sizes(config, size)
    model = Captioner(CaptionerConfig(sizes, decoder, config.box_bins, config.text_tokens))
    if isinstance(model.encoder.config, SiglipVisionConfig):
        set_sine_positions(model.encoder)
    return model


def _encoder_sizes(config: PretrainConfig, size: int) -> dict[str, Any]:
    encoder = {"image_size": size, "num_channels": len(config.image_mean or (0.5,) * 3), **config.encoder}
    if encoder["image_size"] != size:
        raise InputError(f"`encoder.image_size` is {encoder['image_size']}, but the store holds {size}-pixel images")
    kind = encoder_config_class(encoder.get("model_type"))
    refuse_unknown_sizes(encoder, kind, "encoder")
    for part, part_kind in kind.sub_configs.items():
        refuse_unknown_sizes(encoder.get(part) or {}, part_kind, f"encoder.{part}")
    return encoder


@contextmanager
def _explain_checkpoint(source: str) -> Iterator[None]:
    """Inside it a checkpoint is read: what is wrong with it becomes an InputError that names the argument."""
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"`encoder`: no vision model can be read from {source!r} ({' '.join(str(error).split())[:200]}); give a "
            "folder or hub name of a vision model, or the sizes of one to be made"
        ) from error
