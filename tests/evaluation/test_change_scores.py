"""Change scores on cases counted by hand."""

import itertools

import numpy as np
import pytest

from diffvqa.evaluation.changes import best_agreement, is_difference, tally_changes, tally_order
from diffvqa.evaluation.intervals import resample_patients, score_tally
from diffvqa.evaluation.predictions import Prediction
from diffvqa.findings import NOTHING_CHANGED, Change, read_changes, write_changes

ADDED = "the main image has an additional finding of {} than the reference image."
MISSING = "the main image is missing the finding of {} than the reference image."
LEVEL = "the level of {} has changed from {} to {}."


def row(number, answer, reference, **fields):
    return Prediction(str(number), answer, (reference,), question_type="difference", **fields)


def scores(*rows):
    tally = tally_changes(rows)
    resamples = resample_patients({prediction.id: prediction.patient for prediction in rows}, 50, 0)
    values = {name: score and score["value"] for name, score in score_tally(tally, resamples).items()}
    return {**tally.counts, **values}


def test_order_and_case_do_not_matter():
    reference = f"{LEVEL.format('edema', 'mild', 'severe')} {ADDED.format('atelectasis')} {MISSING.format('hernia')}"
    answer = f"{MISSING.format('hernia')} {ADDED.format('atelectasis')} {LEVEL.format('edema', 'mild', 'severe')}"
    found = scores(row(1, answer.upper(), reference))
    assert (found["precision"], found["recall"], found["f1"]) == (1, 1, 1)


def test_the_list_of_one_sentence_may_be_shuffled():
    two = "the main image has additional findings of {}, and {} than the reference image."
    assert scores(row(1, two.format("edema", "hernia"), two.format("hernia", "edema")))["f1"] == 1


def test_hand_counted_micro_average():
    rows = (
        row(1, ADDED.format("edema"), f"{ADDED.format('edema')} {MISSING.format('hernia')}"),  # 1 found, 1 missed
        row(2, f"{ADDED.format('edema')} {ADDED.format('hernia')}", ADDED.format("fracture")),  # 2 false, 1 missed
        row(3, NOTHING_CHANGED, NOTHING_CHANGED),
        row(4, MISSING.format("edema"), NOTHING_CHANGED),  # 1 false
    )
    found = scores(*rows)
    assert found["precision"] == pytest.approx(1 / 4)
    assert found["recall"] == pytest.approx(1 / 3)
    assert found["f1"] == pytest.approx(2 / 7)
    assert found["false_change_rate"] == pytest.approx(1 / 2)
    assert found["detection_rate"] == 1
    assert (found["n"], found["pairs_changed"], found["pairs_unchanged"], found["unreadable"]) == (4, 2, 2, 0)


def test_flagged_pairs_are_counted_apart_by_whether_they_have_changed():
    changed, unchanged = ADDED.format("edema"), NOTHING_CHANGED
    rows = (
        row(1, NOTHING_CHANGED, changed, flagged=True),
        row(2, NOTHING_CHANGED, changed, flagged=True),
        row(3, NOTHING_CHANGED, changed, flagged=False),
        row(4, changed, changed),  # not known: counts nowhere
        row(5, NOTHING_CHANGED, unchanged, flagged=True),
        *(row(number, changed, unchanged, flagged=False) for number in range(6, 9)),
        row(9, changed, unchanged),
    )
    found = scores(*rows)
    assert (found["flagged_changed"], found["flagged_unchanged"]) == pytest.approx((2 / 3, 1 / 4))
    without = scores(rows[3], rows[-1])
    assert (without["flagged_changed"], without["flagged_unchanged"]) == (None, None)


@pytest.mark.parametrize(
    "answer",
    [
        LEVEL.format("edema", "mild", "moderate"),
        LEVEL.format("edema", "severe", "mild"),
        ADDED.format("edema"),
        LEVEL.format("hernia", "mild", "severe"),
    ],
)
def test_a_level_matches_only_with_finding_before_and_after(answer):
    assert scores(row(1, answer, LEVEL.format("edema", "mild", "severe")))["f1"] == 0


def test_added_is_not_missing():
    assert scores(row(1, MISSING.format("edema"), ADDED.format("edema")))["f1"] == 0


def test_any_agreement_of_two_readings_counts():
    ambiguous = LEVEL.format("edema", "mild", "moderate to severe")  # also "mild to moderate" to "severe"
    assert len(read_changes(ambiguous)) == 2
    for other in (("mild", "moderate to severe"), ("mild to moderate", "severe")):
        change = frozenset({Change("edema", "level", *other)})
        assert scores(row(1, ambiguous, "", reference_changes=change))["f1"] == 1
        assert scores(row(1, "", ambiguous, changes=change))["f1"] == 1
    neither = frozenset({Change("edema", "level", "mild", "severe")})
    assert scores(row(1, "", ambiguous, changes=neither))["f1"] == 0


