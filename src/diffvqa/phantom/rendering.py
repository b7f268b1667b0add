"""The picture of a body with its lesions: thicknesses along the beam, attenuation, exposure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from diffvqa.phantom.acquisition import Acquisition
from diffvqa.phantom.anatomy import Body, Thorax, place
from diffvqa.phantom.bones import bones
from diffvqa.phantom.canvas import Canvas, canvas_for, onto_image
from diffvqa.phantom.devices import Device, device_shadow
from diffvqa.phantom.exposure import expose
from diffvqa.phantom.lesions import Air, apply_lesions
from diffvqa.phantom.pathology import SIDES, Lesion
from diffvqa.phantom.textures import smooth_noise, vessel_map
from diffvqa.phantom.tissues import abdominal_gas, body_outline, lung, mediastinum

TISSUE, BONE = 0.19, 0.26
"""Attenuation per cm: of soft tissue, and what bone adds to it (about 70 keV)."""

LUNG_DENSITY = 0.27
"""Density of an aerated lung, relative to soft tissue."""


def render(
    body: Body, lesions: Sequence[Lesion], acquisition: Acquisition, devices: tuple[Device, ...] = ()
) -> np.ndarray:
    """The stored picture: uint8 (height, width), histogram-equalised, bright where little light came through."""
    thorax = place(body, lesions, acquisition)
    canvas = canvas_for(acquisition)
    attenuation = _attenuation(thorax, lesions, acquisition, canvas)
    if devices:
        attenuation += device_shadow(devices, thorax, acquisition, canvas)
    return expose(onto_image(attenuation, canvas, acquisition), acquisition)


def _attenuation(thorax: Thorax, lesions: Iterable[Lesion], acquisition: Acquisition, canvas: Canvas) -> np.ndarray:
    """The line integral of attenuation at every point of the canvas: float32."""
    body = thorax.body
    tissue = body_outline(thorax, acquisition, canvas)
    aeration, extra, gas = mediastinum(thorax, canvas)
    air = Air(
        depth={side: lung(thorax, side, canvas) * aeration for side in SIDES},
        density=np.full(canvas.shape, LUNG_DENSITY, dtype=np.float32),
        markings=vessel_map(thorax, canvas),
        added=np.zeros(canvas.shape, dtype=np.float32),
    )
    apply_lesions(air, thorax, lesions, canvas)
    total = air.depth["right"] + air.depth["left"]
    texture = smooth_noise(canvas, body.seed, 1.1, 0.035)
    aerated = 1 - np.clip(air.density * (1 + texture), 0.0, 1.0)
    tissue -= total * aerated
    # A vessel is seen by the air around it.
    tissue += air.markings * np.minimum(total * 0.25, 1.0) * (aerated / (1 - LUNG_DENSITY))
    tissue += air.added
    tissue += extra
    tissue -= gas
    tissue -= abdominal_gas(thorax, canvas)
    bone = bones(thorax, acquisition, canvas) * (BONE * acquisition.contrast * body.bone)
    return TISSUE * np.maximum(tissue, 0.0) + bone
