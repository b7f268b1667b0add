"""The command line: parse, call, print. Each command imports what it needs when it runs."""

# The order is that of the help.
from diffvqa.cli import demo, data, training, studies, scores, answers  # noqa: F401, I001
from diffvqa.cli.application import app
from diffvqa.cli.entry import main

__all__ = ["app", "main"]
