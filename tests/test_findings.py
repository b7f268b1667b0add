"""The answer grammar: round trips, two readings, traps of the dataset."""

import itertools
import random

import pytest

from diffvqa.findings import (
    LEVELS,
    NOTHING_CHANGED,
    SHOWN_IN,
    Change,
    changes_between,
    degrees_named,
    names_finding,
    read_changes,
    sides_named,
    turn_round,
    write_changes,
)

NAMES = ["pleural effusion", "edema", "enlargement of the cardiac silhouette", "lung opacity", "fracture"]


def test_what_is_written_is_read_back():
    draw = random.Random(0)
    for _ in range(300):
        chosen = draw.sample(NAMES, draw.randint(0, len(NAMES)))
        changes = [
            Change(name, "level", *draw.sample(LEVELS, 2))
            if (kind := draw.choice(["added", "missing", "level"])) == "level"
            else Change(name, kind)
            for name in chosen
        ]
        assert frozenset(changes) in read_changes(write_changes(changes))


def test_the_order_of_sentences_and_names_does_not_matter_when_read():
    changes = [Change("edema", "added"), Change("fracture", "added"), Change("lung opacity", "missing")]
    readings = {read_changes(write_changes(order)) for order in itertools.permutations(changes)}
    assert readings == {(frozenset(changes),)}


def test_sentences_as_the_dataset_writes_them():
    assert write_changes([]) == NOTHING_CHANGED
    text = (
        "the level of edema has changed from mild to severe. the main image has additional findings of a, and b than "
        "the reference image. the main image is missing the finding of c than the reference image. "
    )
    assert read_changes(text) == (
        frozenset(
            {
                Change("edema", "level", "mild", "severe"),
                Change("a", "added"),
                Change("b", "added"),
                Change("c", "missing"),
            }
        ),
    )


def test_a_sentence_with_two_readings_gives_both():
    text = "the level of edema has changed from mild to moderate to severe."
    assert set(read_changes(text)) == {
        frozenset({Change("edema", "level", "mild", "moderate to severe")}),
        frozenset({Change("edema", "level", "mild to moderate", "severe")}),
    }


@pytest.mark.parametrize("text", ["", "   ", ".", "I do not know.", "nothing has changed. the lungs are clear.", "yes"])
def test_what_is_not_in_the_grammar_has_no_reading(text):
    assert read_changes(text) == ()


def test_case_space_and_the_last_full_stop_are_overlooked():
    assert read_changes("  Nothing has\nchanged ") == (frozenset(),)


ADDED = frozenset({Change("edema", "added"), Change("atelectasis", "added")})


@pytest.mark.parametrize(
    "text",
    [
        "the main image has additional findings of edema , and atelectasis than the reference image .",
        "the main image has additional findings of edema and atelectasis than the reference image.",
        "the main image has additional findings of edema,atelectasis compared to the reference image",
        "The main image has additional findings of edema, atelectasis compared with the reference image .",
        "the current image has additional findings of edema and atelectasis than the prior image",
        "the main image has an additional finding of edema than the reference image.the main image has an additional "
        "finding of atelectasis than the reference image.",
    ],
)
def test_a_person_would_read_the_same(text):
    assert read_changes(text) == (ADDED,)


@pytest.mark.parametrize(
    ("levels", "before", "after"),
    [
        ("moderate to large increasing to small", "moderate to large increasing", "small"),
        ("small to moderate to large increasing", "small", "moderate to large increasing"),
        ("mild increasing to severe", "mild increasing", "severe"),
        ("large to small", "large", "small"),
        ("trace to extensive", "trace", "extensive"),
        ("small to moderate compared to the reference image", "small", "moderate"),
    ],
)
def test_levels_of_several_words_have_one_reading(levels, before, after):
    (reading,) = read_changes(f"the level of edema has changed from {levels}.")
    assert reading == frozenset({Change("edema", "level", before, after)})


@pytest.mark.parametrize(
    "text",
    [
        "the main image has an additional finding of atelectasis of consolidation than the reference image.",
        "the main image has additional findings of edema, and severe of pneumothorax mild than the reference image.",
        "the main image is missing the finding of mild than the reference image.",
        "the main image is missing the finding of edema edema than the reference image.",
        "the main image is missing the finding of the level of edema has than the reference image.",
        "the level of atelectasis of consolidation has changed from mild to severe.",
        "the level of edema has changed from mild to pneumothorax.",
        "the level of edema has changed from mild of severe to small.",
        "the level of severe has changed from mild to small.",
        "the main image has an additional finding of no edema than the reference image.",
        "the main image has additional findings of edema, but not atelectasis than the reference image.",
        "the main image is missing the findings of edema, or atelectasis than the reference image.",
        "the main image is missing the finding of edema without effusion than the reference image.",
        "the main image has an additional finding of the edema than the reference image.",
        "the main image has an additional finding of nothing than the reference image.",
        "the level of no edema has changed from mild to severe.",
    ],
)
def test_what_fits_no_name_and_no_level_has_no_reading(text):
    assert read_changes(text) == ()


