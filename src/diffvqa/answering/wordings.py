"""Questions in the words in which models learn them."""

from __future__ import annotations

import re
from collections.abc import Collection

from diffvqa.findings import CHANGE, DIFFERENCE_QUESTION, NAMES

_IMAGES = (
    r"(?:(?:to|with|since|from|between|than|versus|in|on|and|the|this|these|that|last|latest|prior|previous|earlier|"
    r"reference|main|current|two|both|images?|stud(?:y|ies)|exams?|examinations?|x-?rays?|radiographs?|pictures?|films?|"
    r"scans?|time|visit|one|before|compared|comparison|here|there|now|is|are|be|can|do|you|see|seen) ?)*"
)
_SOMETHING = r"(?:the )?(?:interval )?(?:changed?|changes?|differences?|different|new)"
_ANY_CHANGE = re.compile(
    r"(?:(?:please|can you|could you|tell me|show me) )*"
    rf"(?:(?:what(?:'s| has| have| is| are)?|what kind of|which|describe|list|(?:is|are) there|has|have|did)"
    rf"(?: any| anything| something)? {_SOMETHING}|(?:any )?{_SOMETHING}|compare) ?{_IMAGES}"
)


_NAME = rf"(?:{'|'.join(sorted(NAMES, key=len, reverse=True))})"
_PLACE_WORD = (
    r"(?:left|right|left-sided|right-sided|bilateral|bibasilar|basilar|basal|bases?|ap(?:ex|ices)|apical|apicolateral|"
    r"upper|middle|mid|lower|to|and|lungs?|lobes?|areas?|zones?|pleural|retrocardiac|pericardial|ribs?|hil(?:um|ar)|"
    r"structures|costophrenic|angles?|hemidiaphragms?|mediastin(?:um|al)|cardiac|heart|silhouette|aortic|arch|trachea|"
    r"carina|spine|clavicles?|abdomen)"
)
_PLACE = rf"(?:the )?{_PLACE_WORD}(?: {_PLACE_WORD})*"
_IN = rf"in (?:this image|{_PLACE})"
_TYPES = {
    kind: re.compile(words)
    for kind, words in {
        "difference": rf"{CHANGE} (?:compared to the reference image|in the {_PLACE} area)",
        "abnormality": rf"what abnormalities are seen {_IN}|is there evidence of any abnormalities in this image",
        "presence": rf"is there (?:evidence of )?{_NAME}(?: {_IN})?|is the {_NAME} bilateral",
        "view": r"which view is this image taken|is this (?:pa|ap) view",
        "location": rf"where (?:in the image )?is the {_NAME}(?: located)?|"
        rf"is the {_NAME} located on the left side or right side",
        "level": rf"what level is the {_NAME}",
        "type": rf"what type is the {_NAME}",
    }.items()
}
"""The forms of the questions of Medical-Diff-VQA in small letters, without the question mark."""


_IS_THERE = re.compile(
    r"(?:(?:is|are) there|do you see|does (?:the|this) (?:patient|image) (?:have|show)) (?:any )?"
    rf"(?P<evidence>evidence of |signs? of )?(?:an? |the |any )?(?P<name>{_NAME})s?(?P<place> {_IN})?"
)


def as_learnt(question: str) -> str:
    """A question in small letters, in the words of the training where they say the same.

    So does whatever asks for any change between two images, or whether one finding is there.
    """
    question = " ".join(question.lower().split())
    words = question.rstrip("?!. ")
    if _ANY_CHANGE.fullmatch(words):
        return DIFFERENCE_QUESTION
    if asked := _IS_THERE.fullmatch(words):
        evidence = "evidence of " if asked["evidence"] else ""
        return f"is there {evidence}{asked['name']}{asked['place'] or ''}?"
    if question_type(words):
        question = f"{words}?"
    # The one question of the dataset that has capitals.
    return re.sub(r"\b(?:ap|pa)(?= view\b)", lambda view: view[0].upper(), question)


def question_type(question: str) -> str | None:
    """The type of a question that is asked in the words of Medical-Diff-VQA; None for any other."""
    words = question.lower().rstrip("? ")
    return next((kind for kind, form in _TYPES.items() if form.fullmatch(words)), None)


def why_not_asked(question: str, taught: Collection[str] | None) -> str | None:
    """Why a model that was taught these types of questions cannot be asked this one, or None if it can.

    taught: None where nobody knows. A type of another dataset may have questions in any words.
    """
    kind = question_type(question)
    if kind is None or taught is None or kind in taught or not _TYPES.keys() >= set(taught):
        return None
    return f"the model was never taught questions of the type {kind}, only of {', '.join(sorted(taught))}"
