"""Bayes factor of two runs with an estimate of log Z."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from nflow_cli.experiments.summary import LOG_Z
from nflow_cli.sweeps.compare import Result
from nflow_cli.text import printable


class BayesFactor(NamedTuple):
    """Log Bayes factor ``log Z_1 - log Z_2`` in nats of two runs, and its standard error."""

    first: str
    second: str
    log_bayes_factor: float
    standard_error: float

    def __str__(self) -> str:
        names = f"{printable(self.first)} over {printable(self.second)}"
        value = f"{self.log_bayes_factor:.4f} ± {self.standard_error:.4f} nats"
        return f"log Bayes factor of {names}: {value}"


def bayes_factor(results: Sequence[Result]) -> BayesFactor | None:
    """Bayes factor of two runs; ``None`` of other numbers, or without log Z and its error.

    Errors of independent runs: ``√(s_1² + s_2²)``.
    """
    if len(results) != 2:
        return None
    (log_z, error), (other, its_error) = map(_log_z, results)
    if log_z is None or other is None or error is None or its_error is None:
        return None
    first, second = (str(result.path) for result in results)
    return BayesFactor(first, second, log_z - other, math.hypot(error, its_error))


def _log_z(result: Result) -> tuple[float | None, float | None]:
    """Estimate of log Z in nats, and its standard error; ``None`` if unknown."""
    key = next((m.key for m in result.report.MEASURES if m.name == LOG_Z), "")
    return result.value(key), result.value("log_z_standard_error")
