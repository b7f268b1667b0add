"""Stage 1: train an image encoder by reading out phrases and their boxes (arXiv 2603.04950)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, GPT2Config, PreTrainedTokenizerBase, SiglipImageProcessorPil, set_seed

from diffvqa.data.splits import pretraining_images
from diffvqa.data.store import Store
from diffvqa.errors import InputError
from diffvqa.models.captioner import Captioner, CaptionerConfig
from diffvqa.models.encoder import encoder_config_class, set_sine_positions
from diffvqa.tasks.text import caption, region_referring
from diffvqa.tasks.tokenizer import complete, train_tokenizer
from diffvqa.training.config import PretrainConfig
from diffvqa.training.datasets import PretrainingCollator, PretrainingDraws
from diffvqa.training.run import claim_folder, discard_checkpoints, train, write_record
from diffvqa.training.sizes import explain_sizes, refuse_unknown_sizes

VALIDATION_IMAGES = 128


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
    processor = _processor(config, store.size)
    with explain_sizes("`encoder`, `decoder`"):
        model = Captioner(_model_config(config, store.size, tokenizer))
    set_sine_positions(model.encoder)
    out = claim_folder(config)
    if out is None:
        return Path(config.out)
    count = config.optimisation.steps * config.optimisation.batch_size
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
    return SiglipImageProcessorPil(
        size={"height": size, "width": size},
        image_mean=list(config.image_mean),
        image_std=list(config.image_std),
    )


def _model_config(config: PretrainConfig, size: int, tokenizer: PreTrainedTokenizerBase) -> CaptionerConfig:
    encoder = {"image_size": size, "num_channels": len(config.image_mean), **config.encoder}
    if encoder["image_size"] != size:
        raise InputError(f"`encoder.image_size` is {encoder['image_size']}, but the store holds {size}-pixel images")
    kind = encoder_config_class(encoder.get("model_type"))
    refuse_unknown_sizes(encoder, kind, "encoder")
    for part, part_kind in kind.sub_configs.items():
        refuse_unknown_sizes(encoder.get(part) or {}, part_kind, f"encoder.{part}")
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
    return CaptionerConfig(encoder, decoder, box_bins=config.box_bins, text_tokens=config.text_tokens)
