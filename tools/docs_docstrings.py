"""Docstrings as the site shows them: what they say of a parameter or an attribute becomes an item of a list.

The source writes `name: what it is. other, third: what they are.` in running text.
"""

from __future__ import annotations

import re
from typing import Any

import griffe


class Lists(griffe.Extension):
    """Lay the docstrings of a package out as lists and blocks."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Go through all that the package holds."""
        self._lay_out(pkg)

    def _lay_out(self, one: griffe.Object) -> None:
        if one.docstring and not isinstance(one, griffe.Module):
            one.docstring.value = laid_out(one.docstring.value)
        for member in one.members.values():
            if not member.is_alias:
                self._lay_out(member)


NAMES = re.compile(r"(?:(?<=^)|(?<=[.;] ))([a-z_]\w*(?:, [a-z_]\w*)*(?:, 0 to 1)?): ")
"""The begin of a part that describes one or several names."""


def laid_out(text: str) -> str:
    """A docstring as Markdown."""
    return "\n\n".join(_paragraph(part) for part in re.split(r"\n\s*\n", text))


def _paragraph(text: str) -> str:
    lines = text.splitlines()
    if any(line.startswith("{") for line in lines):
        # The form of a result: from its first brace to the last one.
        first = next(number for number, line in enumerate(lines) if line.startswith("{"))
        ends = [line.rstrip(".").endswith("}") or line.startswith(" ") for line in lines]
        last = max(number for number, is_end in enumerate(ends) if is_end)
        head, form, tail = lines[:first], lines[first : last + 1], lines[last + 1 :]
        parts = ["\n".join(head), "```\n" + "\n".join(form) + "\n```", _paragraph("\n".join(tail))]
        return "\n\n".join(part for part in parts if part)
    text = " ".join(text.split())
    pieces = NAMES.split(re.sub(r"(?<=[.;] )(Raises )", r"\n\1", text).split("\n")[0])
    raises = re.findall(r"(?<=[.;] )Raises .*", text)
    if len(pieces) < 3:
        return "\n\n".join([text if not raises else text.replace(raises[0], "").rstrip(), *raises])
    items = [
        f"- {', '.join(f'`{name}`' for name in re.split(', ', heading.removesuffix(', 0 to 1')))}: {said.strip()}"
        for heading, said in zip(pieces[1::2], pieces[2::2], strict=True)
    ]
    return "\n\n".join(part for part in [pieces[0].strip(), "\n".join(items), *raises] if part)
