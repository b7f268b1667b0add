"""The DICOM objects of an answer: their sources are read first, and they are saved last."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from diffvqa.errors import InputError

if TYPE_CHECKING:
    from diffvqa.answering.answer import Answer
    from diffvqa.answering.dicom.sources import Sources as DicomSources
    from diffvqa.images.radiograph import Radiograph


def read_dicom_sources(model: Path, radiographs: dict[str, Radiograph], question: str | None) -> DicomSources:
    """The sources of a structured report, checked before the model is loaded."""
    from diffvqa.answering.case import read_question
    from diffvqa.answering.dicom.sources import read_sources
    from diffvqa.answering.wordings import question_type
    from diffvqa.findings import DIFFERENCE_QUESTION
    from diffvqa.inference.grounding import CAPTIONER
    from diffvqa.inference.hub import model_folder
    from diffvqa.models.folder import weights_digest

    if question_type(read_question(question, alone=False)) != "difference":
        raise InputError(
            f"needs a question about changes; leave out {{question}}, or ask {DIFFERENCE_QUESTION!r}",
            argument="dicom_sr",
            mentions=("question",),
        )
    model = model_folder(model)
    captioner = weights_digest(model / CAPTIONER) if (model / CAPTIONER).is_dir() else None
    current, *priors = radiographs.values()
    return read_sources(current, priors, weights_digest(model), captioner)


def save_dicom(result: Answer, sources: DicomSources, radiographs: dict[str, Radiograph], folder: Path) -> None:
    """Write a structured report and a key image. Raises InputError if the model was changed meanwhile."""
    from diffvqa.answering.dicom.key_image import make_key_image
    from diffvqa.answering.dicom.sources import make_folder, save
    from diffvqa.answering.dicom.structured_report import make_report

    if not sources.model.startswith(result.model.version):
        raise InputError("its files were changed while they were being read; try again", argument="model")
    make_folder(folder)
    save(make_report(result, sources), folder, "report")
    save(make_key_image(result, sources, radiographs), folder, "key-image")
    # stdout is left alone: one JSON object may be expected there.
    print("wrote a structured report and a key image; they hold the patient's data", file=sys.stderr)
