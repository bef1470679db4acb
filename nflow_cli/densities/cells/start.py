"""Starting weights of a network of cells, to which weight decay pulls back.

Each column starts as a simple density given those before: shares of outcomes given one parent, and
a ridge regression of its numbers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.densities.cells.columns import UNKNOWN, CellColumn
from nflow_cli.densities.cells.layout import Layout, Outcomes
from nflow_cli.densities.cells.marginal import STANDARD, outcome_shares, scaled_weights
from nflow_cli.densities.cells.network import MOST_SKIPPED

IN_ATOMS = 1e-3  # part of the shares of atoms that is no number, at first
ROWS = 500_000  # most rows in the fit
MOST_INPUTS = 2_000  # most level inputs of a regression
SPREAD, SCALE = 1.2, 0.64  # of the means and scales of normals, over the residual scale: variance 1
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


class StartingWeights(NamedTuple):
    """Weights of the network are ``unit * trained + start``.

    Attributes:
        arrays: The start, by name.
        units: For the means of normals: scale of a regression's residuals. A column that nearly
            follows from others needs digits that updates in other units would lose.
    """

    arrays: dict[str, np.ndarray]
    units: dict[str, np.ndarray]

    def of(self, name: str, trained: Any) -> Any:
        """Weights of the network, from trained ones."""
        scaled = trained * self.units[name] if name in self.units else trained
        return scaled + self.arrays[name] if name in self.arrays else scaled


def starting_weights(
    layout: Layout,
    columns: Sequence[CellColumn],
    rows: np.ndarray,
    weights: np.ndarray | None,
    parents: Sequence[ParentShares] | None = None,
) -> StartingWeights:
    """Starting weights and units, float32, of at most ``ROWS`` of the training rows ``(n, C)``.

    ``parents`` of columns: by default of these rows.
    """
    some = slice(None, None, -(-len(rows) // ROWS))
    rows, weights = rows[some], None if weights is None else weights[some]
    cells = [column.encode(values) for column, values in zip(columns, rows.T)]
    codes = np.stack([cell.codes for cell in cells], axis=1)
    numbers = [cell for column, cell in zip(columns, cells) if column.has_numbers]
    units, centre = np.zeros((2, len(rows), 0))
    calendar = [cell.calendar.T for cell in cells]
    if numbers:
        units = np.stack([cell.units for cell in numbers], axis=1)
        centre = np.stack([cell.interval.centre for cell in numbers], axis=1)
    outcomes, first = [column.outcomes for column in columns], layout.n_given
    floors = [column.floor for column in columns]
    if parents is None:
        parents = starting_parents(columns, codes, weights, first)
    seen, known = _narrow(outcomes, codes)
    ridges = fit_ridges(seen, known, units, centre, weights, first, floors, calendar)
    arrays = {
        **_of_shares(layout, dict(enumerate(parents, first))),
        **_of_numbers(layout, seen, floors, dict(enumerate(ridges, first))),
    }
    units = _units(layout, dict(enumerate(ridges, first)))
    return StartingWeights(
        *({k: a.astype(np.float32) for k, a in part.items()} for part in (arrays, units))
    )


def starting_parents(
    columns: Sequence[CellColumn], codes: np.ndarray, weights: np.ndarray | None, first: int
) -> list[ParentShares]:
    """Shares of outcomes given their best parent, by outcomes ``(n, C)``."""
    parents = fit_parents([column.outcomes for column in columns], codes, weights, first)
    return [
        replace(one, log_shares=in_numbers(column, one.log_shares, IN_ATOMS))
        if column.scores
        else one
        for one, column in zip(parents, columns[first:])
    ]


def in_numbers(column: CellColumn, log_shares: np.ndarray, part: float) -> np.ndarray:
    """Log-shares ``(…, L)`` of outcomes of a column with scores, from those of codes: atoms keep a
    part, or of a hurdle model what numbers do not explain; numbers have the rest.
    """
    count, shares = column.number or 0, np.exp(log_shares)
    atoms, kept = shares[..., :count].copy(), part * shares[..., :count]
    if column.is_hurdle:
        by_numbers = np.exp(STANDARD.log_mass(*column.encode(np.array(column.first)).interval))
        number = shares[..., count, None] / (1 - by_numbers.sum())
        kept = np.maximum(kept, atoms - number * by_numbers)
    shares[..., :count] = kept
    shares[..., count] += (atoms - kept).sum(axis=-1)
    return np.log(shares)


def _narrow(outcomes: Sequence[Outcomes], codes: np.ndarray) -> tuple[list[Outcomes], np.ndarray]:
    """Limit levels in regressions: their normal matrix is square in them."""
    levels = np.array([0 if one.number is not None else one.count for one in outcomes])
    order = np.argsort(levels, kind="stable")
    many = np.zeros(len(levels), bool)
    many[order] = np.cumsum(levels[order]) > MOST_INPUTS
    few = [Outcomes(1) if is_one else one for one, is_one in zip(outcomes, many)]
    return few, np.where(many, UNKNOWN, codes)


def _of_shares(layout: Layout, parents: Mapping[int, ParentShares]) -> dict[str, np.ndarray]:
    if not len(layout.logits):
        return {}
    shape = len(layout.logits), len(layout.inputs)
    has_skip = shape[0] * shape[1] <= MOST_SKIPPED
    kernel, bias = np.zeros(shape if has_skip else (0, 0)), np.zeros((shape[0], 1))
    for j, one in parents.items():
        rows = layout.logits_of(j)
        log_shares = one.log_shares[:, : len(rows)]
        bias[rows, 0] = log_shares[-1]
        if one.parent is not None and has_skip:
            inputs = np.flatnonzero(layout.inputs == one.parent)
            inputs = inputs[: layout.outcomes[one.parent].learnt]
            kernel[np.ix_(rows, inputs)] = (log_shares[: len(inputs)] - log_shares[-1]).T
    return {"logits_bias": bias, **({"logits_skip_kernel": kernel} if has_skip else {})}


def _of_numbers(
    layout: Layout,
    seen: Sequence[Outcomes],
    floors: Sequence[float],
    ridges: Mapping[int, Ridge | None],
) -> dict[str, np.ndarray]:
    if not layout.mixed:
        return {}
    m = layout.components
    kernel = np.zeros((len(layout.mixed), len(layout.inputs)))
    bias = np.zeros((len(layout.mixed), 3, m))
    inputs = [
        np.flatnonzero(layout.inputs == i)[: one.learnt if one.number is None else None]
        for i, one in enumerate(seen)
    ]
    for row, j in enumerate(layout.mixed):
        ridge = ridges[j]
        if ridge is None:
            continue
        spread = np.linspace(-SPREAD, SPREAD, m) if m > 1 else np.zeros(1)
        bias[row, 1] = ridge.intercept + ridge.scale * spread
        scale = ridge.scale * (SCALE if m > 1 else 1.0)
        bias[row, 2] = np.log(max(scale - floors[j], 0.1 * scale))
        kernel[row, np.concatenate([[], *inputs[:j]]).astype(int)] = ridge.coefficients
    return {"means_skip_kernel": kernel, "mixtures_bias": bias.reshape(-1, 1)}


def _units(layout: Layout, ridges: Mapping[int, Ridge | None]) -> dict[str, np.ndarray]:
    if not layout.mixed:
        return {}
    found = [ridges[j] for j in layout.mixed]
    scales = np.array([1.0 if ridge is None else ridge.scale for ridge in found])
    of_normals = np.ones((len(scales), 3, layout.components))
    of_normals[:, 1] = scales[:, None]
    rows = of_normals.reshape(-1, 1)
    means = {"means_skip_kernel": scales[:, None]}
    return {"mixtures_kernel": rows, "mixtures_bias": rows, **means}


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
    columns: Sequence[Outcomes],
    codes: np.ndarray,
    centre: np.ndarray,
    calendar: Sequence[np.ndarray] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs of regressions ``(n, P)``, and the number of inputs up to each column.

    Of a column its outcomes that are learnt, one-hot, its number in units, clipped to ±6, and the
    harmonics ``(n, E)`` of its dates; 0 if unknown. Arguments as of :func:`fit_parents`.
    """
    blocks = []
    for i, (outcomes, (column, middles)) in enumerate(
        zip(columns, each_column(columns, codes, centre))
    ):
        block = np.equal(column[:, None], np.arange(outcomes.learnt)).astype(float)
        if middles is not None:
            number = np.where(outcomes.have_numbers(column), np.clip(middles, -CLIP, CLIP), 0.0)
            block = np.column_stack([block, number, *calendar[i : i + 1]])
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
    calendar: Sequence[np.ndarray] = (),
) -> list[Ridge | None]:
    """Ridge regressions of the numbers of columns ``first`` on, on the columns before each.

    Coefficients of the :func:`plain_inputs` before the column's own, by numbers in ``units``
    ``(n, N)``, of ``centre`` ``(n, N)``; ``None`` without numbers. ``floors`` are the least scales.
    Other arguments as of :func:`fit_parents`.
    """
    inputs, ends = plain_inputs(columns, codes, units, calendar)
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
