"""Simple models of a column given earlier ones: shares by one parent, ridge regression."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nflow_cli.densities.cells.layout import Outcomes
from nflow_cli.densities.cells.marginal import outcome_shares
from nflow_cli.densities.cells.mixing import scaled_weights

PULLS = 10.0 ** np.arange(-0.5, 4, 0.5)  # pseudo-count rows of the marginal added to each outcome
LEAST_GAIN = 4.0  # nats that a parent must gain: by chance one in a hundred does
RIDGES = 10.0 ** np.arange(-7, 2.5, 0.5)  # ridge penalties per row
REGRESSION_ROWS = 20_000  # most rows in a regression
CLIP = 6.0  # largest absolute input, in units
LEAST_SQUARE = 1e-12  # eigenvalue of the inputs relative to the largest


@dataclass(frozen=True, eq=False)
class ParentShares:
    """Shares of a column's outcomes given that of one earlier column.

    Attributes:
        parent: Its index, or ``None``.
        log_shares: ``(B, L)``, rows normalised: of each outcome of the parent, unknown last.
        gain: Leave-one-out log-likelihood over the marginal, in nats.
    """

    parent: int | None
    log_shares: np.ndarray
    gain: float


@dataclass(frozen=True, eq=False)
class Ridge:
    """Ridge regression: unpenalised intercept, coefficients ``(P,)``, root mean square of
    leave-one-out residuals.
    """

    intercept: float
    coefficients: np.ndarray
    scale: float


def fit_parents(
    columns: Sequence[Outcomes],
    codes: np.ndarray,
    weights: np.ndarray | None = None,
    first: int = 0,
) -> list[ParentShares]:
    """Shares of columns ``first`` on, each given its best parent among the columns before.

    The best has the largest leave-one-out likelihood: mutual information, corrected for chance.

    Args:
        columns: Their outcomes.
        codes: Outcomes ``(n, D)``, -1 if unknown.
        weights: Of the rows ``(n,)``, or ``None``.
        first: Number of given columns.
    """
    v = scaled_weights(len(codes), weights)
    return [_best_parent(j, columns, codes[:, : j + 1], v) for j in range(first, len(columns))]


def _best_parent(
    column: int, columns: Sequence[Outcomes], codes: np.ndarray, v: np.ndarray
) -> ParentShares:
    outcomes, codes, before = columns[column], codes[:, column], codes[:, :column]
    marginal = outcome_shares(outcomes, codes, v)
    best = ParentShares(None, np.log(marginal)[None], 0.0)
    if outcomes.count == 1:
        return best
    least = LEAST_GAIN
    known = codes >= 0
    for parent, given in enumerate(before[known].T):
        shape = (columns[parent].count + 1, outcomes.count)
        cells = np.ravel_multi_index(
            (np.where(given < 0, shape[0] - 1, given), codes[known]), shape
        )
        counts = np.bincount(cells, v[known], shape[0] * shape[1]).reshape(shape)
        rows = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)
        pull, gain = _best_pull(counts, rows, marginal, outcomes.new)
        if gain > least:
            least = gain
            shares = _given(counts, counts.sum(axis=1, keepdims=True), pull, marginal, outcomes.new)
            best = ParentShares(parent, np.log(shares), gain)
    return best


def _given(
    counts: np.ndarray, totals: np.ndarray, pull: float, marginal: np.ndarray, new: int | None
) -> np.ndarray:
    kept = 0.0 if new is None else marginal[new]
    others = marginal.copy()
    if new is not None:
        others[new] = 0.0
    shares = (1 - kept) * (counts + pull * others / others.sum()) / (totals + pull)
    if new is not None:
        shares[:, new] = kept
    return shares


def _best_pull(
    counts: np.ndarray, rows: np.ndarray, marginal: np.ndarray, new: int | None
) -> tuple[float, float]:
    seen = counts > 0
    one = np.divide(counts, rows, out=np.zeros_like(counts), where=rows > 0)
    totals = counts.sum(axis=1, keepdims=True) - one
    likelihoods = []
    for pull in PULLS:
        shares = _given(counts - one, totals, pull, marginal, new)
        likelihoods.append(float(np.sum(counts[seen] * np.log((shares / marginal)[seen]))))
    best = int(np.argmax(likelihoods))
    return float(PULLS[best]), likelihoods[best]


def plain_inputs(
    columns: Sequence[Outcomes], codes: np.ndarray, centre: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs of regressions ``(n, P)``, and the number of inputs up to each column.

    Of a column its outcomes that are learnt, one-hot, and its number in units, clipped to ±6; 0 if
    unknown. Arguments as of :func:`fit_parents`.
    """
    blocks = []
    for outcomes, (column, middles) in zip(columns, each_column(columns, codes, centre)):
        block = np.equal(column[:, None], np.arange(outcomes.learnt)).astype(float)
        if middles is not None:
            number = np.where(outcomes.have_numbers(column), np.clip(middles, -CLIP, CLIP), 0.0)
            block = np.append(block, number[:, None], axis=1)
        blocks.append(block)
    return np.concatenate(blocks, axis=1), np.cumsum([block.shape[1] for block in blocks])


