"""diffvqa: what has changed between two chest radiographs, and where. Research software, not for clinical use."""

__version__ = "0.1.0"
