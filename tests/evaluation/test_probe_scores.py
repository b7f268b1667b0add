"""Scores of probes: areas as scikit-learn has them, weighted as a resample repeats rows, and boxes."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from diffvqa.evaluation.probe_scores import score_probe, weighted_auc


@pytest.mark.parametrize("decimals", [1, 6])
def test_areas_are_scikit_learn_s_of_all_rows_and_of_repeated_ones(decimals):
    random = np.random.default_rng(decimals)
    predicted, target = random.random(80).round(decimals), random.random(80) < 0.4
    weights = random.integers(0, 3, (7, 80)).astype(float)
    value, drawn = weighted_auc(predicted, target, weights)
    assert value == pytest.approx(roc_auc_score(target, predicted))
    expected = [roc_auc_score(target, predicted, sample_weight=row) for row in weights]
    assert list(drawn) == pytest.approx(expected)


def test_one_class_alone_has_no_area():
    value, drawn = weighted_auc(np.array([0.1, 0.2]), np.array([True, True]), np.ones((3, 2)))
    assert np.isnan(value)
    assert np.isnan(drawn).all()


@pytest.mark.parametrize(("predicted_key", "target_key"), [("predicted", "target"), ("said", "right")])
def test_a_file_of_every_probe_with_the_keys_of_today_and_of_before(tmp_path, predicted_key, target_key):
    random = np.random.default_rng(0)
    rows = [{"probe": "changes", "reason": "the store has too few changes"}]
    for number in range(60):
        there = int(random.random() < 0.5)
        predicted = {"edema": [0.9 if there else 0.1], "nodule": [float(random.random())]}
        target = {"edema": there, "nodule": 0}
        row = {"probe": "findings", "pooling": "mean", "id": f"i{number}", "subject_id": f"p{number // 2}"}
        rows.append({**row, predicted_key: predicted, target_key: target})
        box = [10, 10, 20, 20]
        rows.append(
            {"probe": "boxes", "id": f"b{number}", "subject_id": f"p{number // 2}", "name": "heart", predicted_key: box,
             "mean_box": [0, 0, 5, 5], target_key: [[50, 50, 60, 60], box]}
        )  # fmt: skip
    (tmp_path / "probe_predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    scores = score_probe(tmp_path, replicates=50)
    assert scores == json.loads((tmp_path / "probe.json").read_text())
    assert scores["changes"] == {"reason": "the store has too few changes"}
    findings = scores["findings"]["mean"]
    assert (findings["n"], findings["patients"]) == (60, 30)
    assert findings["names"]["edema"]["present"]["value"] == findings["mean"]["value"] == 1.0
    assert findings["names"]["nodule"]["present"] is None
    assert scores["boxes"]["accuracy_0.5"]["value"] == scores["boxes"]["names"]["heart"]["iou"]["value"] == 1.0
    assert scores["boxes"]["mean_box"]["iou"]["value"] == 0.0


@pytest.mark.parametrize(("patients", "known"), [(4, False), (5, True)])
def test_a_label_of_few_patients_has_no_area_however_many_their_images(tmp_path, patients, known, recwarn):
    rows = []
    for number in range(80):
        there = number % 20 < patients
        row = {"probe": "findings", "pooling": "mean", "id": f"i{number}", "subject_id": f"p{number % 20}"}
        rows.append({**row, "predicted": {"edema": [there * 0.5]}, "target": {"edema": int(there)}})
    (tmp_path / "probe_predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    # Some of so many resamples lack the label.
    found = score_probe(tmp_path, replicates=2000)["findings"]["mean"]
    assert not recwarn.list
    if known:
        area = {"value": 1.0, "low": 1.0, "high": 1.0, "n": 20, "n_patients": 5}
        assert found["names"]["edema"]["present"] == area
    else:
        assert found["names"]["edema"]["present"] is found["mean"] is None


def test_whether_anything_came_or_went_is_what_the_pair_says_and_ways_are_kept_apart(tmp_path):
    rows = []
    for number in range(40):
        way = number % 3  # as it was, appeared, vanished
        row = {"probe": "changes", "pooling": "mean", "id": f"q{number}", "subject_id": f"p{number}"}
        predicted = {"edema": [0.9 if way == 1 else 0.1, 0.05 if way == 2 else 0.2]}
        # A finding that is too rare to be asked about changed in every fourth pair.
        rows.append({**row, "predicted": predicted, "target": {"edema": way}, "changed": way > 0 or number % 4 == 0})
    (tmp_path / "probe_predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = score_probe(tmp_path, replicates=20)["changes"]["mean"]
    assert found["names"]["edema"]["appeared"]["value"] == 1.0
    assert found["names"]["edema"]["vanished"]["value"] == 0.0
    predicted = [max(sum(one) for one in row["predicted"].values()) for row in rows]
    assert found["changed"]["value"] == pytest.approx(roc_auc_score([row["changed"] for row in rows], predicted))
