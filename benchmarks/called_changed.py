"""How often a study's models call a repeat changed, by how ill the patient is, and how often such patients do change.

    python benchmarks/called_changed.py STUDY

STUDY: a folder that `diffvqa study` has written, whose tests have the set `acquisition_large`. A repeat is a pair of
the same patient in the same state, taken alike: only the grain differs. Ends with one JSON line: `cohort`, the share of
changed pairs in the cohort that was trained on, and for each objective the share of repeats that its models call
changed, all seeds together; both by the number of findings (3 stands for three and more).
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from diffvqa.evaluation.changes import judge
from diffvqa.evaluation.groups import REPEAT
from diffvqa.evaluation.predictions import read_predictions

TEST = "acquisition_large"


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def shares(counted: Iterable[tuple[int, bool]]) -> dict[str, dict[str, float]]:
    """Number of findings -> how many pairs, and the share of them that is changed."""
    found: dict[int, list[bool]] = defaultdict(list)
    for findings, changed in counted:
        found[min(findings, 3)].append(changed)
    return {
        str(findings): {"n": len(changed), "changed": round(sum(changed) / len(changed), 3)}
        for findings, changed in sorted(found.items())
    }


def findings_of(truth: Path) -> dict[str, int]:
    """Study -> how many findings it has."""
    return {image["study_id"]: len(image["findings"]) for image in lines_of(truth / "images.jsonl")}


def cohort(truth: Path) -> Iterator[tuple[int, bool]]:
    findings = findings_of(truth)
    for pair in lines_of(truth / "pairs.jsonl"):
        yield findings[pair["current_study"]], bool(pair["changes"])


def repeats(predictions: Path, findings_of_patient: dict[str, int]) -> Iterator[tuple[int, bool]]:
    for one in judge(read_predictions(predictions)):
        if one.prediction.group == REPEAT:
            yield findings_of_patient[one.prediction.subject_id], not one.right


def main() -> None:
    study = Path(sys.argv[1])
    truth = study / "stores" / TEST / "cohort" / "truth"
    # A patient of this set is in one state throughout.
    of_patient = {image["subject_id"]: len(image["findings"]) for image in lines_of(truth / "images.jsonl")}
    called: dict[str, list[tuple[int, bool]]] = defaultdict(list)
    for path in sorted(study.glob("cells/*/cell.json")):
        cell = json.loads(path.read_text(encoding="utf-8"))
        objective, store = str(cell["settings"]["objective"]), cell["store"]
        called[objective] += repeats(path.parent / "evaluations" / TEST / "predictions.jsonl", of_patient)
    result = {
        "cohort": shares(cohort(study / "stores" / store / "cohort" / "truth")),
        "called changed": {objective: shares(pairs) for objective, pairs in called.items()},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
