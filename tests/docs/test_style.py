"""Sentences of docs, help texts and docstrings are short and begin with their subject; links of the README lead on."""

import ast
import re
from pathlib import Path

import pytest
import typer

import diffvqa
from diffvqa.cli import app
from diffvqa.data.problems import FAULTS, NOTES
from diffvqa.data.registry import READERS

ROOT = Path(__file__).parents[2]
OF_THE_ROOT = ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*(ROOT / name for name in OF_THE_ROOT), *(ROOT / "docs").rglob("*.md")]
)
LONGEST = 24
"""Words of a sentence."""

OF_THE_CODE = {
    *FAULTS.values(),
    *NOTES.values(),
    *(reader.description for reader in READERS.values()),
}
"""What stands in tables as the program has it."""

INVERTED = re.compile(
    r"(Of|From|To|With|By) (a|an|the|each|all|several|such|these|those) [^,.]{0,40}\b(is|are|has|have)\b"
)
"""Beginnings that put something before the subject."""


NO_SUBJECT = re.compile(r"(Of|With|By|Under|Beside|Around|Inside|Where|What|How(?! many)|From when) ")
"""Beginnings of docstrings that a noun or a verb says better."""


def words_of(sentence: str) -> int:
    return len(re.findall(r"[\w'’.-]*\w[\w'’.-]*", sentence))


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
    too_long = [one for one in found if words_of(one) > LONGEST]
    inverted = [one for one in found if INVERTED.match(one)]
    assert not too_long, "\n".join(too_long)
    assert not inverted, "\n".join(inverted)


def help_texts():
    """Where each help text of the command line stands, and the text."""
    for name, command in typer.main.get_command(app).commands.items():
        yield name, command.help
        for one in command.params:
            yield f"{name} {one.name}", one.help or ""


def test_help_texts_are_short_and_begin_with_their_subject():
    found = [(where, one) for where, text in help_texts() for one in re.split(r"(?<=[.;]) ", text)]
    assert len(found) > 100
    faults = [(where, one) for where, one in found if words_of(one) > LONGEST or NO_SUBJECT.match(one.capitalize())]
    assert not faults, "\n".join(map(str, faults))


def docstrings(path: Path):
    """The docstrings of a module and of its public classes and functions."""
    todo = [ast.parse(path.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        yield ast.get_docstring(node) or ""
        kinds = (ast.ClassDef, ast.FunctionDef)
        todo += [one for one in node.body if isinstance(one, kinds) and not one.name.startswith("_")]


def test_docstrings_begin_with_a_short_sentence_and_its_subject():
    faults = []
    for path in sorted(Path(diffvqa.__file__).parent.rglob("*.py")):
        for text in docstrings(path):
            first = re.split(r"(?<=[.!?]) ", " ".join(text.partition("\n\n")[0].split()))[0]
            if words_of(re.sub(r"`[^`]+`", "CODE", first)) > LONGEST or NO_SUBJECT.match(first):
                faults.append(f"{path.name}: {first}")
    assert not faults, "\n".join(faults)


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
