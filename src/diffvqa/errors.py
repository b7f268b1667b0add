"""The errors that are meant for a user's eyes. No message names a patient or a path."""

from collections.abc import Callable, Sequence


class InputError(ValueError):
    """Input that makes the job impossible; exit status 2.

    argument: its name in Python. What follows a space or a slash says which of several, or what in it: `prior 2`,
    `model/captioner`. row: of a table, counted as a spreadsheet does it. The message comes after both and says what was
    expected, what was found and what to do; where it names arguments too, it has `{name}` for each of `mentions`.
    As a text the error has the names of Python; whoever shows it elsewhere renders it.
    """

    def __init__(
        self, message: str, *, argument: str | None = None, row: int | None = None, mentions: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.argument, self.row, self.mentions = argument, row, tuple(mentions)

    def __str__(self) -> str:
        return self.render(str)

    def render(self, shown: Callable[[str], str]) -> str:
        """The error as `[row N, ][argument]: message`, each argument as `shown` writes its name."""
        message = str(self.args[0])
        # Not str.format: values in the message may have braces of their own.
        for name in self.mentions:
            message = message.replace(f"{{{name}}}", shown(name))
        row = [] if self.row is None else [f"row {self.row}"]
        argument = [] if self.argument is None else [shown(self.argument)]
        place = ", ".join(row + argument)
        return printable(f"{place}: {message}" if place else message)


class RunFailed(RuntimeError):
    """A run that broke down although its input could be used; exit status 1.

    The message says at which step, what is kept, and what to do.
    """


def printable(text: str) -> str:
    """A text of a stranger in one line that no terminal takes for a command, and any encoding can hold.

    What is not printed, such as an escape, and lines that end, are shown as U+FFFD.
    """
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def require_text(text: str, argument: str) -> None:
    """Raises InputError for a text with bytes that are no UTF-8, as arguments of a command line may have."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError("bytes that are not UTF-8; give the text in UTF-8", argument=argument) from None
