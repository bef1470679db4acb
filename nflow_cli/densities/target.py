"""Density to fit, by its log-density in nats."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from nflow_cli.arrays import Tensor


class Target(ABC):
    """Density to fit. A subclass must define :meth:`log_prob`.

    Attributes:
        dim: D.
        log_z: ``log ∫ exp(-U)`` in nats, where ``log_prob`` is ``-U - log_z``; ``None`` if unknown:
            ``log_prob`` may then be unnormalised.
        log_z_source: ``exact`` or ``quadrature``.
        window: Half the side of the plotted square; ``None``: by the samples of the fit.
        center: Of that square, ``(D,)`` or 0.
        sample: ``sample(rng, n)`` draws exact samples ``(n, D)``; ``None`` if unavailable.
    """

    dim: int = 2
    log_z: Any = None  # a property of some, and no None in a log-density that subtracts it
    log_z_source: str | None = None
    window: float | None = None
    center: np.ndarray | float = 0.0
    sample: Callable[[np.random.Generator, int], np.ndarray] | None = None

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density ``(...)`` in nats of points ``(..., D)``, up to a constant."""
