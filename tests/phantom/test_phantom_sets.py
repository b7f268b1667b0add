"""Test sets: each tries what its name says, and the truth beside it is right."""

import hashlib
import json
from collections import Counter

import pytest

from diffvqa.data import read_sources
from diffvqa.errors import InputError
from diffvqa.evaluation.score import score_file
from diffvqa.findings import DIFFERENCE_QUESTION, Change, changes_between, write_changes
from diffvqa.phantom.acquisition import REACH
from diffvqa.phantom.factors import DEVICES, FACTORS, NONE
from diffvqa.phantom.pathology import KINDS
from diffvqa.phantom.sets import SETS, draw_from
from diffvqa.phantom.writing import write_cohort

SEED, SIZE, FEW = 3, 64, 6
TWICE = 2 * len(FACTORS)
"""Patients of the set `acquisition`, two for each factor: the healthy, and the ill."""
KNOWN = ("finding", "level", "severity", "sides", "zone", "shape", "seed")


def lines(folder, name):
    return [json.loads(line) for line in (folder / "truth" / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    for name in SETS:
        write_cohort(root / name, TWICE if name == "acquisition" else FEW, SEED, SIZE, workers=1, test_set=name)
    return {name: root / name for name in SETS}


@pytest.fixture(scope="module")
def truth(folders):
    """Set -> (image -> what is in it, pairs)."""
    return {
        name: ({one["dicom_id"]: one for one in lines(folder, "images.jsonl")}, lines(folder, "pairs.jsonl"))
        for name, folder in folders.items()
    }


def levels(image):
    return {one["finding"]: one["level"] for one in image["findings"]}


def disease(image):
    return [[one[key] for key in KNOWN] for one in image["findings"]]


@pytest.mark.parametrize("name", list(SETS))
def test_the_same_seed_gives_the_same_bytes(folders, tmp_path, name):
    write_cohort(tmp_path / name, 2, SEED, SIZE, workers=1, test_set=name)
    for path in [*(tmp_path / name).rglob("*.jpg"), *(tmp_path / name / "mimic-cxr").rglob("*.txt")]:
        first = folders[name] / path.relative_to(tmp_path / name)
        assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(first.read_bytes()).digest()
    for table in ("images.jsonl", "pairs.jsonl"):
        again = lines(tmp_path / name, table)
        assert again == lines(folders[name], table)[: len(again)]


def test_no_two_sets_share_a_patient():
    patients = [draw_from(name, SEED, index, SIZE) for name in (None, *SETS) for index in range(8)]
    for what in (
        [one.subject_id for one in patients],
        [one.body for one in patients],
        [visit.study_id for one in patients for visit in one.visits],
    ):
        assert len(set(what)) == len(what)


def test_all_patients_are_of_the_split_test(truth):
    for images, pairs in truth.values():
        assert {one["split"] for one in [*images.values(), *pairs]} == {"test"}


def test_every_pair_is_asked_once_what_has_changed_and_nothing_else(folders, truth):
    for name, folder in folders.items():
        questions = read_sources([f"mimic:{folder}"]).questions
        assert {one.text for one in questions} == {DIFFERENCE_QUESTION}
        pairs = {(one["prior"], one["current"]) for one in truth[name][1]}
        assert {(one.pair.prior, one.pair.current) for one in questions} == pairs
        assert len(questions) == len(pairs)


def test_changes_and_their_steps_are_those_between_the_images(truth):
    for images, pairs in truth.values():
        for pair in pairs:
            prior, current = images[pair["prior"]], images[pair["current"]]
            expected = changes_between(levels(prior), levels(current))
            found = [Change(one["finding"], one["kind"], one["before"], one["after"]) for one in pair["changes"]]
            assert found == expected
            assert pair["acquisition_only"] == (not found)
            for one in pair["changes"]:
                words = KINDS[one["finding"]].levels
                before, after = (
                    words.index(levels(image)[one["finding"]]) + 1 if one["finding"] in levels(image) else 0
                    for image in (prior, current)
                )
                assert one["steps"] == abs(after - before) > 0


def test_every_pair_of_the_set_change_has_one(truth):
    _, pairs = truth["change"]
    assert len(pairs) == FEW
    assert all(pair["changes"] and pair["group"] is None for pair in pairs)


def test_the_set_subtle_has_one_change_by_one_step_and_all_else_the_same():
    kinds = Counter()
    for index in range(60):
        prior, current = draw_from("subtle", SEED, index, SIZE).visits
        moved = [name for name in KINDS if prior.findings.get(name) != current.findings.get(name)]
        assert len(moved) == 1
        before, after = (
            visit.findings[moved[0]].level if moved[0] in visit.findings else -1 for visit in (prior, current)
        )
        assert abs(after - before) == 1
        kinds[moved[0]] += 1
    assert set(kinds) == set(KINDS)


def test_the_pairs_of_the_set_subtle_are_named_one_step(truth):
    assert all(pair["group"] == "one step" and pair["changes"][0]["steps"] == 1 for pair in truth["subtle"][1])


def test_pairs_of_the_set_acquisition_differ_in_their_factor_alone(truth):
    images, pairs = truth["acquisition"]
    cells = [(NONE, 0)] * TWICE + [(factor, one) for factor, strengths in FACTORS.items() for one in strengths] * 2
    assert Counter((pair["factor"], pair["strength"]) for pair in pairs) == Counter(cells)
    # Each factor at every strength on the same patient, against the same prior image.
    assert len({pair["prior"] for pair in pairs}) == len({pair["subject_id"] for pair in pairs}) == TWICE
    for pair in pairs:
        prior, current = images[pair["prior"]], images[pair["current"]]
        assert disease(prior) == disease(current)
        assert prior["body"] == current["body"]
        one, other = prior["acquisition"], current["acquisition"]
        differing = {name for name in one if one[name] != other[name]}
        factor = pair["factor"]
        fields = {NONE: set(), DEVICES: set(), "dose": {"dose", "noise"}}.get(factor, {factor})
        assert differing == {"seed"} | fields
        if factor == "dose":
            assert one["dose"] > other["dose"]
            assert one["noise"] < other["noise"]
        assert (prior["devices"] != current["devices"]) == (factor == DEVICES)
        assert pair["group"] == ("repeat" if factor == NONE else f"{factor} {pair['strength']}")
    assert {bool(image["findings"]) for image in images.values()} == {True, False}


def test_the_patients_of_every_factor_are_equally_ill():
    numbers = [
        [
            min(3, len(draw_from("acquisition", SEED, block * len(FACTORS) + place, SIZE).visits[0].findings))
            for place in range(len(FACTORS))
        ]
        for block in range(8)
    ]
    assert all(len(set(block)) == 1 for block in numbers)
    assert len({block[0] for block in numbers}) > 1


def test_two_steps_stay_inside_what_the_cohort_has_and_three_go_to_its_edge():
    patients = [draw_from("acquisition", SEED, index, SIZE) for index in range(12 * len(FACTORS))]
    for visit in (visit for patient in patients for visit in patient.visits[1:]):
        factor, strength = visit.condition.factor, visit.condition.strength
        middle, reach = REACH.get(factor, (None, None))
        if middle is None or factor in ("dose", "scatter", "clipping"):
            continue
        value = getattr(visit.pictures[0].acquisition, factor)
        away = max(abs(one - middle) for one in (value if isinstance(value, tuple) else (value,)))
        assert away <= reach if strength < 3 else 0.5 * reach < away < 1.5 * reach


def test_the_set_shift_goes_beyond_the_limits_of_the_cohort():
    usual, wide = (
        [
            picture.acquisition
            for index in range(40)
            for visit in draw_from(name, SEED, index, SIZE).visits
            for picture in visit.pictures
        ]
        for name in (None, "shift")
    )
    limit = REACH["rotation"][1]
    assert all(abs(one.rotation) <= limit for one in usual)
    assert any(abs(one.rotation) > limit for one in wide)


def test_an_oracle_that_reads_the_images_truth_is_right(truth, tmp_path):
    rows = []
    for name in ("change", "acquisition"):
        images, pairs = truth[name]
        for pair in pairs:
            changes = changes_between(levels(images[pair["prior"]]), levels(images[pair["current"]]))
            reference = [Change(one["finding"], one["kind"], one["before"], one["after"]) for one in pair["changes"]]
            rows.append(
                {
                    "id": pair["current_study"],
                    "question_type": "difference",
                    "answer": write_changes(changes),
                    "references": [write_changes(reference)],
                }
            )
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    scores = score_file(path, replicates=10)["changes"]
    assert (scores["pairs_changed"], scores["pairs_unchanged"]) == (FEW, len(truth["acquisition"][1]))
    assert scores["f1"]["value"] == 1.0
    assert scores["false_change_rate"]["value"] == 0.0


def test_an_unknown_set_is_refused_with_those_that_exist(tmp_path):
    with pytest.raises(InputError, match="change, acquisition, subtle, shift"):
        write_cohort(tmp_path / "out", 1, 0, SIZE, test_set="other")
    assert list(tmp_path.iterdir()) == []