def test_the_best_of_several_references_counts():
    rows = [Prediction("1", ADDED.format("edema"), (ADDED.format("hernia"), ADDED.format("edema")))]
    assert scores(*rows)["f1"] == 1


def test_best_agreement_takes_two_empty_sets_for_full_agreement():
    edema = frozenset({Change("edema", "added")})
    assert best_agreement((edema, frozenset()), (frozenset(),)) == (frozenset(), frozenset())


@pytest.mark.parametrize("answer", ["", "the the of of", "nothing has changed. and more.", "yes"])
def test_an_unreadable_answer_misses_all_and_is_a_false_change(answer):
    changed = scores(row(1, answer, f"{ADDED.format('edema')} {MISSING.format('hernia')}"))
    assert (changed["recall"], changed["f1"], changed["detection_rate"], changed["unreadable"]) == (0, 0, 0, 1)
    unchanged = scores(row(1, answer, NOTHING_CHANGED))
    assert (unchanged["false_change_rate"], unchanged["precision"], unchanged["unreadable"]) == (1, 0, 1)


def test_detection_asks_for_any_change_where_there_is_one():
    wrong = row(1, MISSING.format("hernia"), ADDED.format("edema"))
    missed = row(2, NOTHING_CHANGED, ADDED.format("edema"))
    invented = row(3, ADDED.format("edema"), NOTHING_CHANGED)
    found = scores(wrong, missed, invented)
    assert (found["recall"], found["detection_rate"], found["false_change_rate"]) == (0, 0.5, 1)
    assert scores(invented)["detection_rate"] is None


def test_scores_without_a_denominator_are_none():
    found = scores(row(1, NOTHING_CHANGED, ADDED.format("edema")))
    assert found["precision"] is None
    assert found["false_change_rate"] is None
    assert found["f1"] == 0


def test_given_changes_go_before_the_answer():
    change = frozenset({Change("edema", "added")})
    assert scores(row(1, "free text", ADDED.format("edema"), changes=change))["f1"] == 1
    assert scores(row(1, ADDED.format("edema"), ADDED.format("edema"), changes=frozenset()))["recall"] == 0


def test_only_difference_questions_count():
    reference = (ADDED.format("edema"),)
    assert is_difference(Prediction("1", "", reference))
    assert is_difference(Prediction("1", "", ("free text",), question_type="difference"))
    assert not is_difference(Prediction("1", "yes", ("yes",)))
    assert not is_difference(Prediction("1", "", reference, question_type="presence"))
    assert not is_difference(Prediction("1", "", reference, task="Cap"))
    assert tally_changes([Prediction("1", "yes", ("yes",))]) is None


def test_a_reference_that_cannot_be_read_is_left_out_and_counted():
    found = scores(row(1, NOTHING_CHANGED, "looks better"), row(2, NOTHING_CHANGED, NOTHING_CHANGED))
    assert (found["n"], found["reference_unreadable"]) == (1, 1)


def test_a_model_that_repeats_itself_is_read_in_no_time():
    sentence = LEVEL.format("edema", "mild", "moderate to severe")
    # One reading after the other, the readings of equal sentences mix: neither, either or both levels.
    assert len(read_changes(" ".join([sentence] * 60))) == 3
    many = " ".join(LEVEL.format(f"finding {number}", "mild", "moderate to severe") for number in range(60))
    assert read_changes(many) == ()


CHANGES = [Change(finding, kind) for finding in ("edema", "hernia", "fracture") for kind in ("added", "missing")]
QUESTIONS = ("what has changed?", "what has changed in the lower area?", "what has changed in the upper area?")


def best_constants(references):
    """The best micro-averaged F1 of answers that depend on the question's text alone, in closed form, and the answers.

    references: text of the question -> the sets of changes of its pairs. With the numbers of changes stated for each
    text fixed, F1 is best if they are the most frequent ones.
    """
    choices = []
    for sets in references.values():
        counts = {change: sum(change in one for one in sets) for change in CHANGES}
        ranked = sorted(CHANGES, key=counts.get, reverse=True)
        choices.append([ranked[:size] for size in range(len(CHANGES) + 1)])
    true = sum(len(one) for sets in references.values() for one in sets)

    def f1(chosen):
        together = list(zip(chosen, references.values(), strict=True))
        matched = sum(change in one for said, sets in together for one in sets for change in said)
        return 2 * matched / (sum(len(said) * len(sets) for said, sets in together) + true)

    best = max(itertools.product(*choices), key=f1)
    return f1(best), dict(zip(references, map(write_changes, best), strict=True))


