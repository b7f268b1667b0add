"""Sentences of the docs are short and begin with their subject, the README is short, and its links lead somewhere."""

import json
import re
from pathlib import Path

import pytest

from diffvqa.data.problems import FAULTS, NOTES
from diffvqa.data.registry import READERS

ROOT = Path(__file__).parents[2]
OF_THE_ROOT = ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*(ROOT / name for name in OF_THE_ROOT), *(ROOT / "docs").rglob("*.md")]
    # Findings are a report of their own.
    if path.name != "findings.md"
)
LONGEST = 24
"""Words of a sentence."""

SCHEMA = json.loads((ROOT / "src/diffvqa/answering/answer.schema.json").read_text(encoding="utf-8"))["properties"]
OF_THE_CODE = {
    *FAULTS.values(),
    *NOTES.values(),
    *(reader.description for reader in READERS.values()),
    *(entry["description"] for entry in SCHEMA.values()),
}
"""What stands in tables as the program has it."""

INVERTED = re.compile(
    r"(Of|From|To|With|By) (a|an|the|each|all|several|such|these|those) [^,.]{0,40}\b(is|are|has|have)\b"
)
"""Beginnings that put something before the subject."""


def sentences(text: str):
    """The sentences, cells and items of a page, without code."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    text = re.sub(r"^---\n.*?^---\n", "", text, flags=re.M | re.S)
    text = re.sub(r"`[^`\n]+`", "CODE", text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)(\{[^}]*\})?", r"\1", text)
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*|#>]|\d+\.) )|(?<=\|)\n", text):
        for cell in block.split("|") if block.lstrip().startswith("|") else [block]:
            if cell.strip() in OF_THE_CODE:
                continue
            yield from re.split(r"(?<=[.!?:])[\s*_]+(?=[A-Z*_\"0-9])", " ".join(cell.split()))


@pytest.mark.parametrize("page", PAGES)
def test_sentences_are_short_and_begin_with_their_subject(page):
    found = list(sentences((ROOT / page).read_text(encoding="utf-8")))
    too_long = [one for one in found if len(re.findall(r"[\w'’.-]*\w[\w'’.-]*", one)) > LONGEST]
    inverted = [one for one in found if INVERTED.match(one)]
    assert not too_long, "\n".join(too_long)
    assert not inverted, "\n".join(inverted)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_of_the_root_s_pages_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert links
    assert not [link for link in links if "://" not in link and not (ROOT / link).exists()]


def test_messages_that_the_docs_explain_are_the_program_s():
    page = (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8")
    table = page[page.index("| message contains") :].partition("\n\n")[0]
    messages = re.findall(r"^\| `([^`]+)` \|", table, re.M)
    # Long messages are written in pieces.
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    source = re.sub(r"\"\s*\n\s*f?\"", "", source)
    assert messages
    assert not [message for message in messages if message not in source]
