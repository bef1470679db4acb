"""What a network of cells starts from: shares given one parent, and ridge regressions.

No Keras here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from nflow_cli.densities.cells.marginal import Outcomes, Parts, outcome_shares
from nflow_cli.densities.cells.mixing import scaled_weights

BINS = 8  # of a parent's numbers, by quantiles
PULLS = 10.0 ** np.arange(-0.5, 4, 0.5)  # rows of the marginal beside those of a bin
WORTH = 4.0  # nats that a parent gains at least: one in a hundred does by chance
RIDGES = 10.0 ** np.arange(-7, 2.5, 0.5)  # penalties, a row
ROWS = 20_000  # that a regression is fitted to, at most
CLIP = 6.0  # units of an input, at most
ROUNDS = 10  # of expectation and maximisation, for shares of cells of several outcomes
LEAST_SQUARE = 1e-12  # of a direction of the inputs beside the largest


@dataclass(frozen=True, eq=False)
class Bins:
    """A column's cells in bins: its outcomes, its numbers by quantiles, and unknown ones last.

    Attributes:
        outcomes: What the column's cells can be.
        edges: Between the bins of its numbers, ascending, in its units.
    """

    outcomes: Outcomes
    edges: np.ndarray

    @property
    def count(self) -> int:
        """How many there are, that of unknown cells included."""
        return self.outcomes.count + len(self.edges) + 1

    def of(self, codes: np.ndarray, centre: np.ndarray | None) -> np.ndarray:
        """Return the bins ``(n,)`` of cells: outcomes ``(n,)``, and the middles of numbers."""
        bins = np.where(codes < 0, self.count - 1, codes)
        if self.outcomes.number is None or centre is None:
            return bins
        place = np.searchsorted(self.edges, centre, side="right")
        higher = self.outcomes.are_numbers(codes) & (place > 0)
        return np.where(higher, self.outcomes.count + place - 1, bins)


@dataclass(frozen=True, eq=False)
class ParentShares:
    """Shares of a column's outcomes given the bin of one earlier column.

    Attributes:
        parent: The number of that column, or ``None``: one bin then.
        bins: Of the parent, or ``None``.
        log_shares: ``(B, L)``, each row normalised.
        gain: Nats over the marginal, of training rows each given the others.
    """

    parent: int | None
    bins: Bins | None
    log_shares: np.ndarray
    gain: float


@dataclass(frozen=True, eq=False)
class Ridge:
    """A linear regression whose coefficients are pulled to 0.

    Attributes:
        intercept: A number.
        coefficients: ``(P,)``.
        scale: The root mean square of the residuals of rows left out.
    """

    intercept: float
    coefficients: np.ndarray
    scale: float


def fit_parents(
    columns: Sequence[Outcomes],
    codes: np.ndarray,
    centre: np.ndarray,
    weights: np.ndarray | None = None,
    first: int = 0,
    parts: Mapping[int, Parts] = MappingProxyType({}),
) -> list[ParentShares]:
    """Return the shares of the outcomes of columns ``first`` on, given one earlier column each.

    The parent is the column that makes rows likeliest, each given the others: their mutual
    information, less what chance adds to it.

    Args:
        columns: What the cells of each column can be.
        codes: Outcomes ``(n, D)``, -1 where unknown.
        centre: The middles of the intervals of the N columns that have numbers, ``(n, N)``.
        weights: Of the rows ``(n,)``; equal ones for ``None``.
        first: The columns before are given, not modelled.
        parts: Of a column whose cells may be of several outcomes each: rows, outcomes and the
            shares that these have of the rows.
    """
    v = scaled_weights(len(codes), weights)
    bins, places = [], []
    for outcomes, (column, middles, _) in zip(columns, each_column(columns, codes, centre, centre)):
        bins.append(_bins(outcomes, column, middles))
        places.append(bins[-1].of(column, middles))
    return [
        _parent_of_parts(j, columns[j], parts[j], bins, places, v)
        if j in parts
        else _best_parent(j, columns[j], codes[:, j], bins, places, v)
        for j in range(first, len(columns))
    ]


def _bins(outcomes: Outcomes, codes: np.ndarray, centre: np.ndarray | None) -> Bins:
    """Return the bins of a column, by quantiles of its numbers."""
    if outcomes.number is None or centre is None or not np.any(outcomes.are_numbers(codes)):
        return Bins(outcomes, np.zeros(0))
    numbers = centre[outcomes.are_numbers(codes)]
    edges = np.unique(np.quantile(numbers, np.arange(1, BINS) / BINS))
    return Bins(outcomes, edges[edges > numbers.min()])


def _parent_of_parts(
    column: int,
    outcomes: Outcomes,
    parts: Parts,
    bins: list[Bins],
    places: list[np.ndarray],
    v: np.ndarray,
) -> ParentShares:
    """Return the shares of a column whose cells may be of several outcomes each, by EM."""
    rows, codes, start = parts
    of_parents, weight = [place[rows] for place in places[:column]], start
    marginal = outcome_shares(outcomes, codes, v[rows] * start)
    for _ in range(ROUNDS):
        best = _best_parent(column, outcomes, codes, bins, of_parents, v[rows] * weight)
        if best.parent is None:
            break
        likelihood = np.exp(best.log_shares)[of_parents[best.parent], codes] / marginal[codes]
        weight = start * likelihood
        weight = weight / np.bincount(rows, weight, len(v))[rows]
    return best


def _best_parent(
    column: int,
    outcomes: Outcomes,
    codes: np.ndarray,
    bins: list[Bins],
    places: list[np.ndarray],
    v: np.ndarray,
) -> ParentShares:
    """Return the shares of a column given the best of those before it, or of none."""
    marginal = outcome_shares(outcomes, codes, v)
    best = ParentShares(None, None, np.log(marginal)[None], 0.0)
    if outcomes.count == 1:
        return best
    least = WORTH
    known = codes >= 0
    for parent in range(column):
        shape = (bins[parent].count, outcomes.count)
        cells = np.ravel_multi_index((places[parent][known], codes[known]), shape)
        counts = np.bincount(cells, v[known], shape[0] * shape[1]).reshape(shape)
        rows = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)
        pull, gain = _best_pull(counts, rows, marginal, outcomes.new)
        if gain > least:
            least = gain
            shares = _given(counts, counts.sum(axis=1, keepdims=True), pull, marginal, outcomes.new)
            best = ParentShares(parent, bins[parent], np.log(shares), gain)
    return best


def _given(
    counts: np.ndarray, totals: np.ndarray, pull: float, marginal: np.ndarray, new: int | None
) -> np.ndarray:
    """Return shares ``(B, L)`` by counts beside ``pull`` rows of the marginal.

    A new level keeps its share: no bin has one.
    """
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
    """Return the pull that suits rows best, each given the others, and the nats it gains."""
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
    """Return the inputs of regressions ``(n, P)``, and how many those up to each column are.

    Of a column there is a 1 at its outcome, and its number in units, no further out than 6; all
    are 0 where the cell is unknown.

    Args:
        columns: What the cells of each column can be.
        codes: Outcomes ``(n, D)``, -1 where unknown.
        centre: The middles of the intervals of the N columns that have numbers, ``(n, N)``.
    """
    blocks = []
    for outcomes, (column, middles, _) in zip(columns, each_column(columns, codes, centre, centre)):
        block = np.equal(column[:, None], np.arange(outcomes.count)).astype(float)
        if middles is not None:
            are_numbers = outcomes.are_numbers(column)
            number = np.where(are_numbers, np.clip(middles, -CLIP, CLIP), 0.0)
            block = np.append(block, number[:, None], axis=1)
        blocks.append(block)
    return np.concatenate(blocks, axis=1), np.cumsum([block.shape[1] for block in blocks])


def fit_ridges(
    columns: Sequence[Outcomes],
    codes: np.ndarray,
    centre: np.ndarray,
    weights: np.ndarray | None = None,
    first: int = 0,
) -> list[Ridge | None]:
    """Return the regressions of the numbers of columns ``first`` on, on what comes before each.

    ``None`` stands for a column without numbers. Coefficients are those of the inputs of
    :func:`plain_inputs` before the column's own.

    Args:
        columns: What the cells of each column can be.
        codes: Outcomes ``(n, D)``, -1 where unknown.
        centre: The middles of the intervals of the N columns that have numbers, ``(n, N)``.
        weights: Of the rows ``(n,)``; equal ones for ``None``.
        first: The columns before are given, not modelled.
    """
    inputs, ends = plain_inputs(columns, codes, centre)
    ridges: list[Ridge | None] = []
    for j, (column, middles, _) in enumerate(each_column(columns, codes, centre, centre)):
        if middles is None or j < first:
            ridges.append(None)
            continue
        rows = np.flatnonzero(columns[j].are_numbers(column))
        rows = rows[:: 1 + len(rows) // ROWS]
        before = inputs[rows, : ends[j - 1] if j else 0]
        v = None if weights is None else weights[rows]
        ridges.append(fit_ridge(before, middles[rows], v, columns[j].floor))
    return ridges[first:]


def fit_ridge(
    inputs: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None, least: float = 0.0
) -> Ridge:
    """Return the ridge regression whose penalty predicts each row best from the others.

    With ``X = U S Vᵀ`` of centred rows the residual of a row left out is ``r_i / (1 - H_ii)``,
    ``H = 1/n + U S²/(S² + a) Uᵀ`` (Allen 1974); the intercept is not penalised.

    Args:
        inputs: ``(n, P)``.
        target: ``(n,)``; of one row or none there is no regression, and the scale is 1.
        weights: Of the rows ``(n,)``; equal ones for ``None``.
        least: The scale is no less.
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
    columns: Sequence[Outcomes], codes: np.ndarray, centre: np.ndarray, half: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray | None, np.ndarray | None]]:
    """Yield each column's outcomes, middles and half widths ``(n,)``; ``None`` without numbers."""
    place = 0
    for outcomes, column in zip(columns, codes.T):
        if outcomes.number is None:
            yield column, None, None
        else:
            yield column, centre[:, place], half[:, place]
            place += 1
