"""A check whether an image is in the distribution of a model's training images, by the features of its encoder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from diffvqa.errors import InputError

OOD_WARNING, OOD_REFUSAL = 1.0, 1.5
"""The out-of-distribution score above which an answer carries a warning, and above which there is no answer."""

SHRINKAGE = 0.1
"""The share of the identity in the correlations: those of a few hundred images are not known well."""

WITHIN = 0.99
"""The share of the validation images whose out-of-distribution score is at most 1."""

FILE = "input_check.safetensors"


@dataclass(frozen=True, slots=True)
class InputCheck:
    """The distribution of the encoder's features of training images.

    mean, deviation: of what is measured in each image. precision: the inverse of its correlations. limit: the
    Mahalanobis distance that has the score 1.
    """

    mean: np.ndarray
    deviation: np.ndarray
    precision: np.ndarray
    limit: float

    def score(self, tokens: np.ndarray) -> np.ndarray:
        """The out-of-distribution score of each image: its Mahalanobis distance, divided by the limit.

        tokens: (images, patches, width). The distance is that of Lee et al. (NeurIPS 2018) with one class, on the mean
        and the spread of the tokens. Infinite where it is no number: such an image is like none.
        """
        standard = (_measure(tokens) - self.mean) / self.deviation
        with np.errstate(invalid="ignore"):
            score = np.sqrt(np.einsum("ij,jk,ik->i", standard, self.precision, standard)) / self.limit
        return np.where(np.isfinite(score), score, np.inf)


def fit_input_check(training: np.ndarray, validation: np.ndarray) -> InputCheck:
    """The check of a model: its distribution from training images, its limit from validation images.

    training, validation: patch tokens, (images, patches, width).
    """
    measured = _measure(training)
    mean, deviation = measured.mean(0), measured.std(0) + 1e-6
    standard = (measured - mean) / deviation
    correlations = (1 - SHRINKAGE) * standard.T @ standard / len(standard) + SHRINKAGE * np.eye(len(mean))
    check = InputCheck(mean, deviation, np.linalg.inv(correlations), 1.0)
    return replace(check, limit=float(np.quantile(check.score(validation), WITHIN)))


def save_input_check(check: InputCheck, folder: Path) -> None:
    """Write the check into a folder, as safetensors."""
    parts = {
        name: np.ascontiguousarray(getattr(check, name), np.float32) for name in ("mean", "deviation", "precision")
    }
    save_file({**parts, "limit": np.array([check.limit])}, folder / FILE)


def load_input_check(folder: Path) -> InputCheck:
    """The check in a folder. Raises InputError if it is damaged."""
    try:
        parts = load_file(folder / FILE)
        width = len(parts["mean"])
        if parts["deviation"].shape != (width,) or parts["precision"].shape != (width, width):
            raise ValueError("shapes")
        check = InputCheck(parts["mean"], parts["deviation"], parts["precision"], float(parts["limit"][0]))
        if not all(np.isfinite(part).all() for part in parts.values()):
            raise ValueError("not finite")
        if not ((check.deviation > 0).all() and check.limit > 0 and (np.diag(check.precision) > 0).all()):
            raise ValueError("no distances")
        return check
    except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
        raise InputError(
            f"{folder.name}/{FILE} is missing or damaged; run `diffvqa finetune` on the folder again", argument="model"
        ) from error


def _measure(tokens: np.ndarray) -> np.ndarray:
    """The mean and the spread of each image's tokens: (images, 2 x width)."""
    tokens = tokens.astype(np.float64)
    return np.concatenate([tokens.mean(1), tokens.std(1)], axis=1)
