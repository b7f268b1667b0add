"""The acquisition of a picture: drawn for every image, and independent of disease."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

FIELD = 36.0
"""Centimetres that the longer side of an image spans at the middle of the chest, at zoom 1."""

FIELD_CENTRE = (0.0, 4.0)
"""The point of the chest (cm, x and y from the carina) at the centre of an image without shift."""

FOCUS_DISTANCE = {"PA": 170.0, "AP": 100.0}
"""Centimetres from the focus to the middle of the chest. PA: the heart lies near the detector, AP: far from it."""


@dataclass(frozen=True, slots=True)
class Acquisition:
    """The acquisition of one picture.

    view: PA or AP. width, height: pixels. zoom: overall magnification. shift: right and down, shares of the longer
    side. rotation: in the plane, degrees, clockwise. turn: of the patient about the long axis, degrees. tilt: of the
    beam along the long axis, degrees. inspiration: -1 shallow to 1 deep. dose: photons, relative to a good exposure.
    contrast: of bone against soft tissue (tube voltage), about 1. scatter: share of scattered light. noise: grain,
    relative. clipping: shares of the darkest and the brightest pixels that are saturated. collimation: left, top, right
    and bottom borders without light, shares of the sides. border: "dark" or "bright", how these are shown.
    marker: a side marker lies in the field. seed: of the noise.
    """

    view: str
    width: int
    height: int
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    rotation: float = 0.0
    turn: float = 0.0
    tilt: float = 0.0
    inspiration: float = 0.5
    dose: float = 1.0
    contrast: float = 1.0
    scatter: float = 0.1
    noise: float = 1.0
    clipping: tuple[float, float] = (0.0, 0.0)
    collimation: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    border: str = "dark"
    marker: bool = False
    seed: int = 0

    @property
    def pixels_per_centimetre(self) -> float:
        return max(self.width, self.height) / FIELD * self.zoom

    def project(self, x: float, y: float, z: float) -> tuple[float, float]:
        """The projection of a point of the chest, in the upright plane, cm. z: towards the patient's back."""
        turn = math.radians(self.turn)
        across = x * math.cos(turn) + z * math.sin(turn)
        depth = z * math.cos(turn) - x * math.sin(turn)
        along = y + depth * math.tan(math.radians(self.tilt))
        magnification = self.magnify(depth)
        return across * magnification, along * magnification

    def magnify(self, z: float) -> float:
        """Magnification at the depth z, relative to the middle of the chest."""
        distance = FOCUS_DISTANCE[self.view]
        return distance / (distance - z if self.view == "PA" else distance + z)

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """Points of the upright plane (n, 2), cm, in pixels of the image (n, 2): turned, scaled, shifted."""
        scale = self.pixels_per_centimetre
        angle = math.radians(self.rotation)
        cosine, sine = math.cos(angle), math.sin(angle)
        u = (points[:, 0] - FIELD_CENTRE[0]) * scale
        v = (points[:, 1] - FIELD_CENTRE[1]) * scale
        longer = max(self.width, self.height)
        x = u * cosine - v * sine + self.width / 2 + self.shift[0] * longer
        y = u * sine + v * cosine + self.height / 2 + self.shift[1] * longer
        return np.stack([x, y], axis=1)

    def to_plane(self, pixels: np.ndarray) -> np.ndarray:
        """The inverse of to_pixels."""
        scale = self.pixels_per_centimetre
        angle = math.radians(self.rotation)
        cosine, sine = math.cos(angle), math.sin(angle)
        longer = max(self.width, self.height)
        x = pixels[:, 0] - self.width / 2 - self.shift[0] * longer
        y = pixels[:, 1] - self.height / 2 - self.shift[1] * longer
        u = (x * cosine + y * sine) / scale + FIELD_CENTRE[0]
        v = (-x * sine + y * cosine) / scale + FIELD_CENTRE[1]
        return np.stack([u, v], axis=1)


