"""Fine structure: smooth noise and the lungs' vessels, fixed for a patient."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from diffvqa.phantom.anatomy import SIGN, Thorax

if TYPE_CHECKING:
    from diffvqa.phantom.rendering import Canvas

EXTENT = 32.0
"""Half the side, in cm, of the square on which noise is defined."""


@lru_cache(maxsize=64)
def _lattice(seed: int, cells: int) -> Image.Image:
    generator = np.random.default_rng([seed, cells])
    return Image.fromarray(generator.standard_normal((cells, cells), dtype=np.float32))


def smooth_noise(canvas: Canvas, seed: int, grain: float, strength: float, sampling: int = 1) -> np.ndarray:
    """Noise of a grain in cm, standard deviation about `strength`, that sticks to the patient. float32, canvas shape."""
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
def _vessel_tree(seed: int) -> tuple[tuple[str, float, float, float, float, float], ...]:
    """Segments of the lungs' vessels: side, ends (cm from the midline and from the carina), radius in cm."""
    generator = np.random.default_rng([seed, 7])
    segments: list[tuple[str, float, float, float, float, float]] = []
    for side in SIGN:
        for angle in np.linspace(-1.25, 1.45, 9):
            start = (3.6, 1.6 + 1.2 * math.sin(angle))
            _branch(segments, side, start, float(angle + generator.normal(0, 0.08)), 0.26, 3.4, 0, generator)
    return tuple(segments)


def _branch(
    segments: list[tuple[str, float, float, float, float, float]],
    side: str,
    start: tuple[float, float],
    angle: float,
    radius: float,
    length: float,
    depth: int,
    generator: np.random.Generator,
) -> None:
    x, y = start
    for _ in range(2):
        angle += float(generator.normal(0, 0.12))
        step = length / 2
        end = (x + step * math.cos(angle), y + step * 1.25 * math.sin(angle))
        segments.append((side, x, y, end[0], end[1], radius))
        x, y = end
        radius *= 0.86
    if depth < 3:
        for turn in (-0.42, 0.36):
            bend = angle + turn + float(generator.normal(0, 0.1))
            _branch(segments, side, (x, y), bend, radius * 0.74, length * 0.78, depth + 1, generator)


def vessel_map(thorax: Thorax, canvas: Canvas) -> np.ndarray:
    """Thickness of the lungs' vessels, cm: float32, canvas shape."""
    height, width = canvas.shape
    double = 2 * canvas.scale
    image = Image.new("L", (2 * width, 2 * height), 0)
    draw = ImageDraw.Draw(image)
    stretch_down = (thorax.domes["right"] + thorax.domes["left"]) / 2 / 11.5
    tree = _vessel_tree(thorax.body.seed)
    # Thin vessels first, so that thick ones lie on top where they cross.
    for side, x1, y1, x2, y2, radius in sorted(tree, key=lambda segment: segment[5]):
        down1, down2 = (y * (stretch_down if y > 0 else 1.0) for y in (y1, y2))
        ends = [
            ((thorax.aorta_x + SIGN[side] * x1 - canvas.left) * double, (down1 - canvas.top) * double),
            ((thorax.aorta_x + SIGN[side] * x2 - canvas.left) * double, (down2 - canvas.top) * double),
        ]
        wanted = 2 * radius * double
        drawn = max(1, round(wanted))
        draw.line(ends, fill=min(255, round(250 * radius / 0.26 * min(wanted / drawn, 1.0))), width=drawn)
    small = image.resize((width, height), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) * (thorax.body.vessels * 0.52 / 250.0)
