"""Where random numbers come from: streams keyed by (seed, purpose, step). No Keras here."""

import zlib

import numpy as np

from nflow_cli.arguments import MAX_SEED, whole_number


def stream(seed: int, purpose: str, step: int = 0) -> np.random.Generator:
    """Return the random generator of one step of one purpose.

    Counter-based (Philox): a stream depends on its three keys alone, so any step can be drawn
    again, in any order, and purposes never overlap.

    Raises:
        ConfigError: If ``seed`` is no whole number from 0 to 2⁶⁴ - 1.
    """
    key = [whole_number("seed", seed, MAX_SEED), zlib.crc32(purpose.encode())]
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, step]))
