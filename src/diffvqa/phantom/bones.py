"""Ribs, spine, clavicles and shoulders along the beam."""

from __future__ import annotations

import math

import numpy as np

from diffvqa.phantom.acquisition import Acquisition
from diffvqa.phantom.anatomy import SIGN, Thorax, clavicle_line
from diffvqa.phantom.canvas import Canvas, ball, tube
from diffvqa.phantom.tissues import arm


def bones(thorax: Thorax, acquisition: Acquisition, canvas: Canvas) -> np.ndarray:
    """Thickness of bone, cm."""
    body = thorax.body
    bone = np.zeros(canvas.shape, dtype=np.float32)
    for index in range(10):
        _rib(bone, thorax, acquisition, canvas, index)
    _spine(bone, thorax, canvas)
    for sign in SIGN.values():
        _clavicle(bone, thorax, canvas, sign)
        inset = 0.6 if acquisition.view == "AP" else 1.8
        x = body.half_width + inset
        tube(bone, canvas, sign * (x - 2.2), -6.5, sign * (x - 0.2), 3.0, 0.35, 0.3, 1.5)
        ball(bone, canvas, sign * (x + 1.2), -2.5, 2.6, 5.6, 0.55)
        tube(bone, canvas, sign * (x - 1.0), -6.8, sign * (x + 3.5), -8.6, 0.5, 0.6, 1.3)
        ball(bone, canvas, sign * (x + 4.2), -6.6, 2.4, 2.5, 2.6)
        shoulder, _, elbow, low = arm(body, acquisition.view, sign)
        tube(bone, canvas, shoulder + sign * 1.4, -5.5, elbow, low, 1.0, 0.9, 1.3)
    return bone


def _rib(bone: np.ndarray, thorax: Thorax, acquisition: Acquisition, canvas: Canvas, index: int) -> None:
    """Adds one pair of ribs: a hoop that leans forwards, seen as an ellipse; its upper arc lies behind."""
    body = thorax.body
    level = thorax.apex + 3.0 + body.rib_spacing * index
    width = float(thorax.edge(np.array(level))) - 0.1
    high = (2.0 + 2.6 * min(index / 5, 1.0)) * body.rib_slope - thorax.rib_rise
    slant = math.sin(math.radians(acquisition.turn)) * 7.0 / high
    rows, columns = canvas.window(-width - 1.5, level - high - 1, width + 1.5, level + high + 1)
    dy = (canvas.y[rows] - level) / high
    across = (canvas.x[:, columns] + slant * high * dy * 0.5) / width
    if across.size == 0 or dy.size == 0:
        return
    # Distance from the ellipse, to first order.
    across2, dy2 = across * across, dy * dy
    radius = np.sqrt(across2 + dy2)
    gradient = np.sqrt(across2 / width**2 + dy2 / high**2)
    distance = radius * (radius - 1.0) / np.maximum(gradient, 1e-4)
    front = dy > 0
    half = np.where(front, 0.68, 0.56).astype(np.float32)
    q = (distance / half) ** 2
    shell = np.sqrt(np.clip(1.0 - q, 0, 1)) - 0.55 * np.sqrt(np.clip(1.0 - q / 0.6, 0, 1))
    # Near the side of the chest the beam runs along the rib.
    obliquity = 1.0 / (np.sqrt(np.clip(1.0 - across2, 0.0, 1.0)) + 0.5)
    absolute = np.abs(across)
    cartilage = np.clip((absolute - (0.42 + 0.02 * index)) / 0.12, 0.0, 1.0)
    behind = np.clip((absolute * width - 1.5) / 1.0, 0.0, 1.0) * (1.0 if index < 9 else 0.7)
    fade = np.where(front, 0.36 * cartilage * (1.0 if index < 7 else 0.0), behind)
    bone[rows, columns] += shell * obliquity * fade * half * 3.0


def _spine(bone: np.ndarray, thorax: Thorax, canvas: Canvas) -> None:
    body = thorax.body
    y = canvas.y
    centre = thorax.spine_x + body.spine_curve * np.sin((y - 2.0) / 9.0)
    half = 1.45 + 0.025 * np.clip(y + 8.0, 0.0, 40.0)
    spacing = body.rib_spacing * 0.96
    wave = np.cos(2 * np.pi * y / spacing)
    block = 0.72 + 0.28 * np.tanh(3.0 * (wave + 0.65))
    rows, columns = canvas.window(thorax.spine_x - 4.5, -60, thorax.spine_x + 4.5, 60)
    offset = canvas.x[:, columns] - centre[rows]
    body_bone = np.sqrt(np.clip(1.0 - (offset / half[rows]) ** 2, 0.0, 1.0)) * block[rows] * 1.5
    pedicle = np.exp(-(((np.abs(offset) - 0.95) / 0.28) ** 2)) * np.exp(-((np.abs(wave - 1.0) / 0.8) ** 2))[rows] * 0.9
    process = np.exp(-((offset / 0.22) ** 2)) * (0.5 + 0.5 * np.cos(2 * np.pi * (y - 0.9) / spacing))[rows] * 0.7
    bone[rows, columns] += 0.42 * (body_bone + pedicle + process)


def _clavicle(bone: np.ndarray, thorax: Thorax, canvas: Canvas, sign: float) -> None:
    start = thorax.clavicle_x + sign * 1.5
    end = start + sign * 13.5
    y = thorax.clavicle_y
    rows, columns = canvas.window(min(start, end), y - 6, max(start, end), y + 2.5)
    lateral = (canvas.x[:, columns] - start) * sign
    axis = clavicle_line(thorax, lateral)
    half = 0.55 + 0.3 * np.exp(-lateral / 1.4)
    q = ((canvas.y[rows] - axis) / half) ** 2
    ends = np.clip(lateral / 0.3, 0, 1) * np.clip((13.5 - lateral) / 0.5, 0, 1)
    shell = np.sqrt(np.clip(1.0 - q, 0, 1)) - 0.55 * np.sqrt(np.clip(1.0 - q / 0.5, 0, 1))
    bone[rows, columns] += shell * ends * half * 3.2
