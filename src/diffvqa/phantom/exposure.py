"""The exposure: from line integrals of attenuation to stored grey values, as MIMIC-CXR-JPG stores them."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from diffvqa.images.intensities import equalise
from diffvqa.phantom.acquisition import Acquisition


def expose(attenuation: np.ndarray, acquisition: Acquisition) -> np.ndarray:
    """Turn line integrals into stored grey values: light, scatter, noise, saturation, equalisation, borders."""
    light = np.exp(-attenuation)
    height, width = light.shape
    small = Image.fromarray(light).resize((max(width // 32, 2), max(height // 32, 2)), Image.Resampling.BOX)
    scatter = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
    light = light * (1 - acquisition.scatter) + np.clip(scatter, 0.0, 0.12) * acquisition.scatter
    generator = np.random.default_rng(acquisition.seed)
    grain = generator.standard_normal(light.shape, dtype=np.float32)
    value = -np.log(light)
    value += grain * (0.017 * acquisition.noise / math.sqrt(acquisition.dose)) * np.exp(0.35 * (value - 2.0))
    mask = _collimated(acquisition)
    inside = value if mask is None else value[~mask]
    sample = inside.ravel()[::7]
    low, high = np.quantile(sample, [acquisition.clipping[0], 1 - acquisition.clipping[1]])
    # Beside the body the detector is saturated, whatever the exposure.
    low = max(low, 0.12 + acquisition.scatter)
    grey = np.clip((value - low) * (255.0 / max(high - low, 1e-3)), 0.0, 255.0)
    if acquisition.marker:
        _draw_marker(grey, acquisition)
    if mask is not None:
        grey[mask] = 0.0 if acquisition.border == "dark" else 255.0
    return equalise(np.rint(grey).astype(np.uint8))


def _collimated(acquisition: Acquisition) -> np.ndarray | None:
    """The area without light: bool (height, width), or None if the whole image was exposed."""
    left, top, right, bottom = acquisition.collimation
    if not any(acquisition.collimation):
        return None
    width, height = acquisition.width, acquisition.height
    rows = slice(round(top * height), height - round(bottom * height))
    columns = slice(round(left * width), width - round(right * width))
    mask = np.ones((height, width), dtype=bool)
    mask[rows, columns] = False
    return mask


def _draw_marker(grey: np.ndarray, acquisition: Acquisition) -> None:
    """A lead "L" in the upper corner on the patient's left, in place."""
    unit = max(acquisition.width, acquisition.height) / 256
    image = Image.new("L", (grey.shape[1], grey.shape[0]), 0)
    x, y = acquisition.width * 0.93, acquisition.height * 0.06
    ImageDraw.Draw(image).line(
        [(x, y), (x, y + 10 * unit), (x + 6 * unit, y + 10 * unit)], fill=255, width=max(1, round(2 * unit))
    )
    np.maximum(grey, np.asarray(image, dtype=np.float32), out=grey)
