"""The tables of the docs are those of the code."""

import json
from pathlib import Path

import pytest

import diffvqa
from diffvqa.data.problems import FAULTS, NOTES
from diffvqa.data.registry import READERS
from diffvqa.training.objectives import OBJECTIVES

ROOT = Path(__file__).parents[1]
SUMMARIES = {name: objective.summary for name, objective in OBJECTIVES.items()}
SCHEMA = json.loads((Path(diffvqa.__file__).parent / "answering/answer.schema.json").read_text(encoding="utf-8"))
ENTRIES = {name: entry["description"] for name, entry in SCHEMA["properties"].items()}
KINDS = {kind: reader.description for kind, reader in READERS.items()}


@pytest.mark.parametrize(
    ("page", "meanings"),
    [
        ("README.md", KINDS),
        ("docs/data.md", KINDS),
        ("docs/data.md", FAULTS),
        ("docs/data.md", NOTES),
        ("docs/training.md", SUMMARIES),
        ("docs/answer.md", ENTRIES),
    ],
)
def test_a_table_of_the_docs_is_the_code_s(page, meanings):
    table = "".join(f"| `{key}` | {meaning} |\n" for key, meaning in meanings.items())
    assert f"|---|---|\n{table}\n" in (ROOT / page).read_text(encoding="utf-8")
