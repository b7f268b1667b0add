"""Model folders: a model, its tokenizer and its processor, saved side by side in Hugging Face's formats."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from diffvqa.errors import InputError, require_text
from diffvqa.models.captioner import Captioner
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.source import read_processor, read_tokenizer, require_harmless
from diffvqa.models.weights import read_model
from diffvqa.parsing import parse_json
from diffvqa.sealed_folder import FolderFiles

Model = TypeVar("Model", bound=Captioner | DifferenceModel)

# A GPU uses its fast units for products: they keep as many bits as the half precision of stored features.
torch.backends.cuda.matmul.allow_tf32 = True
# cuDNN's attention makes a plan for every length of a batch, which takes longer than the batch; there are others.
torch.backends.cuda.enable_cudnn_sdp(False)


@dataclass(frozen=True)
class ModelFolder(Generic[Model]):
    """The content of a model folder, ready for use: the model in evaluation mode, its tokenizer and its processor.

    files: the files as they were when the model was loaded; None if the model was not loaded from there. Another
    process loads the model once from the same folder. It must see that folder, with the same weights.
    """

    model: Model
    tokenizer: Any
    processor: Any
    path: Path
    argument: str
    files: FolderFiles | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _load_once, (type(self.model), self.path.resolve(), self.argument, self.digest)

    @property
    def digest(self) -> str:
        """The SHA-256 of the loaded weights. Records use it as the version of the model."""
        return self.files.weights if self.files else ""

    @property
    def image_size(self) -> int:
        """The side of the model's square input, in pixels."""
        return self.model.config.vision_config.image_size

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The patch tokens of images: (images, channels, size, size) -> (images, patches, encoder width)."""
        return self.model.encode(pixel_values)


# An evaluation needs two: the difference model and its captioner.
@functools.lru_cache(maxsize=2)
def _load_once(kind: type[Model], folder: Path, argument: str, digest: str) -> ModelFolder[Model]:
    loaded = load_folder(kind, folder, argument)
    if digest and loaded.digest != digest:
        raise InputError("its weights were replaced during the run; run the command again", argument=argument)
    return loaded


LARGEST_IMAGE, LONGEST_TEXT = 2048, 8192
"""Pixels a side of a model's input, and tokens of a question with its answer, at the most."""

_WRITTEN_BY = {
    "diffvqa_captioner": "`diffvqa pretrain` has written with an objective of captions or boxes, or a model made of it",
    "diffvqa_difference": "`diffvqa finetune` has written",
}


def device() -> torch.device:
    """The device that models run on: the first GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_folder(kind: type[Model], folder: str | Path, argument: str) -> ModelFolder[Model]:
    """Load a model folder, and check every file that its record names.

    Raises InputError, which names `argument`, if the folder holds no model of this kind, if the model is damaged or not
    safe to load, and if the folder changes meanwhile.
    """
    folder = Path(folder)
    require_text(str(folder), argument)  # the library of the weights takes no other paths
    expected = kind.config_class.model_type
    advice = "give a folder that " + _WRITTEN_BY[expected]
    if not (folder / "config.json").is_file():
        raise InputError(f"there is no finished model in this folder (no config.json); {advice}", argument=argument)
    try:
        require_harmless(folder)
        files = FolderFiles.read(folder, argument)
        found = parse_json((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
        if found != expected:
            raise InputError(f"expected a model of type {expected}, found {found}; {advice}", argument=argument)
        # Loading gives convolutions their slower layout back.
        model = read_model(kind, folder).eval().to(device(), memory_format=torch.channels_last)
        _require_usable(model.config)
        loaded = ModelFolder(model, read_tokenizer(folder), read_processor(folder), folder, argument, files)
    except InputError:
        raise
    except Exception as error:  # damaged files make the libraries raise many kinds
        reason = " ".join(str(error).replace(str(folder), "the folder").split())[:200]
        raise InputError(
            f"the model's files are incomplete or damaged ({reason}); {advice}", argument=argument
        ) from error
    files.require_unchanged()
    return loaded


def _require_usable(config: Any) -> None:
    """Raises ValueError for sizes that are no part of the weights and would have an answer take all time or memory."""
    for name, size, most in (
        ("image_size", config.vision_config.image_size, LARGEST_IMAGE),
        ("text_tokens", config.text_tokens, LONGEST_TEXT),
    ):
        if not (isinstance(size, int) and 0 < size <= most):
            raise ValueError(f"config.json: {name} is {size!r}, expected 1 to {most}")


def weights_digest(folder: str | Path) -> str:
    """The SHA-256 of the weights in a folder: the version of its model. Raises InputError if they are damaged."""
    return FolderFiles.read(Path(folder), "model").weights
