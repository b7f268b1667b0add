"""Thicknesses of tissue, air and bone along the beam, and the picture that the beam leaves behind."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from diffvqa.phantom.acquisition import Acquisition
from diffvqa.phantom.anatomy import SIGN, Body, Thorax, clavicle_line, place
from diffvqa.phantom.lesions import Air, apply_lesions
from diffvqa.phantom.pathology import SIDES, Lesion
from diffvqa.phantom.textures import smooth_noise, vessel_map

TISSUE, BONE = 0.19, 0.26
"""Attenuation per cm: of soft tissue, and what bone adds to it (about 70 keV)."""

LUNG_DENSITY = 0.27
"""Density of an aerated lung, relative to soft tissue."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """The grid on which thicknesses are computed: upright plane, x (1, w) and y (h, 1) in cm at the pixels' centres."""

    x: np.ndarray
    y: np.ndarray
    left: float
    top: float
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.y.shape[0], self.x.shape[1]

    def window(self, x1: float, y1: float, x2: float, y2: float) -> tuple[slice, slice]:
        """The part of the grid inside a rectangle in cm (empty if it lies outside)."""
        height, width = self.shape
        columns = [min(max(math.floor((value - self.left) * self.scale), 0), width) for value in (x1, x2 + 1 / self.scale)]
        rows = [min(max(math.floor((value - self.top) * self.scale), 0), height) for value in (y1, y2 + 1 / self.scale)]
        return slice(*rows), slice(*columns)


def canvas_for(acquisition: Acquisition) -> Canvas:
    """The upright grid that covers an image, as fine as the image."""
    width, height = acquisition.width, acquisition.height
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], dtype=float)
    plane = acquisition.to_plane(corners)
    scale = acquisition.pixels_per_centimetre
    left, top = plane.min(axis=0) - 2 / scale
    columns, rows = np.ceil((plane.max(axis=0) - (left, top)) * scale + 2).astype(int)
    x = (left + (np.arange(columns, dtype=np.float32) + 0.5) / scale).astype(np.float32)[None, :]
    y = (top + (np.arange(rows, dtype=np.float32) + 0.5) / scale).astype(np.float32)[:, None]
    return Canvas(x, y, float(left), float(top), scale)


def render(body: Body, lesions: Sequence[Lesion], acquisition: Acquisition) -> np.ndarray:
    """The stored picture: uint8 (height, width), histogram-equalised, bright where little light came through."""
    thorax = place(body, lesions, acquisition)
    canvas = canvas_for(acquisition)
    attenuation = _attenuation(thorax, lesions, acquisition, canvas)
    return _expose(_turn(attenuation, canvas, acquisition), acquisition)


def _attenuation(thorax: Thorax, lesions: Iterable[Lesion], acquisition: Acquisition, canvas: Canvas) -> np.ndarray:
    """The line integral of attenuation at every point of the canvas: float32."""
    body = thorax.body
    tissue = _body_outline(thorax, acquisition, canvas)
    lungs = {side: _lung(thorax, side, canvas) for side in SIDES}
    soft = _mediastinum(thorax, acquisition, canvas)
    density = np.full(canvas.shape, LUNG_DENSITY, dtype=np.float32)
    markings = vessel_map(thorax, canvas)
    air = Air({side: lung * soft.aeration for side, lung in lungs.items()}, density, markings, np.zeros(canvas.shape, np.float32))
    apply_lesions(air, thorax, lesions, canvas)
    total = air.depth["right"] + air.depth["left"]
    texture = smooth_noise(canvas, body.seed, 1.1, 0.035)
    tissue -= total * (1 - np.clip(air.density * (1 + texture), 0.0, 1.0))
    tissue += air.markings * np.minimum(total * 0.25, 1.0)
    tissue += air.added
    tissue += soft.extra
    tissue -= soft.gas
    _abdomen_gas(tissue, thorax, canvas)
    bone = _bones(thorax, acquisition, canvas)
    return TISSUE * np.maximum(tissue, 0.0) + (BONE * acquisition.contrast * body.bone) * bone


