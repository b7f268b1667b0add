"""What stage 2 begins with: an encoder that stage 1 has trained, or one that somebody else has."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, SiglipImageProcessorPil

from diffvqa.errors import InputError
from diffvqa.images.intensities import AS_STORED
from diffvqa.models.captioner import Captioner, CaptionerConfig
from diffvqa.models.checkpoint import image_statistics, load_encoder, make_processor
from diffvqa.models.difference import DifferenceConfig
from diffvqa.models.encoder import patch_tokens
from diffvqa.models.folder import load_folder
from diffvqa.tasks.tokenizer import read_tokenizer
from diffvqa.training.config_errors import explain_source


@dataclass(frozen=True)
class Pretrained:
    """An encoder with its processor, and if there are any its tokenizer and the folder of its captioner."""

    encoder: PreTrainedModel
    processor: Any
    tokenizer: PreTrainedTokenizerBase | None
    captioner: Path | None

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The patch tokens of images: (images, channels, size, size) -> (images, patches, width)."""
        return patch_tokens(self.encoder, pixel_values.to(self.encoder.device))

    def digest(self) -> str:
        """The SHA-256 of the encoder's weights."""
        digest = hashlib.sha256()
        for name, weight in sorted(self.encoder.state_dict().items()):
            digest.update(name.encode())
            digest.update(weight.contiguous().cpu().numpy().tobytes())
        return digest.hexdigest()


def read_pretrained(source: str, size: int) -> Pretrained:
    """The encoder in a folder that `pretrain` has written, or of any vision model, for images of `size` pixels a side.

    Raises InputError, with both sizes where a captioner was trained on images of another.
    """
    if _model_type(Path(source)) == CaptionerConfig.model_type:
        folder = load_folder(Captioner, source, "encoder")
        trained = folder.model.config.vision_config.image_size
        if trained != size:
            raise InputError(
                f"the captioner was trained on {trained}-pixel images, but {{store}} holds {size}-pixel ones; prepare "
                f"the dataset with --size {trained}",
                argument="encoder",
                mentions=("store",),
            )
        return Pretrained(folder.model.encoder, folder.processor, folder.tokenizer, Path(source))
    if _model_type(Path(source)) == DifferenceConfig.model_type:
        raise InputError(
            "the folder of a finetuned model; give the one that it was made from, or `captioner` in it",
            argument="encoder",
        )
    if Path(source).is_dir() and not (Path(source) / "config.json").is_file():
        raise InputError(
            "there is no finished model in this folder (no config.json); give a folder that `diffvqa "
            "pretrain` has written, or that of another vision model",
            argument="encoder",
        )
    with explain_source("encoder", source):
        encoder = load_encoder(source, size).eval()
        mean, deviation = image_statistics(source)
        settings, _ = SiglipImageProcessorPil.get_image_processor_dict(source)
    processor = make_processor(size, mean, deviation, settings.get("intensity", AS_STORED))
    return Pretrained(encoder, processor, _tokenizer(source), None)


def _model_type(folder: Path) -> str | None:
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        return None


def _tokenizer(source: str) -> PreTrainedTokenizerBase | None:
    try:
        return read_tokenizer(source)
    except (OSError, ValueError, KeyError, ImportError):
        return None
