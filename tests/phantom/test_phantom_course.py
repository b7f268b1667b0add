"""Courses of disease, reports and questions."""

import re
from itertools import pairwise

import numpy as np
import pytest

from diffvqa.errors import InputError
from diffvqa.findings import LEVELS
from diffvqa.phantom.cohort import draw_patient, generator_for, true_changes
from diffvqa.phantom.course import draw_course
from diffvqa.phantom.pathology import KINDS, SEVERITY, SHARES, draw_lesion, level_of
from diffvqa.phantom.questions import ask, location
from diffvqa.phantom.reports import SUPPORT_DEVICES, Reporting, write_report


@pytest.fixture(scope="module")
def courses():
    return [draw_course(np.random.default_rng([1, index]), critical=index % 10 < 3) for index in range(1500)]


@pytest.fixture(scope="module")
def patients():
    return [draw_patient(2, index, 128) for index in range(60)]


def test_the_shares_of_the_cohort_are_those_intended(courses):
    states = [state for course in courses for state in course]
    assert 1.5 < np.mean([len(state) for state in states]) < 2.0
    assert 0.15 < np.mean([not state for state in states]) < 0.24
    numbers = []
    for course in courses:
        for place, current in enumerate(course):
            for prior in course[:place]:
                both = prior.keys() & current.keys()
                moved = sum(prior[name].level != current[name].level for name in both)
                numbers.append(len(prior.keys() ^ current.keys()) + moved)
    assert 0.24 < np.mean([number == 0 for number in numbers]) < 0.33
    assert 1.1 < np.mean(numbers) < 1.6
    assert {len(course) for course in courses} == {2, 3, 4, 5}


def test_the_same_level_of_a_patients_finding_is_the_same_lesion(courses):
    compared = 0
    for course in courses[:200]:
        for place, current in enumerate(course):
            for prior in course[:place]:
                for name in prior.keys() & current.keys():
                    if prior[name].level == current[name].level:
                        assert prior[name] == current[name]
                        compared += 1
                    else:
                        assert prior[name].severity != current[name].severity
                        assert prior[name].sides == current[name].sides
    assert compared > 100


def test_a_level_is_a_function_of_the_severity():
    drawn = [draw_lesion(kind, np.random.default_rng([3, index])) for kind in KINDS for index in range(200)]
    assert all(level_of(lesion.severity) == lesion.level for lesion in drawn)
    assert all(low[1] < high[0] for low, high in pairwise(SEVERITY))
    shares = np.bincount([lesion.level for lesion in drawn], minlength=4) / len(drawn)
    assert np.allclose(shares, SHARES, atol=0.05)


def test_levels_are_words_of_the_dataset():
    assert {level for kind in KINDS.values() for level in kind.levels} <= set(LEVELS)


def test_numbers_of_patients_and_studies_are_all_different(patients):
    subjects = [patient.subject_id for patient in patients]
    studies = [visit.study_id for patient in patients for visit in patient.visits]
    images = [picture.dicom_id for patient in patients for visit in patient.visits for picture in visit.pictures]
    for numbers in (subjects, studies, images):
        assert len(set(numbers)) == len(numbers)
    assert all(10_000_000 <= one < 20_000_000 for one in subjects)
    assert all(50_000_000 <= one < 60_000_000 for one in studies)
    assert all(re.fullmatch(r"([0-9a-f]{8}-){4}[0-9a-f]{8}", one) for one in images)


def test_studies_are_in_the_order_of_their_dates(patients):
    for patient in patients:
        dates = [visit.time.date() for visit in patient.visits]
        assert all(one < other for one, other in pairwise(dates))


def test_how_a_picture_was_taken_does_not_depend_on_the_size_or_the_disease(patients):
    for index in range(5):
        small, large = patients[index], draw_patient(2, index, 256)
        for one, other in zip(small.visits, large.visits, strict=True):
            assert one.findings == other.findings
            first, second = one.pictures[0].acquisition, other.pictures[0].acquisition
            assert (first.rotation, first.zoom, first.seed) == (second.rotation, second.zoom, second.seed)


