"""The distribution of a cell of rows with other cells unknown: the mean over draws of these.

P(x_j | known) = E P(x_j | known, unknown),  unknown ~ P(unknown | known)
"""

from collections.abc import Callable

import numpy as np

from nflow_cli.arrays import logsumexp
from nflow_cli.densities.cells.conditional import UNRESOLVED, CellPosterior, conditional
from nflow_cli.densities.cells.marginal import normal_cdf
from nflow_cli.experiments.table.given import WeightedDraws, completions, quantiles_of
from nflow_cli.experiments.table.rows import TableRows
from nflow_cli.random_streams import stream

DRAWN = 32  # draws of the unknown cells of a row
# Of the distribution at a draw, quantiles at normal scores, other ones at each draw.
STEP, ENDS = 0.375, 6.0
SCORES = np.arange(-ENDS, ENDS, STEP) + STEP * (np.arange(DRAWN)[:, None] + 0.5) / DRAWN
P, MASSES = normal_cdf(SCORES), normal_cdf(SCORES + STEP / 2) - normal_cdf(SCORES - STEP / 2)


def conditional_of_known(
    rows: TableRows,
    j: int,
    p: np.ndarray,
    seed: int,
    advance: Callable[[int], None] | None = None,
) -> CellPosterior:
    """Distributions of cell ``j`` as of :func:`conditional`, given the known cells alone.

    Unknown cells of given columns stay hidden inputs.
    """
    density, cells = rows.density, rows.cells
    unknown = rows.unknown(j)
    some, first = np.array(unknown.any(axis=1)), unknown.argmax(axis=1)
    # Not known either: cell j itself, and computed columns, which `conditional` ignores.
    unknown[:, [j, *range(len(density.cells), cells.shape[1])]] = some[:, None]
    p = np.broadcast_to(p, (len(rows), np.shape(p)[-1]))
    whole = conditional(density, cells[~some], j, p[~some], advance)
    parts = [(np.flatnonzero(~some), whole)]
    for i, one in enumerate(completions(rows, unknown, seed)):
        draws = _in_order(one, first[one.places]).resampled(DRAWN, stream(seed, "unknown cells", i))
        draws[:, :, j] = cells[one.places, None, j]
        at_draws = np.tile(P, (len(draws), 1))
        every = draws.reshape(-1, cells.shape[1])
        found = conditional(density, every, j, at_draws, largest_error=np.inf)
        parts.append((one.places, _mean(found, p[one.places])))
        if advance:
            advance(len(one.places))
    order = np.argsort(np.concatenate([places for places, _ in parts]))
    return CellPosterior(*(np.concatenate(every)[order] for every in zip(*(x for _, x in parts))))


def _in_order(some: WeightedDraws, first: np.ndarray) -> WeightedDraws:
    """Draws in order of the cells ``first`` ``(b,)``: systematic resampling is of even shares."""
    order = np.argsort(np.take_along_axis(some.draws, first[:, None, None], axis=2)[:, :, 0])
    draws = np.take_along_axis(some.draws, order[:, :, None], axis=1)
    return WeightedDraws(draws, np.take_along_axis(some.weights, order, axis=1))


def _mean(found: CellPosterior, p: np.ndarray) -> CellPosterior:
    """Mean of the distributions at the draws of each row, one after another, with quantiles at
    ``p`` ``(b, k)``.

    The draws are given that cell j is not missing; their weights ``w ∝ 1 / P(not missing)`` undo
    that.
    """
    of_draws = CellPosterior(*(one.reshape(len(p), DRAWN, *one.shape[1:]) for one in found))
    weights = 1 / np.maximum(1 - of_draws.missing, np.finfo(float).tiny)
    weights /= weights.sum(axis=1, keepdims=True)
    error = of_draws.error.mean(axis=1)  # at least that of the mean
    mean = of_draws.mean.mean(axis=1)
    square = np.square(of_draws.sd) + np.square(of_draws.mean - mean[:, None])
    masses = np.tile(MASSES.ravel(), (len(p), 1))
    quantiles = quantiles_of(of_draws.quantiles.reshape(len(p), -1), masses, p)
    numbers = [mean, np.sqrt(square.mean(axis=1)), of_draws.below.mean(axis=1)]
    numbers = np.column_stack([*numbers, of_draws.at.mean(axis=1), quantiles])
    numbers[~(error <= UNRESOLVED)] = np.nan
    return CellPosterior(
        levels=np.einsum("bs,bsl->bl", weights, of_draws.levels),
        missing=(weights * of_draws.missing).sum(axis=1),
        mean=numbers[:, 0],
        sd=numbers[:, 1],
        quantiles=numbers[:, 4:],
        log_prob=logsumexp(np.log(weights) + of_draws.log_prob, 1, np),
        below=numbers[:, 2],
        at=numbers[:, 3],
        outlier=of_draws.outlier.mean(axis=1),
        error=error,
    )
