"""Fine structure: smooth noise and the lungs' vessels, fixed for a patient."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from diffvqa.phantom.anatomy import SIGN, Thorax
from diffvqa.phantom.canvas import Canvas

EXTENT = 32.0
"""Half the side, in cm, of the square on which noise is defined."""

ROOT = 0.26
"""Radius, cm, with which a vessel leaves the hilum."""

SHADE = 250.0
"""Grey value that stands for a vessel as thick as at the hilum while they are drawn."""


@lru_cache(maxsize=64)
def _lattice(seed: int, cells: int) -> Image.Image:
    generator = np.random.default_rng([seed, cells])
    return Image.fromarray(generator.standard_normal((cells, cells), dtype=np.float32))


def smooth_noise(canvas: Canvas, seed: int, grain: float, strength: float) -> np.ndarray:
    """Noise that sticks to the patient: float32, canvas shape. grain: cm; strength: its standard deviation, about."""
    cells = round(2 * EXTENT / grain)
    height, width = canvas.shape
    per_cell = cells / (2 * EXTENT)
    step = per_cell / canvas.scale
    matrix = (step, 0.0, (canvas.left + EXTENT) * per_cell, 0.0, step, (canvas.top + EXTENT) * per_cell)
    lattice = _lattice(seed, cells)
    if grain * canvas.scale >= 12:
        # A coarse grain is as smooth at a quarter of the resolution.
        matrix = (step * 4, 0.0, matrix[2], 0.0, step * 4, matrix[5])
        size = (-(-width // 4), -(-height // 4))
        image = lattice.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
        image = image.resize((size[0] * 4, size[1] * 4), Image.Resampling.BILINEAR).crop((0, 0, width, height))
    else:
        image = lattice.transform((width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.array(image, dtype=np.float32) * (1.4 * strength)


@lru_cache(maxsize=16)
def _vessel_tree(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The lungs' vessels, thin ones first: (n, 2, 2) ends of segments, cm from midline and carina; (n,) radii, cm.

    The right lung's lie at negative x.
    """
    generator = np.random.default_rng([seed, 7])
    segments: list[tuple[float, float, float, float, float]] = []

    def grow(sign: float, x: float, y: float, angle: float, radius: float, length: float, depth: int) -> None:
        for _ in range(2):
            angle += float(generator.normal(0, 0.12))
            step = length / 2
            end = (x + step * math.cos(angle), y + step * 1.25 * math.sin(angle))
            segments.append((sign * x, y, sign * end[0], end[1], radius))
            x, y = end
            radius *= 0.86
        if depth < 3:
            for turn in (-0.42, 0.36):
                bend = angle + turn + float(generator.normal(0, 0.1))
                grow(sign, x, y, bend, radius * 0.74, length * 0.78, depth + 1)

    for sign in SIGN.values():
        for angle in np.linspace(-1.25, 1.45, 9).tolist():
            grow(sign, 3.6, 1.6 + 1.2 * math.sin(angle), angle + float(generator.normal(0, 0.08)), ROOT, 3.4, 0)
    table = np.array(sorted(segments, key=lambda segment: segment[4]))
    return table[:, :4].reshape(-1, 2, 2), table[:, 4]


def vessel_map(thorax: Thorax, canvas: Canvas) -> np.ndarray:
    """Thickness of the lungs' vessels, cm: float32, canvas shape."""
    height, width = canvas.shape
    double = 2 * canvas.scale
    segments, radii = _vessel_tree(thorax.body.seed)
    # The lower lung stretches with the diaphragm.
    stretch = (thorax.domes["right"] + thorax.domes["left"]) / 2 / 11.5
    x = (segments[..., 0] + thorax.aorta_x - canvas.left) * double
    y = (np.where(segments[..., 1] > 0, segments[..., 1] * stretch, segments[..., 1]) - canvas.top) * double
    ends = np.stack([x, y], axis=-1).reshape(-1, 4).tolist()
    wanted = 2 * radii * double
    drawn = np.maximum(1, np.rint(wanted))
    shades = np.minimum(255, np.rint(SHADE * radii / ROOT * np.minimum(wanted / drawn, 1.0)))
    image = Image.new("L", (2 * width, 2 * height), 0)
    draw = ImageDraw.Draw(image)
    for line, shade, thick in zip(ends, shades.astype(int).tolist(), drawn.astype(int).tolist(), strict=True):
        draw.line(line, fill=shade, width=thick)
    small = image.reduce(2)
    return np.asarray(small, dtype=np.float32) * (thorax.body.vessels * 0.9 / SHADE)