def _body_outline(thorax: Thorax, acquisition: Acquisition, canvas: Canvas) -> np.ndarray:
    """Thickness of the body as if it were all soft tissue, cm."""
    body = thorax.body
    y = canvas.y[:, 0]
    chest = body.half_width + body.wall
    heights = [-40.0, -15.0, -12.5, -11.0, -9.0, -5.5, -2.0, 2.5, 9.0, 16.0, 30.0]
    widths = [6.2, 6.4, 8.0, 11.5, 16.5, chest + 4.2, chest + 3.2, chest + 0.8, chest, chest - 0.2, chest + 0.6]
    half = _smooth_line(np.interp(y, heights, widths), canvas.scale * 1.5)[:, None]
    depths = _smooth_line(np.interp(y, [-40, -13, -8, 0, 12, 30], np.array([0.55, 0.6, 0.72, 0.95, 1.0, 0.98])), canvas.scale * 2)
    thickness = np.sqrt(np.clip(1.0 - (np.abs(canvas.x) / half) ** 3, 0.0, 1.0)) * (body.depth * depths)[:, None]
    # A turned patient is thicker along the beam on one side.
    thickness *= 1.0 + math.radians(acquisition.turn) * canvas.x / 30.0
    thickness *= 1.0 + smooth_noise(canvas, body.seed + 1, 5.0, 0.012)
    if body.breast:
        for sign in SIGN.values():
            rows, columns = canvas.window(sign * 7.5 - 7, 1, sign * 7.5 + 7, 14)
            q = ((canvas.x[:, columns] - sign * 7.5) / 6.2) ** 2 + ((canvas.y[rows] - 6.5) / 5.6) ** 2
            lower = np.where(canvas.y[rows] > 6.5, 1.0, 0.75)
            thickness[rows, columns] += body.breast * lower * np.sqrt(np.clip(1 - q, 0, 1)) ** 0.8
    return thickness.astype(np.float32)


def _smooth_line(values: np.ndarray, width: float) -> np.ndarray:
    """A line of values without its corners, padded by its ends."""
    half = max(1, round(width))
    padded = np.pad(values, 2 * half, mode="edge")
    kernel = np.full(2 * half + 1, 1.0 / (2 * half + 1))
    return np.convolve(np.convolve(padded, kernel, mode="valid"), kernel, mode="valid").astype(np.float32)


def _lung(thorax: Thorax, side: str, canvas: Canvas) -> np.ndarray:
    """Depth of one lung along the beam, as if no heart and no mediastinum lay beside it, cm."""
    lateral = canvas.x[0] * SIGN[side]
    y = canvas.y[:, 0]
    edge = thorax.edge(y).astype(np.float32)
    across = np.where(lateral > 0, lateral, 99.0)[None, :] / np.maximum(edge, 1e-3)[:, None]
    rise = np.clip((y - thorax.apex) / 9.0, 0.0, 1.0)
    depth = thorax.body.depth * (0.30 + 0.42 * rise)
    lung = np.sqrt(np.clip(1.0 - across**2, 0.0, 1.0)) * depth[:, None].astype(np.float32)
    # The dome rises into the lung: behind and before it lies air, less of it the deeper below the dome.
    below = (canvas.y - thorax.diaphragm(side, lateral).astype(np.float32)[None, :]) / 5.5
    lung *= 1.0 - np.sqrt(np.clip(1.0 - (1.0 - np.clip(below, 0.0, 1.0)) ** 2, 0.0, 1.0))
    return lung


@dataclass(frozen=True, slots=True)
class _Soft:
    """Of the mediastinum: aeration (share of lung left beside it), extra tissue and gas, cm."""

    aeration: np.ndarray
    extra: np.ndarray
    gas: np.ndarray


def _ball(field: np.ndarray, canvas: Canvas, x: float, y: float, a: float, b: float, height: float, slant: float = 0.0) -> None:
    """Adds, by smooth union, an ellipsoid's thickness to a field: half axes a, b; the y axis leans by `slant`."""
    reach = math.hypot(a, slant * b)
    rows, columns = canvas.window(x - reach, y - b, x + reach, y + b)
    across = (canvas.x[:, columns] - x - slant * (canvas.y[rows] - y)) / a
    thickness = height * np.sqrt(np.clip(1.0 - across**2 - ((canvas.y[rows] - y) / b) ** 2, 0.0, 1.0))
    part = field[rows, columns]
    np.sqrt(np.sqrt(part**4 + thickness**4), out=part)


def _tube(field: np.ndarray, canvas: Canvas, x1: float, y1: float, x2: float, y2: float, r1: float, r2: float, height: float = 2.0) -> None:
    """Adds, by smooth union, a tapered tube's thickness to a field; height 2 is a round tube."""
    reach = max(r1, r2)
    rows, columns = canvas.window(min(x1, x2) - reach, min(y1, y2) - reach, max(x1, x2) + reach, max(y1, y2) + reach)
    dx, dy = x2 - x1, y2 - y1
    x, y = canvas.x[:, columns] - x1, canvas.y[rows] - y1
    along = np.clip((x * dx + y * dy) / (dx * dx + dy * dy), 0.0, 1.0)
    radius = r1 + (r2 - r1) * along
    squared = radius**2 - (x - along * dx) ** 2 - (y - along * dy) ** 2
    thickness = height * np.sqrt(np.maximum(squared, 0.0))
    part = field[rows, columns]
    np.sqrt(np.sqrt(part**4 + thickness**4), out=part)


