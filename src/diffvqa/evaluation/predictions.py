"""Predictions as they lie in a file: one JSON object a line, each checked where it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

from diffvqa.boxes import Box
from diffvqa.errors import InputError
from diffvqa.findings import SYNONYMS, Change, change_kind
from diffvqa.parsing import parse_json

QUESTION_TASK = "question"
"""The task of a line that names none: a question was asked and an answer given."""

GROUNDING_TASKS = ("AREF", "CAREF", "CHANGE", "LESION")
"""The tasks whose outcome is a box; their lines need `reference_boxes`."""

TASKS_OF_ANSWERS = ("CHANGE", "LESION")
"""The grounding tasks that ask about the changes a system stated rightly: each system has other lines."""

TEXT_TASKS = ("Cap", "GCAP")
"""The other tasks whose outcome is a text."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One line of a predictions file: what a system said, and what it should have said.

    changed: the probability that anything has changed; None if not known.
    flagged: whether the pair is taken for changed, by a threshold of one detection rate for all; None if not known.
    changes, reference_changes: None where the file leaves them to be read from the texts.
    reference_steps: by how many steps of severity a finding changed, for those reference changes of which it is known.
    boxes: predicted boxes (x1, y1, x2, y2) in pixels of the source file, best first; they may lack area.
    reference_boxes: boxes in the same pixels, each with area.
    """

    id: str
    answer: str = ""
    references: tuple[str, ...] = ()
    task: str = QUESTION_TASK
    question_type: str | None = None
    question: str | None = None
    confidence: float | None = None
    changed: float | None = None
    flagged: bool | None = None
    changes: frozenset[Change] | None = None
    reference_changes: frozenset[Change] | None = None
    reference_steps: Mapping[Change, int] = field(default_factory=dict, hash=False)
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    reference_boxes: tuple[Box, ...] = ()
    subject_id: str | None = None
    group: str | None = None

    @property
    def patient(self) -> tuple[str, str]:
        """The unit of the bootstrap: the patient, or the line itself if it names none."""
        return ("id", self.id) if self.subject_id is None else ("subject", self.subject_id)


def read_lines(path: str | Path) -> list[tuple[int, dict]]:
    """The JSON objects of a file with one object a line, each with its line number; blank lines are passed over.

    Raises InputError for a file that is not there, and for a line that is not a JSON object in UTF-8.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path.name or path}: expected a file with one JSON object a line, found a folder.")
    if not path.is_file():
        raise InputError(f"{path.name or path}: no such file; expected one JSON object a line.")
    rows = []
    # Lines end with \n only: a text may hold any other line separator.
    for number, line in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line.decode("utf-8"))
        except ValueError as error:
            raise InputError(
                f"{path.name}, line {number}: expected one JSON object in UTF-8; mend the line."
            ) from error
        if not isinstance(row, dict):
            raise InputError(f"{path.name}, line {number}: expected a JSON object, found {_name(row)}.")
        rows.append((number, row))
    return rows


def read_object(path: Path) -> dict | None:
    """The JSON object in a file, None where there is no such file. Raises InputError for anything else in it."""
    if not path.is_file():
        return None
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InputError(f"{path.name}: expected a JSON object, found something else.")
    return value


def read_predictions(path: str | Path) -> tuple[Prediction, ...]:
    """The predictions in a file, in its order; fields that are not known are passed over.

    Raises InputError, naming line and field, for a line that cannot be scored and for an id that comes twice;
    and for a file without any line.
    """
    path = Path(path)
    predictions: list[Prediction] = []
    first_line: dict[str, int] = {}
    for number, row in read_lines(path):
        try:
            prediction = _read_prediction(row)
        except BadField as error:
            raise InputError(f"{path.name}, line {number}: field `{error.field}`: {error}") from error
        if prediction.id in first_line:
            raise InputError(
                f"{path.name}, line {number}: field `id`: expected an id of its own, "
                f"found that of line {first_line[prediction.id]}; keep one of the two."
            )
        first_line[prediction.id] = number
        predictions.append(prediction)
    if not predictions:
        raise InputError(f"{path.name}: expected one JSON object a line, found an empty file.")
    return tuple(predictions)


def notes_on_patients(patients: Mapping[str, tuple[str, str]]) -> list[str]:
    """Notes for lines that name no patient. patients: row id -> `Prediction.patient`."""
    nobody = sum(kind == "id" for kind, _ in patients.values())
    if not nobody:
        return []
    return [
        f"{nobody} lines name no patient (`subject_id`) and are resampled as patients of their own: with several "
        "lines a patient the intervals are too narrow."
    ]


class BadField(ValueError):
    """A field of a line that is not as expected; the message says how."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def is_number(value: object, below: float) -> TypeGuard[float]:
    """Whether a JSON value is a number, and less than `below` from 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < below


