"""Points and batches that nflow and other libraries train on in ``flows``, and what is timed."""

import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

POINTS, HELD_OUT, RATE, CHUNK = 50_000, 20_000, 1e-3, 100
BINS, BOUND = 8, 5.0
DRAWS = 20  # batches that are drawn


def drawn(n: int, dim: int, seed: int) -> np.ndarray:
    """Draw points ``(n, D)`` from ``½ N(2, I) + ½ N(-2, I)``."""
    rng = np.random.default_rng(seed)
    sign = rng.choice([-2.0, 2.0], (n, 1))
    return (sign + rng.standard_normal((n, dim))).astype(np.float32)


def batches(updates: int, batch: int) -> np.ndarray:
    """Draw the rows of each update, ``(updates, batch)``."""
    return np.random.default_rng(2).integers(POINTS, size=(updates, batch)).astype(np.int32)


def timed(seconds: list[float], held_out: float) -> dict[str, float]:
    """Return what a contender reports, by the seconds of its chunks: the first one compiles."""
    warm = statistics.median(seconds[1:])
    speed = {"updates_per_second": CHUNK / warm, "compile": seconds[0] - warm}
    return {**speed, **memory(), "held_out": held_out}


def draws_per_second(draw: Callable[[int], Any]) -> dict[str, float]:
    """Return how many batches are drawn a second, by the median; the first one may compile."""
    seconds = []
    for number in range(1 + DRAWS):
        began = time.perf_counter()
        draw(number)
        seconds.append(time.perf_counter() - began)
    return {"draws_per_second": 1 / statistics.median(seconds[1:])}


def memory() -> dict[str, float]:
    """Return the memory that this process took at most, in GB."""
    return {"peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}
