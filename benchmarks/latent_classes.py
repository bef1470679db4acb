"""Latent classes: a mixture of products of columns, fitted by EM."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.independent import Independent, fit_independent
from nflow_cli.arrays import logsumexp
from nflow_cli.densities.cells.marginal import Marginal, Support
from nflow_cli.densities.cells.mixing import scaled_weights
from nflow_cli.densities.cells.regressions import each_column
from nflow_cli.mixtures import log_normal_mass
from nflow_cli.random_streams import stream

COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)  # of classes
PATIENCE = 2  # counts in turn that validate worse, before no larger one is tried
ROWS, FOLDS = 5_000, 4  # that classes are fitted to at most; one fold above FEW rows
FEW = 1_000
LEAST_ROWS = 8  # of a class
STEPS, ENOUGH = 30, 1e-3  # of EM: one that gains less, in nats a row, is the last
MOVES, SURE = 5, 0.9  # of the starts' means, and the share of their nearest class
LEAST_TOTAL = 1e-10  # rows of a normal, which has a mean then too
SPREAD = 0.3  # rows of the whole column's variance in that of each class
PRIOR = 4.0  # rows of the marginal that each class has beside its own


@dataclass(frozen=True, eq=False)
class _Cells:
    """Cells of a column: the likelihoods of its parts, which all classes share.

    Parts are the outcomes, and of "number" one for each normal of the column's marginal.

    Attributes:
        parts: Likelihoods beside the largest, ``(n, P)``; 1 where a cell is unknown.
        peak: The logarithm of the largest, ``(n,)``.
        numbers: Which rows have a number, ``(n,)``.
        unknown: Which cells are unknown, ``(n,)``.
        centre: The middles of the numbers' intervals, ``(m, 1)``.
        half: Their half widths.
    """

    parts: np.ndarray
    peak: np.ndarray
    numbers: np.ndarray
    unknown: np.ndarray
    centre: np.ndarray
    half: np.ndarray


@dataclass(frozen=True, eq=False)
class _Column:
    """A column in each of K classes: shares of its parts, and one normal of the class's own.

    Attributes:
        shares: ``(K, P)``.
        own: The share of the class's normal, ``(K,)``; the sum with the others is 1.
        means: ``(K,)``.
        scales: ``(K,)``.
    """

    shares: np.ndarray
    own: np.ndarray
    means: np.ndarray
    scales: np.ndarray

    def own_likelihoods(self, cells: _Cells, exact: bool) -> np.ndarray:
        """Return the likelihoods ``(n, K)`` of the normals by their shares, as ``parts`` are.

        While fitting the mass is that of one normal density, widened so that it is at most 1.
        """
        likelihoods = np.repeat(cells.unknown[:, None] * 1.0, len(self.own), axis=1)
        away = cells.centre - self.means
        if exact:
            log_mass = log_normal_mass(away / self.scales, cells.half / self.scales, np)
        else:
            variance = self.scales**2 + 2 / np.pi * cells.half**2
            log_mass = -0.5 * (away**2 / variance + np.log(np.pi / 2 * variance))
            log_mass += np.log(cells.half)
        likelihoods[cells.numbers] = np.exp(log_mass - cells.peak[cells.numbers, None])
        return likelihoods * self.own


@dataclass(frozen=True, eq=False)
class LatentClasses:
    """A mixture of K products of columns.

    Attributes:
        independent: The marginals, whose normals the classes share.
        log_shares: Of the classes, ``(K,)``.
        columns: Each in each class.
    """

    independent: Independent
    log_shares: np.ndarray
    columns: list[_Column]

    def log_prob(self, codes: np.ndarray, centre: np.ndarray, half: np.ndarray) -> np.ndarray:
        """Return the log-probability of rows in nats, ``(n,)``; unknown cells are summed out.

        Args:
            codes: Outcome codes ``(n, D)``, -1 where unknown.
            centre: The middles of the intervals of the N columns that have numbers, ``(n, N)``.
            half: Their half widths.
        """
        cells = _all_cells(self.independent, codes, centre, half)
        return logsumexp(_log_joint(self.log_shares, self.columns, cells, exact=True), -1, np)


def fit_latent_classes(
    columns: Sequence[Support],
    codes: np.ndarray,
    centre: np.ndarray,
    half: np.ndarray,
    weights: np.ndarray | None = None,
    seed: int = 0,
) -> LatentClasses:
    """Return the mixture of products fitted to training rows, at most 5,000 of them.

    The number of classes is the least within one standard error of the best on held-out rows.

    Args:
        columns: What the cells of each column can be.
        codes: Outcome codes ``(n, D)``, -1 where unknown.
        centre: The middles of the intervals of the N columns that have numbers, ``(n, N)``.
        half: Their half widths.
        weights: Of the rows ``(n,)``; equal ones for ``None``.
        seed: Of the rows held out, and of the starts.
    """
    v = scaled_weights(len(codes), weights)
    independent = fit_independent(columns, codes, centre, half, weights)
    rows = stream(seed, "latent classes").permutation(np.flatnonzero(v > 0))[:ROWS]
    cells = _all_cells(independent, codes[rows], centre[rows], half[rows])
    start = [_start(marginal) for marginal in independent.marginals]
    count = _best_count(cells, start, columns, v[rows], seed)
    return LatentClasses(independent, *_em(cells, start, columns, v[rows], count, seed))


def _all_cells(
    independent: Independent, codes: np.ndarray, centre: np.ndarray, half: np.ndarray
) -> list[_Cells]:
    """Return the cells of each column."""
    columns = each_column(independent.columns, codes, centre, half)
    return [_cells(marginal, *c) for marginal, c in zip(independent.marginals, columns)]


def _cells(
    marginal: Marginal, codes: np.ndarray, centre: np.ndarray | None, half: np.ndarray | None
) -> _Cells:
    unknown, numbers = codes < 0, np.zeros(len(codes), bool)
    parts = np.eye(len(marginal.log_shares))[codes]
    peak, c, h = np.zeros(len(codes)), np.zeros((0, 1)), np.ones((0, 1))
    if marginal.number is not None and centre is not None and half is not None:
        numbers = codes == marginal.number
        c, h = centre[numbers, None], half[numbers, None]
        normals = marginal.normals
        log_mass = log_normal_mass((c - normals.means) / normals.scales, h / normals.scales, np)
        peak[numbers] = log_mass.max(axis=1)
        masses = np.zeros((len(codes), len(normals.means)))
        masses[numbers] = np.exp(log_mass - peak[numbers, None])
        parts = np.concatenate([np.delete(parts, marginal.number, axis=1), masses], axis=1)
    parts[unknown] = 1.0
    return _Cells(parts, peak, numbers, unknown, c, h)


def _taken(cells: list[_Cells], rows: np.ndarray) -> list[_Cells]:
    """Return the cells of some rows, a mask ``(n,)``."""
    return [
        _Cells(
            *(part[rows] for part in (c.parts, c.peak, c.numbers, c.unknown)),
            *(part[rows[c.numbers]] for part in (c.centre, c.half)),
        )
        for c in cells
    ]


def _start(marginal: Marginal) -> np.ndarray:
    """Return the shares ``(P,)`` of a column's parts by its marginal."""
    shares = np.exp(marginal.log_shares)
    if marginal.number is None:
        return shares
    normals = np.exp(marginal.normals.log_weights) * shares[marginal.number]
    return np.append(np.delete(shares, marginal.number), normals)


