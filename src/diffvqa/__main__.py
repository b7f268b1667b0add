"""The program: `diffvqa`, or `python -m diffvqa` without installing."""

import os
import sys

from diffvqa.allocator import start_with_fast_memory
from diffvqa.termination import heeding_signals, say_stopped
from diffvqa.threads import share_cores


def run() -> None:
    """Run the command line in a process that gets its memory fast, and ends in order when it is told to."""
    start_with_fast_memory()
    share_cores()
    # The processes that it starts shall import nothing from the folder that the command is given in.
    os.environ["PYTHONSAFEPATH"] = "1"
    with heeding_signals():
        try:
            from diffvqa.cli import main

            main()
        except KeyboardInterrupt as stop:  # before a command began, or after it
            sys.exit(say_stopped(stop))


if __name__ == "__main__":
    run()
