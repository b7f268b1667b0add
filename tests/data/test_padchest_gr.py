import json
import shutil
from collections import Counter

import numpy as np
import pytest
from PIL import Image as PillowImage

from diffvqa.boxes import Box
from diffvqa.data import read_sources, splits
from diffvqa.data.inspection import check_files, summarise
from diffvqa.data.problems import FAULTS, NOTES
from diffvqa.errors import InputError
from diffvqa.findings import Change, read_changes

WIDTH, HEIGHT = 80, 100

PROBLEMS = {
    "box_clipped": 1,
    "box_dropped": 4,
    "change_unstated": 6,
    "date_unreadable": 1,
    "image_missing": 2,
    "image_unreadable": 1,
    "pair_of_one_study": 1,
    "pair_of_two_patients": 1,
    "pair_reversed": 1,
    "path_outside": 2,
    "question_without_image": 1,
    "row_duplicated": 2,
    "patient_missing": 1,
    "row_incomplete": 4,
    "split_unknown": 2,
}
"""How many of each kind of fault lie in the dataset that `write_padchest` makes."""


def finding(sentence, *labels, boxes=(), progression=None, **more):
    return {
        "sentence_en": sentence,
        "sentence_es": "",
        "abnormal": bool(labels),
        "boxes": [list(box) for box in boxes],
        "extra_boxes": [],
        "labels": list(labels),
        "locations": [],
        "progression": progression,
    } | more


NORMAL = {"sentence_en": "No  pleural\neffusion.", "abnormal": False, "progression": None}


def entry(study, *findings, previous=None, previous_image=None):
    return {
        "StudyID": study,
        "ImageID": f"{study}.png",
        "PreviousStudyID": previous,
        "PreviousImageID": previous_image or (previous and f"{previous}.png"),
        "findings": list(findings),
    }


ENTRIES = [
    entry("a1", finding("Small effusion", "pleural effusion", boxes=[(0.5, 0.5, 0.75, 1.0)]), NORMAL),
    entry(
        "a2",
        finding("Elongated  aorta.", "Aortic elongation", boxes=[(0.25, 0.1, 0.5, 0.3), (0.5, 0.1, 1.25, 0.3)]),
        finding("Infiltrate.", "infiltrates", extra_boxes=[[0, 0, 0.5, 0.5]]),
        finding(
            "Odd.",
            "Very rare sign",
            "normal",
            boxes=[(0.5, 0.5, 0.5, 0.9), (1.5, 0, 2, 1), (0, 0, "x", 1), (0, 0, 1)],
            extra_boxes=[[0, 0, 1, 1]],
        ),
        finding("", "scoliosis", boxes=[(0, 0, 1, 1)]),  # no sentence
        previous="a1",
    ),
    # Prior images without a report of their own.
    entry("b1", finding("New.", "pneumothorax", progression="New"), previous="b0"),
    entry("c1", finding("Same.", "atelectasis", progression="unchanged"), previous="c0"),
    entry(
        "c2",
        finding("Same.", "atelectasis", progression="stable"),
        finding("New.", "laminar atelectasis", progression="new"),  # a second one of its kind
        previous="c0",
    ),
    entry("d1", finding("Worse.", "atelectasis", progression="worsening"), previous="a1"),  # another patient's
    entry("d2", finding("Worse.", "atelectasis", progression="worsening"), previous="d1"),
    entry("d3", finding("Something.", "atelectasis", progression="sideways"), previous="d0"),
    entry("d4", finding("New.", "mass", progression="new"), finding("Nodule.", "nodule"), previous="d0"),
    entry("d5", NORMAL, previous="d0"),
    entry("d6", {**finding("New.", progression="new"), "abnormal": True}, previous="d0"),  # without a label
    # Faults.
    entry("e1-lost", NORMAL),
    entry("e2", NORMAL, previous="e1-lost"),  # its image cannot be used
    entry("e3", NORMAL, previous="e0-lost"),
    entry("e4", NORMAL, previous="e3", previous_image="../e0.png"),
    entry("../e5", NORMAL),
    entry("e6-broken", NORMAL),
    entry("e7", NORMAL, previous="e7"),
    entry("e8", NORMAL, previous="e9"),  # the later one
    entry("e9", finding("Edema.", "pulmonary edema")),
    entry("f1-dateless", NORMAL),
    entry("f2-splitless", NORMAL),
    entry("f3-unlisted", NORMAL),
    entry("f4-nobody", NORMAL),
    entry("e9", NORMAL),  # an image twice
    {**entry("e9", NORMAL), "ImageID": "e3.png", "StudyID": "e10"},
    {"StudyID": "g1", "findings": []},
    entry("g2", "no finding at all"),
    "no entry at all",
]

