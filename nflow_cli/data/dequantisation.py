"""Noise that turns the whole multiples of a step into numbers with a density. No Keras here.

A value ``v`` of a discrete column stands for the cell ``(v - s/2, v + s/2)``, ``s`` its step. With
noise ``u`` uniform over the cell, ``log P(v) = log E s q(v + u) >= E log s q(v + u)``: a density of
noisy values bounds the probability of the value from below (Theis, van den Oord & Bethge, *A note
on the evaluation of generative models*, 2016, arXiv 1511.01844).
"""

import numpy as np

NOISES = 16  # of a row that is scored
WITHIN = 1 - 1e-6  # of the cell, that noise fills: a bound may lie at its end
OFF = 1e-6  # steps that a discrete value may be off a multiple
MOST_STEPS = 1e9  # from 0 to a discrete value: beyond, rounding takes it off
# Of splitmix64 (Steele, Lea & Flood 2014).
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIXERS = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)


def are_multiples(values: np.ndarray, step: float | np.ndarray) -> np.ndarray:
    """Return which values are whole multiples of a step, or of one a column, but for rounding."""
    with np.errstate(invalid="ignore"):  # of infinities, which are none
        steps = values / step
        return np.abs(steps - np.rint(steps)) <= OFF


def nearest_multiples(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the multiples nearest to values ``(n, m)`` of the steps ``(m,)`` of their columns.

    Of steps such as 0.1 they are the numbers that are written so: 0.3, where 3 · 0.1 is none. None
    is further from 0 than ``MOST_STEPS``.
    """
    numbers = np.clip(np.rint(values / steps), -MOST_STEPS, MOST_STEPS) + 0.0  # no -0
    parts = np.maximum(np.rint(1 / steps), 1)
    return np.where(parts * steps == 1, numbers / parts, numbers * steps)


def are_whole(step: float) -> bool:
    """Return whether all multiples of a step are whole numbers that a double holds."""
    return step == np.rint(step) and step * MOST_STEPS <= 2**53


def row_noise(rows: np.ndarray, dim: int, number: int) -> np.ndarray:
    """Return noise ``(n, dim)`` in (0, 1) of each row, the same wherever that row stands.

    The noises of a row are an additive recurrence (Kronecker's sequence of the generalised golden
    ratio), whose start is a hash of the row: evenly spread, and independent from row to row.

    Args:
        rows: ``(n, C)``, float64.
        dim: How many numbers of noise a row takes.
        number: Which of the row's noises, from 0.
    """
    hashed = np.zeros(len(rows), np.uint64)
    for column in np.ascontiguousarray(rows.T + 0.0):  # -0 and 0 are one value
        hashed = _mixed(hashed ^ column.view(np.uint64))
    ratio = _golden_ratio(dim)
    noise = np.empty((len(rows), dim))
    for i in range(dim):
        hashed = _mixed(hashed)
        start = ((hashed >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
        noise[:, i] = (start + number * ratio ** -(i + 1.0)) % 1.0
    return np.clip(noise, 2.0**-53, 1 - 2.0**-53)


def _mixed(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        values = values + _GOLDEN
        for shift, factor in _MIXERS:
            values = (values ^ (values >> shift)) * factor
    return values ^ (values >> np.uint64(31))


def _golden_ratio(dim: int) -> float:
    """Return the root of ``x^(dim+1) = x + 1``."""
    root = 2.0
    for _ in range(60):
        root = (1 + root) ** (1 / (dim + 1))
    return root
