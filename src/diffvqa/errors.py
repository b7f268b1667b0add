"""The errors that are meant for a user's eyes. The command line prints them; no message names a patient or a path."""


class InputError(ValueError):
    """Input that makes the job impossible; exit status 2.

    The message names the argument or the row, what was expected, what was found and what to do.
    """


class RunFailed(RuntimeError):
    """A run that broke down although its input could be used; exit status 1.

    The message says at which step, what is kept, and what to do.
    """
