"""Outcomes of checks. No Keras here."""

from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What a check ends in. A run that is checked fails by ``FAIL`` alone."""

    OK = "OK"
    FAIL = "FAIL"
    UNCHANGED = "unchanged"  # not computed again: the bytes are those that the run ended with
    UNKNOWN = "unknown"  # it takes what this run does not keep, or more than rounding allows


Verdict = tuple[Outcome, str]


def passed(condition: Any) -> Outcome:
    """Return ``OK`` or ``FAIL``."""
    return Outcome.OK if condition else Outcome.FAIL