@pytest.mark.parametrize("seed", range(8))
def test_answers_that_do_not_look_at_images_never_beat_the_best_constant_ones(seed):
    random = np.random.default_rng(seed)

    def drawn(share):
        return [change for change in CHANGES if random.random() < share]

    def score(answers):
        return scores(
            *(
                row(f"{text} {place}", answers[text], write_changes(one))
                for text, sets in references.items()
                for place, one in enumerate(sets)
            )
        )["f1"]

    rates = {text: 0.1 + random.random() * 0.5 for text in QUESTIONS}
    references = {text: [drawn(rate) for _ in range(int(random.integers(2, 12)))] for text, rate in rates.items()}
    best, answers = best_constants(references)
    assert score(answers) == pytest.approx(best)
    for _ in range(60):
        said = {text: write_changes(drawn(random.random())) for text in QUESTIONS}
        forms = ("{}", "{}", "{}", "{} {}", "no idea")
        answers = {text: forms[random.integers(5)].format(words, words) for text, words in said.items()}
        assert score(answers) <= best + 1e-9


def taken(number, patient, group, answer, reference=NOTHING_CHANGED):
    return row(number, answer, reference, subject_id=patient, group=group)


def test_changes_induced_by_acquisition_are_counted_where_the_repeat_is_told():
    false = ADDED.format("edema")
    rows = (
        taken(1, "a", "repeat", NOTHING_CHANGED),
        taken(2, "a", "rotation 1", NOTHING_CHANGED),
        taken(3, "a", "rotation 2", false),
        taken(4, "a", "rotation 3", "no idea"),
        taken(5, "a", "other", false),  # no factor
        taken(6, "a", "rotation 2", NOTHING_CHANGED, false),  # changed
        taken(7, "b", "repeat", false),
        taken(8, "b", "dose 1", false),
        taken(9, "c", "dose 1", false),  # without a repeat
        taken(10, "d", "repeat", NOTHING_CHANGED),
        taken(11, "d", "repeat", false),
        taken(12, "d", "dose 1", false),
        row(13, false, NOTHING_CHANGED, group="dose 1"),
    )
    assert scores(*rows)["induced_change_rate"] == pytest.approx(2 / 3)
    assert scores(*rows[6:])["induced_change_rate"] is None


def test_acquisition_induces_nothing_in_who_always_or_never_states_a_change():
    groups = ("repeat", "dose 1", "dose 2")
    never = [taken(number, "a", group, NOTHING_CHANGED) for number, group in enumerate(groups)]
    always = [taken(number, "a", group, ADDED.format("edema")) for number, group in enumerate(groups)]
    assert scores(*never)["induced_change_rate"] == 0
    assert scores(*always)["induced_change_rate"] is None
    assert scores(*always)["false_change_rate"] == 1


@pytest.mark.parametrize(
    ("stated", "true", "coarse"),
    [
        (LEVEL.format("edema", "mild", "severe"), LEVEL.format("edema", "mild", "moderate"), 1),
        (LEVEL.format("edema", "severe", "mild"), LEVEL.format("edema", "mild", "moderate"), 0),
        (ADDED.format("edema"), LEVEL.format("edema", "mild", "moderate"), 0),
        (ADDED.format("edema"), ADDED.format("edema"), 1),
        (MISSING.format("edema"), ADDED.format("edema"), 0),
        ("a free text", ADDED.format("edema"), 0),
    ],
)
def test_the_coarse_score_asks_for_the_direction_of_a_level_alone(stated, true, coarse):
    assert scores(row(1, stated, true))["coarse_f1"] == coarse


def test_order_consistency_is_the_f1_between_two_sets_of_answers_whatever_is_true():
    answers = [ADDED.format("edema"), ADDED.format("hernia"), NOTHING_CHANGED, NOTHING_CHANGED]
    turned = [ADDED.format("edema"), MISSING.format("hernia"), ADDED.format("fracture"), NOTHING_CHANGED]
    rows, others = ([row(n, answer, NOTHING_CHANGED) for n, answer in enumerate(said)] for said in (answers, turned))
    # One of two stated is met, of three stated the other way round.
    tally = tally_order(rows, others[:3])
    sums = tally.columns.sum(0)
    assert tally.formulas["f1"](sums) == pytest.approx(2 / 5)
    assert len(tally.ids) == 3
