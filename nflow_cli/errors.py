"""Errors that nflow raises on purpose: one line with the problem, expected and received."""

from nflow_cli.text import printable


class NflowError(Exception):
    """Base of all errors that a user can cause."""

    @property
    def in_python(self) -> str:
        """Message with keyword arguments, where what mends it is typed."""
        return str(self)


def one_line(error: object) -> str:
    """Message as one line; of an empty one its type."""
    return printable(" ".join(str(error).split())) or type(error).__name__


class ConfigError(NflowError):
    """Invalid preset, override or value."""


class RunDirectoryError(NflowError):
    """Missing, damaged or unwritable run directory."""


class BusyError(RunDirectoryError):
    """Another process is writing a run."""


class TakenError(BusyError):
    """Another process is training this run of a sweep."""


class DeviceError(NflowError):
    """No such device."""


class TargetError(NflowError):
    """Improper target density, or one that lacks a requested property."""


class DivergenceError(NflowError):
    """Infinite or NaN loss."""


class DataError(NflowError):
    """Missing, damaged or invalid data."""


class Interrupted(BaseException):
    """A signal stopped the run; its progress is saved."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number
        self.hint: str | None = None  # a command to run next
