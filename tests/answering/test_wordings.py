"""Wordings of the question about changes lead to the one that is learnt; other questions stay as they are."""

import pytest

from diffvqa.answering.wordings import as_learnt, question_type
from diffvqa.data.store import Store
from diffvqa.findings import DIFFERENCE_QUESTION


@pytest.mark.parametrize(
    "question",
    [
        "What has changed?",
        "what has changed",
        "What changed since the last X-ray?",
        "What's changed compared to the previous image?",
        "what is different between the two images",
        "What are the differences?",
        "what is new since the prior study?",
        "Any changes?",
        "any change from the prior radiograph",
        "Are there any changes compared with the earlier exam?",
        "is there any difference between these images",
        "Has anything changed?",
        "describe the changes between the two studies",
        "What has changed compared to the reference image?",
        "Compare the two images",
        "what changes are there?",
        "Any interval change?",
        "is there any interval change",
        "interval changes",
        "Tell me what changed",
        "please describe the differences",
    ],
)
def test_wordings_of_any_change_are_asked_as_learnt(question):
    assert as_learnt(question) == DIFFERENCE_QUESTION


@pytest.mark.parametrize(
    "question",
    [
        "what has changed in the right lung area?",
        "what is the level of edema?",
        "what has changed in the heart since the last image?",
        "is there a new nodule?",
        "who took this picture?",
        "is the effusion larger than before?",
        "compare the hearts",
    ],
)
def test_questions_about_a_part_or_a_finding_stay_as_they_are(question):
    assert as_learnt(question) == question


@pytest.mark.parametrize(
    ("question", "learnt"),
    [
        ("Is there a nodule?", "is there nodule?"),
        ("is there any pneumothorax", "is there pneumothorax?"),
        ("Are there pleural effusions?", "is there pleural effusion?"),
        ("Do you see an atelectasis in the left lung?", "is there atelectasis in the left lung?"),
        ("Does the patient have edema?", "is there edema?"),
        ("is there any evidence of a pneumonia?", "is there evidence of pneumonia?"),
        ("what level is the edema", "what level is the edema?"),
        ("What abnormalities are seen in this image", "what abnormalities are seen in this image?"),
    ],
)
def test_other_words_for_a_question_of_the_dataset_are_asked_as_learnt(question, learnt):
    assert as_learnt(question) == learnt
    assert question_type(learnt)


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("what has changed compared to the reference image?", "difference"),
        ("what has changed in the right lung area?", "difference"),
        ("what abnormalities are seen in the left lung?", "abnormality"),
        ("is there evidence of any abnormalities in this image?", "abnormality"),
        ("is there evidence of pleural effusion in this image?", "presence"),
        ("is there edema in the left lung area?", "presence"),
        ("is the pleural effusion bilateral?", "presence"),
        ("which view is this image taken?", "view"),
        ("is this AP view?", "view"),
        ("where in the image is the edema located?", "location"),
        ("is the nodule located on the left side or right side?", "location"),
        ("what level is the pneumothorax?", "level"),
        ("what type is the consolidation?", "type"),
        ("is there a new nodule?", None),
        ("is there any hope?", None),
        ("is there?", None),
        ("what do you see?", None),
        ("what has changed in the patient's shoe?", None),
        ("what has changed in the heart since the last image?", None),
        ("what has changed apart from edema?", None),
        ("what has not changed?", None),
        ("is there edema in the reference image?", None),
        ("is there edema in the prior image and not in this image?", None),
        ("what abnormalities are seen in the prior image?", None),
        ("what abnormalities are seen in the cat?", None),
        ("what abnormalities are seen in the left costophrenic angle?", "abnormality"),
        ("what has changed in the mid to lower lung area?", "difference"),
    ],
)
def test_the_type_of_a_question_is_known_by_its_words(question, kind):
    assert question_type(question) == kind
    assert question_type(as_learnt(question)) == kind


def test_every_question_of_a_store_has_its_type(store_folder):
    for one in Store.open(store_folder).questions:
        assert question_type(one.text) == one.type
        assert as_learnt(one.text.upper()) == one.text
