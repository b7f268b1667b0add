"""The effect of each finding on the lungs along the beam; its sign grows with the severity."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from diffvqa.phantom.anatomy import SIGN, Thorax
from diffvqa.phantom.canvas import Canvas
from diffvqa.phantom.pathology import ZONES, Lesion
from diffvqa.phantom.textures import smooth_noise


@dataclass(slots=True)
class Air:
    """The lungs while lesions change them.

    depth: of each lung along the beam, cm. density: 0 air to 1 water. markings: vessels, cm. added: other tissue, cm.
    """

    depth: dict[str, np.ndarray]
    density: np.ndarray
    markings: np.ndarray
    added: np.ndarray


def zone_span(thorax: Thorax, side: str, zone: str) -> tuple[float, float]:
    """Upper and lower end of a lung zone: thirds of the lung from its apex to its dome, cm."""
    top, bottom = thorax.apex, thorax.domes[side]
    index = ZONES.index(zone)
    third = (bottom - top) / 3
    return top + index * third, top + (index + 1) * third


def lesion_centre(thorax: Thorax, lesion: Lesion) -> tuple[float, float]:
    """Centre of a lesion that lies in a zone, upright plane, cm."""
    side = lesion.sides[0]
    top, bottom = zone_span(thorax, side, lesion.zone or "mid")
    share = {"upper": (0.45, 0.85), "mid": (0.25, 0.75), "lower": (0.15, 0.6)}[lesion.zone or "mid"]
    y = top + (bottom - top) * (share[0] + (share[1] - share[0]) * lesion.shape[1])
    outer = float(thorax.edge(np.array(y)))
    inner = 3.2
    if side == "left" and y > thorax.heart_y - thorax.heart_half_height * 0.6:
        # Beside the heart, where it can be seen.
        inner = min(thorax.heart_x + 0.75 * thorax.heart_half_width, outer - 3.0)
    across = inner + (outer - inner) * (0.3 + 0.45 * lesion.shape[0])
    return SIGN[side] * across, y


def apply_lesions(air: Air, thorax: Thorax, lesions: Iterable[Lesion], canvas: Canvas) -> None:
    """Changes the lungs by every lesion, in place."""
    for lesion in sorted(lesions, key=lambda one: _ORDER.index(one.kind)):
        _EFFECTS[lesion.kind](air, thorax, lesion, canvas)


def _edema(air: Air, thorax: Thorax, lesion: Lesion, canvas: Canvas) -> None:
    severity = lesion.severity
    haze = np.zeros(canvas.shape, dtype=np.float32)
    for sign in SIGN.values():
        x, y = thorax.aorta_x + sign * 5.0, 3.0
        spread_x, spread_y = 4.2 + 2.5 * severity, 5.5 + 2.5 * severity
        haze += np.exp(-(((canvas.x - x) / spread_x) ** 2)) * np.exp(-(((canvas.y - y) / spread_y) ** 2))
    mottle = smooth_noise(canvas, lesion.seed, 0.7, 0.09) + smooth_noise(canvas, lesion.seed + 1, 3.0, 0.12)
    air.density += haze * np.exp(mottle) * (0.55 * severity)
    air.markings *= 1.0 + 0.8 * severity * np.clip(haze * 1.3, 0.4, 1.0)


def _consolidation(air: Air, thorax: Thorax, lesion: Lesion, canvas: Canvas) -> None:
    generator = np.random.default_rng(lesion.seed)
    severity = lesion.severity
    x, y = lesion_centre(thorax, lesion)
    size = consolidation_size(lesion)
    top, bottom = zone_span(thorax, lesion.sides[0], lesion.zone or "mid")
    patch = np.zeros(canvas.shape, dtype=np.float32)
    rows, columns = canvas.window(x - 3 * size, y - 3 * size, x + 3 * size, y + 3 * size)
    for index in range(5):
        bx, by = (0.0, 0.0) if index == 0 else generator.normal(0.0, 0.55 * size, size=2)
        by = float(np.clip(y + by, top + 0.2, bottom + 0.5))
        wide = size * (0.75 if index == 0 else float(generator.uniform(0.3, 0.6)))
        part = np.exp(-(((canvas.x[:, columns] - x - bx) / wide) ** 2)) * np.exp(-(((canvas.y[rows] - by) / wide) ** 2))
        patch[rows, columns] += part
    mottle = smooth_noise(canvas, lesion.seed, 1.0, 0.26)
    cloud = 1.0 - np.exp(-np.clip(1.7 * patch * np.exp(mottle) - 0.1, 0.0, None))
    air.density += (1.0 - air.density) * cloud * (0.30 + 0.55 * severity)
    air.markings *= 1.0 - 0.6 * cloud


def consolidation_size(lesion: Lesion) -> float:
    """Radius of the patches of a consolidation together, about, cm."""
    return 1.3 + 3.0 * lesion.severity


def _nodule(air: Air, thorax: Thorax, lesion: Lesion, canvas: Canvas) -> None:
    x, y = lesion_centre(thorax, lesion)
    radius = nodule_radius(lesion)
    rows, columns = canvas.window(x - 1.2 * radius, y - 1.2 * radius, x + 1.2 * radius, y + 1.2 * radius)
    q = ((canvas.x[:, columns] - x) / radius) ** 2 + (
        (canvas.y[rows] - y) / (radius * (0.9 + 0.2 * lesion.shape[2]))
    ) ** 2
    air.added[rows, columns] += (2.0 * radius * 0.75 + 0.9) * np.sqrt(np.clip(1.0 - q, 0.0, 1.0))


def nodule_radius(lesion: Lesion) -> float:
    """Radius of a nodule, cm."""
    return 0.45 + 2.0 * lesion.severity**1.3


def _atelectasis(air: Air, thorax: Thorax, lesion: Lesion, canvas: Canvas) -> None:
    generator = np.random.default_rng(lesion.seed)
    severity = lesion.severity
    for side in lesion.sides:
        sign = SIGN[side]
        dome = thorax.domes[side]
        base = np.clip((canvas.y - (dome - 1.0 - 3.0 * severity)) / (1.5 + 2.0 * severity), 0.0, 1.0)
        air.density += base * np.where(canvas.x * sign > 0, 0.45 * severity, 0.0).astype(np.float32)
        for index in range(1 + round(2 * severity)):
            x = sign * float(generator.uniform(6.0, 8.5))
            y = dome - 1.0 - 1.5 * index + float(generator.uniform(-0.3, 0.3)) - 0.8 * severity
            length = (1.6 + 3.0 * severity) * float(generator.uniform(0.8, 1.1))
            lean = float(generator.uniform(-0.25, 0.15)) * sign
            half = 0.12 + 0.30 * severity
            rows, columns = canvas.window(x - length - 1, y - 2.5, x + length + 1, y + 2.5)
            along = (canvas.x[:, columns] - x) / length
            off = (canvas.y[rows] - y - lean * (canvas.x[:, columns] - x)) / half
            band = np.exp(-(off**2)) * np.clip(1.0 - along**2, 0.0, 1.0)
            air.added[rows, columns] += band * (0.9 + 1.0 * severity) * (air.depth[side][rows, columns] > 1.0)


def pleural_retreat(lesion: Lesion) -> float:
    """The distance of the lung from the chest wall in a pneumothorax, cm."""
    return 0.5 + 6.0 * lesion.severity**1.2


def _pneumothorax(air: Air, thorax: Thorax, lesion: Lesion, canvas: Canvas) -> None:
    retreat = pleural_retreat(lesion)
    y = canvas.y[:, 0]
    apex = thorax.apex + 1.5 * retreat
    share = np.clip((y - thorax.apex) / (thorax.base - thorax.apex), 0.0, 1.0)
    outline = np.clip(thorax.edge(y - 1.5 * retreat * (1 - share)) - retreat * (1.0 - 0.45 * share), 0.0, None)
    slope = np.gradient(outline) * canvas.scale
    for side in lesion.sides:
        lateral = canvas.x * SIGN[side]
        # Distance inwards from the edge of the retracted lung.
        inside = ((outline[:, None] - lateral) / np.sqrt(1.0 + slope[:, None] ** 2)).astype(np.float32)
        free = np.clip(0.5 - inside * canvas.scale, 0.0, 1.0) * (lateral > 0.5)
        free *= air.depth[side] > 0
        air.density *= 1.0 - free
        air.markings *= 1.0 - free
        collapsed = (lateral > 0) * (1.0 - free)
        air.density += collapsed * (0.16 * lesion.severity)
        line = np.exp(-((inside / 0.10) ** 2)) * (lateral > 1.0) * (canvas.y > apex - 0.3)
        air.added += 0.8 * line * np.clip(air.depth[side] / 3.0, 0.0, 1.0)


def fluid_height(lesion: Lesion) -> float:
    """The height of a pleural effusion above the costophrenic angle at the chest wall, cm."""
    return 1.2 + 16.0 * lesion.severity**1.2


def fluid_surface(thorax: Thorax, lesion: Lesion, side: str, lateral: np.ndarray) -> np.ndarray:
    """Upper border of the fluid at a distance from the midline: a meniscus, highest at the chest wall."""
    height = fluid_height(lesion)
    angle = float(thorax.diaphragm(side, np.array(thorax.half_width * 0.98)))
    rest = 0.15 + 0.5 * lesion.severity
    climb = np.exp((lateral - thorax.half_width) / 3.0)
    inwards = np.clip(1.0 - lateral / (0.4 * thorax.half_width), 0.0, 1.0)
    return angle - height * (rest + (1 - rest) * climb + 0.12 * inwards)


def _effusion(air: Air, thorax: Thorax, lesion: Lesion, canvas: Canvas) -> None:
    for side in lesion.sides:
        lateral = canvas.x[0] * SIGN[side]
        surface = fluid_surface(thorax, lesion, side, lateral).astype(np.float32)[None, :]
        depth = (canvas.y - surface) / (0.9 + 1.4 * lesion.severity)
        fluid = np.clip(depth, 0.0, 1.0)
        fluid = fluid * fluid * (3 - 2 * fluid)
        air.depth[side] *= 1.0 - (0.93 + 0.07 * math.sqrt(lesion.severity)) * fluid
        dry = 1.0 - fluid * (lateral > 0)
        air.markings *= dry
        air.added *= dry


_EFFECTS = {
    "edema": _edema,
    "consolidation": _consolidation,
    "nodule": _nodule,
    "atelectasis": _atelectasis,
    "pneumothorax": _pneumothorax,
    "pleural effusion": _effusion,
    "cardiomegaly": lambda air, thorax, lesion, canvas: None,  # the heart's size: see anatomy.place
}
_ORDER = list(_EFFECTS)
