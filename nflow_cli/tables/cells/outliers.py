"""Cauchy distribution of outliers, in table units."""

from typing import NamedTuple

import numpy as np

from nflow_cli.arrays import LOG_2

RANGES = 5.0  # scale over the range of the training numbers: half of the outliers are within
NARROW_SQUARE = 0.1  # square of half the width of an interval over that of its middle
LEAST_TANGENT = -20.0  # nats: below, the tangent of an angle is the angle


class Outliers(NamedTuple):
    """Cauchy distribution, in table units: its log-density falls as ``2 log |x|``, so that a cell
    any number of ranges away has a likelihood.

    Attributes:
        centre: Median of the training numbers.
        scale: Five times their range.
    """

    centre: float
    scale: float

    def below(self, x: np.ndarray) -> np.ndarray:
        """Probability ``(n,)`` of less than ``x``, which may be infinite."""
        return 0.5 + np.arctan(self._in_scales(x)) / np.pi

    def log_mass(self, low: np.ndarray, high: np.ndarray, width: np.ndarray) -> np.ndarray:
        """Log-probability ``(n,)`` in nats of intervals, one end of which may be infinite, and the
        width of which is known to more digits than the ends far away.

        Of a narrow one from ``a`` to ``b``, in scales, it is that of ``(b - a)/(1 + ab)/π``, which
        may be below any number; of a wide one the difference of the angles of its ends.
        """
        low = self._in_scales(low)
        high = self._in_scales(high)
        is_mirrored = low + high < 0
        a = np.where(is_mirrored, -high, low)
        b = np.where(is_mirrored, -low, high)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            is_far = a > 1
            angles = np.arctan(np.where(is_far, 1 / a, b)) - np.arctan(np.where(is_far, 1 / b, a))
            log_width = np.log(width / self.scale)
            log_square = 2 * np.log(np.hypot(1.0, (a + b) / 2))
            part = np.exp(2 * (log_width - LOG_2) - log_square)  # of 1 + ((a + b)/2)², less ab
            log_tangent = log_width - log_square - np.log1p(-part)
            log_angle = np.log(np.arctan(np.exp(log_tangent)))
            narrow = np.where(log_tangent < LEAST_TANGENT, log_tangent, log_angle)
            return np.where(part < NARROW_SQUARE, narrow, np.log(angles)) - np.log(np.pi)

    @np.errstate(over="ignore")
    def _in_scales(self, x: np.ndarray) -> np.ndarray:
        return (x - self.centre) / self.scale

    def quantile(self, p: np.ndarray) -> np.ndarray:
        """Numbers ``(n,)`` with probability ``p`` of less, ``0 < p < 1``."""
        return self.centre + self.scale * np.tan(np.pi * (p - 0.5))


NONE_KNOWN = Outliers(0.0, 1.0)  # of a column without a probability


def fit_outliers(numbers: np.ndarray, step: float) -> Outliers:
    """Outliers of a column, by its training numbers ``(n,)`` and the step between numbers."""
    if not len(numbers):
        return Outliers(0.0, RANGES * step)
    return Outliers(float(np.median(numbers)), RANGES * float(np.ptp(numbers) + step))
