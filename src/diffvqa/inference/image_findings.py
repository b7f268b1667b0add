"""The findings that a difference model names in each image alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from diffvqa.findings import ABNORMALITIES_QUESTION, ANY_ABNORMALITY_QUESTION, SHOWN_IN, Change, read_findings
from diffvqa.inference.asking import answer_questions
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.folder import ModelFolder
from diffvqa.records import Pair


def why_no_findings(taught: Collection[str] | None) -> str | None:
    """Why a model cannot be asked for the findings of one image, or None; taught: the types of questions it learnt."""
    if taught is None:
        return "the model folder does not say which questions the model was trained on (run.json)"
    if "abnormality" not in taught:
        return "the model was not trained on questions about the abnormalities of one image"
    return None


def contradict(changes: Collection[Change], findings: Mapping[str, Collection[str]]) -> bool:
    """Whether the findings named in the prior and the current image do not agree with the changes between them."""
    prior, current = set(findings["prior"]), set(findings["current"])
    if not changes:
        return prior != current
    shown = {"prior": prior, "current": current}
    return any(
        (change.finding in shown[image]) != (image in SHOWN_IN[change.kind]) for change in changes for image in shown
    )


def name_findings(
    folder: ModelFolder[DifferenceModel],
    features: Mapping[str, np.ndarray],
    beams: int = 1,
    cluster: str | None = None,
) -> dict[str, tuple[str, ...] | None]:
    """The findings named in each image, None where what was written is no list of names; features: patch tokens.

    Two questions an image: the model has learnt to name findings of images that have some, so that it would name some
    in any. No finding is named if the model says that there is none.
    """
    asked = [
        (Pair(image), question) for image in features for question in (ANY_ABNORMALITY_QUESTION, ABNORMALITIES_QUESTION)
    ]
    texts = iter([written.text for written in answer_questions(folder, asked, features, beams=beams, cluster=cluster)])
    findings = {}
    for image, any_text, names_text in zip(features, texts, texts, strict=True):
        findings[image] = () if any_text.strip(". ") == "no" else read_findings(names_text)
    return findings
