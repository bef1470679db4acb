"""Parameters of explicit targets, validated as those of a density."""

import math
from typing import Any

import numpy as np

from nflow_cli.errors import TargetError


def mixture_parameters(
    weights: Any, means: Any, covariances: Any = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights ``(n,)``, means ``(n, 2)`` and covariances ``(n, 2, 2)`` of a mixture."""
    weights, means = _numbers("mixture weights", weights), _numbers("mixture means", means)
    if covariances is None:
        covariances = np.broadcast_to(np.eye(2), (*weights.shape, 2, 2))
    covariances = _numbers("mixture covariances", covariances)
    n = weights.size
    if n == 0 or weights.shape != (n,) or means.shape != (n, 2) or covariances.shape != (n, 2, 2):
        raise TargetError(
            "a mixture needs n weights, n means of 2 numbers and n covariances of 2 x 2. Received "
            f"shapes: {weights.shape}, {means.shape}, {covariances.shape}"
        )
    with np.errstate(all="ignore"):
        positive = np.all(weights > 0) and np.all(weights / weights.sum() > 0)
    if not positive:
        raise TargetError(f"mixture weights must be positive. Received: {weights.tolist()}")
    if not np.all(np.isfinite(means)):
        raise TargetError(f"mixture means must be finite. Received: {means.tolist()}")
    for covariance in covariances:
        proper = np.all(np.isfinite(covariance)) and np.allclose(covariance, covariance.T)
        spread = np.linalg.eigvalsh(covariance) if proper else np.zeros(2)
        if spread[0] <= 1e-14 * spread[1]:  # 0 but for rounding
            raise TargetError(
                "a mixture covariance must be symmetric and positive definite (else the density "
                f"has no normaliser). Received: {covariance.tolist()}"
            )
    return weights, means, covariances


def shares(weights: np.ndarray) -> np.ndarray:
    """Positive weights ``(n,)`` normalised to sum 1; exact sums are left unchanged."""
    total = weights.sum()
    return weights if abs(total - 1) < 1e-12 else weights / total


def ring_parameters(
    weights: Any, centers: Any, radii: Any, widths: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Weights, radii and widths ``(n,)`` and centers ``(n, 2)`` of a mixture of rings."""
    parameters = {"weights": weights, "centers": centers, "radii": radii, "widths": widths}
    arrays = [_numbers(f"ring {name}", values) for name, values in parameters.items()]
    weights, centers, radii, widths = arrays
    n = weights.size
    if [a.shape for a in arrays] != [(n,), (n, 2), (n,), (n,)] or n == 0:
        raise TargetError(
            "a ring target needs n weights, n centers of 2 numbers, n radii and n widths. "
            f"Received shapes: {[a.shape for a in arrays]}"
        )
    positive = np.all(weights > 0) and np.all(widths > 0)
    if not positive or np.any(radii < 0) or not np.all(np.isfinite(centers)):
        raise TargetError(
            "ring weights and widths must be positive, radii 0 or more, all finite. "
            f"Received: {parameters}"
        )
    with np.errstate(all="ignore"):
        mass = np.dot(weights, ring_masses(radii, widths))
    if not 0 < mass < math.inf:
        raise TargetError(f"a ring target needs a finite normaliser. Received: {parameters}")
    return weights, centers, radii, widths


def ring_masses(radii: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """``2π [σ^2 exp(-t^2/2) + r σ √(2π) Φ(t)]``, ``t = r/σ``, of each ring: ``(n,)``."""

    def mass(radius: float, width: float) -> float:
        t = radius / width
        below = 0.5 * math.erfc(-t / math.sqrt(2))
        root = math.sqrt(2 * math.pi)
        return 2 * math.pi * (width**2 * math.exp(-t * t / 2) + radius * width * root * below)

    with np.errstate(all="ignore"):
        return np.array([mass(r, s) for r, s in zip(radii, widths)])


def _numbers(what: str, values: Any) -> np.ndarray:
    try:
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise TargetError(
            f"{what} must be numbers, in rows of equal length. Received: {values}"
        ) from None
