"""Reliability of importance weights: k-hat in words, jumps of log Z."""

import math
from collections.abc import Mapping
from typing import Any

from nflow_cli.evaluation.warnings import number

GOOD, ROUGH = 0.5, 0.7  # k-hat: finite variance below, and usable below
SIGMAS, LEAST_JUMP = 3.0, 0.02  # least significant jump of log Z: standard errors, nats


def verdict(k: float | None) -> str:
    """Reliability by k-hat: good, rough, poor or unknown."""
    if k is None or not k < math.inf:
        return "unknown"
    if k < GOOD:
        return "good"
    return "rough" if k < ROUGH else "poor"


def jump(scores: Mapping[str, Any]) -> float | None:
    """Nats by which log Z is larger than by the draws of ``q`` alone, if significant."""
    away = number(scores, "log_z_difference")
    error = number(scores, "log_z_difference_standard_error") or 0.0
    return away if away is not None and away > max(SIGMAS * error, LEAST_JUMP) else None
