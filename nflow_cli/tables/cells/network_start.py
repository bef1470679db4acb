"""Starting weights of a network of cells, to which weight decay pulls back.

Each column starts as a simple density given those before: shares of outcomes given one parent, and
a ridge regression of its numbers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from nflow_cli.arrays import Tensor
from nflow_cli.tables.cells.cell_columns import UNKNOWN, CellColumn
from nflow_cli.tables.cells.layout import Layout, Outcomes
from nflow_cli.tables.cells.marginal import STANDARD, outcome_shares, scaled_weights
from nflow_cli.tables.cells.network import MOST_SKIPPED

ATOM_PART = 1e-3  # of the shares of atoms, that is no number, at first
MOST_ROWS = 500_000  # in the fit
MOST_INPUTS = 2_000  # of levels, in a regression
# Largest mean, and scale, of normals over the residual scale: variance 1.
RELATIVE_MEAN = 1.2
RELATIVE_SCALE = 0.64
PULLS = 10.0 ** np.arange(-0.5, 4, 0.5)  # pseudo-count rows of the marginal added to each outcome
LEAST_GAIN = 4.0  # nats that a parent must gain: by chance one in a hundred does
RIDGES = 10.0 ** np.arange(-7, 2.5, 0.5)  # ridge penalties per row
REGRESSION_ROWS = 20_000  # most rows in a regression
INPUT_LIMIT = 6.0  # units: inputs are clipped to ± this
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

    def residuals(self, inputs: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Residuals ``(n,)`` of a target at inputs ``(n, P)``."""
        return target - self.intercept - inputs @ self.coefficients


class StartingWeights(NamedTuple):
    """Weights of the network are ``unit * trained + start``.

    Attributes:
        arrays: The start, by name.
        units: For the means of normals: scale of a regression's residuals. A column that nearly
            follows from others needs digits that updates in other units would lose.
    """

    arrays: dict[str, np.ndarray]
    units: dict[str, np.ndarray]

    def of(self, name: str, trained: Tensor) -> Tensor:
        """Weights of the network called ``name``, from the trained ones."""
        weights = trained
        if name in self.units:
            weights = weights * self.units[name]
        if name in self.arrays:
            weights = weights + self.arrays[name]
        return weights


