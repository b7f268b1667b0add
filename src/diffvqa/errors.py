"""The errors that a user sees. No message names a patient or a path."""

from collections.abc import Callable, Sequence


class InputError(ValueError):
    """Wrong input, so that the job is impossible; exit status 2.

    argument: the name of the argument in Python. A suffix after a space or a slash says which one or which part:
    `prior 2`, `model/captioner`. row: the row of a table; the header is row 1. The message says what was expected, what
    was found, and what to do. It has `{name}` for each argument in `mentions`.

    `str` uses Python's names of the arguments. `render` uses others, such as those of the command line.
    """

    def __init__(
        self, message: str, *, argument: str | None = None, row: int | None = None, mentions: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.argument, self.row, self.mentions = argument, row, tuple(mentions)

    def __str__(self) -> str:
        return self.render(str)

    def render(self, shown: Callable[[str], str]) -> str:
        """The error as `[row N, ][argument]: message`, with each argument as `shown` writes its name."""
        message = str(self.args[0])
        # str.format would fail: values in the message may have braces of their own.
        for name in self.mentions:
            message = message.replace(f"{{{name}}}", shown(name))
        row = [] if self.row is None else [f"row {self.row}"]
        argument = [] if self.argument is None else [shown(self.argument)]
        place = ", ".join(row + argument)
        return printable(f"{place}: {message}" if place else message)


class RunFailed(RuntimeError):
    """A run that broke down although its input was usable; exit status 1.

    The message says at which step, what is kept, and what to do.
    """


def printable(text: str) -> str:
    """A stranger's text in one line, safe for any terminal and encoding.

    Characters that are not printed, such as escapes and line ends, become U+FFFD.
    """
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def require_text(text: str, argument: str) -> None:
    """Raise InputError for a text with bytes that are not UTF-8, as arguments of a command line may have."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError("bytes that are not UTF-8; give the text in UTF-8", argument=argument) from None
