"""A chest as a few dozen numbers: a patient's body, and its thorax as one picture finds it.

Centimetres from the carina: x to the image's right (the patient's left), y to the feet, z to the back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from diffvqa.phantom.acquisition import Acquisition
from diffvqa.phantom.pathology import Lesion

SIGN = {"right": -1.0, "left": 1.0}
"""The direction of x in which a side of the patient lies."""

SPINE_DEPTH, HEART_DEPTH, CLAVICLE_DEPTH, STERNUM_DEPTH = 6.0, -3.5, -6.0, -8.0
"""z of the structures that move most when the patient turns."""

HILA = {"right": (-3.4, 2.0), "left": (3.6, 1.2)}
"""The places of the hila beside an unshifted mediastinum."""

KNOB = (1.9, -1.6)
"""The place of the aortic arch beside an unshifted mediastinum."""


@dataclass(frozen=True, slots=True)
class Body:
    """The anatomy that a patient keeps. Lengths in cm; heart_ratio: heart width over chest width, healthy."""

    sex: str
    half_width: float
    apex: float
    base: float
    dome: float
    dome_difference: float
    dome_drop: float
    depth: float
    wall: float
    breast: float
    heart_ratio: float
    heart_height: float
    heart_slant: float
    knob: float
    hilum: float
    trachea_shift: float
    spine_curve: float
    clavicle_slope: float
    rib_slope: float
    rib_spacing: float
    bone: float
    stomach_gas: float
    vessels: float
    seed: int


def draw_body(generator: np.random.Generator) -> Body:
    """A patient's body."""

    def normal(mean: float, spread: float) -> float:
        return round(float(mean + spread * np.clip(generator.standard_normal(), -2, 2)), 5)

    sex = "F" if generator.random() < 0.48 else "M"
    size = 0.95 if sex == "F" else 1.03
    return Body(
        sex=sex,
        half_width=normal(13.6 * size, 0.55),
        apex=normal(-8.8 * size, 0.5),
        base=normal(15.6 * size, 0.8),
        dome=normal(10.8 * size, 0.8),
        dome_difference=normal(1.2, 0.4),
        dome_drop=normal(4.8, 0.5),
        depth=normal(22.0, 1.8),
        wall=normal(2.8, 0.7),
        breast=abs(normal(1.6, 0.7)) if sex == "F" else 0.0,
        heart_ratio=normal(0.44, 0.018),
        heart_height=normal(5.5 * size, 0.35),
        heart_slant=normal(0.32, 0.08),
        knob=normal(1.55, 0.25),
        hilum=normal(1.0, 0.12),
        trachea_shift=normal(-0.2, 0.2),
        spine_curve=normal(0.0, 0.35),
        clavicle_slope=normal(0.22, 0.07),
        rib_slope=normal(1.0, 0.12),
        rib_spacing=normal(2.42 * size, 0.08),
        bone=normal(1.0, 0.12),
        stomach_gas=normal(0.55, 0.35),
        vessels=normal(1.0, 0.15),
        seed=int(generator.integers(2**31)),
    )


@dataclass(frozen=True, slots=True)
class Thorax:
    """A body in one picture: after breath, disease, the patient's turn and the beam's tilt; upright plane, cm.

    Everything that is drawn and everything that gets a box is computed from these numbers.
    """

    body: Body
    half_width: float
    apex: float
    base: float
    domes: dict[str, float]
    drop: float
    shift: float
    heart_x: float
    heart_y: float
    heart_half_width: float
    heart_half_height: float
    heart_slant: float
    aorta_x: float
    trachea_x: float
    spine_x: float
    clavicle_x: float
    clavicle_y: float
    rib_rise: float

    def edge(self, y: np.ndarray) -> np.ndarray:
        """The lungs' outer border at height y: distance from the midline, 0 outside the chest."""
        level = np.clip((self.base + 4.0 - y) / (self.base + 4.0 - self.apex), 0.0, 1.0)
        return self.half_width * np.sqrt(1.0 - level**4)

    def diaphragm(self, side: str, lateral: np.ndarray) -> np.ndarray:
        """Height of the diaphragm of one side at a distance from the midline."""
        summit = 0.48 * self.half_width
        outward = np.clip((lateral - summit) / (self.half_width - summit), 0.0, 1.3)
        inward = np.clip((summit - lateral) / summit, 0.0, 1.3)
        return self.domes[side] + self.drop * outward**2.3 + 0.45 * self.drop * inward**2.2

    def heart(self) -> tuple[tuple[float, float, float, float, float], ...]:
        """The heart as two ellipses, ventricles and right atrium: x, y, half axes a and b, and lean of the y axis."""
        half, high = self.heart_half_width, self.heart_half_height
        across = math.sqrt(max(half**2 - (self.heart_slant * high) ** 2, 1.0))
        atrium = (self.heart_x - half + 3.4, self.heart_y + 0.1 * high, 3.4, 0.78 * high, 0.0)
        return (self.heart_x, self.heart_y, across, high, self.heart_slant), atrium

    def inner(self, y: np.ndarray) -> np.ndarray:
        """Half width of the mediastinum's central band, where the lungs end towards the middle."""
        return 2.3 + 0.5 * np.exp(-(((y - 1.0) / 4.0) ** 2)) + 0.02 * np.clip(y, 0.0, None)