def starting_weights(
    layout: Layout,
    columns: Sequence[CellColumn],
    rows: np.ndarray,
    weights: np.ndarray | None,
    parents: Sequence[ParentShares] | None = None,
) -> StartingWeights:
    """Starting weights of a network, and units of its trained weights, float32, by regressions on
    at most ``MOST_ROWS`` of the training rows ``(n, C)``, which have ``weights`` ``(n,)`` or none.

    Outcomes start at their shares given one earlier column, the ``parents`` of the modelled
    columns, by default of these rows; means at ridge regressions on all earlier columns.
    """
    stride = -(-len(rows) // MOST_ROWS)
    rows = rows[::stride]
    if weights is not None:
        weights = weights[::stride]
    cells = [column.encode(values) for column, values in zip(columns, rows.T)]
    codes = np.stack([cell.codes for cell in cells], axis=1)
    harmonics = [cell.harmonics.T for cell in cells]  # (n, E) of the dates of each column
    number_cells = [cell for column, cell in zip(columns, cells) if column.has_numbers]
    units = np.zeros((len(rows), 0))  # inputs (n, K), of the K columns with numbers
    centre = np.zeros((len(rows), 0))  # middles (n, K) of their intervals, which are predicted
    if number_cells:
        units = np.stack([cell.units for cell in number_cells], axis=1)
        centre = np.stack([cell.interval.centre for cell in number_cells], axis=1)
    n_given = layout.n_given
    if parents is None:
        parents = starting_parents(columns, codes, weights, n_given)
    outcomes = [column.outcomes for column in columns]
    least_scales = [column.least_scale for column in columns]
    regression_outcomes, regression_codes = _without_many_levels(outcomes, codes)
    fitted = fit_ridges(
        regression_outcomes,
        regression_codes,
        units,
        centre,
        weights,
        n_given,
        least_scales,
        harmonics,
    )
    ridges = {j: ridge for j, ridge in enumerate(fitted, n_given) if ridge}  # None: no numbers
    arrays = {
        **_logit_start(layout, dict(enumerate(parents, n_given))),
        **_mixture_start(layout, regression_outcomes, least_scales, ridges),
    }
    return StartingWeights(_in_float32(arrays), _in_float32(_mixture_units(layout, ridges)))


def _in_float32(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays in float32, by name."""
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def starting_parents(
    columns: Sequence[CellColumn], codes: np.ndarray, weights: np.ndarray | None, first: int
) -> list[ParentShares]:
    """Shares of the outcomes of columns ``first`` on, given their best parent, by outcomes
    ``codes`` ``(n, C)``; in a column with scores most of the shares of atoms are with numbers.
    """
    parents = fit_parents([column.outcomes for column in columns], codes, weights, first)
    for i, column in enumerate(columns[first:]):
        if column.normal_scores:
            log_shares = with_atoms_in_numbers(column, parents[i].log_shares, ATOM_PART)
            parents[i] = replace(parents[i], log_shares=log_shares)
    return parents


def with_atoms_in_numbers(column: CellColumn, log_shares: np.ndarray, part: float) -> np.ndarray:
    """Log-shares ``(…, L)`` of outcomes of a column with scores, whose numbers may be atoms, from
    those of codes, which tell atoms from numbers.

    Atoms keep a ``part`` of their shares, or of a hurdle model what numbers do not explain; the
    outcome of a number has the rest.
    """
    n_atoms = column.number_code or 0
    shares = np.exp(log_shares)
    atoms = shares[..., :n_atoms].copy()
    kept_shares = part * atoms
    if column.is_hurdle:
        intervals = column.encode(np.array(column.coded_values)).interval
        atom_masses = np.exp(STANDARD.log_mass(*intervals))
        number_shares = shares[..., n_atoms, None] / (1 - atom_masses.sum())
        kept_shares = np.maximum(kept_shares, atoms - number_shares * atom_masses)
    shares[..., :n_atoms] = kept_shares
    shares[..., n_atoms] += (atoms - kept_shares).sum(axis=-1)
    return np.log(shares)


def _without_many_levels(
    columns: Sequence[Outcomes], codes: np.ndarray
) -> tuple[list[Outcomes], np.ndarray]:
    """Outcomes of columns, and codes ``(n, C)``, for regressions, whose normal matrix is square in
    the levels: columns with the most levels, beyond ``MOST_INPUTS`` in all, have a single outcome
    and are unknown.
    """
    n_levels = np.zeros(len(columns), int)
    for i, column in enumerate(columns):
        if column.number_code is None:
            n_levels[i] = column.n_outcomes
    order = np.argsort(n_levels, kind="stable")
    are_many = np.zeros(len(columns), bool)
    are_many[order] = np.cumsum(n_levels[order]) > MOST_INPUTS
    outcomes = list(columns)
    for i in np.flatnonzero(are_many):
        outcomes[i] = Outcomes(1)
    return outcomes, np.where(are_many, UNKNOWN, codes)


def _logit_start(layout: Layout, parents: Mapping[int, ParentShares]) -> dict[str, np.ndarray]:
    """Starting weights of the logits, by name: the bias has the log-shares given an unknown parent,
    the weights of inputs have what each outcome of the parent adds.
    """
    n_logits = len(layout.logits)
    if not n_logits:
        return {}
    bias = np.zeros((n_logits, 1))
    for j, shares in parents.items():
        rows = layout.logits_of(j)
        bias[rows, 0] = shares.log_shares[-1, : len(rows)]
    if n_logits * len(layout.direct_inputs) > MOST_SKIPPED:
        return {"logits_bias": bias}
    kernel = np.zeros((n_logits, len(layout.direct_inputs)))
    columns_of_outcomes = layout.inputs[: len(layout.input_codes)]
    for j, shares in parents.items():
        if shares.parent is not None:
            rows = layout.logits_of(j)
            inputs = np.flatnonzero(columns_of_outcomes == shares.parent)
            log_shares = shares.log_shares[:, : len(rows)]
            kernel[np.ix_(rows, inputs)] = (log_shares[: len(inputs)] - log_shares[-1]).T
    return {"logits_bias": bias, "logits_skip_kernel": kernel}


def _mixture_start(
    layout: Layout,
    columns: Sequence[Outcomes],
    floors: Sequence[float],
    ridges: Mapping[int, Ridge],
) -> dict[str, np.ndarray]:
    """Starting weights of the mixtures, by name: regressions on ``columns``, with normals about the
    mean. ``floors`` are the least scales of the columns.
    """
    if not layout.mixed:
        return {}
    m = layout.components
    relative_means = np.zeros(1)
    relative_scale = 1.0
    if m > 1:
        relative_means = np.linspace(-RELATIVE_MEAN, RELATIVE_MEAN, m)
        relative_scale = RELATIVE_SCALE
    kernel = np.zeros((len(layout.mixed), len(layout.direct_inputs)))
    bias = np.zeros((len(layout.mixed), 3, m))
    inputs = []  # of each column, as in a regression
    for i, column in enumerate(columns):
        places = np.flatnonzero(layout.direct_inputs == i)
        if column.number_code is None:
            places = places[: column.n_learnt]
        inputs.append(places)
    for row, j in enumerate(layout.mixed):
        ridge = ridges[j]
        # Biases of log-weights are 0; of means; of the logarithm of scales above the least.
        bias[row, 1] = ridge.intercept + ridge.scale * relative_means
        scale = ridge.scale * relative_scale
        bias[row, 2] = np.log(max(scale - floors[j], 0.1 * scale))
        kernel[row, np.concatenate([[], *inputs[:j]]).astype(int)] = ridge.coefficients
    return {"means_skip_kernel": kernel, "mixtures_bias": bias.reshape(-1, 1)}


def _mixture_units(layout: Layout, ridges: Mapping[int, Ridge]) -> dict[str, np.ndarray]:
    """Units of the weights of the mixtures, by name: of means the residual scale, else 1."""
    if not layout.mixed:
        return {}
    scales = np.array([ridges[j].scale for j in layout.mixed])
    normal_units = np.ones((len(scales), 3, layout.components))
    normal_units[:, 1] = scales[:, None]
    output_units = normal_units.reshape(-1, 1)
    return {
        "mixtures_kernel": output_units,
        "mixtures_bias": output_units,
        "means_skip_kernel": scales[:, None],
    }


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
    j: int, columns: Sequence[Outcomes], codes: np.ndarray, weights: np.ndarray
) -> ParentShares:
    """Shares of column ``j`` given its best parent, by outcomes ``(n, j + 1)`` of it and the
    columns before, and row weights ``(n,)``.
    """
    outcomes = columns[j]
    marginal = outcome_shares(outcomes, codes[:, j], weights)
    best = ParentShares(None, np.log(marginal)[None], 0.0)
    if outcomes.n_outcomes == 1:
        return best
    least_gain = LEAST_GAIN
    is_known = codes[:, j] >= 0
    codes = codes[is_known]
    weights = weights[is_known]
    for parent, parent_codes in enumerate(codes[:, :j].T):
        shape = (
            columns[parent].n_outcomes + 1,
            outcomes.n_outcomes,
        )  # the parent's last is unknown
        table_rows = np.where(parent_codes < 0, shape[0] - 1, parent_codes)
        pair_codes = np.ravel_multi_index((table_rows, codes[:, j]), shape)
        counts = np.bincount(pair_codes, weights, shape[0] * shape[1]).reshape(shape)
        n_rows = np.bincount(pair_codes, minlength=shape[0] * shape[1]).reshape(shape)
        pull, gain = _best_pull(counts, n_rows, marginal, outcomes.new_code)
        if gain > least_gain:
            least_gain = gain
            totals = counts.sum(axis=1, keepdims=True)
            shares = _pulled_shares(counts, totals, pull, marginal, outcomes.new_code)
            best = ParentShares(parent, np.log(shares), gain)
    return best


def _pulled_shares(
    counts: np.ndarray, totals: np.ndarray, pull: float, marginal: np.ndarray, new: int | None
) -> np.ndarray:
    """Shares ``(B, L)`` of outcomes given a parent's, by ``counts`` ``(B, L)`` and their ``totals``
    ``(B, 1)``, with ``pull`` rows of the marginal ``(L,)`` added; a new outcome keeps its share.
    """
    share_of_new = 0.0 if new is None else marginal[new]
    learnt = marginal.copy()
    if new is not None:
        learnt[new] = 0.0
    shares = (1 - share_of_new) * (counts + pull * learnt / learnt.sum()) / (totals + pull)
    if new is not None:
        shares[:, new] = share_of_new
    return shares


def _best_pull(
    counts: np.ndarray, n_rows: np.ndarray, marginal: np.ndarray, new: int | None
) -> tuple[float, float]:
    """Pull of the largest leave-one-out likelihood, and the nats that this gains on the marginal
    ``(L,)``.

    ``counts`` are sums of weights of ``n_rows`` rows, both ``(B, L)``.
    """
    has_rows = counts > 0
    row_weights = np.divide(counts, n_rows, out=np.zeros_like(counts), where=n_rows > 0)
    totals = counts.sum(axis=1, keepdims=True) - row_weights
    gains = []
    for pull in PULLS:
        shares = _pulled_shares(counts - row_weights, totals, pull, marginal, new)
        gains.append(float(np.sum(counts[has_rows] * np.log((shares / marginal)[has_rows]))))
    best = int(np.argmax(gains))
    return float(PULLS[best]), gains[best]


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
    for i, (outcomes, column_codes, middles) in enumerate(split_columns(columns, codes, centre)):
        block = np.equal(column_codes[:, None], np.arange(outcomes.n_learnt)).astype(float)
        if middles is not None:
            is_number = outcomes.have_numbers(column_codes)
            parts = [block, np.where(is_number, np.clip(middles, -INPUT_LIMIT, INPUT_LIMIT), 0.0)]
            if calendar:
                parts.append(calendar[i])
            block = np.column_stack(parts)
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
    starts = np.append(0, ends)
    ridges: list[Ridge | None] = []
    for j, (outcomes, column_codes, middles) in enumerate(split_columns(columns, codes, centre)):
        if middles is None or j < first:
            ridges.append(None)
            continue
        rows = np.flatnonzero(outcomes.have_numbers(column_codes))
        rows = rows[:: 1 + len(rows) // REGRESSION_ROWS]
        inputs_before = inputs[rows, : starts[j]]
        row_weights = None if weights is None else weights[rows]
        floor = 0.0 if floors is None else floors[j]
        ridges.append(fit_ridge(inputs_before, middles[rows], row_weights, floor))
    return ridges[first:]


def fit_ridge(
    inputs: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None, floor: float = 0.0
) -> Ridge:
    """Ridge regression with the penalty of the least leave-one-out error.

    With ``X = U S Vᵀ`` of centred rows the leave-one-out residual is ``r_i / (1 - H_ii)``,
    ``H = 1/n + U S²/(S² + a) Uᵀ`` (Allen 1974); the intercept is not penalised. ``inputs`` are
    ``(n, P)``, ``target`` and ``weights`` ``(n,)``; below two rows coefficients are 0 and the scale
    1, else at least ``floor``.
    """
    if len(target) < 2:
        return Ridge(float(target.sum()), np.zeros(inputs.shape[1]), 1.0)
    v = scaled_weights(len(target), weights)
    n = v.sum()
    shares = v / n
    input_means = shares @ inputs
    target_mean = shares @ target
    root = np.sqrt(v)
    x = root[:, None] * (inputs - input_means)
    y = root * (target - target_mean)
    squares, vectors = np.linalg.eigh(x.T @ x)  # S² and V
    squares = np.maximum(squares, 0.0)
    is_kept = squares > LEAST_SQUARE * max(squares.max(initial=0.0), n)
    squares = squares[is_kept]
    vectors = vectors[:, is_kept]
    u = x @ vectors / np.sqrt(squares)
    along = u.T @ y
    penalties = np.append(np.inf, n * RIDGES)
    factors = 1 / (1 + penalties / squares[:, None])  # S²/(S² + a)
    residuals = y[:, None] - u @ (factors * along[:, None])
    leverages = np.minimum(shares[:, None] + np.square(u) @ factors, 1 - 1e-9)
    errors = np.square(residuals / (1 - leverages)).sum(axis=0) / n
    best = int(np.argmin(errors))
    coefficients = vectors @ (factors[:, best] / np.sqrt(squares) * along)
    scale = max(float(np.sqrt(errors[best])), floor)
    return Ridge(float(target_mean - input_means @ coefficients), coefficients, scale)


def split_columns(
    columns: Sequence[Outcomes], codes: np.ndarray, centre: np.ndarray
) -> Iterator[tuple[Outcomes, np.ndarray, np.ndarray | None]]:
    """Yield for each column its outcomes, its codes ``(n,)``, and the middles ``(n,)`` of its
    numbers, ``None`` without numbers.

    ``codes`` are ``(n, C)``, ``centre`` ``(n, N)`` of the columns with numbers.
    """
    place = 0
    for column, column_codes in zip(columns, codes.T):
        if column.number_code is None:
            yield column, column_codes, None
        else:
            yield column, column_codes, centre[:, place]
            place += 1
