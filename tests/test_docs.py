"""The tables of the docs are those of the code."""

from pathlib import Path

import pytest

from diffvqa.data import READERS
from diffvqa.data.problems import FAULTS, NOTES

DATA = Path(__file__).parents[1] / "docs" / "data.md"


@pytest.mark.parametrize(
    ("name", "meanings"),
    [
        ("readers", {kind: reader.description for kind, reader in READERS.items()}),
        ("faults", FAULTS),
        ("notes", NOTES),
    ],
)
def test_the_tables_of_data(name, meanings):
    table = "".join(f"| `{key}` | {meaning} |\n" for key, meaning in meanings.items())
    assert f"|---|---|\n{table}\n" in DATA.read_text(encoding="utf-8"), f"the table of {name} is not the code's"
