"""The units of a density: a flow's own coordinates, or those of points. No Keras here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np


class Identity:
    """The coordinates of the flow itself: nothing is converted."""

    dtype: ClassVar = np.float32
    log_det: ClassVar = 0.0

    def inside(self, x: np.ndarray) -> np.ndarray:
        """Return points ``(..., D)`` as they are."""
        return x

    def outside(self, z: np.ndarray) -> np.ndarray:
        """Return points ``(..., D)`` as they are."""
        return z

    def log_prob_outside(self, log_q: np.ndarray) -> np.ndarray:
        """Return log-densities ``(...)`` as they are."""
        return log_q


@dataclass(frozen=True, eq=False)
class Standardisation:
    """Standardised coordinates ``z = (x - mean) / scale`` of points ``x`` in the user's units.

    ``log p(x) = log p(z) + log_det``, where ``log_det = log|det dz/dx| = -Σ log scale`` in nats.

    Attributes:
        mean: ``(D,)``, float64.
        scale: ``(D,)``, float64, positive.
    """

    dtype: ClassVar = np.float64

    mean: np.ndarray
    scale: np.ndarray

    def inside(self, x: np.ndarray) -> np.ndarray:
        """Return points ``(..., D)`` in standardised coordinates."""
        with np.errstate(over="ignore"):  # what is that far away is at infinity
            return (x - self.mean) / self.scale

    def outside(self, z: np.ndarray) -> np.ndarray:
        """Return points ``(..., D)`` in the user's units, float64."""
        return self.mean + self.scale * z

    def log_prob_outside(self, log_q: np.ndarray) -> np.ndarray:
        """Return log-densities ``(...)`` in nats per volume in the user's units, float64."""
        return log_q.astype(np.float64) + self.log_det

    @property
    def log_det(self) -> float:
        """``log|det dz/dx|`` in nats."""
        return float(-np.log(self.scale).sum())

    def record(self) -> dict[str, Any]:
        """Return what JSON can hold, exactly."""
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def recorded(cls, record: Mapping[str, Any], dim: int) -> "Standardisation":
        """Return the standardisation of points in R^``dim`` that :meth:`record` wrote down.

        Raises:
            ValueError: If ``record`` holds no such thing.
        """
        mean, scale = (np.asarray(record.get(key), np.float64) for key in ("mean", "scale"))
        if not mean.shape == scale.shape == (dim,) or not np.isfinite([mean, scale]).all():
            raise ValueError(f"expected {dim} finite numbers")
        if not (scale > 0).all():
            raise ValueError("expected a positive scale")
        return cls(mean, scale)


Units = Identity | Standardisation
IDENTITY = Identity()
