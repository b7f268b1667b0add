"""Tubes, lines and other devices: which a patient has, where they lie, and what they add along the beam.

A nuisance like the acquisition: they come and go without regard to the findings, and no answer speaks of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from diffvqa.phantom.acquisition import Acquisition
from diffvqa.phantom.anatomy import Thorax
from diffvqa.phantom.canvas import Canvas, ball

PERMANENT = 0.06
"""The share of patients with a pacemaker; it stays."""

STRONGEST = 1.2
"""The most that a line adds to the line integral of attenuation."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class DeviceKind:
    """A device. rates: how often a study has it: PA and AP of other patients, PA and AP of those in intensive care.

    attribute: in the syntax of Chest ImaGenome, None for what reports pass over. regions: where it is seen.
    """

    name: str
    rates: tuple[float, float, float, float]
    attribute: str | None
    regions: tuple[str, ...]


KINDS = {
    kind.name: kind
    for kind in (
        DeviceKind("endotracheal tube", (0.0, 0.03, 0.0, 0.5), "tubesandlines|yes|endotracheal tube",
                   ("trachea", "carina")),
        DeviceKind("central venous line", (0.04, 0.14, 0.3, 0.6), "tubesandlines|yes|ij line",
                   ("svc", "cavoatrial junction")),
        DeviceKind("enteric tube", (0.01, 0.06, 0.08, 0.5), "tubesandlines|yes|enteric tube",
                   ("mediastinum", "abdomen")),
        DeviceKind("pacemaker", (1.0, 1.0, 1.0, 1.0), "device|yes|cardiac pacer and wires",
                   ("right atrium", "cardiac silhouette")),
        DeviceKind("ECG leads", (0.03, 0.3, 0.15, 0.7), None, ()),
    )
}  # fmt: skip
"""The one table of devices; the pacemaker's rates are of the patients who have one (see PERMANENT)."""


@dataclass(frozen=True, slots=True)
class Device:
    """One device as a patient has it. lie: three numbers, -1 to 1, of how it lies."""

    name: str
    lie: tuple[float, float, float]


def draw_own_devices(generator: np.random.Generator) -> dict[str, Device]:
    """The devices that a patient may have, each as it lies whenever it is there."""
    own = {}
    for name in KINDS:
        first, second, third = (round(float(value), 5) for value in generator.uniform(-1.0, 1.0, size=3))
        own[name] = Device(name, (first, second, third))
    if generator.random() >= PERMANENT:
        del own["pacemaker"]
    return own


def draw_devices(
    own: Mapping[str, Device], view: str, critical: bool, generator: np.random.Generator
) -> tuple[Device, ...]:
    """The patient's devices that are present in one study. critical: the patient is in intensive care."""
    column = 2 * critical + (view == "AP")
    chances = dict(zip(KINDS, generator.random(len(KINDS)), strict=True))
    return tuple(device for name, device in own.items() if chances[name] < KINDS[name].rates[column])


def device_shadow(devices: tuple[Device, ...], thorax: Thorax, acquisition: Acquisition, canvas: Canvas) -> np.ndarray:
    """The line integral of attenuation through devices: float32, canvas shape."""
    drawing = _Drawing(thorax, acquisition, canvas)
    for device in devices:
        _SHAPES[device.name](device, drawing)
    return drawing.shadow()


def tube_tip(device: Device) -> float:
    """The distance of the tip of an endotracheal tube above the carina, cm."""
    return 4.2 + 1.2 * device.lie[0]


class _Drawing:
    """Devices on the canvas. Lines are drawn at twice the resolution: one thinner than a pixel is faint, not broken."""

    def __init__(self, thorax: Thorax, acquisition: Acquisition, canvas: Canvas) -> None:
        self.thorax, self._acquisition, self._canvas = thorax, acquisition, canvas
        height, width = canvas.shape
        self._lines = Image.new("L", (2 * width, 2 * height), 0)
        self._plates = np.zeros(canvas.shape, dtype=np.float32)

    def place(self, x: float, y: float, z: float, follows: float = 0.0) -> Point:
        """The place of a point of the chest, upright plane, cm; follows: how far it moves with the mediastinum."""
        return self._acquisition.project(x + follows * self.thorax.shift, y, z)

    def line(self, points: list[Point], diameter: float, strength: float) -> None:
        """A line through about these points, its corners rounded; strength: attenuation where it is thickest."""
        double = 2 * self._canvas.scale
        pixels = (_rounded(np.array(points)) - (self._canvas.left, self._canvas.top)) * double
        wanted = diameter * double
        drawn = max(1, round(wanted))
        shade = round(255 * min(strength * min(wanted / drawn, 1.0) / STRONGEST, 1.0))
        path = [tuple(point) for point in pixels.tolist()]
        ImageDraw.Draw(self._lines).line(path, fill=shade, width=drawn, joint="curve")

    def plate(self, x: float, y: float, a: float, b: float, height: float) -> None:
        ball(self._plates, self._canvas, x, y, a, b, height)

    def shadow(self) -> np.ndarray:
        return np.asarray(self._lines.reduce(2), dtype=np.float32) * (STRONGEST / 255) + self._plates


