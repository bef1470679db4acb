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

from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.densities.cells.density import CellDensity, Member
from nflow_cli.densities.cells.marginal import STANDARD
from nflow_cli.densities.cells.unmixing import units_of
from nflow_cli.random_streams import stream

DEGREES = 5.0  # of freedom of the t distribution
DRAWN = 4_000  # draws for the regressions
RIDGE = 1e-9  # of the variances

Weighted = tuple[np.ndarray, np.ndarray]  # rows (n, C), and log-weights (n,) in nats
SELDOM = 0.05  # acceptance of a column's proposals, below which half are near
FINEST = 1e-3  # units: least scale of the distance to a near number, the largest is 1
LEAST_LOG = -1e9  # nats, of cells that no row can have


def proposals(
    density: CellDensity,
    rows: np.ndarray,
    unknown: np.ndarray,
    rng: np.random.Generator,
    present: bool = True,
) -> Weighted:
    """Draw the ``unknown`` cells ``(n, C)`` of rows, of modelled and computed columns.

    With ``present`` none of them is missing. A NaN elsewhere is a missing cell, or one that is left
    out of the sum.
    """
    if density.unmixing:
        return _of_unmixed(density, rows, unknown, rng)
    members = rng.choice(density.members, len(rows), p=[one.weight for one in density.networks])
    found, log_weights = np.where(unknown, np.nan, rows), np.zeros(len(rows))
    for r, member in enumerate(density.networks):
        at = np.flatnonzero(members == r)
        drawn = density.completed(member, found[at], unknown[at], rng, present=present)
        found[at], log_present = drawn
        for one in density.computed:
            drawn, place = one.draw(found[at], rng), one.place
            found[at, place] = np.where(unknown[at, place], drawn, rows[at, place])
        cells = density.cells_by(member, found[at])
        known = ~unknown[at, density.n_given :]
        log_weights[at] = np.where(known, cells, 0.0).sum(axis=1) + log_present
    return found, log_weights


def _of_unmixed(
    density: CellDensity, rows: np.ndarray, unknown: np.ndarray, rng: np.random.Generator
) -> Weighted:
    columns = density.row
    typical = density.draw(np.full((DRAWN, len(columns)), np.nan), stream(0, "regressions"))
    typical, units = units_of(columns, typical), units_of(columns, rows)
    middle, covariance = typical.mean(axis=0), np.cov(typical.T)
    covariance = covariance + RIDGE * np.diag(np.diag(covariance))
    log_proposal = np.zeros(len(rows))
    patterns, which = np.unique(unknown, axis=0, return_inverse=True)
    for i, pattern in enumerate(patterns):
        at, known = np.flatnonzero(which.ravel() == i), ~pattern
        across = covariance[np.ix_(known, pattern)]
        slopes = np.linalg.solve(covariance[np.ix_(known, known)], across)
        rest = covariance[np.ix_(pattern, pattern)] - across.T @ slopes
        centre = middle[pattern] + (units[np.ix_(at, known)] - middle[known]) @ slopes
        drawn, log_proposal[at] = _t_draws(np.linalg.cholesky(rest), len(at), rng)
        units[np.ix_(at, pattern)] = centre + drawn
    values = np.stack([c.values_at(u) for c, u in zip(columns, units.T)], axis=1)
    found = np.where(unknown, values, rows)
    slopes = np.stack([c.inside(x)[1] for c, x in zip(columns, found.T)], axis=1)
    log_proposal += np.where(unknown, slopes, 0.0).sum(axis=1)
    return found, density.log_prob(found) - log_proposal


