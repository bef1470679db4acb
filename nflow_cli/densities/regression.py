"""Gaussian linear regression: the baseline of a conditional density, and of a table."""

from dataclasses import dataclass

import numpy as np

from nflow_cli.constants import LOG_2PI
from nflow_cli.densities.pushforward import PushforwardDensity

LEAST_SINGULAR = 1e-6  # relative to the largest, of a direction of the context with a slope


@dataclass(frozen=True)
class Regression:
    """Gaussian ``N(b + B h, S)`` of ``z`` given a context ``h``.

    Attributes:
        intercept: ``b`` ``(D,)``.
        slope: ``B`` ``(D, H)``.
        cholesky: Lower triangle ``(D, D)`` of ``S``.
    """

    intercept: np.ndarray
    slope: np.ndarray
    cholesky: np.ndarray

    def log_prob(self, z: np.ndarray, context: np.ndarray) -> np.ndarray:
        """Log-density ``(n,)`` in nats at ``z`` ``(n, D)`` given ``context``."""
        away = np.linalg.solve(self.cholesky, (z - self.intercept - context @ self.slope.T).T)
        with np.errstate(over="ignore"):
            squared = np.sum(away * away, axis=0)
        log_det = np.log(np.diagonal(self.cholesky)).sum()
        return -0.5 * squared - log_det - 0.5 * z.shape[1] * LOG_2PI


def fit_regression(
    z: np.ndarray, context: np.ndarray, weights: np.ndarray | None = None
) -> Regression:
    """Fit the regression of ``z`` ``(n, D)`` on ``context`` ``(n, H)`` by (weighted) least squares.

    Directions of no variance, such as the sum of a category's indicators, have no slope.
    """
    shares = np.full(len(z), 1 / len(z)) if weights is None else weights / weights.sum()
    z_mean = shares @ z
    context_mean = shares @ context
    root = np.sqrt(shares)[:, None]
    centred = root * (context - context_mean)
    slope = np.linalg.lstsq(centred, root * (z - z_mean), rcond=LEAST_SINGULAR)[0].T
    residuals = root * (z - z_mean) - centred @ slope.T
    cholesky = np.linalg.cholesky(residuals.T @ residuals)
    return Regression(z_mean - slope @ context_mean, slope, cholesky)


class LinearGaussian:
    """Maximum-likelihood Gaussian of rows about their linear regression on the given columns.

    Args:
        density: With the units.
        rows: ``(n, G + D)``.
        weights: Of the rows ``(n,)``, or ``None``.
    """

    def __init__(
        self, density: PushforwardDensity, rows: np.ndarray, weights: np.ndarray | None = None
    ):
        self.density = density
        self.regression = fit_regression(*self._parts(density.encoded(rows)[0]), weights)

    def log_prob(self, rows: np.ndarray) -> np.ndarray:
        """Log-density ``(n,)`` in nats of rows ``(n, G + D)``."""
        encoded, log_det = self.density.encoded(rows)
        return self.regression.log_prob(*self._parts(encoded)) + log_det

    def _parts(self, encoded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points ``(n, D)``, and their context ``(n, H)``, of no columns without one."""
        z, context = self.density.parts(encoded)
        if context is None:
            context = np.zeros((len(z), 0))
        return z, context
