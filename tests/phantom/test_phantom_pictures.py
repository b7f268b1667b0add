"""The picture and its boxes: both follow the acquisition, and signs grow with severity."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from diffvqa.boxes import intersection_over_union
from diffvqa.phantom.acquisition import Acquisition, draw_acquisition
from diffvqa.phantom.anatomy import draw_body, place
from diffvqa.phantom.canvas import canvas_for
from diffvqa.phantom.lesions import Air, apply_lesions, pleural_retreat
from diffvqa.phantom.pathology import KINDS, SEVERITY, at_level, draw_lesion
from diffvqa.phantom.regions import lesion_boxes, region_boxes
from diffvqa.phantom.rendering import render
from diffvqa.phantom.tissues import lung

BODY = draw_body(np.random.default_rng(5))
UPRIGHT = Acquisition("PA", 120, 128, noise=0.0, scatter=0.05, zoom=0.85)
CROOKED = replace(UPRIGHT, rotation=5.0, shift=(0.04, -0.03), zoom=0.92, turn=-4.0, tilt=5.0, inspiration=-0.4)


def boxes(acquisition, lesions=()):
    return region_boxes(place(BODY, lesions, acquisition), acquisition)


def lesion_of(kind, level, seed=1):
    return at_level(draw_lesion(kind, np.random.default_rng(seed)), level)


def test_boxes_move_by_as_many_pixels_as_the_picture_is_shifted():
    before = boxes(UPRIGHT)
    after = boxes(replace(UPRIGHT, shift=(5 / 128, -3 / 128)))
    inner = [name for name in before if "lung" in name or name in ("cardiac silhouette", "carina", "aortic arch")]
    assert len(inner) >= 10
    for name in inner:
        assert np.allclose(np.subtract(after[name].as_tuple(), before[name].as_tuple()), (5, -3, 5, -3), atol=1e-6)


def test_the_picture_moves_with_its_boxes():
    before = render(BODY, [], UPRIGHT).astype(float)
    after = render(BODY, [], replace(UPRIGHT, shift=(6 / 128, 4 / 128))).astype(float)
    moved = np.abs(after[24:, 26:] - before[20:-4, 20:-6])
    assert np.median(moved) < 6 < np.median(np.abs(after - before))


def test_zoom_scales_boxes_about_the_middle_of_the_image():
    before, after = boxes(UPRIGHT)["carina"], boxes(replace(UPRIGHT, zoom=1.0))["carina"]
    middle = np.array([60, 64, 60, 64])
    assert np.allclose((np.array(after.as_tuple()) - middle) * 0.85, np.array(before.as_tuple()) - middle, atol=1e-6)


def test_points_go_to_pixels_and_back():
    points = np.random.default_rng(0).uniform(-15, 15, size=(20, 2))
    assert np.allclose(CROOKED.to_plane(CROOKED.to_pixels(points)), points)


def test_the_patients_right_lies_on_the_images_left():
    found = boxes(UPRIGHT)
    assert found["right lung"].x2 < found["left lung"].x1
    assert found["cardiac silhouette"].x1 + found["cardiac silhouette"].x2 > 120


def test_deeper_breath_lowers_the_diaphragm():
    shallow, deep = (boxes(replace(UPRIGHT, inspiration=breath)) for breath in (-0.8, 0.8))
    assert deep["right hemidiaphragm"].y1 > shallow["right hemidiaphragm"].y1 + 3


def test_the_heart_is_larger_on_ap():
    pa, ap = (boxes(replace(UPRIGHT, view=view))["cardiac silhouette"] for view in ("PA", "AP"))
    assert ap.x2 - ap.x1 > 1.03 * (pa.x2 - pa.x1)


def test_a_region_outside_the_image_gets_no_box():
    found = boxes(replace(UPRIGHT, shift=(0.0, 0.45)))
    assert "abdomen" not in found
    assert "right lung" in found


def test_all_36_regions_are_there_on_a_centred_picture():
    assert len(boxes(UPRIGHT)) == 36


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_visible_sign_grows_with_severity(kind):
    effects = []
    for level in range(len(SEVERITY)):
        sizes = []
        for seed in (1, 2, 3):
            healthy = render(BODY, [], UPRIGHT).astype(float)
            sizes.append(np.abs(render(BODY, [lesion_of(kind, level, seed)], UPRIGHT) - healthy).mean())
        effects.append(np.mean(sizes))
    assert effects[0] > 0
    assert all(low * 1.15 < high for low, high in pairwise(effects)), effects


@pytest.mark.parametrize("acquisition", [UPRIGHT, CROOKED], ids=["upright", "crooked"])
@pytest.mark.parametrize("kind", ["nodule", "consolidation", "pleural effusion", "pneumothorax"])
def test_what_a_lesion_changes_lies_in_its_boxes(kind, acquisition):
    for seed in (1, 2, 3):
        # A larger one would push the heart aside, and so change the picture elsewhere too.
        lesion = lesion_of(kind, 1, seed)
        changed = np.abs(render(BODY, [lesion], acquisition).astype(float) - render(BODY, [], acquisition))
        strong = changed > 0.6 * np.quantile(changed, 0.999)
        inside = np.zeros_like(strong)
        for box in lesion_boxes(place(BODY, [lesion], acquisition), lesion, acquisition):
            inside[int(box.y1) - 1 : int(box.y2) + 2, int(box.x1) - 1 : int(box.x2) + 2] = True
        assert strong.sum() > 5
        assert (strong & inside).sum() > 0.8 * strong.sum()


def test_cardiomegaly_widens_the_box_of_the_heart_and_nothing_else():
    healthy, ill = boxes(UPRIGHT), boxes(UPRIGHT, [lesion_of("cardiomegaly", 3)])
    widths = [one["cardiac silhouette"].x2 - one["cardiac silhouette"].x1 for one in (healthy, ill)]
    assert widths[1] > 1.3 * widths[0]
    assert intersection_over_union(healthy["left lung"], ill["left lung"]) == pytest.approx(1.0)


def test_noise_is_the_same_for_the_same_seed_only():
    noisy = replace(UPRIGHT, noise=1.0, seed=3)
    assert np.array_equal(render(BODY, [], noisy), render(BODY, [], noisy))
    assert not np.array_equal(render(BODY, [], noisy), render(BODY, [], replace(noisy, seed=4)))


def test_drawn_acquisitions_keep_their_ranges():
    drawn = [draw_acquisition(256, np.random.default_rng([0, index])) for index in range(300)]
    assert {one.view for one in drawn} == {"PA", "AP"}
    assert all(max(one.width, one.height) == 256 and min(one.width, one.height) >= 209 for one in drawn)
    assert all(abs(one.rotation) <= 8 and max(map(abs, one.shift)) <= 0.18 for one in drawn)
    assert all(0.72 <= one.zoom <= 1.28 for one in drawn)
    assert 30 < sum(any(one.collimation) for one in drawn) < 120


def test_a_turn_moves_clavicles_and_spine_in_opposite_directions():
    straight, turned = boxes(UPRIGHT), boxes(replace(UPRIGHT, turn=6.0))
    inner = [turned[f"{side} clavicle"].x1 - straight[f"{side} clavicle"].x1 for side in ("right", "left")]
    assert max(inner) < -1
    assert turned["spine"].x1 - straight["spine"].x1 > 1


def grey(lesions, box, acquisition=UPRIGHT):
    """Mean grey value in a box of the picture, brighter where less light came through."""
    picture = render(BODY, lesions, acquisition).astype(float)
    return picture[round(box.y1) : round(box.y2), round(box.x1) : round(box.x2)].mean()


def test_an_effusion_blunts_the_angle_and_hides_the_diaphragm():
    effusion = replace(lesion_of("pleural effusion", 3), sides=("right",))
    healthy = boxes(UPRIGHT)
    angle = healthy["right costophrenic angle"]
    assert grey([effusion], angle) > grey([], angle) + 20
    dome = healthy["right hemidiaphragm"]
    column, top = round((dome.x1 + dome.x2) / 2), round(dome.y1)

    def step(lesions):
        """How sharply the picture brightens across the dome."""
        profile = render(BODY, lesions, UPRIGHT)[top - 3 : top + 4, column - 3 : column + 4].mean(axis=1)
        return np.diff(profile).max()

    assert step([effusion]) < 0.5 * step([])


def test_atelectasis_raises_the_dome_and_pulls_the_mediastinum():
    atelectasis = replace(lesion_of("atelectasis", 3), sides=("left",))
    healthy, ill = boxes(UPRIGHT), boxes(UPRIGHT, [atelectasis])
    assert ill["left hemidiaphragm"].y1 < healthy["left hemidiaphragm"].y1 - 4
    assert ill["right hemidiaphragm"].y1 == healthy["right hemidiaphragm"].y1
    assert ill["trachea"].x1 > healthy["trachea"].x1 + 1


def test_beyond_the_edge_of_a_pneumothorax_there_are_no_markings():
    pneumothorax = replace(lesion_of("pneumothorax", 2), sides=("right",))
    thorax, canvas = place(BODY, [pneumothorax], UPRIGHT), canvas_for(UPRIGHT)
    depth = {side: lung(thorax, side, canvas) for side in ("right", "left")}
    density, markings = np.full(canvas.shape, 0.3), np.ones(canvas.shape)
    air = Air(depth, density, markings, np.zeros(canvas.shape))
    apply_lesions(air, thorax, [pneumothorax], canvas)
    # A row between apex and hilum, from the chest wall of that side inwards.
    row = np.argmin(np.abs(canvas.y[:, 0] + 3.0))
    inside = np.nonzero(depth["right"][row] > 0)[0]
    free = inside[air.markings[row, inside] == 0]
    assert free.min() == inside.min()
    assert len(free) / canvas.scale > 0.4 * pleural_retreat(pneumothorax)
    assert np.all(air.density[row, free] == 0)
    edge = free.max() + 1
    assert np.abs(air.added[row].argmax() - edge) <= 2
    assert np.all(air.markings[row, edge + 2 : inside.max()] == 1)
    assert np.all(air.markings[row, depth["left"][row] > 0] == 1)
