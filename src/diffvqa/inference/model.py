"""A finetuned model for answers, evaluations and servers: the model, its captioner, and its measures of trust."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffvqa.data.reader import SYNTHETIC
from diffvqa.data.store import Store
from diffvqa.errors import printable
from diffvqa.images.header import Header
from diffvqa.images.intensities import intensity_of
from diffvqa.images.radiograph import Radiograph, StoredFrame
from diffvqa.inference.features import Features, encode_radiographs, encode_store
from diffvqa.inference.grounding import load_captioner
from diffvqa.inference.hub import model_folder
from diffvqa.inference.training_record import types_taught
from diffvqa.inference.trust import Trust, load_trust
from diffvqa.models.captioner import Captioner
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.folder import ModelFolder, load_folder
from diffvqa.progress import progress_bar


@dataclass(frozen=True, slots=True, eq=False)
class EncodedImage:
    """An image of a file, encoded by a model. Two images are never equal.

    frame: of the file. digest: of its pixels as stored. tokens: patch tokens (patches, width). captioner_tokens: those
    that the captioner sees. out_of_distribution: score by input_check; None if the image was not checked.
    """

    header: Header | None
    frame: StoredFrame
    digest: bytes
    tokens: np.ndarray
    captioner_tokens: np.ndarray
    out_of_distribution: float | None


@dataclass(frozen=True)
class FinetunedModel:
    """A finetuned model, loaded from its folder.

    name: of the folder, or on the hub. digest: the SHA-256 of the weights. difference: the model that answers.
    captioner: the model that writes boxes; None if there is none, for the reason in no_boxes_reason. taught: the types
    of questions in its training; None if the folder does not say. trust: calibration and input check. synthetic:
    whether it was trained on synthetic patients only.
    """

    name: str
    digest: str
    difference: ModelFolder[DifferenceModel]
    captioner: ModelFolder[Captioner] | None
    no_boxes_reason: str | None
    taught: frozenset[str] | None
    trust: Trust
    synthetic: bool

    @classmethod
    def load(cls, source: str | os.PathLike[str], with_captioner: bool = True) -> FinetunedModel:
        """Load a folder written by `diffvqa finetune`, or a model of the hub (owner/name).

        Raises InputError, also if the folder changes meanwhile.
        """
        folder = model_folder(source)
        name = printable(folder.resolve().name if folder == Path(source) else os.fspath(source))
        difference = load_folder(DifferenceModel, folder, "model")
        digest, files = difference.digest, difference.files
        captioner, reason = load_captioner(folder) if with_captioner else (None, "no boxes are asked for")
        datasets = (files.record.get("datasets") if files else None) or [""]
        synthetic = all(SYNTHETIC in str(name) for name in datasets)
        taught, trust = types_taught(folder), load_trust(folder, digest)
        if files:
            files.require_unchanged()
        return cls(name, digest, difference, captioner, reason, taught, trust, synthetic)

    @property
    def path(self) -> Path:
        """The folder of the model."""
        return self.difference.path

    @property
    def image_size(self) -> int:
        """The side of the model's square input, in pixels."""
        return self.difference.image_size

    @property
    def priors(self) -> int:
        """The largest number of prior images that the model takes."""
        return self.difference.model.config.priors

    def encode_radiographs(self, radiographs: Sequence[Radiograph]) -> list[EncodedImage]:
        """Encode radiographs in one batch, as the model sees them."""
        tokens = encode_radiographs(self.difference, radiographs)
        check = self.trust.input_check
        scores = check.score(tokens).tolist() if check else [None] * len(radiographs)
        # Half precision holds no number that is too large: nothing can be said of such an image.
        scores = [score if np.isfinite(one).all() else np.inf for score, one in zip(scores, tokens, strict=True)]
        # Copies: whoever keeps one image must not keep the memory of all.
        kept = captioner_kept = [one.copy() for one in tokens]
        if self.captioner and self._needs_own_tokens(self.captioner):
            captioner_kept = [one.copy() for one in encode_radiographs(self.captioner, radiographs)]
        return [
            EncodedImage(one.header, one.frame, one.digest, of_encoder, of_captioner, score)
            for one, of_encoder, of_captioner, score in zip(radiographs, kept, captioner_kept, scores, strict=True)
        ]

    def encode_store(self, store: Store, images: Iterable[str], folder: Path, cluster: str | None = None) -> Features:
        """Encode images of a store, by their identifiers, and keep the patch tokens in `folder`."""
        return _encode(self.difference, store, images, folder, self.digest, cluster)

    def encode_for_captioner(
        self, store: Store, features: Features, images: Iterable[str], folder: Path, cluster: str | None = None
    ) -> Features:
        """The patch tokens of these images for the captioner: `features`, unless the captioner needs its own."""
        if not (self.captioner and self._needs_own_tokens(self.captioner)):
            return features
        return _encode(self.captioner, store, images, folder, self.captioner.digest, cluster)

    def _needs_own_tokens(self, captioner: ModelFolder[Captioner]) -> bool:
        """Whether a captioner needs other tokens: its encoder is that of stage 1, or it is shown other grey values."""
        trained = bool(self.difference.model.config.trainable_blocks)
        return trained or intensity_of(captioner.processor) != intensity_of(self.difference.processor)


def _encode(
    model: ModelFolder, store: Store, images: Iterable[str], folder: Path, key: str, cluster: str | None
) -> Features:
    with progress_bar("encode images") as progress:
        return encode_store(model, store, images, folder, key, progress, cluster)
