"""Calibration of a model's confidence in difference answers, by their accuracy on the validation split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FLATTEST = 0.01
"""The least slope: a more confident answer is never called a less certain one."""

STEPS = 100


@dataclass(frozen=True, slots=True)
class ConfidenceScale:
    """The probability of being right by the confidence: logistic in its log odds (Platt 1999)."""

    slope: float
    intercept: float

    def probability(self, confidence: float) -> float:
        """The probability, 0 to 1, that an answer of this confidence is right."""
        return float(_logistic(self.slope * _log_odds(np.array(confidence)) + self.intercept))


def fit_confidence(confidence: np.ndarray, right: np.ndarray) -> ConfidenceScale:
    """The scale by answers of known worth: their confidence, 0 to 1, and whether they were right.

    The targets are Platt's, a little off 0 and 1, so that few answers that are all right are not called certain.
    """
    odds = _log_odds(np.asarray(confidence, dtype=float))
    good = np.asarray(right, dtype=bool)
    target = np.where(good, (good.sum() + 1) / (good.sum() + 2), 1 / ((~good).sum() + 2))
    slope, intercept = _fit(np.stack([odds, np.ones_like(odds)], axis=1), target, np.zeros(len(odds)))
    if slope < FLATTEST:
        slope = FLATTEST
        (intercept,) = _fit(np.ones((len(odds), 1)), target, slope * odds)
    return ConfidenceScale(float(slope), float(intercept))


def _fit(columns: np.ndarray, target: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Logistic regression by Newton's method, each step halved until it does not make things worse."""
    weights = np.zeros(columns.shape[1])

    def loss(at: np.ndarray) -> float:
        values = columns @ at + offset
        return float((np.logaddexp(0, values) - target * values).sum() + 1e-6 * at @ at)

    for _ in range(STEPS):
        expected = _logistic(columns @ weights + offset)
        gradient = columns.T @ (expected - target) + 2e-6 * weights
        curvature = (columns * (expected * (1 - expected))[:, None]).T @ columns + 2e-6 * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while loss(weights - size * step) > loss(weights) and size > 1e-8:
            size /= 2
        weights = weights - size * step
        if np.abs(size * step).max() < 1e-9:
            break
    return weights


def _log_odds(confidence: np.ndarray) -> np.ndarray:
    inside = np.clip(confidence, 1e-6, 1 - 1e-6)
    return np.log(inside / (1 - inside))


def _logistic(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(values, -500, 500)))
