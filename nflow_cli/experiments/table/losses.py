"""Losses of predictions of a column from the others, beside those of the column's own distribution.

Of numbers the squared error of the mean and the pinball loss of quantiles, of levels the log loss,
the error rate and the area under the ROC curve.
"""

from typing import Any

import numpy as np

from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.densities.cells.conditional import UNRESOLVED, CellPosterior, conditional
from nflow_cli.densities.cells.density import CellDensity
from nflow_cli.evaluation.ranks import area, ranked
from nflow_cli.evaluation.tallies import Moments, Tally
from nflow_cli.experiments.table.report import ALONE
from nflow_cli.experiments.table.rows import TableRows
from nflow_cli.experiments.table.unknown import conditional_of_known

QUANTILES = 0.05, 0.5, 0.95


def shares_of(found: CellPosterior) -> np.ndarray:
    """Probabilities ``(n, L)`` of levels, given that the cell is not missing."""
    return found.levels / _present(found)[:, None]


def _present(found: CellPosterior) -> np.ndarray:
    return np.maximum(1 - found.missing, np.finfo(float).tiny)


def losses(
    column: CellColumn, found: CellPosterior, p: np.ndarray, values: np.ndarray
) -> dict[str, np.ndarray]:
    """Losses ``(n,)`` by name of distributions with quantiles at ``p`` ``(k,)``, at values
    ``(n,)`` that are not missing.

    Of numbers ``square``, ``(mean - x)²``, and ``pinball``, the mean over quantiles q of
    ``max(p (x - q), (p - 1) (x - q))``; of levels ``log_loss``, ``-log P(x | present)`` in nats,
    and ``error_rate``, whether another level is the likeliest.
    """
    if not column.has_numbers:
        log_loss = np.log(_present(found)) - found.log_prob
        return {"log_loss": log_loss, "error_rate": found.levels.argmax(axis=1) != values}
    away = values[:, None] - found.quantiles
    with np.errstate(over="ignore"):
        square = np.square(found.mean - values)
    return {"square": square, "pinball": np.maximum(p * away, (p - 1) * away).mean(axis=1)}


def alone(density: CellDensity, j: int, p: np.ndarray, values: np.ndarray) -> CellPosterior:
    """Distributions of rows with values ``(n,)`` of column ``j`` by its marginal, whatever else is
    in the row.
    """
    if density.row[j].has_numbers:  # whose losses need no probability of the value
        values = np.full(len(values), np.nan)
    distinct, which = np.unique(values, return_inverse=True)
    rows = np.full((len(distinct), len(density.row)), np.nan)
    rows[:, j] = distinct
    found = conditional(density.alone, rows, j, p)
    return CellPosterior(*(array[which] for array in found))


def tally_of(
    density: CellDensity,
    j: int,
    p: np.ndarray,
    found: CellPosterior,
    values: np.ndarray,
    weights: np.ndarray | None = None,
) -> Tally:
    """Sums of the losses of the distributions of column ``j`` of rows with values ``(n,)``, NaN of
    those that do not count, and of those by its marginal. Ranks are of rows without new levels, and
    none of rows with weights ``(n,)``.
    """
    known = ~np.isnan(values)
    found = CellPosterior(*(array[known] for array in found))
    values, column = values[known], density.row[j]
    w = np.ones(len(values)) if weights is None else weights[known]
    of_alone = losses(column, alone(density, j, p, values), p, values)
    every = losses(column, found, p, values)
    every |= {f"{name}{ALONE}": loss for name, loss in of_alone.items()}
    means = {
        name: Moments.of(loss[~np.isnan(loss)], w[~np.isnan(loss)]) for name, loss in every.items()
    }
    if column.has_numbers or weights is not None:
        return Tally(means)
    is_seen = (values >= 0) & ~np.isnan(found.log_prob)
    return Tally(means, ranks=ranked(shares_of(found)[is_seen], values[is_seen]))


def scores_of(found: Tally) -> dict[str, Any]:
    """Means of sums by name, each with its standard error, the roots of ``square`` as ``rmse``, and
    the area under the ROC curve.

    By the delta method a root has the standard error of its square, divided by twice the root.
    """
    scores: dict[str, Any] = {}
    for name, moments in found.means.items():
        if moments.n:
            scores |= moments.scores(name)
    for end in ("", ALONE):
        if f"square{end}" in scores:
            root = float(np.sqrt(scores.pop(f"square{end}")))
            error = scores.pop(f"square{end}_standard_error")
            scores[f"rmse{end}"] = root
            scores[f"rmse{end}_standard_error"] = error / (2 * root) if error else error
    return {**scores, **area(found.ranks)}


def of_held_out(
    density: CellDensity, rows: np.ndarray, weights: np.ndarray | None, seed: int
) -> dict[str, Any]:
    """Losses of the predictions of the only modelled column of rows ``(n, C)`` given the others;
    empty of several columns, or without given ones.
    """
    if not density.n_given or len(density.modelled) > 1:
        return {}
    j, p = density.n_given, np.array(QUANTILES)
    found = conditional_of_known(TableRows(density, rows), j, p, seed)
    values = np.where(found.error <= UNRESOLVED, rows[:, j], np.nan)
    return scores_of(tally_of(density, j, p, found, values, weights))
