"""Importance sampling of the unknown cells of rows, given the known ones.

    p(unknown | known) ∝ q(row) ∝ Π_unknown P(x_j | before) Π_known P(x_j | before)

The unknown cells are drawn in order, each given the cells before it, and the rest is the weight.
Where all known cells are before all unknown ones, weights are equal and draws exact. If unknown
cells are to be present, the weight has their ``P(present | before)`` as factors. Of unmixed
columns, which have no order, unknown numbers in units are drawn from a multivariate t distribution
around their linear regression on the known ones.
"""

import math

import numpy as np

from nflow_cli.densities.cells.density import CellDensity
from nflow_cli.densities.cells.unmixing import units_of
from nflow_cli.random_streams import stream

DEGREES = 5.0  # of freedom of the t distribution
DRAWN = 4_000  # draws for the regressions
RIDGE = 1e-9  # of the variances

Weighted = tuple[np.ndarray, np.ndarray]  # rows (n, C), and log-weights (n,) in nats


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
