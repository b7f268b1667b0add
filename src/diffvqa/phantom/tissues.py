"""Soft tissue and air along the beam: the body, the lungs, the mediastinum with heart and vessels, gas."""

from __future__ import annotations

import math

import numpy as np

from diffvqa.phantom.acquisition import Acquisition
from diffvqa.phantom.anatomy import HILA, KNOB, SIGN, Body, Thorax
from diffvqa.phantom.canvas import Canvas, ball, tube, union
from diffvqa.phantom.textures import smooth_noise


def body_outline(thorax: Thorax, acquisition: Acquisition, canvas: Canvas) -> np.ndarray:
    """Thickness of the body as if it were all soft tissue, cm."""
    body = thorax.body
    y = canvas.y[:, 0]
    chest = body.half_width + body.wall
    heights = [-40.0, -15.0, -12.5, -11.0, -9.0, -5.5, -2.0, 2.5, 9.0, 16.0, 30.0]
    widths = [6.2, 6.4, 8.0, 11.5, 16.5, chest + 4.2, chest + 3.2, chest + 0.8, chest, chest - 0.2, chest + 0.6]
    half = _smooth_line(np.interp(y, heights, widths), canvas.scale * 1.5)[:, None]
    depths = np.interp(y, [-40, -13, -8, 0, 9, 17, 30], [0.55, 0.6, 0.72, 0.93, 0.98, 1.1, 1.1])
    depths = _smooth_line(depths, canvas.scale * 2)
    thickness = np.sqrt(np.clip(1.0 - (np.abs(canvas.x) / half) ** 3, 0.0, 1.0)) * (body.depth * depths)[:, None]
    # A turned patient is thicker along the beam on one side.
    thickness *= 1.0 + math.radians(acquisition.turn) * canvas.x / 30.0
    thickness *= 1.0 + smooth_noise(canvas, body.seed + 1, 5.0, 0.012)
    if body.breast:
        for sign in SIGN.values():
            rows, columns = canvas.window(sign * 7.8 - 7, -1, sign * 7.8 + 7, 14)
            # Flat above, round below, as on a standing patient.
            down = canvas.y[rows] - 8.5
            high = np.where(down > 0, 5.2, 9.0)
            q = ((canvas.x[:, columns] - sign * 7.8) / 6.4) ** 2 + (down / high) ** 2
            thickness[rows, columns] += body.breast * np.sqrt(np.clip(1 - q, 0, 1))
    thickness = thickness.astype(np.float32)
    for sign in SIGN.values():
        tube(thickness, canvas, *arm(body, acquisition.view, sign), 5.2, 4.4, 3.2)
    return thickness


def arm(body: Body, view: str, sign: float) -> tuple[float, float, float, float]:
    """Shoulder and elbow, x1 y1 x2 y2, cm: beside the body on AP, held away from it on PA."""
    shoulder = body.half_width + body.wall + 2.2
    elbow = shoulder + (3.2 if view == "AP" else 9.0)
    return sign * shoulder, -4.5, sign * elbow, 22.0


def _smooth_line(values: np.ndarray, width: float) -> np.ndarray:
    """A line of values without its corners, padded by its ends."""
    half = max(1, round(width))
    padded = np.pad(values, 2 * half, mode="edge")
    kernel = np.full(2 * half + 1, 1.0 / (2 * half + 1))
    return np.convolve(np.convolve(padded, kernel, mode="valid"), kernel, mode="valid").astype(np.float32)


def lung(thorax: Thorax, side: str, canvas: Canvas) -> np.ndarray:
    """Depth of one lung along the beam, as if no heart and no mediastinum lay beside it, cm."""
    lateral = canvas.x[0] * SIGN[side]
    y = canvas.y[:, 0]
    edge = thorax.edge(y).astype(np.float32)
    across = np.where(lateral > 0, lateral, 99.0)[None, :] / np.maximum(edge, 1e-3)[:, None]
    rise = np.clip((y - thorax.apex) / 9.0, 0.0, 1.0)
    depth = thorax.body.depth * (0.30 + 0.42 * rise)
    air = np.sqrt(np.clip(1.0 - across**2, 0.0, 1.0)) * depth[:, None].astype(np.float32)
    # The dome rises into the lung: behind and before it lies air, less of it the deeper below the dome.
    below = (canvas.y - thorax.diaphragm(side, lateral).astype(np.float32)[None, :]) / 5.5
    air *= 1.0 - np.sqrt(np.clip(1.0 - (1.0 - np.clip(below, 0.0, 1.0)) ** 2, 0.0, 1.0))
    return air


