"""The one error that is meant for a user's eyes."""


class InputError(ValueError):
    """Input that makes the job impossible.

    The message names the argument or the row, what was expected, what was found and what to do;
    it never holds a patient's path or identifier. The command line prints it and exits with status 2.
    """
