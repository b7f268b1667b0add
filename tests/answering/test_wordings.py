"""Wordings of the question about changes lead to the one that is learnt; other questions stay as they are."""

import pytest

from diffvqa.answering.wordings import as_learnt
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
    ],
)
def test_wordings_of_any_change_are_asked_as_learnt(question):
    assert as_learnt(question) == DIFFERENCE_QUESTION


@pytest.mark.parametrize(
    "question",
    [
        "what has changed in the right lung area?",
        "what is the level of edema?",
        "is there any pneumothorax?",
        "what has changed in the heart since the last image?",
        "is there a new nodule?",
        "who took this picture?",
        "is the effusion larger than before?",
        "compare the hearts",
    ],
)
def test_questions_about_a_part_or_a_finding_stay_as_they_are(question):
    assert as_learnt(question) == question
