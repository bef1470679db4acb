"""Marginals of columns: shares of outcomes and a mixture of normals, by maximum likelihood; and the
shares of networks beside them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nflow_cli.arrays import SQRT_2PI, log_ndtr, logsumexp
from nflow_cli.mixtures import log_mass
from nflow_cli.tables.cells.heads import LogCells
from nflow_cli.tables.cells.layout import Outcomes

PRIOR_CELLS = 10.0  # of networks in a column, divided among these as in all columns
SHARE_ROUNDS = 300  # EM iterations for shares of networks
SHARE_CHANGE = 1e-6  # of a share, by an iteration, below which EM ends
COUNTS = (1, 2, 3, 4, 5, 6, 8, 10)  # numbers of normals tried by EM
BROAD_SCALE = 5.0  # of the broad normal of EM, in ranges of the cells
PENALTY = 1.5  # nats per parameter, between AIC (1) and BIC (log(n)/2)
RANK_BLOCKS = 1000  # of equally many rows, by rank
MERGED_WIDTH = 0.01  # units: values of a block as close as this are merged
LEAST_TOTAL = 1e-10  # least total responsibility of a normal, so that its mean is defined
REACH = 9.0  # of the table of Φ: beyond ± 9 it is 0 or 1
STEPS = 4096  # points of the table per unit
KNOTS = np.linspace(-9.0, 9.0, 577)  # of the table of a mixture, per normal
MOST_ROUNDS = 200  # EM iterations
LEAST_GAIN = 1e-5  # nats per row, below which EM stops
_POINTS = np.arange(-REACH * STEPS, REACH * STEPS + 1) / STEPS
_CDF = np.exp(log_ndtr(_POINTS, np))
_SLOPE = np.exp(-_POINTS * _POINTS / 2) / (SQRT_2PI * STEPS)


def normal_cdf(z: np.ndarray) -> np.ndarray:
    """Φ(z) by a Taylor series at the nearest point of a table; absolute error below 1e-12."""
    return cdf_at(z * STEPS)


def cdf_at(d: np.ndarray) -> np.ndarray:
    """Φ(d / STEPS), of distances in steps of the table. ``d`` is overwritten: in place it takes
    half the time.
    """
    end = REACH * STEPS
    np.clip(d, -end, end, out=d)
    cdf = np.rint(d)  # the nearest point, then the series there
    places = (cdf + end).astype(np.intp)
    d -= cdf
    cdf *= d
    cdf *= -0.5 / STEPS**2
    cdf += 1
    cdf *= d
    cdf *= _SLOPE.take(places)
    cdf += _CDF.take(places)
    return cdf


class NormalsCdf:
    """Distribution function of a mixture of M normals, by a table that is cubic between knots."""

    def __init__(self, log_weights: np.ndarray, means: np.ndarray, scales: np.ndarray):
        self.knots = np.unique(means[:, None] + scales[:, None] * KNOTS)
        self.cdf = np.zeros(len(self.knots))
        self.slope = np.zeros(len(self.knots))
        for weight, mean, scale in zip(np.exp(log_weights), means, scales):
            z = (self.knots - mean) / scale
            self.cdf += weight * normal_cdf(z)
            self.slope += weight * np.exp(-z * z / 2) / (SQRT_2PI * scale)

    def __call__(self, u: np.ndarray) -> np.ndarray:
        """Probability of less than ``u``, of any shape, by cubic Hermite interpolation."""
        u = np.clip(u, self.knots[0], self.knots[-1])
        i = np.clip(np.searchsorted(self.knots, u) - 1, 0, len(self.knots) - 2)
        width = self.knots[i + 1] - self.knots[i]
        t = (u - self.knots[i]) / width
        rise = self.cdf[i + 1] - self.cdf[i]
        first = self.slope[i] * width
        last = self.slope[i + 1] * width
        bend = t * (1 - t) * ((1 - t) * (first - rise) - t * (last - rise))
        return self.cdf[i] + t * rise + bend


@dataclass(frozen=True, eq=False)
class Normals:
    """Mixture of M normals: normalised log-weights, means, positive scales ``(M,)``, in column
    units.
    """

    log_weights: np.ndarray
    means: np.ndarray
    scales: np.ndarray

    @cached_property
    def cdf(self) -> "NormalsCdf":
        """Distribution function of the mixture."""
        return NormalsCdf(*self.array)

    @property
    def array(self) -> np.ndarray:
        """Log-weights, means and scales ``(3, M)``."""
        return np.stack([self.log_weights, self.means, self.scales])

    def log_mass(self, centre: np.ndarray, half: np.ndarray) -> np.ndarray:
        """Log-mass in nats of the intervals ``centre ± half`` ``(n,)``; a ``half`` of ``inf``: all
        above ``centre``, or ``-inf``: all below.
        """
        (centre, half), places = distinct(centre, half)
        has_ends = bool(np.isinf(half).any())
        mixture = self.array[..., None]
        return log_mass(centre, half, *mixture, xp=np, has_ends=has_ends)[places]


STANDARD = Normals(np.zeros(1), np.zeros(1), np.ones(1))  # N(0, 1)


@dataclass(frozen=True, eq=False)
class Marginal:
    """Marginal of a column's cells: normalised log-shares ``(L,)`` of its outcomes, and the
    distribution of its numbers in column units, of no normals if it has none.

    The last outcome is new: a level that no training row has, or an outlier.
    """

    outcomes: Outcomes
    log_shares: np.ndarray
    normals: Normals

    def log_prob(
        self, codes: np.ndarray, centre: np.ndarray, half: np.ndarray, log_outlier: np.ndarray
    ) -> np.ndarray:
        """Log-probability ``(n,)`` of cells in nats, each array ``(n,)``: outcomes, middles and
        half widths of numbers' intervals, log-probabilities if new; 0 if unknown.
        """
        log_masses = self.log_masses(codes, centre, half)
        return np.logaddexp(log_masses, self.log_p_new + log_outlier)

    def log_masses(self, codes: np.ndarray, centre: np.ndarray, half: np.ndarray) -> np.ndarray:
        """Log-probability ``(n,)`` of cells in nats, by codes and intervals as of :meth:`log_prob`;
        -inf if new, 0 if unknown.
        """
        number = self.outcomes.number_code
        log_p = np.where(codes < 0, 0.0, self.log_shares[codes])
        if self.outcomes.new_code is not None:
            log_p = np.where(codes == self.outcomes.new_code, -np.inf, log_p)
        places = np.flatnonzero(self.outcomes.have_numbers(codes))
        if number is None or not len(places):
            return log_p
        # Values on no grid have mass 0; of very large ones the square overflows.
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            smooth = self.log_shares[number] + self.normals.log_mass(centre[places], half[places])
        with_atom = np.logaddexp(log_p[places], smooth)
        log_p[places] = np.where(codes[places] == number, smooth, with_atom)
        return log_p

    @property
    def log_p_new(self) -> float:
        """Log-probability of a cell that no training row has."""
        return float(self.log_shares[-1]) if self.outcomes.has_new else -np.inf

    @property
    def log_p_learnt(self) -> float:
        """Log-probability of a cell that is not new."""
        return float(np.log1p(-np.exp(self.log_p_new)))

    @property
    def log_p_present(self) -> float:
        """Log-probability of a cell that is neither missing nor new."""
        gaps = int(self.outcomes.has_gaps)
        return float(logsumexp(self.log_shares[: self.outcomes.n_learnt - gaps], 0, np))


def fit_marginal(
    outcomes: Outcomes,
    codes: np.ndarray,
    centre: np.ndarray | None = None,
    half: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    floor: float = 1e-3,
    widest: float | None = None,
) -> Marginal:
    """Fit the marginal of a column to training rows.

    ``codes``: outcomes ``(n,)``, -1 if unknown; ``centre`` and ``half``: middles and half widths
    ``(n,)`` of numbers' intervals; ``weights`` of the rows ``(n,)``; ``floor`` and ``widest`` as
    of :func:`~nflow_cli.tables.cells.marginal.fit_normals`.
    """
    scaled = scaled_weights(len(codes), weights)
    log_shares = np.log(outcome_shares(outcomes, codes, scaled))
    if outcomes.number_code is None or centre is None or half is None:
        return Marginal(outcomes, log_shares, Normals(*np.zeros((3, 0))))
    places = np.flatnonzero((codes == outcomes.number_code) & (scaled > 0))
    normals = fit_normals(centre[places], half[places], scaled[places], floor, widest)
    return Marginal(outcomes, log_shares, normals)


def outcome_shares(outcomes: Outcomes, codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Shares ``(L,)`` of a column's outcomes, positive, of sum 1.

    Each counts half a row more (Krichevsky & Trofimov 1981). A new level has the share of rows
    whose level occurs once (Good 1953), at least ``1/(n + 1)``, which is that of an outlier.
    ``weights`` ``(n,)`` sum to n, the effective sample size.
    """
    known = codes >= 0
    counts = np.bincount(codes[known], weights[known], outcomes.n_outcomes)
    n = counts.sum()
    smoothed = counts + 0.5
    if outcomes.new_code is None:
        return smoothed / smoothed.sum()
    n_rows = np.bincount(codes[known & (weights > 0)], minlength=outcomes.n_outcomes)
    n_rows[outcomes.new_code] = 0
    weight_of_single = counts[n_rows == 1].sum() if outcomes.number_code is None else 0.0
    new = 0.5
    if n > 0:
        new = (
            np.clip(weight_of_single + counts[outcomes.new_code], n / (n + 1), n * n / (n + 1)) / n
        )
    smoothed[outcomes.new_code] = 0.0
    shares = smoothed * ((1 - new) / max(smoothed.sum(), 1.0))
    shares[outcomes.new_code] = new
    return shares / shares.sum()


