"""False changes of systems that find equally many changed pairs: thresholds, resamples, comparisons."""

import json

import numpy as np
import pytest

from diffvqa.evaluation.comparison import compare
from diffvqa.evaluation.equal_detection import changed_and_unchanged, find_threshold, flagged_in_resamples
from diffvqa.evaluation.intervals import resample_patients
from diffvqa.evaluation.predictions import read_predictions
from diffvqa.findings import NOTHING_CHANGED

EDEMA = "the main image has an additional finding of edema than the reference image."
SCORE = "false_change_rate_at_90"


def write(path, changed, unchanged, patients=5):
    """Pairs with these probabilities of a change, of `patients` patients in turn. No answer states a change."""
    rows = []
    for reference, probabilities in ((EDEMA, changed), (NOTHING_CHANGED, unchanged)):
        for number, probability in enumerate(probabilities):
            row = {"id": f"{reference} {number}", "subject_id": f"p{number % patients}", "answer": NOTHING_CHANGED}
            rows.append({**row, "references": [reference], "changed": probability})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def drawn(random, count):
    """Probabilities with many ties."""
    return [round(value, 1) for value in random.random(count)]


def test_the_threshold_finds_nine_of_ten_and_no_more_than_it_must(tmp_path):
    changed = [0.05, 0.3, *np.linspace(0.5, 0.9, 8)]
    path = write(tmp_path / "a.jsonl", changed, [0.04, 0.05, 0.29, 0.3, 0.31, 0.95])
    result = compare({"a": [path], "b": [path]}, replicates=20)
    assert result["systems"]["a"][SCORE]["value"] == pytest.approx(3 / 6)
    assert result["systems"]["a"][SCORE]["n"] == 6


def test_thresholds_and_rates_are_those_of_rows_that_are_drawn_again(tmp_path):
    random = np.random.default_rng(3)
    predictions = read_predictions(write(tmp_path / "a.jsonl", drawn(random, 37), drawn(random, 41), patients=9))
    resamples = resample_patients({row.id: row.patient for row in predictions}, 700, 0)
    changed, unchanged = changed_and_unchanged(predictions)
    threshold = find_threshold(changed, resamples)
    rates = flagged_in_resamples(unchanged, threshold, resamples)
    for place, draw in enumerate(resamples.draws):
        again = [row for row in predictions for _ in range(draw[resamples.patient_of[row.id]])]
        of_changed = sorted((row.changed for row in again if row.references == (EDEMA,)), reverse=True)
        lowest = next(one for one in of_changed if sum(p >= one for p in of_changed) * 10 >= 9 * len(of_changed))
        assert threshold.drawn[place] == lowest
        others = [row.changed for row in again if row.references == (NOTHING_CHANGED,)]
        assert rates[place] == pytest.approx(np.mean([p >= lowest for p in others]))


def test_a_set_without_changes_takes_the_thresholds_of_another(tmp_path):
    # The same unchanged pairs: what differs is the probability that the systems give to true changes.
    bold = write(tmp_path / "bold.jsonl", [0.8] * 20, [0.1] * 5)
    shy = write(tmp_path / "shy.jsonl", [0.2] * 20, [0.1] * 5)
    same = write(tmp_path / "same.jsonl", [], [0.1, 0.3, 0.5, 0.9])
    systems = {"bold": [same], "shy": [same]}
    found = compare(systems, replicates=50, detected_in={"bold": [bold], "shy": [shy]})
    assert {name: one[SCORE]["value"] for name, one in found["systems"].items()} == {"bold": 0.25, "shy": 0.75}
    (row,) = found["comparisons"][SCORE]
    assert (row["first"], row["second"], row["value"]) == ("bold", "shy", -0.5)
    assert compare(systems, replicates=50)["systems"]["shy"][SCORE] is None


def test_each_seed_has_its_own_threshold(tmp_path):
    one = write(tmp_path / "one.jsonl", [0.8] * 10, [0.1, 0.3, 0.5, 0.9])
    other = write(tmp_path / "other.jsonl", [0.2] * 10, [0.1, 0.3, 0.5, 0.9])
    result = compare({"both": [one, other], "first": [one]}, replicates=50)
    assert result["systems"]["both"][SCORE]["value"] == pytest.approx((0.25 + 0.75) / 2)
    assert result["comparisons"][SCORE][0]["value"] == pytest.approx(0.25)


def test_the_interval_knows_that_the_threshold_is_of_a_sample(tmp_path):
    random = np.random.default_rng(0)
    unchanged = list(random.random(2000))
    few = write(tmp_path / "few.jsonl", random.random(20), unchanged, patients=500)
    many = write(tmp_path / "many.jsonl", random.random(2000), unchanged, patients=500)
    widths = []
    for path in (few, many):
        score = compare({"a": [path], "b": [path]}, replicates=300)["systems"]["a"][SCORE]
        widths.append(score["high"] - score["low"])
    assert widths[0] > 2 * widths[1]


def test_a_system_without_probabilities_is_compared_in_the_rest(tmp_path):
    known = write(tmp_path / "known.jsonl", [0.8] * 10, [0.1] * 5)
    unknown = tmp_path / "unknown.jsonl"
    lines = known.read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    # A single pair without one is enough: rates of other pairs are no measure of each other.
    unknown.write_text("\n".join(json.dumps({**row, "changed": None if number == 3 else row["changed"]})
                                 for number, row in enumerate(rows)))  # fmt: skip
    result = compare({"known": [known], "unknown": [unknown]}, replicates=20)
    assert result["systems"]["known"][SCORE] is not None
    assert result["systems"]["unknown"][SCORE] is None
    assert result["comparisons"][SCORE] == []
    assert len(result["comparisons"]["f1"]) == 1


def test_the_monotone_scale_of_a_probability_does_not_matter(tmp_path):
    random = np.random.default_rng(5)
    changed, unchanged = random.random(60), random.random(80)
    plain = write(tmp_path / "plain.jsonl", changed, unchanged)
    bent = write(tmp_path / "bent.jsonl", changed**3, unchanged**3)
    (row,) = compare({"plain": [plain], "bent": [bent]}, replicates=200)["comparisons"][SCORE]
    assert (row["value"], row["low"], row["high"], row["p"]) == (0, 0, 0, 1)
