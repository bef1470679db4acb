"""Draws of the unknown cells of rows, given the known ones.

    p(unknown | known) ∝ q(row) ∝ Π_unknown P(x_j | before) Π_known P(x_j | before)

Importance sampling: the unknown cells are drawn in order, each given the cells before it, and the
rest is the weight. Where all known cells are before all unknown ones, weights are equal and draws
exact. If unknown cells are to be present, the weight has their ``P(present | before)`` as factors.
Of unmixed columns, which have no order, unknown numbers in units are drawn from a multivariate t
distribution around their linear regression on the known ones.

Metropolis steps: a step proposes one unknown cell of each row, from its distribution given the
cells before, and accepts it by the ratio of the probabilities of the cells behind. So the
distribution of the unknown cells given the known ones, none of them missing, is invariant, whatever
the order of the columns. Where few are accepted, as the cells behind say more of a cell than those
before, half of the proposals are near its number, or any level.
"""

import math

import numpy as np

from nflow_cli.random_streams import stream
from nflow_cli.tables.cells.cell_columns import CellColumn
from nflow_cli.tables.cells.cells_density import CellDensity
from nflow_cli.tables.cells.marginal import STANDARD
from nflow_cli.tables.cells.unmixing import units_of

DEGREES = 5.0  # of freedom of the t distribution
REGRESSION_DRAWS = 4_000  # typical rows, of whose units the covariance is
RIDGE = 1e-9  # of the variances

Weighted = tuple[np.ndarray, np.ndarray]  # rows (n, C), and log-weights (n,) in nats
SELDOM_ACCEPTED = 0.05  # acceptance of a column's proposals, below which half are near
FINEST_SCALE = 1e-3  # units: least scale of the distance to a near number, the largest is 1
LEAST_LOG = -1e9  # nats, of cells that no row can have


def proposals(
    density: CellDensity,
    rows: np.ndarray,
    unknown: np.ndarray,
    rng: np.random.Generator,
    present: bool = True,
) -> Weighted:
    """Draw the ``unknown`` cells ``(n, C)`` of rows, of modelled and computed columns, as proposals
    of importance sampling: rows and log-weights.

    With ``present`` none of them is missing. A NaN elsewhere is a missing cell, or one that is left
    out of the sum.
    """
    if density.unmixing:
        return _unmixed_proposals(density, rows, unknown, rng)
    hidden = np.where(unknown, np.nan, rows)
    filled, log_present = density.draw_cells(hidden, unknown, rng, present=present)
    _draw_computed(density, filled, unknown, rng)
    known = ~unknown[:, density.n_given :]
    log_cells = density.cell_log_probs(filled)
    return filled, np.where(known, log_cells, 0.0).sum(axis=1) + log_present


def _draw_computed(
    density: CellDensity, rows: np.ndarray, unknown: np.ndarray, rng: np.random.Generator
) -> None:
    """Draw the ``unknown`` computed cells of rows ``(n, C)``, in place."""
    for computed in density.computed_columns:
        drawn = computed.draw(rows, rng)
        place = computed.place
        rows[:, place] = np.where(unknown[:, place], drawn, rows[:, place])


def _unmixed_proposals(
    density: CellDensity, rows: np.ndarray, unknown: np.ndarray, rng: np.random.Generator
) -> Weighted:
    """Rows with their ``unknown`` cells ``(n, C)`` drawn, and log-weights, of unmixed columns: in
    units, by a t distribution around their regression on the known cells of the row.
    """
    columns = density.row_columns
    empty = np.full((REGRESSION_DRAWS, len(columns)), np.nan)
    typical = units_of(columns, density.draw(empty, stream(0, "regressions")))
    mean = typical.mean(axis=0)
    covariance = np.cov(typical.T)
    covariance = covariance + RIDGE * np.diag(np.diag(covariance))
    units = units_of(columns, rows)
    log_proposal = np.zeros(len(rows))
    # Rows with the same unknown cells have the same regression.
    patterns, pattern_of_row = np.unique(unknown, axis=0, return_inverse=True)
    for i, is_unknown in enumerate(patterns):
        places = np.flatnonzero(pattern_of_row.ravel() == i)
        is_known = ~is_unknown
        across = covariance[np.ix_(is_known, is_unknown)]
        slopes = np.linalg.solve(covariance[np.ix_(is_known, is_known)], across)
        residual = covariance[np.ix_(is_unknown, is_unknown)] - across.T @ slopes
        centre = mean[is_unknown] + (units[np.ix_(places, is_known)] - mean[is_known]) @ slopes
        deviations, log_proposal[places] = _t_draws(np.linalg.cholesky(residual), len(places), rng)
        units[np.ix_(places, is_unknown)] = centre + deviations
    values = np.stack([c.values_at(u) for c, u in zip(columns, units.T)], axis=1)
    filled = np.where(unknown, values, rows)
    log_slopes = np.stack([c.in_interval_units(x)[1] for c, x in zip(columns, filled.T)], axis=1)
    log_proposal += np.where(unknown, log_slopes, 0.0).sum(axis=1)
    return filled, density.log_prob(filled) - log_proposal