TABLE = [
    ("a1", "a", "train", "20140101"),
    ("a1", "a", "train", "20140101"),  # a row a label
    ("a2", "a", "train", "20140915"),
    ("b1", "b", "validation", "20150101"),
    ("c1", "c", "test", "20150101"),
    ("c2", "c", "test", "20140101"),
    *((f"d{number}", "d", "train", f"2015010{number}") for number in range(1, 7)),
    *((f"e{number}", "e", "train", f"2015010{number}") for number in (2, 3, 4, 7, 8, 9)),
    ("e1-lost", "e", "train", "20150101"),
    ("../e5", "e", "train", "20150105"),
    ("e6-broken", "e", "train", "20150106"),
    ("f1-dateless", "f", "train", "2015"),
    ("f2-splitless", "f", "somewhere", "20150101"),
    ("f4-nobody", "", "train", "20150101"),
]

PRIORS = ("b0", "c0", "d0")


def write_padchest(folder, makers):
    """A release of PadChest-GR in `folder`, with the faults of PROBLEMS."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "grounded_reports_20240819.json").write_text(json.dumps(ENTRIES))
    rows = [(study, f"{study}.png", patient, split, date) for study, patient, split, date in TABLE]
    makers["table"](folder / "master_table.csv", ("StudyID", "ImageID", "PatientID", "split", "StudyDate_DICOM"), rows)
    images = folder / "Padchest_GR_files" / "PadChest_GR"
    priors = folder / "PadChest_GR_progression_prior_studies" / "nested"
    images.mkdir(parents=True)
    priors.mkdir(parents=True)
    names = {one["StudyID"] for one in ENTRIES if isinstance(one, dict)} - {"e1-lost", "../e5"}
    for seed, name in enumerate(sorted({*names, *PRIORS})):
        pixels = np.random.default_rng(seed).integers(0, 4096, (HEIGHT, WIDTH), np.uint16)
        PillowImage.fromarray(pixels).save((priors if name in PRIORS else images) / f"{name}.png")
    (images / "e6-broken.png").write_bytes(b"not an image")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, makers):
    """A dataset that no test may change."""
    folder = tmp_path_factory.mktemp("padchest")
    write_padchest(folder, makers)
    return folder


@pytest.fixture(scope="module")
def cohort(folder):
    return read_sources([f"padchest-gr:{folder}"])


@pytest.fixture
def own(folder, tmp_path):
    """A copy that the test may change."""
    shutil.copytree(folder, tmp_path / "own")
    return tmp_path / "own"


def replace_entries(folder, entries):
    (folder / "grounded_reports_20240819.json").write_text(json.dumps(entries))


def test_every_planted_fault_is_counted_once(cohort):
    assert Counter(problem.kind for problem in cohort.problems) == PROBLEMS
    assert PROBLEMS.keys() <= FAULTS.keys() | NOTES.keys()


def test_problems_name_the_list_and_the_number_of_the_entry(cohort):
    found = {problem.source for problem in cohort.problems if problem.kind == "image_unreadable"}
    number = 1 + next(at for at, one in enumerate(ENTRIES) if one["StudyID"] == "e6-broken")
    assert found == {("grounded_reports_20240819.json", number)}
    assert all(problem.source.file == "grounded_reports_20240819.json" for problem in cohort.problems)


def test_studies(cohort):
    studies = {study.study_id: study for study in cohort.studies}
    assert len(studies) == len(cohort.studies)
    assert studies.keys() == {
        "a1", "a2", "b0", "b1", "c0", "c1", "c2", "d0", "d1", "d2", "d3", "d4", "d5", "d6",
        "e2", "e3", "e4", "e7", "e8", "e9",
    }  # fmt: skip
    assert studies["a1"].report == "Small effusion. No pleural effusion."
    assert studies["a1"].findings == ("pleural effusion",)
    assert studies["a2"].findings == (
        "tortuosity of the thoracic aorta",
        "infiltration",
        "very rare sign",
        "scoliosis",
    )
    assert studies["a1"].order < studies["a2"].order
    assert {study.split for study in cohort.studies if study.subject_id == "b"} == {"validate"}
    assert summarise(cohort)["shared_patients"] == 0
    for study in cohort.studies:
        (image,) = study.images
        assert image.image_id == image.path.name == f"{study.study_id}.png"
        assert (image.width, image.height) == (WIDTH, HEIGHT)
    assert check_files(cohort, deep=True) is cohort


def test_prior_images_without_a_report_stand_before_all_that_name_them(cohort):
    studies = {study.study_id: study for study in cohort.studies}
    for prior, followers in (("b0", ["b1"]), ("c0", ["c1", "c2"]), ("d0", ["d3", "d4", "d5", "d6"])):
        assert all(studies[prior].order < studies[one].order for one in followers)
        assert {(studies[one].subject_id, studies[one].split) for one in followers} == {
            (studies[prior].subject_id, studies[prior].split)
        }
        assert (studies[prior].findings, studies[prior].report) == ((), "")


def test_boxes_are_in_pixels_with_the_sentence_as_phrase(cohort):
    regions = {study.study_id: study.images[0].regions for study in cohort.studies}
    assert [(region.box, region.name, region.phrases) for region in regions["a1"]] == [
        (Box(40, 50, 60, 100), None, ("Small effusion",))
    ]
    assert [(region.box, region.phrases) for region in regions["a2"]] == [
        (Box(20, 10, 40, 30), ("Elongated aorta.",)),
        (Box(40, 10, 80, 30), ("Elongated aorta.",)),
        (Box(0, 0, 40, 50), ("Infiltrate.",)),  # only the second reader has one
    ]
    assert sum(map(len, regions.values())) == 4


def test_difference_questions_say_what_the_release_says(cohort):
    found = {
        (question.pair.prior[:-4], question.pair.current[:-4]): read_changes(question.answer)
        for question in cohort.questions
    }
    assert found == {
        ("a1", "a2"): (
            frozenset(
                {
                    Change("pleural effusion", "missing"),
                    Change("tortuosity of the thoracic aorta", "added"),
                    Change("infiltration", "added"),
                    Change("very rare sign", "added"),
                    Change("scoliosis", "added"),
                }
            ),
        ),
        ("b0", "b1"): (frozenset({Change("pneumothorax", "added")}),),
        ("c0", "c1"): (frozenset(),),
    }
    assert all(question.source.file == "grounded_reports_20240819.json" for question in cohort.questions)
    assert {question.pair.current: question.split for question in cohort.questions} == {
        "a2.png": "train",
        "b1.png": "validate",
        "c1.png": "test",
    }


def test_worse_rules_a_question_out_even_where_both_have_a_report(own):
    for progression, count in ((None, 1), ("Worse", 0), ("improved", 0), ("new", 1)):
        replace_entries(own, [ENTRIES[0], entry("a2", finding("E.", "edema", progression=progression), previous="a1")])
        cohort = read_sources([f"padchest-gr:{own}"])
        assert len(cohort.questions) == count
        assert Counter(problem.kind for problem in cohort.problems) == Counter(change_unstated=1 - count)


@pytest.mark.parametrize(
    ("labels", "progression", "answer"),
    [
        (("pleural effusion",), "stable", frozenset()),
        (("edema",), "stable", None),
        (("pleural effusion", "edema"), "unchanged", None),
        (("pleural effusion",), "new", None),
        (("pleural effusion", "edema"), "new", frozenset({Change("edema", "added")})),
    ],
)
def test_what_is_said_of_a_finding_must_agree_with_the_prior_report(own, labels, progression, answer):
    replace_entries(own, [ENTRIES[0], entry("a2", finding("F.", *labels, progression=progression), previous="a1")])
    cohort = read_sources([f"padchest-gr:{own}"])
    assert [read_changes(question.answer) for question in cohort.questions] == ([] if answer is None else [(answer,)])
    reasons = [problem.reason for problem in cohort.problems if problem.kind == "change_unstated"]
    assert reasons == (
        ["a finding is said to be new or stable, and the report of the prior image says otherwise"]
        if answer is None
        else []
    )


def test_another_image_of_a_study_shares_its_report(own):
    shutil.copy(own / "Padchest_GR_files" / "PadChest_GR" / "a1.png", own / "a1-second.png")
    replace_entries(own, [ENTRIES[0], entry("a2", previous="a1", previous_image="a1-second.png")])
    cohort = read_sources([f"padchest-gr:{own}"])
    (question,) = cohort.questions
    assert (question.pair.prior, question.pair.current) == ("a1-second.png", "a2.png")
    assert read_changes(question.answer) == (frozenset({Change("pleural effusion", "missing")}),)
    assert [[image.image_id for image in study.images] for study in cohort.studies] == [
        ["a1.png", "a1-second.png"],
        ["a2.png"],
    ]


def test_a_previous_study_without_an_image_is_counted(own):
    replace_entries(own, [entry("a2") | {"PreviousStudyID": "elsewhere"}, entry("d1") | {"PreviousStudyID": "a2"}])
    cohort = read_sources([f"padchest-gr:{own}"])
    assert not cohort.questions
    kinds = Counter(problem.kind for problem in cohort.problems)
    assert kinds == {"question_without_image": 1, "pair_of_two_patients": 1}


@pytest.mark.parametrize("place", ["Padchest_GR_files", "images", "PadChest_GR", "."])
def test_images_are_found_in_any_of_their_folders(own, place, cohort):
    found = own / "Padchest_GR_files" / "PadChest_GR"
    images = list(found.iterdir())
    (own / place).mkdir(exist_ok=True)
    for path in images:
        path.rename(own / place / path.name)
    assert len(read_sources([f"padchest-gr:{own}"]).studies) == len(cohort.studies)


def test_the_release_may_lie_one_folder_deeper_and_its_table_be_compressed(own, makers, cohort):
    text = (own / "master_table.csv").read_text().splitlines()
    makers["table"](own / "master_table.csv.gz", text[0].split(","), [line.split(",") for line in text[1:]])
    (own / "master_table.csv").unlink()
    own.rename(own.parent / "release")
    again = read_sources([f"padchest-gr:{own.parent}"])
    assert [(study.study_id, study.subject_id, study.order) for study in again.studies] == [
        (study.study_id, study.subject_id, study.order) for study in cohort.studies
    ]


def test_without_the_table_chains_of_studies_are_patients(own):
    (own / "master_table.csv").unlink()
    replace_entries(
        own,
        [
            entry("a2", finding("E.", "edema"), previous="a1"),
            entry("a1", previous="b0"),
            entry("b1", finding("E.", "edema", progression="new"), previous="b0"),
            entry("c1"),
            entry("e3", previous="e4"),
            entry("e4", previous="e3"),  # each before the other
        ],
    )
    cohort = read_sources([f"padchest-gr:{own}"])
    assert {study.study_id: study.subject_id for study in cohort.studies} == {
        "a2": "b0", "a1": "b0", "b1": "b0", "b0": "b0", "c1": "c1", "e3": "e4", "e4": "e3",
    }  # fmt: skip
    assert all(study.split == splits.split_of(study.subject_id) for study in cohort.studies)
    order = {study.study_id: study.order for study in cohort.studies}
    assert order["b0"] < order["a1"] < order["a2"]
    assert order["b0"] < order["b1"]
    assert {question.pair.images for question in cohort.questions} == {("a2.png", "a1.png"), ("b1.png", "b0.png")}
    assert Counter(problem.kind for problem in cohort.problems) == {
        "part_missing": 1,
        "change_unstated": 1,
        "pair_of_two_patients": 2,
    }


@pytest.mark.parametrize("keep", [0, 1, 400])
def test_a_list_that_is_cut_short_is_refused(own, keep):
    path = own / "grounded_reports_20240819.json"
    path.write_text(path.read_text()[:keep])
    with pytest.raises(InputError, match=r"grounded_reports_20240819.json: .*cut short; fetch it again") as error:
        read_sources([f"padchest-gr:{own}"])
    assert str(own) not in str(error.value)


@pytest.mark.parametrize("content", ["{}", "null", '"text"', b"\xff\xfe", "[" * 100_000])
def test_what_is_no_list_is_refused(own, content):
    content = content if isinstance(content, bytes) else content.encode()
    (own / "grounded_reports_20240819.json").write_bytes(content)
    with pytest.raises(InputError, match="cut short; fetch it again"):
        read_sources([f"padchest-gr:{own}"])


def test_odd_values_are_no_reason_to_stop(own):
    odd = [None, 3, True, "text", [], {}, [[]], [None], [{}], 1e300, float("nan")]
    findings = [
        {key: value}
        for key in ("sentence_en", "abnormal", "boxes", "extra_boxes", "labels", "progression")
        for value in odd
    ]
    entries = [entry("a1") | {key: value} for key in ("StudyID", "ImageID", "findings") for value in odd]
    replace_entries(own, [entry("b1", *findings), *entries, ENTRIES[1] | {"PreviousImageID": float("nan")}])
    cohort = read_sources([f"padchest-gr:{own}"])
    assert {"b1", "a2"} <= {study.study_id for study in cohort.studies}
    assert {problem.kind for problem in cohort.problems} <= FAULTS.keys() | NOTES.keys()


@pytest.mark.parametrize("column", ["StudyID", "PatientID", "split"])
def test_a_missing_column_is_named(own, column):
    path = own / "master_table.csv"
    path.write_text(path.read_text().replace(column, "else", 1))
    with pytest.raises(InputError, match=f"master_table.csv: no column '{column}'"):
        read_sources([f"padchest-gr:{own}"])


def test_without_dates_the_chain_gives_the_order(own):
    path = own / "master_table.csv"
    path.write_text(path.read_text().replace("StudyDate_DICOM", "else", 1))
    cohort = read_sources([f"padchest-gr:{own}"])
    order = {study.study_id: study.order for study in cohort.studies}
    assert order["b0"] < order["b1"]
    assert order["a1"] < order["a2"]
    assert not {"date_unreadable", "pair_reversed"} & {problem.kind for problem in cohort.problems}


def test_one_patient_with_two_years_of_birth_or_sexes_is_two_people(own):
    before = {study.study_id for study in read_sources([f"padchest-gr:{own}"]).studies}
    path = own / "master_table.csv"
    header, *rows = path.read_text().splitlines()
    # The same year, written as two programs write it; and another year for the last study of that patient.
    born = {"d1": "1950", "d2": "1950.0", "d3": "1961"}
    rows = [f"{row},{born.get(row.split(',')[0], '')}" for row in rows]
    path.write_text("\n".join([f"{header},PatientBirth", *rows]) + "\n")
    cohort = read_sources([f"padchest-gr:{own}"])
    assert before - {study.study_id for study in cohort.studies} == {"d3"}
    assert [problem.kind for problem in cohort.problems].count("patient_of_two_people") == 1


def test_no_image_at_all_is_refused(own):
    shutil.rmtree(own / "Padchest_GR_files")
    with pytest.raises(InputError, match=r"padchest-gr: none of the \d+ studies"):
        read_sources([f"padchest-gr:{own}"])
