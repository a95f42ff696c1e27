"""The errors that a user can cause, each with the exit code of the CLI.

An error of this family carries one sentence that names what was received and
what to do about it. The command line prints that sentence and no traceback.
"""


class KerasMultiError(Exception):
    """Base class: something went wrong that the message explains.

    Attributes:
        exit_code: exit code of the command line, 1 for a failure.
    """

    exit_code = 1


class UsageError(KerasMultiError, ValueError):
    """An argument is wrong (unknown name, bad value). Exit code 2."""

    exit_code = 2


class BackendError(UsageError, ImportError):
    """The backend asked for is unknown or not installed. Exit code 2."""


class DataError(KerasMultiError, ValueError):
    """A data set cannot be fetched, or its content is not valid."""


class ResultsError(KerasMultiError, ValueError):
    """A results file cannot be read, written or understood."""
