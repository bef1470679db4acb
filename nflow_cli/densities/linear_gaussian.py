"""What a density of rows is compared with, and starts as: the linear regression of its numbers."""

import math
from collections.abc import Iterator
from itertools import islice

import numpy as np
from keras import ops

from nflow_cli.data.dequantisation import NOISES
from nflow_cli.data.regression import fit_regression
from nflow_cli.densities.rows import RowDensity


class LinearGaussian:
    """A Gaussian around the linear regression of numbers on what is given, by least squares.

    Of modelled categories it has the shares of the training rows, each a row more: no level that is
    known has a share of 0.

    Args:
        density: Whose columns, units and noises it shares.
        rows: To be fitted to, ``(n, C)``.
        weights: Of the rows ``(n,)``, or ``None``.
    """

    def __init__(self, density: RowDensity, rows: np.ndarray, weights: np.ndarray | None):
        self.density = density
        z, context = self._numbers(density.encoded(rows)[0])
        self.regression = fit_regression(z, context, weights)
        self.shares = [
            _shares(codes, len(levels), weights)
            for codes, levels in zip(self._codes(rows), density.roles.categories.values())
        ]

    def log_prob(self, rows: np.ndarray, noises: int = NOISES) -> np.ndarray:
        """Return the log-density ``(n,)`` in nats of rows ``(n, C)``, as of ``density``.

        Of discrete columns by the first ``noises`` of their noises.
        """
        log_qs = []
        for encoded, log_det in islice(self.density.encodings(rows), noises):
            log_qs.append(self.regression.log_prob(*self._numbers(encoded)) + log_det)
        with np.errstate(invalid="ignore"):  # of rows that lack a value
            log_q = np.logaddexp.reduce(log_qs) - math.log(len(log_qs))
        for codes, shares in zip(self._codes(rows), self.shares):
            log_q = (
                log_q + np.log(shares)[np.maximum(codes, 0)]
            )  # -inf already where it is not known
        return log_q

    def _numbers(self, encoded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        z, context = self.density.parts(ops.convert_to_tensor(encoded))
        z = ops.convert_to_numpy(z).astype(np.float64)
        if context is None:
            return z, np.zeros((len(z), 0))
        return z, ops.convert_to_numpy(context).astype(np.float64)

    def _codes(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the numbers of levels ``(n,)`` of each modelled category."""
        start = self.density.dim
        for codes in rows[:, start : start + len(self.density.roles.categories)].T:
            yield np.nan_to_num(codes, nan=-1).astype(int)


def _shares(codes: np.ndarray, count: int, weights: np.ndarray | None) -> np.ndarray:
    """Return the shares ``(count,)`` of levels, of one row more each."""
    scaled = None if weights is None else weights * (len(weights) / weights.sum())
    counts = np.bincount(codes, scaled, minlength=count) + 1.0
    return counts / counts.sum()