def _mediastinum(thorax: Thorax, acquisition: Acquisition, canvas: Canvas) -> _Soft:
    body = thorax.body
    y = canvas.y[:, 0]
    shift = thorax.aorta_x
    # Shares of the lung's depth that the central band takes.
    band = np.clip(1.0 - ((canvas.x - shift) / thorax.inner(y).astype(np.float32)[:, None]) ** 2, 0.0, 1.0)
    solid = np.sqrt(band) ** 0.5 * 14.0
    vessels = np.zeros(canvas.shape, dtype=np.float32)
    _tube(vessels, canvas, shift - 1.9, -6.5, shift - 2.3, 4.0, 1.0, 1.25, 5.0)
    _tube(vessels, canvas, shift + 1.9, -5.5, shift + 2.0, 0.0, 0.9, 1.0, 4.0)
    _ball(vessels, canvas, shift + 1.9, -1.6, body.knob, body.knob * 1.05, 9.0)
    _tube(vessels, canvas, shift + 1.9, -1.0, shift + 1.0, 15.0, 1.35, 1.2, 3.0)
    _ball(vessels, canvas, shift + 2.4, 3.2, 1.9, 2.4, 8.0)
    heart = np.zeros(canvas.shape, dtype=np.float32)
    half, high = thorax.heart_half_width, thorax.heart_half_height
    a = math.sqrt(max(half**2 - (thorax.heart_slant * high) ** 2, 1.0))
    _ball(heart, canvas, thorax.heart_x, thorax.heart_y, a, high, 13.0, thorax.heart_slant)
    _ball(heart, canvas, thorax.heart_x - half + 3.4, thorax.heart_y + 0.1 * high, 3.4, 0.78 * high, 9.0)
    hila = np.zeros(canvas.shape, dtype=np.float32)
    for side, sign in SIGN.items():
        x, level = shift + sign * (3.6 if side == "left" else 3.4), (1.2 if side == "left" else 2.0)
        _ball(hila, canvas, x, level, 1.3 * body.hilum, 1.9 * body.hilum, 1.9)
        _tube(hila, canvas, x, level, x + sign * 1.2, level + 4.0, 0.85, 0.5, 1.7)
        _tube(hila, canvas, x, level - 0.5, x + sign * 1.5, level - 3.0, 0.6, 0.35, 1.6)
    solid = np.sqrt(np.sqrt(solid**4 + vessels**4 + heart**4))
    gas = np.zeros(canvas.shape, dtype=np.float32)
    trachea = thorax.trachea_x
    _tube(gas, canvas, trachea, -24.0, trachea, -0.3, 0.85, 0.85)
    _tube(gas, canvas, trachea, -0.3, trachea - 2.9, 2.0, 0.7, 0.5, 1.6)
    _tube(gas, canvas, trachea, -0.3, trachea + 3.6, 2.2, 0.6, 0.45, 1.6)
    return _Soft(np.clip(1.0 - solid / 13.5, 0.0, 1.0), hila, gas)


def _abdomen_gas(tissue: np.ndarray, thorax: Thorax, canvas: Canvas) -> None:
    """Takes the stomach's air bubble out of the tissue, under the left half of the diaphragm."""
    gas = thorax.body.stomach_gas
    if gas <= 0.2:
        return
    bubble = np.zeros(canvas.shape, dtype=np.float32)
    _ball(bubble, canvas, 6.2, thorax.domes["left"] + 1.0 + 1.9 * gas, 2.9 * gas + 0.7, 1.5 * gas + 0.4, 4.5 * gas)
    tissue -= bubble


def _bones(thorax: Thorax, acquisition: Acquisition, canvas: Canvas) -> np.ndarray:
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
        _tube(bone, canvas, sign * (x - 2.2), -6.5, sign * (x - 0.2), 3.0, 0.35, 0.3, 1.5)
        _ball(bone, canvas, sign * (x + 1.2), -2.5, 2.6, 5.6, 0.55)
        _tube(bone, canvas, sign * (x - 1.0), -6.8, sign * (x + 3.5), -8.6, 0.5, 0.6, 1.3)
        _ball(bone, canvas, sign * (x + 4.2), -6.6, 2.4, 2.5, 2.6)
    return bone