def fit_ridges(
    columns: Sequence[Outcomes],
    codes: np.ndarray,
    units: np.ndarray,
    centre: np.ndarray,
    weights: np.ndarray | None = None,
    first: int = 0,
    floors: Sequence[float] | None = None,
) -> list[Ridge | None]:
    """Ridge regressions of the numbers of columns ``first`` on, on the columns before each.

    Coefficients of the :func:`plain_inputs` before the column's own, by numbers in ``units``
    ``(n, N)``, of ``centre`` ``(n, N)``; ``None`` without numbers. ``floors`` are the least scales.
    Other arguments as of :func:`fit_parents`.
    """
    inputs, ends = plain_inputs(columns, codes, units)
    ridges: list[Ridge | None] = []
    for j, (column, middles) in enumerate(each_column(columns, codes, centre)):
        if middles is None or j < first:
            ridges.append(None)
            continue
        rows = np.flatnonzero(columns[j].have_numbers(column))
        rows = rows[:: 1 + len(rows) // REGRESSION_ROWS]
        before = inputs[rows, : ends[j - 1] if j else 0]
        v = None if weights is None else weights[rows]
        ridges.append(fit_ridge(before, middles[rows], v, 0.0 if floors is None else floors[j]))
    return ridges[first:]


def fit_ridge(
    inputs: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None, least: float = 0.0
) -> Ridge:
    """Ridge regression with the penalty of the least leave-one-out error.

    With ``X = U S Vᵀ`` of centred rows the leave-one-out residual is ``r_i / (1 - H_ii)``,
    ``H = 1/n + U S²/(S² + a) Uᵀ`` (Allen 1974); the intercept is not penalised. ``inputs`` are
    ``(n, P)``, ``target`` and ``weights`` ``(n,)``; below two rows coefficients are 0 and the scale
    1, else at least ``least``.
    """
    if len(target) < 2:
        return Ridge(float(target.sum()), np.zeros(inputs.shape[1]), 1.0)
    v = scaled_weights(len(target), weights)
    n, shares = v.sum(), v / v.sum()
    means, mean = shares @ inputs, shares @ target
    root = np.sqrt(v)
    x, y = root[:, None] * (inputs - means), root * (target - mean)
    square, vectors = np.linalg.eigh(x.T @ x)
    square = np.maximum(square, 0.0)
    kept = square > LEAST_SQUARE * max(square.max(initial=0.0), n)
    square, vectors = square[kept], vectors[:, kept]
    u = x @ vectors / np.sqrt(square)
    along = u.T @ y
    penalties = np.append(np.inf, n * RIDGES)
    factors = 1 / (1 + penalties / square[:, None])  # S²/(S² + a)
    residuals = y[:, None] - u @ (factors * along[:, None])
    leverages = np.minimum(shares[:, None] + np.square(u) @ factors, 1 - 1e-9)
    errors = np.square(residuals / (1 - leverages)).sum(axis=0) / n
    best = int(np.argmin(errors))
    coefficients = vectors @ (factors[:, best] / np.sqrt(square) * along)
    scale = max(float(np.sqrt(errors[best])), least)
    return Ridge(float(mean - means @ coefficients), coefficients, scale)


def each_column(
    columns: Sequence[Outcomes], codes: np.ndarray, centre: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Outcomes and middles ``(n,)`` of each column; ``None`` without numbers."""
    place = 0
    for outcomes, column in zip(columns, codes.T):
        if outcomes.number is None:
            yield column, None
        else:
            yield column, centre[:, place]
            place += 1
