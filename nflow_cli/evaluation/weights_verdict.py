"""What the tail of importance weights says of the scores that they give. No Keras here."""

import math
from collections.abc import Mapping
from typing import Any

from nflow_cli.evaluation.caveats import number

GOOD, ROUGH = 0.5, 0.7  # k-hat, below which weights have a variance, and below which they serve
SIGMAS, LEAST_JUMP = 4.0, 0.02  # standard errors and nats by which log Z jumps, at least


def verdict(k: float | None) -> str:
    """Return what k-hat says of weights, in words."""
    if k is None or not k < math.inf:
        return "unknown"
    if k < GOOD:
        return "good"
    return "rough" if k < ROUGH else "poor"


def jump(scores: Mapping[str, Any]) -> float | None:
    """Return by how many nats log Z is greater from a widened base, where that means something."""
    first, second = (number(scores, key) for key in ("estimated_log_z", "widened_log_z"))
    if first is None or second is None:
        return None
    keys = ("log_z_standard_error", "widened_log_z_standard_error")
    errors = (number(scores, key) or 0.0 for key in keys)
    away = second - first
    return away if away > max(SIGMAS * math.hypot(*errors), LEAST_JUMP) else None