def mediastinum(thorax: Thorax, canvas: Canvas) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Heart, great vessels, hila and airways: the share of lung left beside them, extra tissue and gas, both cm."""
    body = thorax.body
    shift = thorax.aorta_x
    # Little lung is left along the beam in the central band.
    band = np.clip(1.0 - ((canvas.x - shift) / thorax.inner(canvas.y)) ** 2, 0.0, 1.0)
    solid = 14.0 * np.sqrt(np.sqrt(band))
    vessels = np.zeros(canvas.shape, dtype=np.float32)
    tube(vessels, canvas, shift - 1.9, -8.5, shift - 2.3, 4.0, 1.2, 1.3, 7.0)
    tube(vessels, canvas, shift + 1.5, -8.5, shift + 1.6, 0.0, 1.1, 1.0, 6.0)
    ball(vessels, canvas, shift + KNOB[0], KNOB[1], body.knob, body.knob * 1.05, 9.0)
    tube(vessels, canvas, shift + 1.9, -1.0, shift + 1.0, 15.0, 1.35, 1.2, 3.0)
    ball(vessels, canvas, shift + 2.4, 3.2, 1.9, 2.4, 8.0)
    heart = np.zeros(canvas.shape, dtype=np.float32)
    for (x, y, a, b, slant), depth in zip(thorax.heart(), (13.0, 9.0), strict=True):
        ball(heart, canvas, x, y, a, b, depth, slant)
    # The heart hangs from the great vessels, and rests flat on the diaphragm.
    x, y, a, b, _ = thorax.heart()[0]
    tube(heart, canvas, shift + 1.3, 0.5, x - 0.05 * a, y, 2.0, 0.66 * a, 5.0)
    tube(heart, canvas, shift - 1.9, 1.0, x - 0.45 * a, y, 1.1, 0.5 * a, 5.0)
    ball(heart, canvas, x + 0.1 * a, y + 0.6 * b, 0.88 * a, 0.62 * b, 11.0)
    hila = np.zeros(canvas.shape, dtype=np.float32)
    for side, sign in SIGN.items():
        x, level = shift + HILA[side][0], HILA[side][1]
        ball(hila, canvas, x, level, 1.3 * body.hilum, 1.9 * body.hilum, 1.9)
        tube(hila, canvas, x, level, x + sign * 1.2, level + 4.0, 0.85, 0.5, 1.7)
        tube(hila, canvas, x, level - 0.5, x + sign * 1.5, level - 3.0, 0.6, 0.35, 1.6)
    solid = union(union(solid, vessels), heart)
    gas = np.zeros(canvas.shape, dtype=np.float32)
    trachea = thorax.trachea_x
    tube(gas, canvas, trachea, -12.5, trachea, -0.3, 0.72, 0.85, 1.9)
    tube(gas, canvas, trachea, -24.0, trachea, -14.0, 1.3, 0.9, 1.3)
    tube(gas, canvas, trachea, -0.3, trachea - 2.9, 2.0, 0.7, 0.5, 1.2)
    tube(gas, canvas, trachea, -0.3, trachea + 3.6, 2.2, 0.6, 0.45, 1.2)
    return np.clip(1.0 - solid / 13.5, 0.0, 1.0), hila, gas


def abdominal_gas(thorax: Thorax, canvas: Canvas) -> np.ndarray:
    """Thickness of gas in the abdomen, cm: the stomach's bubble, which some have not, and the bowel's."""
    gas, dome = thorax.body.stomach_gas, thorax.domes["left"]
    bubble = np.zeros(canvas.shape, dtype=np.float32)
    if gas > 0.2:
        ball(bubble, canvas, 6.2, dome + 1.0 + 1.9 * gas, 2.9 * gas + 0.7, 1.5 * gas + 0.4, 2.8 * gas, -0.3)
    generator = np.random.default_rng([thorax.body.seed, 11])
    for x, down, wide, high in generator.uniform((-7.0, 6.0, 1.6, 1.0), (10.0, 12.0, 3.2, 1.9), size=(4, 4)).tolist():
        ball(bubble, canvas, x, dome + down, wide, high, 0.7 * high)
    return bubble
