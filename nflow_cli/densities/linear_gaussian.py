"""Gaussian baseline of a table: linear regression on the given columns."""

import numpy as np

from nflow_cli.densities.pushforward import FlowDensity
from nflow_cli.densities.regression import fit_regression


class LinearGaussian:
    """Maximum-likelihood Gaussian of rows about their linear regression on the given columns.

    Args:
        density: With the units.
        rows: ``(n, G + D)``.
        weights: Of the rows ``(n,)``, or ``None``.
    """

    def __init__(self, density: FlowDensity, rows: np.ndarray, weights: np.ndarray | None = None):
        self.density = density
        self.regression = fit_regression(*self._parts(density.encoded(rows)[0]), weights)

    def log_prob(self, rows: np.ndarray) -> np.ndarray:
        """Log-density ``(n,)`` in nats of rows ``(n, G + D)``."""
        encoded, log_det = self.density.encoded(rows)
        return self.regression.log_prob(*self._parts(encoded)) + log_det

    def _parts(self, encoded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        z, context = self.density.parts(encoded)
        return z, np.zeros((len(z), 0)) if context is None else context
