"""Reliability of importance weights: k-hat in words, jumps of log Z."""

import math
from collections.abc import Mapping
from typing import Any

from nflow_cli.evaluation.warnings import number

GOOD, ROUGH = 0.5, 0.7  # k-hat: finite variance below, and usable below
SIGMAS, LEAST_JUMP = 4.0, 0.02  # least significant jump of log Z: standard errors, nats


def verdict(k: float | None) -> str:
    """Reliability by k-hat: good, rough, poor or unknown."""
    if k is None or not k < math.inf:
        return "unknown"
    if k < GOOD:
        return "good"
    return "rough" if k < ROUGH else "poor"


def jump(scores: Mapping[str, Any]) -> float | None:
    """Nats by which a widened base raises log Z, if significant."""
    first, second = (number(scores, key) for key in ("estimated_log_z", "widened_log_z"))
    if first is None or second is None:
        return None
    keys = ("log_z_standard_error", "widened_log_z_standard_error")
    errors = (number(scores, key) or 0.0 for key in keys)
    away = second - first
    return away if away > max(SIGMAS * math.hypot(*errors), LEAST_JUMP) else None
