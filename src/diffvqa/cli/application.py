"""The application that every command belongs to."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from diffvqa import __version__
from diffvqa.errors import InputError, RunFailed
from diffvqa.termination import told_to_end

NOTICE = "Research software. Not for clinical use."


class Stopped(Exception):
    """A command was told to end; the cause says how. typer would swallow a KeyboardInterrupt."""


_NO_MEMORY = ("can't start new thread", "failed to map segment", "annot allocate memory", "can't allocate memory")
"""Words by which libraries report full memory in errors of other kinds."""


class _Commands(TyperGroup):
    """The commands; their errors name arguments as the user typed them."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise Stopped from stop
        except Exception as error:
            if told := told_to_end():
                raise Stopped from told
            if isinstance(error, InputError):
                takes = {one.name: one for one in self.commands[ctx.invoked_subcommand].params}
                message = last_words(error) or error.render(lambda name: _as_typed(name, takes))
                raise InputError(message) from error
            if isinstance(error, RuntimeError | ImportError) and any(words in str(error) for words in _NO_MEMORY):
                raise MemoryError from error
            raise


def _as_typed(name: str, takes: dict[str, Any]) -> str:
    """The option or placeholder of a command for an argument's name; any other name is a configuration key."""
    head, part = re.findall(r"(\w*)(.*)", name)[0]
    if head not in takes:
        return f"`{name}`"
    if takes[head].param_type_name == "option":
        return takes[head].opts[0] + part
    return (takes[head].metavar or head.upper()).partition(".")[0] + part


def last_words(error: InputError | RunFailed) -> str | None:
    """The message of an error in a loader worker, without the traceback that torch puts before it, or None."""
    text = str(error.args[0])
    return text.rstrip().splitlines()[-1].partition(": ")[2] if "in DataLoader worker process" in text else None


app = typer.Typer(
    cls=_Commands,
    help=f"What has changed between two chest radiographs, and where. {NOTICE}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"diffvqa {__version__}")
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="print the version")
    ] = False,
) -> None:
    """Only the version comes before a command."""
    # Loading a small model needs no progress bar and no advice to programmers. Worker processes read it here too.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
