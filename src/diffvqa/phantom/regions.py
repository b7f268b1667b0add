"""The boxes of named regions, computed from the same numbers as the picture."""

from __future__ import annotations

import numpy as np

from diffvqa.boxes import Box, clip
from diffvqa.phantom.acquisition import Acquisition
from diffvqa.phantom.anatomy import HILA, KNOB, SIGN, Thorax, clavicle_line
from diffvqa.phantom.lesions import consolidation_size, fluid_surface, lesion_centre, nodule_radius, zone_span
from diffvqa.phantom.pathology import SIDES, ZONES, Lesion

VISIBLE = 0.35
"""A region of which less than this share lies inside the image gets no box."""


def region_boxes(thorax: Thorax, acquisition: Acquisition) -> dict[str, Box]:
    """Name of Chest ImaGenome -> box in pixels of the image, for every region that is in the image."""
    boxes = {name: _box(points, acquisition) for name, points in _outlines(thorax).items()}
    return {name: box for name, box in boxes.items() if box is not None}


def lesion_boxes(thorax: Thorax, lesion: Lesion, acquisition: Acquisition) -> list[Box]:
    """Boxes in pixels around what a lesion changes, one a side; a part outside the image is cut off."""
    boxes = (_box(points, acquisition) for points in _lesion_outlines(thorax, lesion))
    return [box for box in boxes if box is not None]


def _box(points: np.ndarray, acquisition: Acquisition) -> Box | None:
    pixels = acquisition.to_pixels(points)
    (x1, y1), (x2, y2) = pixels.min(axis=0), pixels.max(axis=0)
    whole = Box(float(x1), float(y1), float(x2), float(y2))
    inside = clip(whole, acquisition.width, acquisition.height)
    if inside is None or inside.area < VISIBLE * whole.area or min(inside.x2 - inside.x1, inside.y2 - inside.y1) < 2:
        return None
    return inside


def _rectangle(x1: float, y1: float, x2: float, y2: float) -> np.ndarray:
    return np.array([[x1, y1], [x2, y1], [x1, y2], [x2, y2]])


def _ellipse(x: float, y: float, a: float, b: float, slant: float = 0.0) -> np.ndarray:
    angle = np.linspace(0.0, 2 * np.pi, 49)
    down = b * np.sin(angle)
    return np.stack([x + a * np.cos(angle) + slant * down, y + down], axis=1)


def lung_outline(thorax: Thorax, side: str) -> np.ndarray:
    """Points around a lung (n, 2), upright plane, cm: chest wall, diaphragm, mediastinum."""
    sign = SIGN[side]
    y = np.linspace(thorax.apex, thorax.base + 3.0, 160)
    edge, inner = thorax.edge(y), thorax.inner(y)
    open_ = (edge > inner) & (y <= thorax.diaphragm(side, edge))
    wall = np.stack([sign * edge[open_], y[open_]], axis=1)
    middle = (edge > inner) & (y <= thorax.diaphragm(side, inner))
    centre = np.stack([thorax.aorta_x + sign * inner[middle], y[middle]], axis=1)
    lateral = np.linspace(2.2, np.abs(wall[-1, 0]), 60)
    base = np.stack([sign * lateral, thorax.diaphragm(side, lateral)], axis=1)
    return np.concatenate([wall, base, centre])


def _between(points: np.ndarray, top: float, bottom: float) -> np.ndarray:
    """The points of an outline in a range of heights; dense enough for a box."""
    return points[(points[:, 1] >= top) & (points[:, 1] <= bottom)]


def heart_outline(thorax: Thorax) -> np.ndarray:
    """Points around the heart (n, 2), upright plane, cm."""
    return np.concatenate([_ellipse(*part) for part in thorax.heart()])


