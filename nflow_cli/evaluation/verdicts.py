"""Outcomes of checks."""

from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """Outcome of a check; only ``FAIL`` makes ``nflow check`` fail."""

    OK = "OK"
    FAIL = "FAIL"
    UNCHANGED = "unchanged"  # not recomputed: same bytes as at the end of the run
    UNKNOWN = "unknown"  # data not kept, or hidden by rounding


Verdict = tuple[Outcome, str]


def passed(condition: Any) -> Outcome:
    """``OK`` or ``FAIL``."""
    return Outcome.OK if condition else Outcome.FAIL
