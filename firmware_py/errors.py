"""The one exception tree. The command line prints an error's text as one line and exits with its code."""

__all__ = ["ContinuoError", "InputError", "MissingError", "RunError"]


class ContinuoError(Exception):
    """Base of every error that a user can cause or cure. The text says what is wrong and what to do."""

    exit_code = 4


class InputError(ContinuoError):
    """Bad usage or bad input: a file, an option, a trace, a configuration (exit code 2)."""

    exit_code = 2


class MissingError(ContinuoError):
    """A dependency or a device is not there (exit code 3)."""

    exit_code = 3


class RunError(ContinuoError):
    """The work was sound but failed while running: disk full, a file that cannot be written (exit code 4)."""

    exit_code = 4