def share_unchanged(still):
    """Of pairs of studies that follow one another, by whether the first has several findings."""
    unchanged = {True: [], False: []}
    for index in range(800):
        states = draw_course(np.random.default_rng([3, index]), still=still)
        for before, after in pairwise(states):
            unchanged[len(before) > 1].append(before == after)
    return {ill: np.mean(found) for ill, found in unchanged.items()}


def test_a_still_course_is_still_however_ill_the_patient_is():
    restless, still = share_unchanged(0.0), share_unchanged(0.6)
    for ill, share in restless.items():
        assert still[ill] == pytest.approx(0.6 + 0.4 * share, abs=0.05)
    assert set(share_unchanged(1.0).values()) == {1}


def test_every_ten_patients_are_split_seven_one_two():
    splits = [draw_patient(9, index, 64).split for index in range(30)]
    for start in (0, 10, 20):
        block = splits[start : start + 10]
        assert [block.count(name) for name in ("train", "validate", "test")] == [7, 1, 2]


def reports_of(patients):
    for patient in patients:
        for order, visit in enumerate(patient.visits):
            prior = patient.visits[order - 1] if order else None
            yield visit, write_report(patient, visit, prior, generator_for(2, patient.index, 77, order))


def test_what_reports_say_of_a_finding_is_true_and_some_are_left_out(patients):
    there = said = 0
    for visit, report in reports_of(patients):
        for sentence in report.findings:
            if sentence.finding == SUPPORT_DEVICES:
                assert visit.devices
            elif sentence.finding:
                assert (sentence.state != "no") == (sentence.finding in visit.findings), sentence.text
        there += len(visit.findings)
        said += sum(report.mentioned(name) is not None for name in visit.findings)
    assert 0.05 < 1 - said / there < 0.3


def test_a_complete_report_says_all_and_an_incomplete_one_part_of_it_in_the_same_words(patients):
    said = {0.0: 0, 0.5: 0}
    for patient in patients[:30]:
        for order, visit in enumerate(patient.visits):
            prior = patient.visits[order - 1] if order else None
            full, part = (
                write_report(
                    patient, visit, prior, generator_for(2, patient.index, 77, order), Reporting(omitted=omitted)
                )
                for omitted in said
            )
            there = [[one for one in report.findings if one.state != "no"] for report in (full, part)]
            assert {one.finding for one in there[0]} >= set(visit.findings)
            assert set(there[1]) <= set(there[0])
            for omitted, sentences in zip(said, there, strict=True):
                said[omitted] += len(sentences)
    assert 0.35 * said[0.0] < said[0.5] < 0.65 * said[0.0]


def test_where_no_side_is_said_the_regions_of_both_sides_are_meant(patients):
    for patient in patients[:30]:
        report = write_report(
            patient, patient.visits[0], None, generator_for(3, patient.index), Reporting(omitted=0.0, placed=0.0)
        )
        for sentence in report.findings:
            lesion = patient.visits[0].findings.get(sentence.finding)
            if lesion and len(lesion.sides) == 1:
                assert not re.search("left|right", sentence.text)
                assert any("left" in one for one in sentence.regions)
                assert any("right" in one for one in sentence.regions)


def test_a_rate_that_is_no_chance_is_named():
    with pytest.raises(InputError, match="omitted"):
        Reporting(omitted=1.5)


def test_findings_of_one_cause_occur_and_move_together(courses):
    states = [state for course in courses for state in course]
    share = {name: np.mean([name in state for state in states]) for name in KINDS}
    for one, other in (
        ("cardiomegaly", "edema"), ("edema", "pleural effusion"), ("pleural effusion", "atelectasis"),
    ):  # fmt: skip
        assert np.mean([one in state and other in state for state in states]) > 1.3 * share[one] * share[other]
    same = opposite = 0
    for course in courses:
        for prior, current in pairwise(course):
            moves = [
                (current[name].level if name in current else -1) - (prior[name].level if name in prior else -1)
                for name in ("edema", "pleural effusion")
            ]
            same += moves[0] * moves[1] > 0
            opposite += moves[0] * moves[1] < 0
    assert same > 1.5 * opposite


