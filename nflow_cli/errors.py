"""The errors that nflow raises on purpose: what was wrong, what was expected, what was received."""

from nflow_cli.text import printable


class NflowError(Exception):
    """Base of every error a user can cause; the command line prints it as one line."""


def one_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    return printable(" ".join(str(error).split())) or type(error).__name__


class ConfigError(NflowError):
    """A preset, an override or a value in them is not valid."""


class RunDirectoryError(NflowError):
    """A run directory is missing, damaged, or cannot be written."""


class BusyError(RunDirectoryError):
    """Another process is writing a run."""


class TakenError(BusyError):
    """Another process is training the run of a sweep that was asked for."""


class DeviceError(NflowError):
    """There is no such device to compute on."""


class TargetError(NflowError):
    """A target density is not proper, or cannot do what was asked of it."""


class DivergenceError(NflowError):
    """Training met a loss that is not finite."""


class DataError(NflowError):
    """A data set is missing, damaged, or not what it should be."""


class Interrupted(BaseException):
    """A signal asked the run to stop, and what it had learnt is saved."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number
        self.hint: str | None = None  # what to do next
