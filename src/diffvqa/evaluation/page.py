"""Pages that load nothing: Jinja2 templates of this package, and the tables and charts that they show."""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jinja2 import Environment, PackageLoader, StrictUndefined

from diffvqa import __version__


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table: its name, and of each cell its text and what stands small below it."""

    name: str
    cells: Sequence[Sequence[str]]
    of_model: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table in writing.

    titles: of the columns, first that of the names. bodies: groups of rows, each with its heading or "". meanings:
    what the columns mean, by title.
    """

    titles: Sequence[str]
    bodies: Sequence[tuple[str, Sequence[Row]]]
    caption: str = ""
    meanings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing as SVG text. description: the same in words, for readers who cannot see it."""

    svg: str
    description: str
    title: str = ""
    caption: str = ""


def render(template: str, **shown: object) -> str:
    """A template such as `evaluation/report.html`, filled in; what it shows is escaped.

    Drawings keep to themselves: each has identifiers of its own.
    """
    # The drawings of a page share one space of names, and matplotlib gives the same ones to each.
    numbers = itertools.count(1)
    return re.sub(
        r"<svg.*?</svg>",
        lambda svg: re.sub(r'\bid="|url\(#|href="#', rf"\g<0>drawing{next(numbers)}-", svg[0]),
        _TEMPLATES.get_template(template).render(version=__version__, **shown),
        flags=re.DOTALL,
    )


_TEMPLATES = Environment(
    loader=PackageLoader("diffvqa", ""),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["base64"] = lambda content: base64.b64encode(content).decode("ascii")