def _name(value: object) -> str:
    """The kind of a JSON value in a user's words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    names = {str: "a text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)


def _read_prediction(row: dict) -> Prediction:
    task = _text(row, "task") or QUESTION_TASK
    known = (QUESTION_TASK, *GROUNDING_TASKS, *TEXT_TASKS)
    if task not in known:
        raise BadField("task", f"expected one of {', '.join(known)}, or none for a question; found another.")
    grounding = task in GROUNDING_TASKS
    reference_boxes = [_reference_box(value) for value in _list(row.get("reference_boxes") or [], "reference_boxes")]
    if grounding and not reference_boxes:
        raise BadField("reference_boxes", f"expected at least one box on a line of task {task}, found none.")
    for needed in () if grounding else ("answer", "references"):
        if row.get(needed) is None:
            raise BadField(needed, "expected on every line, found nothing; write it.")
    references = [_words(value, "references") for value in _list(row.get("references") or [], "references")]
    if not grounding and not any(reference.strip() for reference in references):
        raise BadField("references", "expected a list with at least one text, found none.")
    identifier = _identifier(row, "id")
    if identifier is None:
        raise BadField("id", "expected a text or a whole number on every line, found nothing.")
    return Prediction(
        id=identifier,
        answer=_text(row, "answer") or "",
        references=tuple(reference for reference in references if reference.strip()),
        task=task,
        question_type=_text(row, "question_type") or None,
        question=_text(row, "question"),
        confidence=_probability(row, "confidence"),
        changed=_probability(row, "changed"),
        flagged=_flagged(row),
        changes=_changes(row, "changes"),
        reference_changes=_changes(row, "reference_changes"),
        reference_steps=_steps(row, "reference_changes"),
        boxes=tuple(_corners(value, "boxes") for value in _list(row.get("boxes") or [], "boxes")),
        reference_boxes=tuple(reference_boxes),
        subject_id=_identifier(row, "subject_id"),
        group=_identifier(row, "group"),
    )


def _words(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise BadField(field, f"expected a text, found {_name(value)}.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadField(field, "expected a text that UTF-8 can hold, found half a surrogate pair.") from error
    return value


def _text(row: dict, field: str) -> str | None:
    value = row.get(field)
    return None if value is None else _words(value, field)


def _identifier(row: dict, field: str) -> str | None:
    value = row.get(field)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return None if value in (None, "") else _words(value, field)


def _number(value: object, field: str) -> float:
    # 1e999 comes out of JSON as infinity, a whole number may be too long for a float, and an area must be finite too.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadField(field, f"expected a number, found {_name(value)}.")
    if not abs(value) < 1e100:
        raise BadField(field, "expected a finite number, found one that is not.")
    return float(value)


def _probability(row: dict, field: str) -> float | None:
    if row.get(field) is None:
        return None
    probability = _number(row[field], field)
    if not 0 <= probability <= 1:
        raise BadField(field, f"expected a number from 0 to 1, found {probability:g}.")
    return probability


def _flagged(row: dict) -> bool | None:
    flagged = row.get("flagged")
    if flagged is None or isinstance(flagged, bool):
        return flagged
    raise BadField("flagged", f"expected true or false, found {_name(flagged)}.")


def _list(value: object, field: str) -> list:
    if not isinstance(value, list):
        raise BadField(field, f"expected a list, found {_name(value)}.")
    return value


def _corners(value: object, field: str) -> tuple[float, float, float, float]:
    if not isinstance(value, list) or len(value) != 4:
        raise BadField(field, "expected boxes as [x1, y1, x2, y2], in pixels; found another form.")
    x1, y1, x2, y2 = (_number(corner, field) for corner in value)
    return (x1, y1, x2, y2)


def _reference_box(value: object) -> Box:
    try:
        return Box(*_corners(value, "reference_boxes"))
    except BadField:
        raise
    except ValueError as error:
        raise BadField("reference_boxes", f"{error}.") from error


def _changes(row: dict, field: str) -> frozenset[Change] | None:
    if row.get(field) is None:
        return None
    return frozenset(_change(value, field) for value in _list(row[field], field))


def _change(value: object, field: str) -> Change:
    if not isinstance(value, dict):
        raise BadField(field, f"expected objects with finding, kind, before and after, found {_name(value)}.")
    finding, kind, before, after = (_lower(value, key, field) for key in ("finding", "kind", "before", "after"))
    if not finding:
        raise BadField(field, "expected a finding in every change, found nothing.")
    try:
        # Levels beside an addition or a loss are no part of it, so they are not held against it.
        levels = (before, after) if kind == "level" else (None, None)
        return Change(SYNONYMS.get(finding, finding), change_kind(kind), *levels)
    except ValueError as error:
        raise BadField(field, f"{error}.") from error


def _steps(row: dict, field: str) -> dict[Change, int]:
    found = {}
    for value in row.get(field) or []:
        steps = value.get("steps")
        if steps is None:
            continue
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise BadField(field, "expected `steps` of a change as a whole number of at least 1, found another value.")
        found[_change(value, field)] = steps
    return found


def _lower(change: dict, key: str, field: str) -> str | None:
    value = change.get(key)
    return None if value is None else " ".join(_words(value, field).lower().split()) or None
