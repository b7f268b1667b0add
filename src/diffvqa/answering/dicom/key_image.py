"""An answer as a picture that every viewer shows: both radiographs with their boxes, as a Secondary Capture."""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from pydicom import Dataset

from diffvqa.answering.answer import Answer
from diffvqa.answering.dicom.sources import MADE_BY, Sources, finish
from diffvqa.answering.marks import Mark, describe, marks_of, why_not_compared
from diffvqa.answering.overlay import Marked, draw_overlay
from diffvqa.boxes import Box
from diffvqa.images.radiograph import Radiograph

SERIES_NUMBER = 9902
WIDTH = 48
"""The longest line of a label, in characters, so that it fits into its panel."""


def make_key_image(answer: Answer, sources: Sources, radiographs: Mapping[str, Radiograph]) -> Dataset:
    """The picture, with the change written at each box and the notice below, in the study of the current image.

    radiographs: "current" and "prior".
    """
    import highdicom as hd

    remark = " (not compared)" if why_not_compared(answer) else ""
    marks = marks_of(answer, sources.sizes)
    panels = [
        (name + remark, radiographs[name], _labelled([mark for mark in marks if mark.image == name]))
        for name in ("prior", "current")
    ]
    pixels = np.asarray(draw_overlay(panels))
    content = hashlib.sha256(pixels.tobytes()).hexdigest()
    picture = hd.sc.SCImage.from_ref_dataset(
        sources.current,
        pixel_array=pixels,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),
        series_instance_uid=sources.uid("key image series", content),
        series_number=SERIES_NUMBER,
        sop_instance_uid=sources.uid("key image", content),
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        **MADE_BY,
    )
    picture.PatientOrientation = []  # two radiographs side by side have none in common
    picture.BodyPartExamined = "CHEST"
    picture.ConversionType = "WSD"
    picture.BurnedInAnnotation = "YES"
    return finish(picture, sources)


def _labelled(marks: Sequence[Mark]) -> list[Marked]:
    """Each box with all that is said of it: labels of one box would be drawn over one another."""
    texts: dict[Box, list[str]] = {}
    for mark in marks:
        texts.setdefault(mark.box, []).append(textwrap.fill(describe(mark), WIDTH))
    return [Marked("\n".join(lines), box) for box, lines in texts.items()]