REACH = {
    "zoom": (1.0, 0.28),
    "shift": (0.0, 0.18),
    "rotation": (0.0, 8.0),
    "turn": (0.0, 8.0),
    "tilt": (0.0, 10.0),
    "inspiration": (0.0, 1.0),
    "dose": (0.0, 1.2),
    "contrast": (1.0, 0.4),
    "scatter": (0.11, 0.08),
    "noise": (1.1, 0.5),
    "clipping": (0.015, 0.015),
    "collimation": (0.0, 0.06),
}
"""Factor -> its middle, and how far from there a drawn acquisition can lie. Of the dose its logarithm."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The spread of acquisitions relative to the usual: their standard deviations, and the limits in REACH.

    bound: no number lies more than this many standard deviations from typical.
    """

    deviations: float = 1.0
    limits: float = 1.0
    bound: float = math.inf


USUAL, TYPICAL, WIDE = Spread(), Spread(bound=1.0), Spread(deviations=2.0, limits=1.5)
"""The cohort's acquisitions; those that nobody would remark on; those of a place where the cohort was never taken."""


def draw_acquisition(size: int, generator: np.random.Generator, spread: Spread = USUAL) -> Acquisition:
    """Draw the acquisition of a picture with a longer side of `size` pixels."""

    def within(factor: str, value: float) -> float:
        middle, reach = REACH[factor]
        reach *= spread.limits
        return round(min(max(value, middle - reach), middle + reach), 5)

    def normal(factor: str, mean: float, deviation: float) -> float:
        away = min(max(float(generator.standard_normal()), -spread.bound), spread.bound)
        return within(factor, mean + away * deviation * spread.deviations)

    def uniform(factor: str, low: float, high: float) -> float:
        # A uniform number's standard deviation is its half range over the root of three.
        share = min(1.0, spread.bound / math.sqrt(3.0)) * spread.deviations
        return within(factor, (low + high) / 2 + float(generator.uniform(-1.0, 1.0)) * share * (high - low) / 2)

    supine = generator.random() < 0.55
    shorter = round(size * float(generator.uniform(0.82, 1.0)))
    portrait = generator.random() < 0.65
    collimated = generator.random() < 0.25 and spread is not TYPICAL
    widest = REACH["collimation"][1] * spread.limits
    left, top, right, bottom = (
        round(float(value), 5) if generator.random() < 0.5 else 0.0 for value in generator.uniform(0.01, widest, size=4)
    )
    # A supine or sitting patient (AP) breathes in less deeply and lies less straight.
    crooked = 1.25 if supine else 0.8
    return Acquisition(
        view="AP" if supine else "PA",
        width=shorter if portrait else size,
        height=size if portrait else shorter,
        zoom=normal("zoom", 1.0, 0.13),
        shift=(normal("shift", 0.0, 0.075), normal("shift", 0.0, 0.075)),
        rotation=normal("rotation", 0.0, 2.4 * crooked),
        turn=normal("turn", 0.0, 2.5 * crooked),
        tilt=normal("tilt", 0.0, 3.0 * crooked),
        inspiration=normal("inspiration", -0.1 if supine else 0.35, 0.45),
        dose=round(math.exp(normal("dose", 0.0, 0.45)), 5),
        contrast=normal("contrast", 1.0, 0.15),
        scatter=max(uniform("scatter", 0.06, 0.19) if supine else uniform("scatter", 0.03, 0.13), 0.0),
        noise=max(uniform("noise", 0.6, 1.6), 0.1),
        clipping=(max(uniform("clipping", 0.0, 0.03), 0.0), max(uniform("clipping", 0.0, 0.03), 0.0)),
        collimation=(left, top, right, bottom) if collimated else (0.0, 0.0, 0.0, 0.0),
        border="dark" if generator.random() < 0.7 else "bright",
        marker=bool(generator.random() < 0.6),
        seed=int(generator.integers(2**31)),
    )
