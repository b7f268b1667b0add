"""The question about changes, in the words in which models learn it."""

from __future__ import annotations

import re

from diffvqa.findings import DIFFERENCE_QUESTION

_IMAGES = (
    r"(?:(?:to|with|since|from|between|than|versus|in|on|and|the|this|these|that|last|latest|prior|previous|earlier|"
    r"reference|main|current|two|both|images?|stud(?:y|ies)|exams?|examinations?|x-?rays?|radiographs?|pictures?|films?|"
    r"scans?|time|visit|one|before|compared|comparison|here|there|now|is|are|be|can|do|you|see|seen) ?)*"
)
_SOMETHING = r"(?:the )?(?:changed?|changes?|differences?|different|new)"
_ANY_CHANGE = re.compile(
    rf"(?:(?:what(?:'s| has| have| is| are)?|what kind of|which|describe|list|(?:is|are) there|has|have|did)"
    rf"(?: any| anything| something)? {_SOMETHING}|any {_SOMETHING}|compare) ?{_IMAGES}"
)


def as_learnt(question: str) -> str:
    """A question in small letters; where it asks for any change between two images, in the words of the training."""
    question = " ".join(question.lower().split())
    return DIFFERENCE_QUESTION if _ANY_CHANGE.fullmatch(question.rstrip("?!. ")) else question
