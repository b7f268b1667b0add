"""diffvqa: what has changed between two chest radiographs, and where. Research software, not for clinical use."""

from typing import Any

__version__ = "0.1.0"
__all__ = ["Answerer"]


def __getattr__(name: str) -> Any:
    # Imported when asked for: the command line's help must not wait for torch.
    if name == "Answerer":
        from diffvqa.answering.answerer import Answerer

        return Answerer
    raise AttributeError(f"module 'diffvqa' has no attribute {name!r}")
