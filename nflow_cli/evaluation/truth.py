"""How far a density is from the one that a built-in set of points is drawn from."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from nflow_cli.data.named_tables import names_of_set
from nflow_cli.random_streams import stream
from nflow_cli.registry import POINT_SETS, resolve

FRESH_POINTS = 100_000  # that the gap to the truth is a mean over
UNKNOWN = {"gap": None, "gap_standard_error": None}  # the gap of other data


def gap_to_the_truth(
    log_prob: Callable[[np.ndarray], np.ndarray], name: str, seed: int, columns: Sequence[str] = ()
) -> dict[str, float | None]:
    """Judge ``q`` by the density ``p`` that a built-in set of points is drawn from.

    Args:
        log_prob: Returns ``log q`` ``(n,)`` in nats of points ``(n, D)``.
        name: Of the data.
        seed: Fixes the fresh points, which are of no other draw.
        columns: Those that ``q`` is a density of, in its order; without, all that a set has.

    Returns:
        ``gap``: the mean of ``log p - log q`` in nats over 100,000 fresh points of ``p``, which
        estimates ``KL(p || q)``, and its ``gap_standard_error``; infinite and NaN where a point is
        beyond ``q``, and both ``None`` for other data, and for fewer columns.
    """
    if name not in POINT_SETS:
        return {**UNKNOWN}
    points = resolve(POINT_SETS[name])()
    x = points.sample(stream(seed, "fresh"), FRESH_POINTS)
    names = names_of_set(x)
    if columns and len(columns) < len(names):
        return {**UNKNOWN}
    order = [names.index(name) for name in columns or names]
    gaps = points.log_prob(x) - log_prob(x[:, order])
    with np.errstate(invalid="ignore"):  # of infinities
        error = gaps.std(ddof=1) / math.sqrt(len(gaps))
    return {"gap": float(gaps.mean()), "gap_standard_error": float(error)}
