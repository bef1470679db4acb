"""KL divergence from the true density of a built-in point set."""

from collections.abc import Callable, Sequence

import numpy as np

from nflow_cli.data.table_files import names_of_set
from nflow_cli.evaluation.tallies import Moments
from nflow_cli.random_streams import stream
from nflow_cli.registry import POINT_SETS, resolve

FRESH_POINTS = 100_000  # samples of the true density
UNKNOWN = {"gap": None, "gap_standard_error": None}  # of other data


def gap_to_the_truth(
    log_prob: Callable[[np.ndarray], np.ndarray], name: str, seed: int, columns: Sequence[str] = ()
) -> dict[str, float | None]:
    """``KL(p || q)`` from the density ``p`` of a built-in point set, by 100,000 fresh samples.

    ``log_prob`` returns ``log q`` ``(n,)`` in nats of points ``(n, D)``, with ``columns`` in its
    order (empty: all). ``gap``, the mean of ``log p - log q`` in nats, and its standard error are
    infinite and ``None`` if ``q`` is 0 at a sample; ``None`` for other data, and for fewer columns.
    """
    if name not in POINT_SETS:
        return {**UNKNOWN}
    points = resolve(POINT_SETS[name])()
    x = points.sample(stream(seed, "fresh"), FRESH_POINTS)
    names = names_of_set(x)
    if columns and len(columns) < len(names):
        return {**UNKNOWN}
    order = [names.index(name) for name in columns or names]
    return Moments.of(points.log_prob(x) - log_prob(x[:, order])).scores("gap")