def _outlines(thorax: Thorax) -> dict[str, np.ndarray]:
    """Name -> points in the upright plane, cm."""
    outlines: dict[str, np.ndarray] = {}
    middle = thorax.aorta_x
    heart = heart_outline(thorax)
    heart_left, heart_right = heart[:, 0].min(), heart[:, 0].max()
    heart_top, heart_bottom = heart[:, 1].min(), heart[:, 1].max()
    high = thorax.heart_half_height
    for side in SIDES:
        sign = SIGN[side]
        lung = lung_outline(thorax, side)
        top = float(lung[:, 1].min())
        outlines[f"{side} lung"] = lung
        for zone in ZONES:
            start, end = zone_span(thorax, side, zone)
            end = float(lung[:, 1].max()) if zone == "lower" else end
            outlines[f"{side} {zone} lung zone"] = _between(lung, start, end)
        outlines[f"{side} apical zone"] = _between(lung, top, top + 0.2 * (thorax.domes[side] - top))
        x, level = middle + HILA[side][0], HILA[side][1]
        outlines[f"{side} hilar structures"] = _ellipse(x + sign * 0.6, level + 0.6, 2.2, 3.4)
        angle_x, angle_y = _costophrenic_angle(thorax, side)
        outlines[f"{side} costophrenic angle"] = _rectangle(
            angle_x - sign * 3.6, angle_y - 3.6, angle_x + sign * 0.4, angle_y + 0.6
        )
        lateral = np.linspace(2.2, abs(angle_x), 60)
        outlines[f"{side} hemidiaphragm"] = np.stack([sign * lateral, thorax.diaphragm(side, lateral)], axis=1)
        start = thorax.clavicle_x + sign * 1.5
        along, half = np.linspace(0.0, 13.5, 40), np.array([0.0, 0.6])
        line = np.stack([start + sign * along, clavicle_line(thorax, along)], axis=1)
        outlines[f"{side} clavicle"] = np.concatenate([line - half, line + half])
        corner = heart_left if side == "right" else heart_right
        outlines[f"{side} cardiophrenic angle"] = _rectangle(
            corner - 1.8, heart_bottom - 3.2, corner + 1.8, heart_bottom + 0.6
        )
        beside = heart[(heart[:, 0] - middle) * sign >= 0]
        outlines[f"{side} cardiac silhouette"] = np.concatenate(
            [beside, [[middle, heart_top + 1], [middle, heart_bottom - 1]]]
        )
        dome = thorax.domes[side]
        outlines[f"{side} upper abdomen"] = _rectangle(0.0, dome, sign * thorax.half_width, dome + 8.0)
    outlines["trachea"] = _rectangle(thorax.trachea_x - 1.1, thorax.apex - 1.5, thorax.trachea_x + 1.1, 0.3)
    outlines["spine"] = _rectangle(
        thorax.spine_x - 2.2, thorax.apex - 3.0, thorax.spine_x + 2.2, thorax.domes["right"] + 8.0
    )
    knob = thorax.body.knob
    outlines["aortic arch"] = _rectangle(middle + 0.2, KNOB[1] - 1.15 * knob, middle + KNOB[0] + knob, 0.4)
    outlines["mediastinum"] = np.concatenate([heart, _rectangle(middle - 3.3, thorax.apex + 1.5, middle + 3.4, 0.0)])
    outlines["upper mediastinum"] = _rectangle(middle - 3.3, thorax.apex + 1.5, middle + 3.6, 0.6)
    outlines["svc"] = _rectangle(middle - 3.5, -6.5, middle - 1.0, 3.8)
    outlines["cardiac silhouette"] = heart
    outlines["cavoatrial junction"] = _rectangle(middle - 4.1, heart_top - 0.2, middle - 1.1, heart_top + 2.8)
    outlines["right atrium"] = _rectangle(
        heart_left,
        thorax.heart_y - 0.6 * high,
        heart_left + 0.36 * (heart_right - heart_left),
        thorax.heart_y + 0.75 * high,
    )
    outlines["carina"] = _rectangle(thorax.trachea_x - 2.0, -1.6, thorax.trachea_x + 2.0, 1.8)
    outlines["descending aorta"] = _rectangle(middle + 0.0, -0.6, middle + 3.2, thorax.domes["left"] + 1.0)
    outlines["abdomen"] = _rectangle(
        -thorax.half_width, min(thorax.domes.values()), thorax.half_width, thorax.base + 7.0
    )
    return outlines


def _costophrenic_angle(thorax: Thorax, side: str) -> tuple[float, float]:
    y = np.linspace(thorax.domes[side], thorax.base + 3.0, 200)
    edge = thorax.edge(y)
    index = int(np.argmax(y > thorax.diaphragm(side, edge))) or len(y) - 1
    return SIGN[side] * float(edge[index]), float(y[index])


def _lesion_outlines(thorax: Thorax, lesion: Lesion) -> list[np.ndarray]:
    if lesion.kind == "cardiomegaly":
        return [heart_outline(thorax)]
    if lesion.kind == "nodule":
        x, y = lesion_centre(thorax, lesion)
        radius = nodule_radius(lesion)
        return [_ellipse(x, y, radius, radius * (0.9 + 0.2 * lesion.shape[2]))]
    if lesion.kind == "consolidation":
        x, y = lesion_centre(thorax, lesion)
        size = consolidation_size(lesion)
        patch = _ellipse(x, y, size, size)
        # It ends at the chest wall.
        edge = thorax.edge(patch[:, 1])
        patch[:, 0] = np.clip(patch[:, 0], -edge, edge)
        return [patch]
    outlines = []
    for side in lesion.sides:
        lung = lung_outline(thorax, side)
        if lesion.kind == "pleural effusion":
            angle_x, angle_y = _costophrenic_angle(thorax, side)
            lateral = np.linspace(2.2, abs(angle_x), 40)
            surface = fluid_surface(thorax, lesion, side, lateral)
            wet = surface < thorax.diaphragm(side, lateral)
            line = np.stack([SIGN[side] * lateral[wet], surface[wet]], axis=1)
            outlines.append(np.concatenate([line, [[angle_x, angle_y]]]))
        elif lesion.kind == "atelectasis":
            dome = thorax.domes[side]
            outlines.append(_between(lung, dome - 2.5 - 3.0 * lesion.severity, dome + 0.5))
        else:
            outlines.append(lung)
    return outlines
