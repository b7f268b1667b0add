"""The truth about the pairs of a synthetic cohort, joined to the rows of its difference questions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from diffvqa.boxes import Box
from diffvqa.errors import InputError
from diffvqa.findings import DIFFERENCE_QUESTION, SYNONYMS, Change, read_changes
from diffvqa.parsing import parse_json
from diffvqa.records import Question

PAIRS, IMAGES = "pairs.jsonl", "images.jsonl"


@dataclass(frozen=True, slots=True)
class TruePair:
    """The changes of a pair, with their steps of severity if they are known. group: the kind of pair."""

    changes: Mapping[Change, int | None]
    group: str | None


Truth = Mapping[tuple[str, str], TruePair]
"""The truth of pairs, by their images: prior, current."""


def read_truth(folder: Path) -> Truth:
    """The pairs in the truth folder of a synthetic cohort, from `pairs.jsonl`; other fields are passed over.

    Raises InputError for a folder without that file, and for a line that cannot be read.
    """
    path = folder / PAIRS
    if not path.is_file():
        raise InputError(
            f"expected a folder with {PAIRS}, found none; give COHORT/truth of a synthetic cohort", argument="truth"
        )
    truth = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = parse_json(line)
                truth[_text(row["prior"]), _text(row["current"])] = _true_pair(row)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InputError(
                    f"{PAIRS}, line {number}: expected an object with prior, current and changes (each with "
                    "finding, kind, before and after), found another; write the cohort anew",
                    argument="truth",
                ) from error
    return truth


def read_true_findings(folder: Path) -> dict[str, frozenset[str]]:
    """Image identifier -> the findings that are there, whatever its report says, of the truth folder of a cohort."""
    return {row["dicom_id"]: frozenset(one["finding"] for one in row["findings"]) for row in _images(folder)}


def read_lesions(folder: Path) -> dict[tuple[str, str], list[Box]]:
    """(image, finding) -> the boxes of its lesions, in pixels of the file, of the truth folder of a cohort."""
    return {
        (row["dicom_id"], one["finding"]): [Box(*corners) for corners in one["boxes"]]
        for row in _images(folder)
        for one in row["findings"]
    }


def _images(folder: Path) -> Iterator[dict[str, Any]]:
    with (folder / IMAGES).open(encoding="utf-8") as file:
        yield from map(parse_json, file)


def count_known(questions: Sequence[Question], truth: Truth) -> dict[str, int]:
    """How many difference questions are of pairs in the truth ("joined"), and how many of others ("missing").

    A store may be of several sources, so that some are missing is no error. Raises InputError if all of them are: then
    it is the truth of another cohort.
    """
    asked = [one for one in questions if one.type == "difference"]
    joined = sum((one.pair.prior, one.pair.current) in truth for one in asked)
    if asked and not joined:
        raise InputError(
            f"expected the pairs of the {len(asked)} difference questions, found not one of them; "
            "give the truth of the cohort that the store was made from",
            argument="truth",
        )
    return {"joined": joined, "missing": len(asked) - joined}


def join_truth(rows: Sequence[dict[str, Any]], questions: Sequence[Question], truth: Truth) -> list[dict[str, Any]]:
    """Rows of some of the questions, those of known pairs with `reference_changes` and `group`.

    A question about an area is answered by some of the pair's changes: those that its own answer names.
    """
    asked = {question.question_id: question for question in questions}
    return [_joined(row, asked[row["id"]], truth) for row in rows]


def _joined(row: dict[str, Any], question: Question, truth: Truth) -> dict[str, Any]:
    pair = truth.get((question.pair.prior or "", question.pair.current))
    if pair is None or question.type != "difference":
        return row
    asked_about = pair.changes
    if question.text != DIFFERENCE_QUESTION:
        named = frozenset().union(*read_changes(question.answer))
        asked_about = {change: steps for change, steps in pair.changes.items() if change in named}
    changes = [
        asdict(change) | ({} if steps is None else {"steps": steps}) for change, steps in sorted(asked_about.items())
    ]
    return {**row, "reference_changes": changes, "group": pair.group}


def _true_pair(row: Mapping[str, Any]) -> TruePair:
    group = row.get("group")
    return TruePair(dict(map(_change, row["changes"])), None if group is None else _text(group))


def _change(row: Mapping[str, Any]) -> tuple[Change, int | None]:
    finding = _text(row["finding"])
    steps = row.get("steps")
    if steps is not None and (type(steps) is not int or steps < 1):
        raise ValueError("steps")
    return Change(SYNONYMS.get(finding, finding), row["kind"], row.get("before"), row.get("after")), steps


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("text")
    return value
