"""Random streams, keyed by (seed, purpose, step)."""

import zlib

import numpy as np

from nflow_cli.arguments import MAX_SEED, whole_number


def stream(seed: int, purpose: str, step: int = 0) -> np.random.Generator:
    """Random generator of one step of one purpose.

    Counter-based (Philox): a stream depends on its three keys alone, so any step can be drawn
    again, in any order, and purposes never overlap. ``seed`` is from 0 to 2³² - 1.
    """
    key = [whole_number("seed", seed, MAX_SEED), zlib.crc32(purpose.encode())]
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, step]))


def shifted_lattice(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw sets of ``n`` quasi-random points in the unit cube; ``shape`` is ``(..., D, n)``.

    Point i of a set is ``u + i α mod 1``, one uniform ``u`` a set, with ``α = (1/n, φ⁻¹, φ⁻², …)``
    and ``φ^D = φ + 1``, for D = 2 the golden ratio (Roberts 2018). So each point is uniform and a
    mean over a set unbiased; for smooth functions of few coordinates its error falls nearly as 1/n,
    not as the 1/√n of independent points (Cranley & Patterson 1976).
    """
    *leading, dim, n = shape
    phi = 2.0
    for _ in range(64):
        phi = (1 + phi) ** (1 / dim)
    steps = np.append(1 / n, phi ** -np.arange(1.0, dim))
    shifts = rng.random((*leading, dim, 1))
    return np.mod(shifts + steps[:, None] * np.arange(n), 1.0)