def _rounded(points: np.ndarray) -> np.ndarray:
    """Chaikin's corner cutting, two rounds; the ends stay."""
    for _ in range(2):
        near, far = 0.75 * points[:-1] + 0.25 * points[1:], 0.25 * points[:-1] + 0.75 * points[1:]
        cut = np.stack([near, far], axis=1).reshape(-1, 2)
        points = np.concatenate([points[:1], cut, points[-1:]])
    return points


def _endotracheal_tube(device: Device, drawing: _Drawing) -> None:
    middle, tip = drawing.thorax.trachea_x, -tube_tip(device)
    for offset, diameter, strength in ((-0.42, 0.16, 0.16), (0.42, 0.16, 0.16), (0.2 * device.lie[1], 0.14, 0.6)):
        drawing.line([(middle + offset + 0.6 * device.lie[2], -26.0), (middle + offset, tip)], diameter, strength)


def _central_line(device: Device, drawing: _Drawing) -> None:
    a, b, c = device.lie
    path = [
        drawing.place(-6.5 + 1.5 * c, -15.0 + b, -4.0),
        drawing.place(-4.6, -11.5, -4.0),
        drawing.place(-3.4, -8.0, -3.0),
        drawing.place(-2.5, -4.5, -1.0, follows=0.7),
        drawing.place(-2.4, -1.0, -1.0, follows=0.7),
        drawing.place(-2.6, 2.6 + 1.8 * a, -1.0, follows=0.8),
    ]
    drawing.line(path, 0.24, 0.42)


def _enteric_tube(device: Device, drawing: _Drawing) -> None:
    a, b, c = device.lie
    dome = drawing.thorax.domes["left"]
    path = [
        drawing.place(0.5 + 0.3 * b, -26.0, 3.0),
        drawing.place(0.4, -9.0, 4.0, follows=0.4),
        drawing.place(0.1 + 0.3 * c, 1.0, 4.0, follows=0.6),
        drawing.place(0.9, 0.75 * dome, 3.0, follows=0.6),
        drawing.place(1.8, dome + 0.8, 1.0),
        drawing.place(4.2, dome + 3.4, -1.0),
        drawing.place(6.8 + a, dome + 4.6 + 1.5 * b, -2.0),
    ]
    drawing.line(path, 0.42, 0.14)
    drawing.line(path, 0.13, 0.5)


def _pacemaker(device: Device, drawing: _Drawing) -> None:
    a, b, c = device.lie
    thorax = drawing.thorax
    x, y = drawing.place(8.8 + 0.8 * a, -4.2 + 0.8 * b, -10.0)
    drawing.plate(x, y, 2.2, 1.9, 2.6)
    drawing.plate(x - 0.4, y - 1.6, 1.3, 0.9, 1.2)
    atrium = (thorax.heart_x - 0.62 * thorax.heart_half_width, thorax.heart_y - 0.1 * thorax.heart_half_height)
    apex = (thorax.heart_x + 0.45 * thorax.heart_half_width, thorax.heart_y + 0.7 * thorax.heart_half_height)
    vein = [
        (x - 0.6, y - 1.8),
        drawing.place(7.0, -7.4, -7.0),
        drawing.place(4.0, -6.6, -4.0),
        drawing.place(0.4, -5.2, -2.0, follows=0.7),
        drawing.place(-2.3, -3.6, -1.0, follows=0.7),
        drawing.place(-2.5, 1.0, -1.0, follows=0.8),
    ]
    floor = (thorax.heart_x - 0.4 * thorax.heart_half_width, thorax.heart_y + 0.6 * thorax.heart_half_height)
    drawing.line([*vein, floor, apex], 0.2, 0.6)
    if c > -0.2:
        drawing.line([*vein, (atrium[0] + 0.9, atrium[1] + 1.2), atrium], 0.2, 0.6)


def _ecg_leads(device: Device, drawing: _Drawing) -> None:
    a, b, c = device.lie
    wide = 0.72 * drawing.thorax.half_width
    end = (6.0 * a, 34.0)
    for x, y in ((-wide - b, -5.5 + a), (wide + c, -5.0 - b), (-wide + a, 9.0 + c), (wide - a, 10.0 + b)):
        point = drawing.place(x, y, -11.0)
        knee = drawing.place(0.5 * x + 5.0 * c, y + 9.0 + 2.0 * b, -12.0)
        drawing.line([point, (point[0] * 0.9, point[1] + 3.0), knee, end], 0.13, 0.3)
        drawing.plate(*point, 0.6, 0.6, 0.4)


_SHAPES: dict[str, Callable[[Device, _Drawing], None]] = {
    "endotracheal tube": _endotracheal_tube,
    "central venous line": _central_line,
    "enteric tube": _enteric_tube,
    "pacemaker": _pacemaker,
    "ECG leads": _ecg_leads,
}
