"""Devices: they lie where they belong, and say nothing of the disease."""

from dataclasses import replace

import numpy as np
import pytest

from diffvqa.phantom.acquisition import Acquisition
from diffvqa.phantom.anatomy import draw_body, place
from diffvqa.phantom.cohort import draw_patient
from diffvqa.phantom.devices import KINDS, Device, draw_own_devices, tube_tip
from diffvqa.phantom.regions import region_boxes
from diffvqa.phantom.rendering import render

BODY = draw_body(np.random.default_rng(5))
AP = Acquisition("AP", 240, 256, noise=0.0, scatter=0.05, zoom=0.85)


def shadow(name, acquisition=AP, lie=(0.0, 0.0, 0.0)):
    """Where a device makes the picture brighter: rows, columns."""
    device = Device(name, lie)
    plain, drawn = (render(BODY, [], acquisition, some).astype(float) for some in ((), (device,)))
    return np.nonzero(drawn - plain > 12)


@pytest.mark.parametrize("name", list(KINDS))
def test_a_device_can_be_seen(name):
    assert len(shadow(name)[0]) > 20


@pytest.mark.parametrize(
    "acquisition", [AP, replace(AP, view="PA", rotation=5.0, turn=4.0, shift=(0.05, 0.02))], ids=["straight", "crooked"]
)
def test_a_tube_ends_above_the_carina_inside_the_trachea(acquisition):
    boxes = region_boxes(place(BODY, [], acquisition), acquisition)
    rows, columns = shadow("endotracheal tube", acquisition)
    tip = rows.max()
    carina = (boxes["carina"].y1 + boxes["carina"].y2) / 2
    above = (carina - tip) / acquisition.pixels_per_centimetre
    assert above == pytest.approx(tube_tip(Device("", (0.0, 0.0, 0.0))), abs=1.0)
    assert boxes["trachea"].x1 - 2 < columns[rows > tip - 20].mean() < boxes["trachea"].x2 + 2


def test_a_central_line_ends_at_the_cavoatrial_junction():
    boxes = region_boxes(place(BODY, [], AP), AP)
    rows, columns = shadow("central venous line")
    assert boxes["svc"].y1 < rows.max() < boxes["cavoatrial junction"].y2 + 5
    assert boxes["svc"].x1 < columns[rows.argmax()] < boxes["svc"].x2


def test_an_enteric_tube_ends_below_the_left_half_of_the_diaphragm():
    boxes = region_boxes(place(BODY, [], AP), AP)
    rows, columns = shadow("enteric tube")
    assert rows.max() > boxes["left hemidiaphragm"].y1
    assert columns[rows.argmax()] > boxes["spine"].x1


def test_a_pacemaker_lies_on_the_left_chest_and_its_leads_reach_the_heart():
    boxes = region_boxes(place(BODY, [], AP), AP)
    rows, columns = shadow("pacemaker", lie=(0.0, 0.0, 1.0))
    upper = rows < boxes["carina"].y1
    assert np.median(columns[upper]) > boxes["spine"].x2
    heart = boxes["cardiac silhouette"]
    inside = (rows > heart.y1) & (columns > heart.x1) & (columns < heart.x2)
    assert inside.sum() > 20


def test_devices_follow_the_patients_turn_by_their_depth():
    turned = {name: shadow(name, replace(AP, turn=8.0))[1].mean() - shadow(name)[1].mean() for name in KINDS}
    # The box of a pacemaker lies before the chest's middle, an enteric tube behind it.
    assert turned["pacemaker"] < 0 < turned["enteric tube"]


def test_devices_are_more_frequent_on_ap_and_a_pacemaker_stays():
    counts = {"PA": [], "AP": []}
    paced = 0
    for index in range(400):
        patient = draw_patient(6, index, 64)
        for visit in patient.visits:
            counts[visit.pictures[0].acquisition.view].append(len(visit.devices))
        there = {any(device.name == "pacemaker" for device in visit.devices) for visit in patient.visits}
        assert len(there) == 1
        paced += there == {True}
    assert np.mean(counts["AP"]) > 3 * np.mean(counts["PA"]) > 0
    assert 5 < paced < 60


def test_devices_come_and_go_whether_findings_change_or_not():
    changed = {True: [], False: []}
    for index in range(500):
        patient = draw_patient(7, index, 64)
        for prior, current in zip(patient.visits, patient.visits[1:], strict=False):
            changed[prior.findings != current.findings].append(prior.devices != current.devices)
    assert abs(np.mean(changed[True]) - np.mean(changed[False])) < 0.09
    assert np.mean(changed[False]) > 0.2


def test_a_device_lies_the_same_whenever_it_is_there():
    own = draw_own_devices(np.random.default_rng(1))
    assert own == draw_own_devices(np.random.default_rng(1))
    for index in range(30):
        seen = {}
        for visit in draw_patient(8, index, 64).visits:
            for device in visit.devices:
                assert seen.setdefault(device.name, device) == device