def _t_draws(root: np.ndarray, n: int, rng: np.random.Generator) -> Weighted:
    """Draws ``(n, d)`` of a t distribution around 0 with scale ``root root'``, and their
    log-density ``(n,)``.
    """
    d, nu = len(root), DEGREES
    normals, scale = rng.standard_normal((n, d)), nu / rng.chisquare(nu, n)
    z = normals * np.sqrt(scale)[:, None]
    constant = math.lgamma((nu + d) / 2) - math.lgamma(nu / 2) - d / 2 * math.log(nu * math.pi)
    constant -= float(np.log(np.diag(root)).sum())
    return z @ root.T, constant - (nu + d) / 2 * np.log1p(np.square(z).sum(axis=1) / nu)


def moved(
    density: CellDensity,
    member: Member,
    rows: np.ndarray,
    unknown: np.ndarray,
    steps: int,
    rng: np.random.Generator,
    tallies: np.ndarray,
) -> np.ndarray:
    """Rows ``(n, C)`` after steps of their ``unknown`` cells, under one member.

    ``tallies`` ``(2, C)`` counts the proposals of each column given the cells before, and those
    accepted.
    """
    width = len(density.cells)
    are_modelled = np.arange(unknown.shape[1]) < width

    def log_cells(found: np.ndarray) -> np.ndarray:
        cells = density.cells_by(member, found)
        cells = np.pad(cells, ((0, 0), (density.n_given, 0)))
        return np.where(unknown & ~are_modelled, 0.0, cells)  # computed from the others

    cells, places = log_cells(rows), np.arange(len(rows))
    for _ in range(steps):
        chosen = (rng.random(unknown.shape) * (unknown & are_modelled)).argmax(axis=1)
        own = places, chosen
        is_one = np.zeros_like(unknown)
        is_one[own] = (unknown & are_modelled)[own]
        is_seldom = tallies[1] < SELDOM * tallies[0]
        is_near = is_seldom[chosen] & is_one[own] & (rng.random(len(rows)) < 0.5)
        found, log_back = np.where(is_one, np.nan, rows), np.zeros(len(rows))
        found, _ = density.completed(member, found, is_one, rng, present=True)
        for j in np.unique(chosen[is_near]):
            at = is_near & (chosen == j)
            found[at, j], log_back[at] = _near(density.cells[j], rows[at, j], rng)
        for one in density.computed:
            drawn, place = one.draw(found, rng), one.place
            found[:, place] = np.where(unknown[:, place], drawn, rows[:, place])

        of_found = log_cells(found)
        new, old = (_log_weights(one, own, is_near) for one in (of_found, cells))
        ratio = new - old + log_back
        is_taken = np.log(rng.random(len(rows))) < ratio
        rows = np.where(is_taken[:, None], found, rows)
        cells = np.where(is_taken[:, None], of_found, cells)
        counted = is_one[own] & ~is_near
        for tally, some in zip(tallies, (counted, counted & is_taken)):
            tally += np.bincount(chosen[some], minlength=len(tally))
    return rows


def _log_weights(
    cells: np.ndarray, own: tuple[np.ndarray, np.ndarray], is_near: np.ndarray
) -> np.ndarray:
    """Log-weights ``(n,)``: of all cells, but not of the own one where it is drawn from its law."""
    cells = cells.copy()
    cells[own] = np.where(is_near, cells[own], 0.0)
    return np.maximum(np.nan_to_num(cells.sum(axis=1), nan=LEAST_LOG), LEAST_LOG)


def _near(
    column: CellColumn, values: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers near others ``(n,)``, or levels, and the log-ratio of the probabilities to go back
    and there: none from or to an atom.
    """
    if not column.has_numbers:
        levels = rng.integers(len(column.first), size=len(values))
        return levels.astype(float), np.zeros(len(values))
    scales, old = FINEST ** rng.random(len(values)), column.encode(values)
    found = column.values_at(old.interval.centre + scales * rng.standard_normal(len(values)))
    new = column.encode(found)
    away = (new.interval.centre - old.interval.centre) / scales
    there, back = (STANDARD.log_mass(away, one.interval.half / scales) for one in (new, old))
    are_numbers = (old.codes == column.number) & (new.codes == column.number)
    return found, np.where(are_numbers, back - there, -np.inf)