def _t_draws(cholesky: np.ndarray, n: int, rng: np.random.Generator) -> Weighted:
    """Draws ``(n, d)`` of a multivariate t distribution around 0, and their log-density ``(n,)`` in
    nats; its scale matrix has the Cholesky factor ``cholesky`` ``(d, d)``.
    """
    d = len(cholesky)
    nu = DEGREES
    normals = rng.standard_normal((n, d))
    z = normals * np.sqrt(nu / rng.chisquare(nu, n))[:, None]
    constant = math.lgamma((nu + d) / 2) - math.lgamma(nu / 2) - d / 2 * math.log(nu * math.pi)
    constant -= float(np.log(np.diag(cholesky)).sum())
    return z @ cholesky.T, constant - (nu + d) / 2 * np.log1p(np.square(z).sum(axis=1) / nu)


def metropolis_steps(
    density: CellDensity,
    rows: np.ndarray,
    unknown: np.ndarray,
    steps: int,
    rng: np.random.Generator,
    tallies: np.ndarray,
) -> np.ndarray:
    """Rows ``(n, C)`` after steps of their ``unknown`` cells.

    ``tallies`` ``(2, C)`` counts the proposals of each column given the cells before, and those
    accepted; it is updated.
    """
    are_modelled = np.arange(unknown.shape[1]) < len(density.columns)
    is_movable = unknown & are_modelled

    def log_cells(rows: np.ndarray) -> np.ndarray:
        log_p = density.cell_log_probs(rows)
        log_p = np.pad(log_p, ((0, 0), (density.n_given, 0)))
        return np.where(unknown & ~are_modelled, 0.0, log_p)  # computed from the others

    log_p = log_cells(rows)
    for _ in range(steps):
        column = (rng.random(unknown.shape) * is_movable).argmax(axis=1)  # random, of each row
        cell = np.arange(len(rows)), column
        is_drawn = np.zeros_like(unknown)
        is_drawn[cell] = is_movable[cell]
        is_seldom = tallies[1] < SELDOM_ACCEPTED * tallies[0]
        is_near = is_seldom[column] & is_drawn[cell] & (rng.random(len(rows)) < 0.5)
        empty = np.where(is_drawn, np.nan, rows)
        proposed, _ = density.draw_cells(empty, is_drawn, rng, present=True)
        log_ratio = np.zeros(len(rows))
        for j in np.unique(column[is_near]):
            near = is_near & (column == j)
            proposed[near, j], log_ratio[near] = _near_values(
                density.columns[j], rows[near, j], rng
            )
        _draw_computed(density, proposed, unknown, rng)

        log_proposed = log_cells(proposed)
        log_gain = _log_weights(log_proposed, cell, is_near) - _log_weights(log_p, cell, is_near)
        is_accepted = np.log(rng.random(len(rows))) < log_gain + log_ratio
        rows = np.where(is_accepted[:, None], proposed, rows)
        log_p = np.where(is_accepted[:, None], log_proposed, log_p)
        is_counted = is_drawn[cell] & ~is_near
        tallies[0] += np.bincount(column[is_counted], minlength=len(are_modelled))
        tallies[1] += np.bincount(column[is_counted & is_accepted], minlength=len(are_modelled))
    return rows


def _log_weights(
    log_p: np.ndarray, cell: tuple[np.ndarray, np.ndarray], is_near: np.ndarray
) -> np.ndarray:
    """Log-weights ``(n,)`` of rows by their cells ``(n, C)``, by which proposals are accepted:
    without the proposed ``cell``, rows and columns, where it was drawn given the cells before, and
    not near.
    """
    log_p = log_p.copy()
    log_p[cell] = np.where(is_near, log_p[cell], 0.0)
    return np.maximum(np.nan_to_num(log_p.sum(axis=1), nan=LEAST_LOG), LEAST_LOG)


def _near_values(
    column: CellColumn, values: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers near others ``(n,)``, at distances of many scales, or any levels; and the log-ratio
    ``(n,)`` of the probabilities of proposing the way back and there: -inf from or to an atom.
    """
    if not column.has_numbers:
        levels = rng.integers(len(column.coded_values), size=len(values))
        return levels.astype(float), np.zeros(len(values))
    scales = FINEST_SCALE ** rng.random(len(values))
    old = column.encode(values)
    near = column.values_at(old.interval.centre + scales * rng.standard_normal(len(values)))
    new = column.encode(near)
    distances = (new.interval.centre - old.interval.centre) / scales
    there = STANDARD.log_mass(distances, new.interval.half_width / scales)
    back = STANDARD.log_mass(distances, old.interval.half_width / scales)
    are_no_atoms = (old.codes == column.number_code) & (new.codes == column.number_code)
    return near, np.where(are_no_atoms, back - there, -np.inf)
