"""QQ plots: probabilities of the points, and bands of chance."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes

from nflow_cli.evaluation.normality import normal_cdf

LEVELS = 200  # points of a line
SHADE = "0.88"

Quantile = Callable[[np.ndarray], np.ndarray]


def levels(n: int) -> np.ndarray:
    """Probabilities of quantiles of n values, evenly spaced for a normal."""
    z = np.linspace(-6, 6, 4_001)
    end = np.interp(0.5 / n, normal_cdf(z), z)
    return np.clip(normal_cdf(np.linspace(end, -end, LEVELS)), 0.5 / n, 1 - 0.5 / n)


def interpolated(values: np.ndarray, cdf: np.ndarray) -> Quantile:
    """Quantile function through values (m,) with probabilities ``cdf`` (m,)."""
    return lambda p: np.interp(p, cdf, values)


def draw_chance(ax: Axes, p: np.ndarray, quantile: Quantile, n: float) -> None:
    """Draw the diagonal, and the pointwise 95 % band of quantiles p of n values."""
    low, high = chance(p, n)
    x = quantile(p)
    ax.fill_between(x, quantile(low), quantile(high), color=SHADE, linewidth=0)
    ax.axline((x[0], x[0]), slope=1, color="k", linewidth=0.8, linestyle="--")


def chance(p: np.ndarray, n: float) -> tuple[np.ndarray, np.ndarray]:
    """95 % range of probabilities of the p-quantile of n values.

    The i-th smallest is ``Beta(i, n - i + 1)``, by Wilson & Hilferty's cube root, accurate to 2% at
    the ends.
    """
    tail = np.minimum(p, 1 - p)
    i = n * tail + 0.5
    spread = 1.96 * np.sqrt((1 - tail) / (9 * i))
    low, high = (i / n * (1 - 1 / (9 * i) + sign * spread) ** 3 for sign in (-1, 1))
    low, high = np.maximum(low, 0), np.minimum(high, 1)
    return np.where(p < 0.5, low, 1 - high), np.where(p < 0.5, high, 1 - low)