@dataclass(frozen=True, eq=False)
class _Points:
    """Cells in g groups of near centres, ``(g,)`` each: means of centres and half widths, variance
    of centres, sum of weights.
    """

    centre: np.ndarray
    half: np.ndarray
    spread: np.ndarray
    weight: np.ndarray


def fit_normals(
    centre: np.ndarray,
    half: np.ndarray,
    weights: np.ndarray,
    floor: float,
    widest: float | None = None,
) -> Normals:
    """Fit a mixture of normals to cells.

    M normals of ``COUNTS`` by EM, with the best likelihood less 1.5 nats per parameter, and more of
    few rows (as AICc), beside a broad one at the median of weight ``1/(n + 1)``, which takes
    outliers and is left out of the result.

    Args:
        centre: Middles of the cells' intervals ``(n,)``, in column units.
        half: Half widths, positive.
        weights: Of the rows; their sum n is the effective sample size.
        floor: Least scale fitted by EM.
        widest: Scale of the broad normal; ``None``: five times the range.
    """
    if not len(centre):
        return Normals(np.zeros(1), np.zeros(1), np.full(1, BROAD_SCALE))
    points = _group_cells(centre, half, weights)
    n = points.weight.sum()
    median = points.centre[np.searchsorted(np.cumsum(points.weight) / n, 0.5)]
    if widest is None:
        extent = np.max(points.centre + points.half) - np.min(points.centre - points.half)
        widest = float(BROAD_SCALE * extent)
    fits = []
    likelihoods = []
    for count in COUNTS:
        fit = _fit_by_em(points, count, floor, (float(median), widest))
        n_parameters = 3 * count - 1
        penalty = PENALTY * n_parameters * n / max(n - n_parameters - 1, 1e-6)
        fits.append(fit)
        likelihoods.append(points.weight @ fit.log_mass(points.centre, points.half) - penalty)
    best = fits[int(np.argmax(likelihoods))]
    log_weights, means, scales = best.array[:, :-1]  # without the broad one, which is the last
    return Normals(log_weights - logsumexp(log_weights, 0, np), means, scales)