def _log_joint(
    log_shares: np.ndarray, columns: list[_Column], cells: list[_Cells], exact: bool
) -> np.ndarray:
    """Return the log-probability of each class with each row, ``(n, K)``."""
    log_joint = log_shares + np.zeros((len(cells[0].peak), 1))
    for column, c in zip(columns, cells):
        likelihoods = c.parts @ column.shares.T + column.own_likelihoods(c, exact)
        log_joint = log_joint + np.log(likelihoods) + c.peak[:, None]
    return log_joint


def _best_count(
    cells: list[_Cells],
    start: list[np.ndarray],
    columns: Sequence[Support],
    v: np.ndarray,
    seed: int,
) -> int:
    """Return the fewest classes within a standard error of those that suit held-out rows best."""
    n = len(v)
    counts = [count for count in COUNTS if count <= max(1, n // LEAST_ROWS)]
    folds = FOLDS if n <= FEW else 1
    held = [np.arange(n) % FOLDS == fold for fold in range(folds)]
    weights = np.concatenate([v[rows] for rows in held])
    scores: list[np.ndarray] = []
    for count in counts if len(counts) > 1 else []:
        parts = []
        for rows in held:
            fitted = _em(_taken(cells, ~rows), start, columns, v[~rows], count, seed)
            log_joint = _log_joint(*fitted, _taken(cells, rows), exact=True)
            parts.append(logsumexp(log_joint, -1, np))
        scores.append(np.concatenate(parts) * weights)
        best = int(np.argmax([score.sum() for score in scores]))
        if len(scores) - 1 - best == PATIENCE:
            break
    for count, score in zip(counts, scores):
        lost = scores[best] - score
        if lost.sum() <= np.sqrt(np.square(lost).sum()):
            return count
    return 1


def _em(
    cells: list[_Cells],
    start: list[np.ndarray],
    columns: Sequence[Support],
    v: np.ndarray,
    count: int,
    seed: int,
) -> tuple[np.ndarray, list[_Column]]:
    """Return the classes' log-shares and columns: from a start around rows drawn at random.

    One class is the marginals themselves.
    """
    if count == 1:
        none = np.zeros(1)
        return none, [_Column(shares[None], none, none, none + 1) for shares in start]
    r = _near_rows(cells, count, seed) * v[:, None]
    fitted = [_first(c, shares, outcomes, r) for c, shares, outcomes in zip(cells, start, columns)]
    log_shares, last = np.log(r.sum(axis=0) / v.sum()), -np.inf
    for _ in range(STEPS):
        log_joint = _log_joint(log_shares, fitted, cells, exact=False)
        log_q = logsumexp(log_joint, -1, np)
        r = np.exp(log_joint - log_q[:, None]) * v[:, None]
        fitted = [
            _maximised(c, column, shares, outcomes, r)
            for c, column, shares, outcomes in zip(cells, fitted, start, columns)
        ]
        log_shares = np.log((r.sum(axis=0) + PRIOR / count) / (v.sum() + PRIOR))
        likelihood = v @ log_q / v.sum()
        if likelihood - last < ENOUGH:
            break
        last = likelihood
    return log_shares, fitted


def _near_rows(cells: list[_Cells], count: int, seed: int) -> np.ndarray:
    """Return classes ``(n, K)`` of rows: mostly the nearest of K means (Arthur & Vassilvitskii)."""
    rng, n = stream(seed, "starts of latent classes"), len(cells[0].peak)
    features = []
    for c in cells:
        numbers = np.zeros((n, 1))
        numbers[c.numbers] = c.centre
        features += [numbers] if np.any(c.numbers) else [c.parts]
    x = np.concatenate(features, axis=1)
    means = x[rng.integers(n, size=1)]
    for _ in range(count - 1):
        nearest = _distances(x, means).min(axis=1) + 1e-12
        means = np.append(means, x[rng.choice(n, 1, p=nearest / nearest.sum())], axis=0)
    for _ in range(MOVES):
        one_hot = np.eye(count)[_distances(x, means).argmin(axis=1)]
        rows = one_hot.sum(axis=0)[:, None]
        means = np.where(rows > 0, one_hot.T @ x / np.maximum(rows, 1), means)
    return SURE * np.eye(count)[_distances(x, means).argmin(axis=1)] + (1 - SURE) / count


def _distances(x: np.ndarray, means: np.ndarray) -> np.ndarray:
    return np.square(x).sum(axis=1)[:, None] - 2 * x @ means.T + np.square(means).sum(axis=1)


def _first(c: _Cells, start: np.ndarray, outcomes: Support, r: np.ndarray) -> _Column:
    """Return a column in each class by the rows that are near to it."""
    count = r.shape[1]
    own = np.full(count, 0.5 * np.any(c.numbers))
    shares = (1 - own[:, None]) * start
    means, scales = _moments(c, r[c.numbers], outcomes.floor)
    return _maximised(c, _Column(shares, own, means, scales), start, outcomes, r)


def _maximised(
    c: _Cells, column: _Column, start: np.ndarray, outcomes: Support, r: np.ndarray
) -> _Column:
    """Return the column that suits responsibilities ``r`` ``(n, K)`` best, beside its prior."""
    own = column.own_likelihoods(c, exact=False)
    ratio = r / (c.parts @ column.shares.T + own)
    counts, mine = column.shares * (ratio.T @ c.parts), ratio * own
    total = counts.sum(axis=1) + mine.sum(axis=0) + PRIOR
    means, scales = _moments(c, mine[c.numbers], outcomes.floor)
    shares = (counts + PRIOR * start) / total[:, None]
    return _Column(shares, mine.sum(axis=0) / total, means, scales)


def _moments(c: _Cells, r: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the means and scales ``(K,)`` of numbers by responsibilities ``r`` ``(m, K)``.

    The scale is that of what was rounded (Sheppard's correction), with a row of the whole column.
    """
    total = r.sum(axis=0) + LEAST_TOTAL
    means = (c.centre * r).sum(axis=0) / total
    rounding = (np.square(c.half) * r).sum(axis=0) / (3 * total)
    squares = (np.square(c.centre - means) * r).sum(axis=0) + SPREAD * _variance(c)
    variance = squares / (total + SPREAD) - rounding
    return means, np.sqrt(np.maximum(variance, floor**2))


def _variance(c: _Cells) -> float:
    return float(np.var(c.centre)) if len(c.centre) else 1.0