def _rib(bone: np.ndarray, thorax: Thorax, acquisition: Acquisition, canvas: Canvas, index: int) -> None:
    """Adds one pair of ribs: a hoop that leans forwards, seen as an ellipse; its upper arc lies behind."""
    body = thorax.body
    level = thorax.apex + 3.0 + body.rib_spacing * index
    width = float(thorax.edge(np.array(level))) + 0.35
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
    shell = np.sqrt(np.clip(1.0 - q, 0, 1)) - 0.72 * np.sqrt(np.clip(1.0 - q / 0.56, 0, 1))
    # Near the side of the chest the beam runs along the rib.
    obliquity = 1.0 / (np.sqrt(np.clip(1.0 - across2, 0.0, 1.0)) + 0.35)
    absolute = np.abs(across)
    cartilage = np.clip((absolute - (0.42 + 0.02 * index)) / 0.12, 0.0, 1.0)
    behind = np.clip((absolute * width - 1.5) / 1.0, 0.0, 1.0) * (1.0 if index < 9 else 0.7)
    fade = np.where(front, 0.75 * cartilage * (1.0 if index < 7 else 0.0), behind)
    bone[rows, columns] += shell * obliquity * fade * half * 1.5


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
    bone[rows, columns] += body_bone + pedicle + process


def _clavicle(bone: np.ndarray, thorax: Thorax, canvas: Canvas, sign: float) -> None:
    start = thorax.clavicle_x + sign * 1.5
    rows, columns = canvas.window(*sorted((start, start + sign * 13.5))[:1], thorax.clavicle_y - 6, max(start, start + sign * 13.5), thorax.clavicle_y + 2.5)
    lateral = (canvas.x[:, columns] - start) * sign
    axis = clavicle_line(thorax, lateral)
    half = 0.55 + 0.3 * np.exp(-lateral / 1.4)
    q = ((canvas.y[rows] - axis) / half) ** 2
    ends = np.clip(lateral / 0.3, 0, 1) * np.clip((13.5 - lateral) / 0.5, 0, 1)
    shell = np.sqrt(np.clip(1.0 - q, 0, 1)) - 0.55 * np.sqrt(np.clip(1.0 - q / 0.5, 0, 1))
    bone[rows, columns] += shell * ends * half * 2.4


def _turn(upright: np.ndarray, canvas: Canvas, acquisition: Acquisition) -> np.ndarray:
    """The image's pixels, taken from the upright grid."""
    size = (acquisition.width, acquisition.height)
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    origin, right, down = (acquisition.to_plane(corners) - (canvas.left, canvas.top)) * canvas.scale
    matrix = (right[0] - origin[0], down[0] - origin[0], origin[0], right[1] - origin[1], down[1] - origin[1], origin[1])
    image = Image.fromarray(upright.astype(np.float32))
    turned = image.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.array(turned, dtype=np.float32)


def _expose(attenuation: np.ndarray, acquisition: Acquisition) -> np.ndarray:
    """From line integrals to stored grey values: light, scatter, grain, saturation, equalisation, borders."""
    light = np.exp(-attenuation)
    height, width = light.shape
    small = Image.fromarray(light).resize((max(width // 32, 2), max(height // 32, 2)), Image.Resampling.BOX)
    scatter = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
    light = light * (1 - acquisition.scatter) + np.clip(scatter, 0.0, 0.12) * acquisition.scatter
    generator = np.random.default_rng(acquisition.seed)
    grain = generator.standard_normal(light.shape, dtype=np.float32)
    value = -np.log(light)
    value += grain * (0.011 * acquisition.noise / math.sqrt(acquisition.dose)) * np.exp(0.35 * (value - 2.0))
    mask = _collimated(acquisition)
    inside = value if mask is None else value[~mask]
    sample = inside.ravel()[::7]
    low, high = np.quantile(sample, [acquisition.clipping[0], 1 - acquisition.clipping[1]])
    grey = np.clip((value - low) * (255.0 / max(high - low, 1e-3)), 0.0, 255.0)
    if acquisition.marker:
        _draw_marker(grey, acquisition)
    if mask is not None:
        grey[mask] = 0.0 if acquisition.border == "dark" else 255.0
    return equalise(np.rint(grey).astype(np.uint8))


def equalise(pixels: np.ndarray) -> np.ndarray:
    """Grey values spread so that each is about as frequent as every other. pixels: uint8."""
    counts = np.bincount(pixels.ravel(), minlength=256)
    cumulated = np.cumsum(counts)
    first = cumulated[np.nonzero(counts)[0][0]]
    table = np.rint((cumulated - first) * (255.0 / max(pixels.size - first, 1)))
    return np.clip(table, 0, 255).astype(np.uint8)[pixels]


def _collimated(acquisition: Acquisition) -> np.ndarray | None:
    left, top, right, bottom = acquisition.collimation
    if not any(acquisition.collimation):
        return None
    width, height = acquisition.width, acquisition.height
    mask = np.ones((height, width), dtype=bool)
    mask[round(top * height) : height - round(bottom * height), round(left * width) : width - round(right * width)] = False
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
