"""The tables of the page of findings are those of the study that is kept."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_tables_are_those_of_the_kept_study(capsys):
    runpy.run_path(str(ROOT / "tools" / "findings_tables.py"), run_name="__main__")
    written = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    page = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    start = page.index("\n## Figures\n")
    rows = [line for line in page[start : page.index("\n## ", start + 1)].splitlines() if line.startswith("| `")]
    assert len(rows) > 20
    assert rows == written


def test_the_page_is_short():
    assert len((ROOT / "docs" / "findings.md").read_text(encoding="utf-8").splitlines()) <= 150
