"""Figures of matplotlib as SVG text: the same figure is the same text, and its words stay words."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

_STYLE: dict[RcKeyType, Any] = {
    "svg.hashsalt": "diffvqa",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))
"""It would name the day and the version of matplotlib."""


def draw(paint: Callable[[Figure], None], width: float, height: float) -> str:
    """The SVG element of a figure of that many inches, without a background. paint: fills the empty figure."""
    # Slow to import, and most commands draw nothing.
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure, file = Figure((width, height), layout="constrained"), io.StringIO()
        paint(figure)
        figure.savefig(file, format="svg", metadata=_NO_METADATA, transparent=True)
    drawn = file.getvalue()
    return drawn[drawn.index("<svg") :]