@pytest.mark.parametrize("name", ["tortuosity of the descending aorta", "left pleural effusion", "nodule (mass?)", "a"])
def test_other_names_of_a_few_words_are_read(name):
    (reading,) = read_changes(f"the main image has an additional finding of {name} than the reference image.")
    assert reading == frozenset({Change(name, "added")})


@pytest.mark.parametrize("end", ["", " .", " compared to the reference image .", "  than the prior image"])
def test_nothing_is_read_as_nothing(end):
    assert read_changes(f"nothing has changed{end}") == (frozenset(),)


def test_infection_counts_as_pneumonia():
    (reading,) = read_changes("the main image has an additional finding of infection than the reference image.")
    assert reading == frozenset({Change("pneumonia", "added")})


@pytest.mark.parametrize(
    ("phrase", "finding", "named"),
    [
        ("there is a mass in the left lung", "mass", True),
        ("Mass in the left lung.", "mass", True),
        ("massive left pleural effusion", "mass", False),
        ("massive left pleural effusion", "pleural effusion", True),
        ("a biomass", "mass", False),
        ("two masses, one of them calcified", "mass", True),
        ("bilateral pleural effusions", "pleural effusion", True),
        ("nodule (mass?)", "nodule (mass?)", True),
        ("no mass is seen", "mass", False),
        ("No mass", "mass", False),
        ("the lungs are free of edema", "edema", False),
        ("nodules not seen before have resolved", "nodule", False),
        ("known nodule", "nodule", True),
    ],
)
def test_a_phrase_names_a_finding_in_whole_words_and_does_not_deny_it(phrase, finding, named):
    assert names_finding(phrase, finding) == named


def test_changes_between_are_turned_round_with_the_images():
    prior = {"edema": "mild", "fracture": None, "hernia": "small"}
    current = {"edema": "severe", "hernia": "small", "nodule": None}
    there = set(changes_between(prior, current))
    back = set(changes_between(current, prior))
    assert there == {
        Change("edema", "level", "mild", "severe"),
        Change("fracture", "missing"),
        Change("nodule", "added"),
    }
    turned = {"added": "missing", "missing": "added", "level": "level"}
    assert back == {Change(one.finding, turned[one.kind], one.after, one.before) for one in there}


def test_an_answer_is_turned_round_with_its_images():
    there = [Change("edema", "level", "mild", "severe"), Change("nodule", "added"), Change("hernia", "missing")]
    back = {Change("edema", "level", "severe", "mild"), Change("nodule", "missing"), Change("hernia", "added")}
    assert read_changes(turn_round(write_changes(there))) == (frozenset(back),)
    assert turn_round(NOTHING_CHANGED) == NOTHING_CHANGED
    in_order = write_changes([Change("nodule", "added"), Change("edema", "added"), Change("hernia", "added")])
    assert turn_round(in_order) == in_order.replace("has additional findings", "is missing the findings")


def test_a_change_is_to_be_seen_where_the_finding_is():
    assert SHOWN_IN == {"added": ("current",), "missing": ("prior",), "level": ("prior", "current")}


def test_a_level_that_one_side_does_not_state_is_no_change():
    assert changes_between({"edema": None}, {"edema": "mild"}) == []


@pytest.mark.parametrize(
    "arguments", [("edema", "grown"), ("edema", "level"), ("edema", "added", "mild", "severe"), ("edema", "level", "a")]
)
def test_a_change_that_makes_no_sense_is_refused(arguments):
    with pytest.raises(ValueError, match="change"):
        Change(*arguments)


@pytest.mark.parametrize(
    ("phrase", "sides"),
    [
        ("Moderate LEFT pleural effusion.", {"left"}),
        ("bibasilar atelectasis", {"left", "right"}),
        ("effusions on both sides", {"left", "right"}),
        ("right lower lung nodule", {"right"}),
        ("left-sided pacemaker", {"left"}),
        ("severe pulmonary edema", set()),
        ("bright line", set()),
    ],
)
def test_the_sides_that_a_phrase_names(phrase, sides):
    assert sides_named(phrase) == sides


@pytest.mark.parametrize(
    ("phrase", "degrees"),
    [
        ("There is SEVERE pulmonary edema .", {"edema": 6}),
        ("possible subtle right mid lung nodule.", {"nodule": 1}),
        ("no pneumothorax is seen.", {"pneumothorax": 0}),
        ("large right pleural effusions with moderate cardiomegaly", {"pleural effusion": 6, "cardiomegaly": 4}),
        ("mild to moderate edema and atelectasis", {"edema": 3}),
        ("no significant change in moderate cardiomegaly.", {"cardiomegaly": 4}),
        ("moderate left pleural effusion has resolved.", {}),
        ("the previously seen pleural effusion has resolved.", {"pleural effusion": 0}),
        ("acute edema", {}),
        ("nodules", {}),
        ("the lungs are clear.", {}),
    ],
)
def test_how_severe_a_phrase_says_that_findings_are(phrase, degrees):
    assert degrees_named(phrase) == degrees
