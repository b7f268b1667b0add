"""The encoder that stage 2 begins with: trained by stage 1, or by somebody else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from diffvqa.errors import InputError
from diffvqa.images.intensities import AS_STORED
from diffvqa.models.captioner import Captioner, CaptionerConfig
from diffvqa.models.checkpoint import load_encoder, make_processor
from diffvqa.models.difference import DifferenceConfig
from diffvqa.models.encoder import patch_tokens
from diffvqa.models.folder import ModelFolder, load_folder
from diffvqa.models.source import read_processor_settings, read_tokenizer
from diffvqa.parsing import parse_json
from diffvqa.sealed_folder import FolderFiles
from diffvqa.training.config_errors import explain_source


@dataclass(frozen=True)
class Pretrained:
    """An encoder with its processor, and if there are any its tokenizer and the captioner that it is of."""

    encoder: PreTrainedModel
    processor: Any
    tokenizer: PreTrainedTokenizerBase | None
    captioner: ModelFolder[Captioner] | None

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
        return Pretrained(folder.model.encoder, folder.processor, folder.tokenizer, folder)
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
        files = FolderFiles.read(Path(source), "encoder") if Path(source).is_dir() else None
        encoder = load_encoder(source, size).eval()
        settings = read_processor_settings(source)
        tokenizer = _tokenizer(source)
        if files:
            files.require_unchanged()
    intensity = settings.get("intensity", AS_STORED)
    processor = make_processor(size, settings["image_mean"], settings["image_std"], intensity)
    return Pretrained(encoder, processor, tokenizer, None)


def _model_type(folder: Path) -> str | None:
    try:
        return parse_json((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        return None


def _tokenizer(source: str) -> PreTrainedTokenizerBase | None:
    """The tokenizer beside an encoder; None where there is none. Raises what `read_tokenizer` does of a damaged one."""
    if Path(source).is_dir() and any(Path(source).glob("tokenizer*")):
        return read_tokenizer(source)
    try:
        return read_tokenizer(source)
    except (OSError, ValueError, KeyError, ImportError):
        return None