def place(body: Body, lesions: Iterable[Lesion], acquisition: Acquisition) -> Thorax:
    """The thorax of a body with these lesions, as this acquisition meets it."""
    lesions = list(lesions)
    breath = acquisition.inspiration
    half_width = body.half_width * (1 + 0.015 * breath)
    domes = {"right": body.dome + 1.7 * breath, "left": body.dome + body.dome_difference + 1.7 * breath}
    base = body.base + 1.3 * breath
    shift, enlarged = 0.0, 0.0
    for lesion in lesions:
        gross = max(lesion.severity - 0.45, 0.0) / 0.55
        one_sided = len(lesion.sides) == 1
        for side in lesion.sides:
            if lesion.kind == "atelectasis":
                domes[side] -= 3.6 * lesion.severity
                shift += SIGN[side] * 1.2 * gross * one_sided
            elif lesion.kind == "pneumothorax":
                shift -= SIGN[side] * 1.6 * gross * one_sided
            elif lesion.kind == "pleural effusion":
                shift -= SIGN[side] * 1.0 * gross * one_sided
        if lesion.kind == "cardiomegaly":
            enlarged = lesion.severity
    ratio = body.heart_ratio * (1 - 0.035 * (breath - 0.3))
    if enlarged:
        ratio += 0.06 + 0.20 * enlarged
    # The heart sits on the left half of the diaphragm; a large one grows to the sides more than upwards.
    width = 2 * half_width * ratio
    healthy = 2 * body.half_width * body.heart_ratio
    height = body.heart_height * (1 + 0.04 * breath) + 0.16 * (width - healthy)
    heart_y = body.dome + body.dome_difference + 1.5 * breath + 1.3 - height
    heart_x, heart_v = acquisition.project(0.145 * width + shift, heart_y, HEART_DEPTH)
    enlargement = acquisition.magnify(HEART_DEPTH)
    clavicle_x, clavicle_y = acquisition.project(0.0, -5.0, CLAVICLE_DEPTH)
    return Thorax(
        body=body,
        half_width=half_width,
        apex=body.apex,
        base=base,
        domes=domes,
        drop=body.dome_drop * (1 + 0.1 * breath),
        shift=shift,
        heart_x=heart_x,
        heart_y=heart_v,
        heart_half_width=width / 2 * enlargement,
        heart_half_height=height * enlargement,
        heart_slant=body.heart_slant,
        aorta_x=acquisition.project(0.7 * shift, 0.0, 2.0)[0],
        trachea_x=acquisition.project(body.trachea_shift + 0.6 * shift, 0.0, 1.0)[0],
        spine_x=acquisition.project(0.0, 0.0, SPINE_DEPTH)[0],
        clavicle_x=clavicle_x,
        clavicle_y=clavicle_y,
        rib_rise=0.25 * breath + 0.06 * acquisition.tilt,
    )


def clavicle_line(thorax: Thorax, lateral: np.ndarray) -> np.ndarray:
    """Height of a clavicle's axis at a distance from its inner end (upright plane, cm)."""
    slope = thorax.body.clavicle_slope
    return thorax.clavicle_y - slope * lateral - 0.55 * np.sin(lateral / 12.5 * 2 * np.pi * 0.9)
