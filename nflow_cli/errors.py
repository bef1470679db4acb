"""Errors that nflow raises on purpose: one line with the problem, expected and received."""

from nflow_cli.text import printable


class NflowError(Exception):
    """Base of all errors that a user can cause; the command line prints one line."""


def one_line(error: object) -> str:
    """Message as one line; of an empty one its type."""
    return printable(" ".join(str(error).split())) or type(error).__name__


class ConfigError(NflowError):
    """A preset, an override or a value in them is invalid."""


class RunDirectoryError(NflowError):
    """A run directory is missing, damaged, or not writable."""


class BusyError(RunDirectoryError):
    """Another process is writing a run."""


class TakenError(BusyError):
    """Another process is training this run of a sweep."""


class DeviceError(NflowError):
    """There is no such device."""


class TargetError(NflowError):
    """A target density is improper, or lacks a requested property."""


class DivergenceError(NflowError):
    """The loss became infinite or NaN."""


class DataError(NflowError):
    """A data set is missing, damaged, or invalid."""


class Interrupted(BaseException):
    """A signal stopped the run; its progress is saved."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number
        self.hint: str | None = None  # a command to run next
