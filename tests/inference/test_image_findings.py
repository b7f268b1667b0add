"""The findings that are named in each image alone."""

import json

import pytest

from diffvqa.findings import ANY_ABNORMALITY_QUESTION, Change, read_findings
from diffvqa.inference import image_findings
from diffvqa.inference.asking import WrittenAnswer
from diffvqa.inference.training_record import types_taught


@pytest.mark.parametrize(
    ("text", "findings"),
    [
        ("edema", ("edema",)),
        ("Edema,  pleural effusion.", ("edema", "pleural effusion")),
        ("edema, infection, edema, pneumonia", ("edema", "pneumonia")),
        ("tortuosity of the thoracic aorta", ("tortuosity of the thoracic aorta",)),
        ("", None),
        ("yes", None),
        ("edema, ", None),
        ("edema and pleural effusion", ("edema", "pleural effusion")),
        ("the main image has an additional finding of edema", None),
        ("nothing has changed.", None),
        ("nothing", None),
        ("edema, no pleural effusion", None),
    ],
)
def test_answers_that_name_findings(text, findings):
    assert read_findings(text) == findings


@pytest.fixture
def saying(monkeypatch):
    """A model that answers whether there are abnormalities, and which, in fixed words by image."""

    def say(**words):
        def answer(folder, questions, features, beams, cluster):
            assert beams == 1
            return [
                WrittenAnswer(words[pair.current][question != ANY_ABNORMALITY_QUESTION], 0.9)
                for pair, question in questions
            ]

        monkeypatch.setattr(image_findings, "answer_questions", answer)
        return image_findings.name_findings(None, dict.fromkeys(words))

    return say


def test_each_image_has_its_findings_and_none_where_the_model_says_none(saying):
    found = saying(current=("yes", "edema, nodule"), prior=("no", "edema"))
    assert found == {"current": ("edema", "nodule"), "prior": ()}


def test_an_answer_that_cannot_be_read_names_nothing(saying):
    assert saying(current=("no", "edema"), prior=("yes", "yes")) == {"current": (), "prior": None}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"finished": True, "config": {"priors": 1, "seed": 0, "questions": {"abnormality": 0.5}}}, None),
        (
            # Configured, but the store had none of them.
            {
                "finished": True,
                "questions_by_type": {"difference": 9},
                "config": {"priors": 1, "seed": 0, "questions": {"abnormality": 0.5, "difference": 1}},
            },
            "was not trained on questions about the abnormalities",
        ),
        (
            {"finished": True, "config": {"priors": 1, "seed": 0, "questions": {"abnormality": 0, "difference": 1}}},
            "not trained",
        ),
        ({"finished": True, "config": {"priors": 1, "seed": 0, "questions": {"difference": 1}}}, "not trained"),
        ({"config": []}, "run.json"),
        (None, "run.json"),
    ],
)
def test_a_model_is_asked_what_it_was_trained_on(tmp_path, record, reason):
    if record is not None:
        (tmp_path / "run.json").write_text(json.dumps(record))
    found = image_findings.why_no_findings(types_taught(tmp_path))
    assert found is None if reason is None else reason in found


@pytest.mark.parametrize(
    ("changes", "prior", "current", "expected"),
    [
        ((), ("edema",), ("edema",), False),
        ((), (), ("edema",), True),
        ((Change("edema", "added"),), ("nodule",), ("edema",), False),
        ((Change("edema", "added"),), ("edema",), ("edema",), True),
        ((Change("edema", "added"),), (), (), True),
        ((Change("edema", "missing"),), ("edema",), (), False),
        ((Change("edema", "missing"),), (), ("edema",), True),
        ((Change("edema", "level", "mild", "severe"),), ("edema",), ("edema",), False),
        ((Change("edema", "level", "mild", "severe"),), ("edema",), (), True),
    ],
)
def test_findings_that_contradict_the_changes_are_found(changes, prior, current, expected):
    assert image_findings.contradict(changes, {"prior": prior, "current": current}) is expected