def _group_cells(centre: np.ndarray, half: np.ndarray, weights: np.ndarray) -> _Points:
    """Group cells ``(n,)`` by their centres: equal ones, or of many distinct ones those in a block
    of ranks and as near as ``MERGED_WIDTH``.
    """
    values, inverse, counts = np.unique(centre, return_inverse=True, return_counts=True)
    group = np.arange(len(values))
    if len(values) > RANK_BLOCKS:
        ranks = np.cumsum(counts) * RANK_BLOCKS // len(centre)
        rank_and_value = np.stack([ranks, np.floor(values / MERGED_WIDTH)])
        group = np.cumsum(np.append(0, np.any(np.diff(rank_and_value) != 0, axis=0)))
    group = group[inverse]
    weight = np.bincount(group, weights)
    mean = np.bincount(group, weights * centre) / weight
    spread = np.bincount(group, weights * (centre - mean[group]) ** 2) / weight
    half = np.bincount(group, weights * half) / weight
    return _Points(mean, half, spread, weight)


def _fit_by_em(points: _Points, count: int, floor: float, broad: tuple[float, float]) -> Normals:
    """Mixture of at most ``count`` normals by EM, and of the broad one, which is last and stays:
    its mean and scale are ``broad``, its weight is ``1/(n + 1)``.
    """
    n = points.weight.sum()
    # At first each normal has a block of the ordered points, of equal weights.
    middle_ranks = np.cumsum(points.weight) - points.weight / 2
    group = np.unique(np.minimum(middle_ranks * count // n, count - 1), return_inverse=True)[1]
    responsibilities = np.eye(group.max() + 1)[:, group] * points.weight
    median, widest = broad
    log_broad = -np.log(n + 1) - 0.5 * ((points.centre - median) / widest) ** 2 - np.log(widest)
    share, mean, variance, rounding = _maximisation(points, responsibilities, floor)
    last_likelihood = -np.inf
    for _ in range(MOST_ROUNDS):
        log_share = np.log(share * n / (n + 1)) - 0.5 * np.log(variance)
        log_r = np.square(points.centre - mean[:, None])
        log_r *= (-0.5 / variance)[:, None]
        log_r += log_share[:, None]
        peak = np.maximum(log_r.max(axis=0), log_broad)
        responsibilities = np.exp(log_r - peak)
        sums = responsibilities.sum(axis=0) + np.exp(log_broad - peak)
        responsibilities *= points.weight / sums
        share, mean, variance, rounding = _maximisation(points, responsibilities, floor)
        likelihood = points.weight @ (peak + np.log(sums)) / n
        if likelihood - last_likelihood < LEAST_GAIN:
            break
        last_likelihood = likelihood
    return Normals(
        np.append(np.log(share * n / (n + 1)), -np.log(n + 1)),
        np.append(mean, median),
        np.append(np.sqrt(np.maximum(variance - rounding, floor**2)), widest),
    )


def _maximisation(points: _Points, r: np.ndarray, floor: float) -> tuple[np.ndarray, ...]:
    """M-step of EM: shares, means and variances ``(M,)`` of normals by responsibilities ``r``
    ``(M, g)``, times the weights; and ``h²/3``, by which rounding widens each.

    Cell centres have variance ``s² + h²/3``, where the unrounded numbers have ``s²`` (Sheppard's
    correction).
    """
    total = np.maximum(r.sum(axis=1), LEAST_TOTAL)
    mean = r @ points.centre / total
    rounding = r @ np.square(points.half) / (3 * total)
    squares = np.square(points.centre - mean[:, None])
    squares += points.spread
    squares *= r
    variance = np.maximum(squares.sum(axis=1) / total, floor**2 + rounding)
    return total / total.sum(), mean, variance, rounding


def distinct(*arrays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct columns ``(k, u)`` of k arrays ``(n,)``, and the index ``(n,)`` of each place's
    column.
    """
    order = np.lexsort(arrays[::-1])  # faster than np.unique of an axis
    columns = np.stack(arrays)[:, order]
    is_new = np.append(True, (columns[:, 1:] != columns[:, :-1]).any(axis=0))[: len(order)]
    inverse = np.empty(len(order), int)
    inverse[order] = np.cumsum(is_new) - 1
    return columns[:, is_new], inverse


def scaled_weights(count: int, weights: np.ndarray | None) -> np.ndarray:
    """Row weights ``(n,)`` that sum to the effective sample size ``(Σw)²/Σw²``."""
    if weights is None:
        return np.ones(count)
    return weights * (weights.sum() / np.square(weights).sum())


def mixing_shares(
    networks: Sequence[LogCells], marginal: LogCells, weights: np.ndarray | None = None
) -> np.ndarray:
    """Mixture shares ``v`` ``(R + 1, D)`` of R networks and the marginal, the last, in the cells of
    each column: of maximum posterior density, by EM.

    Column j maximises ``Σ_i w_i log Σ_r v_rj exp a_rij``, with gaps the same of presence, plus that
    of values, and the log-densities of two priors: one more cell, possible by the networks alone;
    and ``c = PRIOR_CELLS`` more of the networks, divided as in the mixture of the same shares in
    all columns. The marginal has a share of at least ``1/(n + 1)``, n the effective sample size.

    Args:
        networks: Log-probabilities ``a`` ``(n, D)`` of held-out cells, in nats. Cells NaN in one,
            or -inf in all, are left out.
        marginal: The same, by the marginals.
        weights: Row weights ``w`` ``(n,)``, or ``None``.
    """
    components = [*networks, marginal]
    scaled = scaled_weights(len(marginal.masses), weights)
    # A cell counts as presence and, given that, as its value.
    presence = np.stack([cells.presence for cells in components])
    values = np.stack([cells.masses - cells.presence for cells in components])
    log_p = np.concatenate([presence, values], axis=1)
    peak = log_p.max(axis=0)
    # Of no weight: unknown or impossible, and equally likely by all.
    are_known = np.isfinite(peak) & (log_p.min(axis=0) < peak)
    relative = np.exp(np.where(are_known, log_p - np.where(are_known, peak, 0.0), 0.0))
    cell_weights = np.where(are_known, np.tile(scaled, 2)[:, None], 0.0)
    most = 1 - 1 / (scaled.sum() + 1)
    equal = np.full((len(networks), 1), 1 / len(networks))
    in_all = relative.reshape(len(components), -1, 1), cell_weights.reshape(-1, 1)
    pooled = _shares_by_em(*in_all, equal, most)[:-1]
    return _shares_by_em(relative, cell_weights, pooled / pooled.sum(), most)


def _shares_by_em(
    relative: np.ndarray, weights: np.ndarray, prior: np.ndarray, most: float
) -> np.ndarray:
    """Shares ``(R + 1, D)`` of components by relative probabilities ``(R + 1, m, D)`` of cells of
    ``weights`` ``(m, D)``; ``prior``: of each network among these ``(R, 1)``; ``most``: share of
    all networks.
    """
    total = weights.sum(axis=0) + 1
    shares = np.tile(np.append(prior, [[1.0]], axis=0) / 2, total.shape)
    for _ in range(SHARE_ROUNDS):
        parts = shares[:, None] * relative
        counts = np.einsum("rmd,md->rd", parts, weights / parts.sum(axis=0))[:-1]
        in_networks = counts.sum(axis=0)
        of_networks = np.minimum((in_networks + 1) / total, most)
        among = (counts + PRIOR_CELLS * prior) / (in_networks + PRIOR_CELLS)
        updated = np.append(among * of_networks, [1 - of_networks], axis=0)
        change = np.abs(updated - shares).max()
        shares = updated
        if change < SHARE_CHANGE:
            break
    return shares
