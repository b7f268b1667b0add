"""Model folders: a model, its tokenizer and its processor, saved side by side in Hugging Face's formats."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from transformers import AutoTokenizer, SiglipImageProcessorPil

from diffvqa.errors import InputError
from diffvqa.models.captioner import Captioner
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.weights import read_model

Model = TypeVar("Model", bound=Captioner | DifferenceModel)

# On a GPU the fast units for products: they keep as many bits as the half precision in which features are kept.
torch.backends.cuda.matmul.allow_tf32 = True
# cuDNN's attention makes a plan for every length of a batch, which takes longer than the batch; there are others.
torch.backends.cuda.enable_cudnn_sdp(False)


@dataclass(frozen=True)
class ModelFolder(Generic[Model]):
    """What a folder holds, ready for use: the model in evaluation mode.

    Sent to another process it is loaded there, once, from the same folder; a cluster must see that.
    """

    model: Model
    tokenizer: Any
    processor: Any
    path: Path
    argument: str

    def __reduce__(self) -> tuple[Any, ...]:
        return _load_once, (type(self.model), self.path.resolve(), self.argument)

    @property
    def image_size(self) -> int:
        """The side of the model's square input, in pixels."""
        return self.model.config.vision_config.image_size

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The patch tokens of images: (images, channels, size, size) -> (images, patches, encoder width)."""
        return self.model.encode(pixel_values)


# As many as an evaluation needs, the difference model and its captioner.
@functools.lru_cache(maxsize=2)
def _load_once(kind: type[Model], folder: Path, argument: str) -> ModelFolder[Model]:
    return load_folder(kind, folder, argument)


_WRITTEN_BY = {
    "diffvqa_captioner": "`diffvqa pretrain` has written with an objective of captions or boxes, or a model made of it",
    "diffvqa_difference": "`diffvqa finetune` has written",
}


def device() -> torch.device:
    """The device that models run on: the first GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_folder(kind: type[Model], folder: str | Path, argument: str) -> ModelFolder[Model]:
    """Load a model folder. Raises InputError, naming `argument`, if it holds no model of that kind."""
    folder = Path(folder)
    expected = kind.config_class.model_type
    advice = "give a folder that " + _WRITTEN_BY[expected]
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except FileNotFoundError:
        raise InputError(
            f"there is no finished model in this folder (no config.json); {advice}", argument=argument
        ) from None
    except (ValueError, OSError, AttributeError) as error:
        raise InputError(f"the folder's config.json cannot be read; {advice}", argument=argument) from error
    if found != expected:
        raise InputError(f"expected a model of type {expected}, found {found}; {advice}", argument=argument)
    try:
        return ModelFolder(
            # Loading gives convolutions their slower layout back.
            read_model(kind, folder).eval().to(device(), memory_format=torch.channels_last),
            AutoTokenizer.from_pretrained(folder),
            SiglipImageProcessorPil.from_pretrained(folder),
            folder,
            argument,
        )
    except Exception as error:  # damaged files make the libraries raise many kinds
        reason = " ".join(str(error).replace(str(folder), "the folder").split())[:200]
        raise InputError(
            f"the model's files are incomplete or damaged ({reason}); {advice}", argument=argument
        ) from error


def weights_digest(folder: str | Path) -> str:
    """The SHA-256 of a model folder's weights, its version for every record of what it answered."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).glob("*.safetensors")):
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
