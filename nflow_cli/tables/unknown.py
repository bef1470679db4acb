"""The distribution of a cell of rows with other cells unknown: the mean over draws of these.

P(x_j | known) = E P(x_j | known, unknown),  unknown ~ P(unknown | known)
"""

from collections.abc import Callable

import numpy as np

from nflow_cli.arrays import logsumexp
from nflow_cli.random_streams import stream
from nflow_cli.tables.cells.cell_conditional import UNRESOLVED, CellPosterior, conditional
from nflow_cli.tables.cells.marginal import normal_cdf
from nflow_cli.tables.given import WeightedDraws, completions, weighted_quantiles
from nflow_cli.tables.table_rows import TableRows

DRAWS = 32  # of the unknown cells of a row
# The distribution at a draw is a sum of masses at quantiles: at normal scores, which are in steps,
# and others at each draw.
STEP = 0.375
END = 6.0
NORMAL_SCORES = np.arange(-END, END, STEP) + STEP * (np.arange(DRAWS)[:, None] + 0.5) / DRAWS
P = normal_cdf(NORMAL_SCORES)  # of the quantiles ``(DRAWS, S)``
MASSES = normal_cdf(NORMAL_SCORES + STEP / 2) - normal_cdf(NORMAL_SCORES - STEP / 2)


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
    density = rows.density
    cells = rows.values
    unknown = rows.unknown_cells(j)
    first_unknown = unknown.argmax(axis=1)
    has_unknown = np.array(unknown.any(axis=1))
    # Not known either: cell j itself, and computed columns, which `conditional` ignores.
    unknown[:, [j, *range(len(density.columns), cells.shape[1])]] = has_unknown[:, None]
    p = np.broadcast_to(p, (len(rows), np.shape(p)[-1]))
    places = [np.flatnonzero(~has_unknown)]
    posteriors = [conditional(density, cells[~has_unknown], j, p[~has_unknown], advance)]
    for i, completed in enumerate(completions(rows, unknown, seed)):
        ordered = _in_order(completed, first_unknown[completed.places])
        draws = ordered.resampled(DRAWS, stream(seed, "unknown cells", i))
        draws[:, :, j] = cells[completed.places, None, j]
        flat = draws.reshape(-1, cells.shape[1])
        p_of_draws = np.tile(P, (len(draws), 1))
        at_draws = conditional(density, flat, j, p_of_draws, largest_error=np.inf)
        places.append(completed.places)
        posteriors.append(_mean(at_draws, p[completed.places]))
        if advance:
            advance(len(completed.places))
    order = np.argsort(np.concatenate(places))
    return CellPosterior(*(np.concatenate(arrays)[order] for arrays in zip(*posteriors)))


def _in_order(weighted: WeightedDraws, cell: np.ndarray) -> WeightedDraws:
    """Draws in order of a ``cell`` ``(b,)`` of each row: systematic resampling of them is even."""
    values = np.take_along_axis(weighted.draws, cell[:, None, None], axis=2)[:, :, 0]
    order = np.argsort(values)
    draws = np.take_along_axis(weighted.draws, order[:, :, None], axis=1)
    return WeightedDraws(draws, np.take_along_axis(weighted.weights, order, axis=1))


def _mean(at_draws: CellPosterior, p: np.ndarray) -> CellPosterior:
    """Mean of the distributions at the draws of each row, one after another, with quantiles at
    ``p`` ``(b, k)``.

    The draws are given that cell j is not missing; their weights ``w ∝ 1 / P(not missing)`` undo
    that.
    """
    by_row = CellPosterior(*(array.reshape(len(p), DRAWS, *array.shape[1:]) for array in at_draws))
    weights = 1 / np.maximum(1 - by_row.missing, np.finfo(float).tiny)
    weights /= weights.sum(axis=1, keepdims=True)
    mean = by_row.mean.mean(axis=1)
    variance = (np.square(by_row.sd) + np.square(by_row.mean - mean[:, None])).mean(axis=1)
    masses = np.tile(MASSES.ravel(), (len(p), 1))
    quantiles = weighted_quantiles(by_row.quantiles.reshape(len(p), -1), masses, p)
    error = by_row.error.mean(axis=1)  # at least that of the mean
    is_resolved = error <= UNRESOLVED
    return CellPosterior(
        levels=np.einsum("bs,bsl->bl", weights, by_row.levels),
        missing=(weights * by_row.missing).sum(axis=1),
        mean=np.where(is_resolved, mean, np.nan),
        sd=np.where(is_resolved, np.sqrt(variance), np.nan),
        quantiles=np.where(is_resolved[:, None], quantiles, np.nan),
        log_prob=logsumexp(np.log(weights) + by_row.log_prob, 1, np),
        below=np.where(is_resolved, by_row.below.mean(axis=1), np.nan),
        at=np.where(is_resolved, by_row.at.mean(axis=1), np.nan),
        outlier=by_row.outlier.mean(axis=1),
        error=error,
    )
