"""Losses of predictions of a column from the others, beside those of the column's own distribution.

Of numbers the squared error of the mean and the pinball loss of quantiles, of levels the log loss,
the error rate and the area under the ROC curve.
"""

import numpy as np

from nflow_cli.evaluation.ranks import area, ranked
from nflow_cli.evaluation.tallies import Moments, Tally
from nflow_cli.tables.cells.cell_columns import CellColumn
from nflow_cli.tables.cells.cell_conditional import UNRESOLVED, CellPosterior, conditional
from nflow_cli.tables.cells.cells_density import CellDensity
from nflow_cli.tables.table_report import ALONE
from nflow_cli.tables.table_rows import TableRows
from nflow_cli.tables.unknown import conditional_of_known

QUANTILES = (0.05, 0.5, 0.95)


def shares_of(posterior: CellPosterior) -> np.ndarray:
    """Probabilities ``(n, L)`` of levels, given that the cell is not missing."""
    return posterior.levels / _present(posterior)[:, None]


def _present(posterior: CellPosterior) -> np.ndarray:
    """Probabilities ``(n,)`` above 0 that the cell is not missing."""
    return np.maximum(1 - posterior.missing, np.finfo(float).tiny)


def losses(
    column: CellColumn, posterior: CellPosterior, p: np.ndarray, values: np.ndarray
) -> dict[str, np.ndarray]:
    """Losses ``(n,)`` by name of distributions with quantiles at ``p`` ``(k,)``, at values
    ``(n,)`` that are not missing.

    Of numbers ``square``, ``(mean - x)²``, and ``pinball``, the mean over quantiles q of
    ``max(p (x - q), (p - 1) (x - q))``; of levels ``log_loss``, ``-log P(x | present)`` in nats,
    and ``error_rate``, whether another level is the likeliest.
    """
    if column.has_levels:
        log_loss = np.log(_present(posterior)) - posterior.log_prob
        return {"log_loss": log_loss, "error_rate": posterior.levels.argmax(axis=1) != values}
    away = values[:, None] - posterior.quantiles
    with np.errstate(over="ignore"):
        square = np.square(posterior.mean - values)
    return {"square": square, "pinball": np.maximum(p * away, (p - 1) * away).mean(axis=1)}


def marginal_posterior(
    density: CellDensity, j: int, p: np.ndarray, values: np.ndarray
) -> CellPosterior:
    """Distributions of rows with values ``(n,)`` of column ``j`` by its marginal, whatever else is
    in the row.
    """
    if not density.row_columns[j].has_levels:  # whose losses need no probability of the value
        values = np.full(len(values), np.nan)
    distinct, places = np.unique(values, return_inverse=True)
    rows = np.full((len(distinct), len(density.row_columns)), np.nan)
    rows[:, j] = distinct
    of_distinct = conditional(density.marginal_density, rows, j, p)
    return CellPosterior(*(array[places] for array in of_distinct))


def tally_of(
    density: CellDensity,
    j: int,
    p: np.ndarray,
    posterior: CellPosterior,
    values: np.ndarray,
    weights: np.ndarray | None = None,
) -> Tally:
    """Sums of the losses of the distributions of column ``j`` of rows with values ``(n,)``, NaN of
    those that do not count, and of those by its marginal. Ranks are of rows without new levels, and
    none of rows with weights ``(n,)``.
    """
    column = density.row_columns[j]
    is_known = ~np.isnan(values)
    values = values[is_known]
    posterior = CellPosterior(*(array[is_known] for array in posterior))
    row_weights = np.ones(len(values)) if weights is None else weights[is_known]
    of_marginal = losses(column, marginal_posterior(density, j, p, values), p, values)
    row_losses = losses(column, posterior, p, values)
    row_losses |= {f"{name}{ALONE}": loss for name, loss in of_marginal.items()}
    means = {}
    for name, loss in row_losses.items():
        is_finite = ~np.isnan(loss)
        means[name] = Moments.of(loss[is_finite], row_weights[is_finite])
    if not column.has_levels or weights is not None:
        return Tally(means)
    has_rank = (values >= 0) & ~np.isnan(posterior.log_prob)
    return Tally(means, ranks=ranked(shares_of(posterior)[has_rank], values[has_rank]))


def scores_of(tally: Tally) -> dict[str, float | None]:
    """Means of sums by name, each with its standard error, the roots of ``square`` as ``rmse``, and
    the area under the ROC curve.

    By the delta method a root has the standard error of its square, divided by twice the root.
    """
    scores: dict[str, float | None] = {}
    for name, moments in tally.means.items():
        if moments.n:
            scores |= moments.scores(name)
    for end in ("", ALONE):
        square = scores.pop(f"square{end}", None)
        if square is not None:
            root = float(np.sqrt(square))
            error = scores.pop(f"square{end}_standard_error")
            scores[f"rmse{end}"] = root
            scores[f"rmse{end}_standard_error"] = error / (2 * root) if error else error
    return {**scores, **area(tally.ranks)}


def of_held_out(
    density: CellDensity, rows: np.ndarray, weights: np.ndarray | None, seed: int
) -> dict[str, float | None]:
    """Losses of the predictions of the only modelled column of rows ``(n, C)`` given the others;
    empty of several columns, or without given ones.
    """
    if not density.n_given or len(density.modelled_columns) > 1:
        return {}
    j = density.n_given
    p = np.array(QUANTILES)
    posterior = conditional_of_known(TableRows(density, rows), j, p, seed)
    values = np.where(posterior.error <= UNRESOLVED, rows[:, j], np.nan)
    return scores_of(tally_of(density, j, p, posterior, values, weights))