def test_a_nodule_never_vanishes_and_a_heart_changes_by_one_level(courses):
    resolved = 0
    for course in courses:
        for prior, current in pairwise(course):
            assert "nodule" in current or "nodule" not in prior
            if "cardiomegaly" in prior:
                after = current["cardiomegaly"].level if "cardiomegaly" in current else -1
                assert abs(after - prior["cardiomegaly"].level) <= 1
            resolved += "edema" in prior and "edema" not in current
    assert resolved > 50


def test_the_vocabulary_of_reports_is_modest(patients):
    words = {word for _, report in reports_of(patients) for word in re.findall(r"[a-z]+", report.text.lower())}
    assert 80 < len(words) < 300


TEMPLATES = {
    "abnormality": r"what abnormalities are seen in (this image|the (left|right) lung)\?|"
    r"is there evidence of any abnormalities in this image\?",
    "presence": r"is there evidence of .+ in this image\?|is there .+\?|is the .+ bilateral\?",
    "view": r"which view is this image taken\?|is this (PA|AP) view\?",
    "location": r"where in the image is the .+ located\?|where is the .+\?|"
    r"is the .+ located on the left side or right side\?",
    "level": r"what level is the .+\?",
    "type": r"what type is the .+\?",
    "difference": r"what has changed compared to the reference image\?|what has changed in the .+ area\?",
}


def test_questions_are_of_the_datasets_forms_and_three_to_five_a_study(patients):
    seen = set()
    for patient in patients:
        asked = ask(patient, np.random.default_rng(patient.index))
        for row in asked:
            assert re.fullmatch(TEMPLATES[row.type], row.question), row
            assert row.answer
            seen.add(row.type)
        for visit in patient.visits:
            own = [row.question for row in asked if row.study_id == visit.study_id and row.type != "difference"]
            assert 3 <= len(own) <= 5
            assert len(set(own)) == len(own)
    assert seen == set(TEMPLATES)


def test_single_image_answers_are_true(patients):
    checked = set()
    for patient in patients:
        visits = {visit.study_id: visit for visit in patient.visits}
        for row in ask(patient, np.random.default_rng(patient.index)):
            visit = visits[row.study_id]
            if match := re.fullmatch(r"is there evidence of (.+) in this image\?", row.question):
                present = bool(visit.findings) if match[1] == "any abnormalities" else match[1] in visit.findings
                assert row.answer == ("yes" if present else "no")
            elif match := re.fullmatch(r"what level is the (.+)\?", row.question):
                assert row.answer == visit.findings[match[1]].word
            elif match := re.fullmatch(r"where is the (.+)\?", row.question):
                assert row.answer == f"{location(visit.findings[match[1]])} area"
            elif row.question == "which view is this image taken?":
                assert row.answer == f"{visit.pictures[0].acquisition.view} view"
            else:
                continue
            checked.add(row.type)
    assert checked >= {"presence", "level", "location", "view"}


def test_area_questions_have_one_level_sentence_about_a_finding_in_that_area(patients):
    found = 0
    for patient in patients:
        visits = {visit.study_id: visit for visit in patient.visits}
        for row in ask(patient, np.random.default_rng(patient.index)):
            match = re.fullmatch(r"what has changed in the (.+) area\?", row.question)
            if not match:
                continue
            found += 1
            answer = re.fullmatch(r"the level of (.+) has changed from (.+) to (.+)\.", row.answer)
            lesion = visits[row.study_id].findings[answer[1]]
            assert location(lesion) == match[1]
            assert lesion.word == answer[3]
            changes = true_changes(visits[row.ref_id], visits[row.study_id])
            assert (answer[1], answer[2], answer[3]) in {(one.finding, one.before, one.after) for one in changes}
    assert found > 5
