"""An answer as a DICOM Comprehensive 3D Structured Report (template 1500), and what it says read back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID

from diffvqa.answering.answer import NOTICE, Answer, FoundBox
from diffvqa.answering.dicom.codes import DIFFERENCES, PRIVATE_SCHEME, finding_code
from diffvqa.answering.dicom.sources import MADE_BY, Sources, finish
from diffvqa.answering.marks import Mark, describe, difference, marks_of, why_not_compared
from diffvqa.boxes import Box
from diffvqa.errors import InputError
from diffvqa.findings import Change, ChangeKind

if TYPE_CHECKING:
    from highdicom.sr import ContentItem

SERIES_NUMBER = 9901

QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
FINDING_IN_WORDS = Code("finding", PRIVATE_SCHEME, "Finding in the words of the answer")
LEVEL_BEFORE = Code("level-before", PRIVATE_SCHEME, "Level in the prior image")
LEVEL_AFTER = Code("level-after", PRIVATE_SCHEME, "Level in the current image")
WHOLE_IMAGE = Code("whole-image", PRIVATE_SCHEME, "Place")

_KINDS: dict[str, ChangeKind] = {DIFFERENCES["new"].value: "added", DIFFERENCES["resolved"].value: "missing"}
_CONFIDENCE = "The certainty is the model's confidence in its whole answer; it is {}calibrated."


def make_report(answer: Answer, sources: Sources) -> Dataset:
    """The report: a measurement group (template 1501) for every mark, then the answer in words.

    Each group has a tracking identifier of its own, because viewers draw two groups of one identifier as one. The box
    is a closed polyline in pixels of its image. An answer that compares nothing gives words and the reason, no groups.
    """
    import highdicom as hd
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    marks, certainty = marks_of(answer, sources.sizes), round(100 * (answer.confidence or 0), 2)
    # Two reports that differ must not share an identifier, and one that is made again must keep it.
    content = (*(text for _, text in _words(answer)), str(certainty), *map(repr, marks))
    groups = [
        _group(mark, sources, sources.uid("mark", str(number), *content), f"{number} {mark.image}", certainty)
        for number, mark in enumerate(marks, start=1)
    ]
    report = hd.sr.Comprehensive3DSR(
        evidence=[sources.current, *sources.priors],
        content=_content(groups, _words(answer), sources),
        series_instance_uid=sources.uid("report series", *content),
        series_number=SERIES_NUMBER,
        sop_instance_uid=sources.uid("report", *content),
        device_serial_number=sources.model,
        is_final=False,
        is_verified=False,
        coding_schemes=[CodingSchemeIdentificationItem(PRIVATE_SCHEME, name="Codes of diffvqa")],
        **MADE_BY,
    )
    return finish(report, sources)


def _content(groups: Sequence[ContentItem], words: Iterable[tuple[Code, str]], sources: Sources) -> Dataset:
    """The tree of the report."""
    from highdicom import sr

    device = sr.DeviceObserverIdentifyingAttributes(
        uid=sources.device_uid, name="diffvqa", manufacturer_name="diffvqa", model_name="diffvqa"
    )
    root = sr.ContainerContentItem(codes.DCM.ImagingMeasurementReport, template_id="1500")
    root.ContentSequence = sr.ContentSequence(
        [
            *sr.LanguageOfContentItemAndDescendants(sr.CodedConcept("en", "RFC5646", "English")),
            *sr.ObservationContext(observer_device_context=sr.ObserverContext(codes.DCM.Device, device)),
            sr.CodeContentItem(codes.DCM.ProcedureReported, codes.SCT.ImagingProcedure, "HAS CONCEPT MOD"),
        ]
    )
    texts = [_text(name, text) for name, text in words]
    for name, items in ((codes.DCM.ImagingMeasurements, groups), (QUALITATIVE_EVALUATIONS, texts)):
        if items:
            container = sr.ContainerContentItem(name, relationship_type="CONTAINS")
            container.ContentSequence = sr.ContentSequence(items)
            root.ContentSequence.append(container)
    return root


def _words(answer: Answer) -> Iterator[tuple[Code, str]]:
    yield codes.DCM.Summary, answer.text or "(no words)"
    yield codes.DCM.Comment, f"Question: {answer.question}"
    if reason := why_not_compared(answer):
        yield codes.DCM.Comment, f"No comparison: {reason}."
    elif answer.changes and answer.boxes is None:
        yield codes.DCM.Comment, f"No boxes: {answer.boxes_reason}. Changes are marked with the whole image."
    if answer.changes is not None:
        yield codes.DCM.Comment, _CONFIDENCE.format("" if answer.calibrated else "not ")
    for image, names in (answer.findings or {}).items():
        named = ", ".join(names) or "no findings"
        yield codes.DCM.Comment, f"Asked about the {image} image by itself, the model names: {named}."
    for warning in answer.warnings:
        yield codes.DCM.Comment, f"Warning: {warning}."
    yield codes.DCM.Comment, NOTICE


def _group(mark: Mark, sources: Sources, uid: UID, name: str, certainty: float) -> ContentItem:
    """One mark; uid and name: its tracking identifiers. certainty: in per cent."""
    import numpy as np
    from highdicom import sr

    x1, y1, x2, y2 = mark.box.as_tuple()
    image = sources.current if mark.image == "current" else sources.priors[0]
    place = sr.CoordinatesForMeasurement(
        graphic_type="POLYLINE",
        graphic_data=np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1)]),
        source_image=sr.SourceImageForRegion(image.SOPClassUID, image.SOPInstanceUID),
    )
    measurement = sr.Measurement(
        codes.DCM.CertaintyOfFinding, certainty, codes.UCUM.Percent, referenced_coordinates=[place]
    )
    evaluation = sr.QualitativeEvaluation(codes.DCM.QualitativeDifference, DIFFERENCES[difference(mark.change)])
    parameters = [f"captioner {sources.captioner}"] if sources.captioner else None
    template = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid, f"{name}: {describe(mark)}"),
        finding_type=finding_code(mark.change.finding) if mark.change else None,
        algorithm_id=sr.AlgorithmIdentification("diffvqa", sources.model, parameters),
        measurements=[measurement],
        qualitative_evaluations=[evaluation],
    )
    (group,) = iter(template)
    if mark.change:
        group.ContentSequence.append(_text(FINDING_IN_WORDS, mark.change.finding))
        for when, level in ((LEVEL_BEFORE, mark.change.before), (LEVEL_AFTER, mark.change.after)):
            if level is not None:
                group.ContentSequence.append(_text(when, level))
    if not mark.found:
        group.ContentSequence.append(_text(WHOLE_IMAGE, "the whole image; no box is meant"))
    return group


def _text(name: Code, words: str) -> ContentItem:
    from highdicom import sr

    return sr.TextContentItem(name, words, "CONTAINS")


def read_changes_back(path: Path) -> tuple[tuple[Change, ...] | None, tuple[FoundBox, ...]]:
    """The changes and the boxes that a report of ours states, in its order; boxes that are the whole image are none.

    The changes are None where the report compares nothing. Coordinates come back as 32-bit floats. Raises InputError
    for a file that is no such report.
    """
    try:
        report = dcmread(path)
        current = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
        current_uid = current.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        groups = [
            group
            for container in _named(report, codes.DCM.ImagingMeasurements)
            for group in _named(container, codes.DCM.MeasurementGroup)
        ]
        changes: dict[Change, None] = {}
        boxes = []
        for group in groups:
            if not (change := _change(group)):
                continue
            changes[change] = None
            if not _named(group, WHOLE_IMAGE):
                boxes.append(_found_box(group, change, current_uid))
    except Exception as error:  # other files make pydicom raise many kinds
        raise InputError("expected a structured report of diffvqa, found another file") from error
    return (tuple(changes) if groups else None), tuple(boxes)


def _named(item: Dataset, name: Code) -> list[Dataset]:
    """The items right under this one that have this concept name."""
    return [
        one
        for one in item.get("ContentSequence", ())
        for concept in one.get("ConceptNameCodeSequence", ())
        if (concept.CodeValue, concept.CodingSchemeDesignator) == (name.value, name.scheme_designator)
    ]


def _change(group: Dataset) -> Change | None:
    if not (finding := [one.TextValue for one in _named(group, FINDING_IN_WORDS)]):
        return None
    (evaluation,) = _named(group, codes.DCM.QualitativeDifference)
    levels = [one.TextValue for name in (LEVEL_BEFORE, LEVEL_AFTER) for one in _named(group, name)]
    return Change(finding[0], _KINDS.get(evaluation.ConceptCodeSequence[0].CodeValue, "level"), *levels)


def _found_box(group: Dataset, change: Change, current_uid: str) -> FoundBox:
    (certainty,) = _named(group, codes.DCM.CertaintyOfFinding)
    (place,) = certainty.ContentSequence
    image = place.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    columns, rows = place.GraphicData[::2], place.GraphicData[1::2]
    box = Box(min(columns), min(rows), max(columns), max(rows))
    return FoundBox("current" if image == current_uid else "prior", change.finding, box)
