"""Parts of a density of cells fitted before training: columns, marginals, computed columns."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nflow_cli.data.kinds.dataset import Dataset
from nflow_cli.tables.cells.cell_columns import CellColumn, Cells, Interval
from nflow_cli.tables.cells.computed_cells import Computed
from nflow_cli.tables.cells.layout import Layout, Outcomes
from nflow_cli.tables.cells.marginal import STANDARD, Marginal, fit_marginal, scaled_weights
from nflow_cli.tables.cells.network_start import fit_parents, with_atoms_in_numbers
from nflow_cli.tables.cells.outliers import fit_outliers
from nflow_cli.tables.cells.scores import LEAST_GAIN, Numbers, Scores, fit_scores

LEAST_FLOOR = 1e-5  # least scale of a normal, in units in which the numbers are near 1
NARROW_LEVEL = 0.01  # of the quantile of half widths that bounds the scales
ATOM_PART = 1e-9  # of the shares of atoms, that is no number
HURDLE_GAIN = 0.1  # nats a row by which an earlier column predicts atoms, of a hurdle model
UNSEEN_WEIGHT = 0.5  # rows of a level in order that no row has
BROAD_RANGES = 10.0  # ranges of the numbers that hold 95 % of a broad normal


def fitted_columns(data: Dataset) -> list[CellColumn]:
    """The given and modelled columns of a table, fitted to its training rows."""
    columns: list[CellColumn] = []
    cells: list[Cells] = []  # of the training rows
    for place in range(len(data.given_names) + len(data.modelled_names)):
        column = _fitted_column(data, place, columns, cells)
        columns.append(column)
        cells.append(column.encode(data.train[:, place]))
    return columns


def _fitted_column(
    data: Dataset,
    place: int,
    before: Sequence[CellColumn] = (),
    cells_before: Sequence[Cells] = (),
) -> CellColumn:
    """Column at a place of the table, with its outliers, scores, and limits of its normals: the
    least scale is a quarter of a typical interval, the ends are those of all intervals.

    The columns ``before`` it, with their cells of the training rows, decide whether it is a hurdle
    model.
    """
    name = data.columns[place]
    column = CellColumn(name, data.kinds[name].alone, tuple(data.units.get(name, ())))
    if not column.has_numbers:
        return column
    values = data.train[:, place]
    within_bounds = values[column.outcomes.have_numbers(column.codes(values))]
    column = replace(column, outliers=fit_outliers(within_bounds, column.step))
    if column.has_scores and place >= len(data.given_names):
        is_hurdle = _is_hurdle(column, data, before, cells_before)
        column = replace(column, is_hurdle=is_hurdle)
        column = replace(column, normal_scores=_fitted_scores(column, data, place))
    atoms_are_scored = column.normal_scores is not None and not column.is_hurdle
    _, (centre, half) = _number_intervals(column, values, with_atoms=atoms_are_scored)
    floor = _least_scale(half)
    low = float((centre - half).min()) if len(centre) else 0.0
    high = float((centre + half).max()) if len(centre) else 0.0
    if high - low < 4 * floor:  # a mean is two scales from each end
        margin = max(4 * floor, 1e-2)
        low -= margin
        high += margin
    return replace(column, least_scale=floor, low=low, high=high)


def _is_hurdle(
    column: CellColumn,
    data: Dataset,
    before: Sequence[CellColumn],
    cells_before: Sequence[Cells],
) -> bool:
    """Whether a hurdle model suits a column: first whether a number is an atom, then its value.

    It does if some column ``before`` predicts which numbers are atoms, by the gain in nats a row of
    a categorical model, and better than one predicts the order of the numbers. As intervals, the
    atoms would be wide and take probability from the other numbers.
    """
    if not (column.coded_values and before):  # without atoms or inputs
        return False
    columns = [*before, column]
    cells = [*cells_before, column.encode(data.train[:, len(before)])]
    codes = [cell.codes for cell in cells]  # outcomes (n,) of each column
    rows = np.flatnonzero(column.outcomes.have_numbers(codes[-1]))  # atoms are numbers, too
    if not len(rows):
        return False
    codes[-1] = codes[-1] != column.number_code  # two outcomes: an atom or another number
    outcomes = [earlier.outcomes for earlier in before] + [Outcomes(2)]
    weights = None if data.weights.train is None else data.weights.train[rows]
    # Shares of the two outcomes given their best parent, an earlier column.
    (shares,) = fit_parents(outcomes, np.stack(codes, axis=1)[rows], weights, first=len(before))
    gain_of_atoms = shares.gain / len(rows)
    return gain_of_atoms > HURDLE_GAIN and gain_of_atoms > _gain_by_order(columns, cells)


def _gain_by_order(columns: Sequence[CellColumn], cells: Sequence[Cells]) -> float:
    """Nats a row that a normal regression on one of the earlier numbers gains of the last column's,
    at most: ``-log(1 - r²)/2`` of their correlation.
    """
    are_numbers = [column.outcomes.have_numbers(cell.codes) for column, cell in zip(columns, cells)]
    gains = [0.0]
    for cell, are_earlier_numbers in zip(cells[:-1], are_numbers[:-1]):
        rows = np.flatnonzero(are_earlier_numbers & are_numbers[-1])
        x = cell.units[rows]
        y = cells[-1].units[rows]
        if len(rows) and np.ptp(x) > 0 and np.ptp(y) > 0:
            correlation = min(abs(np.corrcoef(x, y)[0, 1]), 1 - 1e-9)
            gains.append(-np.log1p(-(correlation**2)) / 2)
    return max(gains)


def _least_scale(half: np.ndarray) -> float:
    """Least scale of normals, by half widths ``(n,)`` of intervals."""
    narrow = float(np.quantile(half, NARROW_LEVEL)) if len(half) else 1.0
    return max(LEAST_FLOOR, narrow / 2)


def _number_intervals(
    column: CellColumn, values: np.ndarray, with_atoms: bool = True
) -> tuple[np.ndarray, Interval]:
    """Mask ``(n,)`` of the values that are numbers, and the intervals of these alone: those with
    one end are made symmetric. Atoms are numbers, too, unless ``with_atoms`` is false.
    """
    cells = with_both_ends(column, values)
    are_numbers = column.outcomes.have_numbers(cells.codes)
    if not with_atoms:
        are_numbers &= cells.codes == column.number_code  # atoms have codes of their own
    centre, half = cells.interval
    return are_numbers, Interval(centre[are_numbers], half[are_numbers])


def _fitted_scores(column: CellColumn, data: Dataset, place: int) -> Scores | None:
    """Normal scores of a column, by all rows with a weight but the test part: validation compares
    gains over them alone. ``None`` where they gain too little.
    """
    values = np.concatenate([data.train[:, place], data.validation[:, place]])
    weights = np.ones(len(values))
    if data.weights.train is not None and data.weights.validation is not None:
        weights = np.concatenate([data.weights.train, data.weights.validation])
        values = values[weights > 0]
        weights = weights[weights > 0]
    if column.has_levels:  # one without rows counts half a row
        levels = np.arange(float(len(column.levels)))
        unseen = np.setdiff1d(levels, values)
        values = np.append(values, unseen)
        weights = np.append(weights, np.full(len(unseen), UNSEEN_WEIGHT))
    are_numbers, interval = _number_intervals(column, values, with_atoms=not column.is_hurdle)
    if not are_numbers.any():
        return None
    weights = scaled_weights(int(are_numbers.sum()), weights[are_numbers])
    numbers = column.nearest(values[are_numbers])
    kind = column.kind
    sample = Numbers(numbers, *interval, weights, column.in_units, kind.decimals, kind.step)
    widest = _widest_scale(column, numbers, interval.centre)
    least_gain = -np.inf if column.has_levels else LEAST_GAIN
    return fit_scores(sample, _least_scale(interval.half_width), widest, least_gain)


def fitted_computed(data: Dataset, columns: Sequence[CellColumn]) -> list[Computed]:
    """The computed columns of a table.

    A relation that none of n training rows breaks is broken with probability ``1/(n + 1)``.
    """
    rows = data.train
    computed_columns = []
    for place in range(len(columns), len(data.columns)):
        column = _fitted_column(data, place)
        (marginal,) = fitted_marginals([column], rows[:, [place]], data.weights.train)
        computed = Computed(column, place, columns, marginal, 1.0)
        expected = computed.expected(rows)
        n_broken = int((expected.known & ~computed.holds(rows, expected)).sum())
        computed_columns.append(replace(computed, broken=(1 + n_broken) / (1 + len(rows))))
    return computed_columns


def layout_of(
    columns: Sequence[CellColumn],
    n_given: int,
    components: int,
    width: int,
    frequencies: Sequence[float] = (),
    knots: Sequence[float] = (),
) -> Layout:
    """Layout of a network of columns, the first ``n_given`` given."""
    outcomes = tuple(column.outcomes for column in columns)
    cycles = tuple(column.n_cycles for column in columns)
    return Layout(outcomes, n_given, components, width, cycles, tuple(frequencies), tuple(knots))


def fitted_marginals(
    columns: Sequence[CellColumn], rows: np.ndarray, weights: np.ndarray | None
) -> list[Marginal]:
    """Marginals of columns, by their training rows ``(n, C)`` with weights ``(n,)``: of numbers
    with normal scores N(0, 1), else a mixture.
    """
    marginals = []
    for column, values in zip(columns, rows.T):
        outcomes = column.outcomes
        codes, interval, *_ = with_both_ends(column, values)
        if column.normal_scores:
            log_shares = fit_marginal(outcomes, codes, weights=weights).log_shares
            log_shares = with_atoms_in_numbers(column, log_shares, ATOM_PART)
            marginals.append(Marginal(outcomes, log_shares, STANDARD))
            continue
        widest = None
        if column.has_numbers:
            are_numbers = outcomes.have_numbers(codes)
            widest = _widest_scale(column, values[are_numbers], interval.centre[are_numbers])
        marginals.append(
            fit_marginal(outcomes, codes, *interval, weights, column.least_scale, widest)
        )
    return marginals


def with_both_ends(column: CellColumn, values: np.ndarray) -> Cells:
    """Encode values ``(n,)`` of a column, with one-sided intervals made symmetric about the
    value.
    """
    cells = column.encode(values)
    is_one_sided = np.isinf(cells.interval.half_width)
    if not is_one_sided.any():
        return cells
    middle, log_slope = column.in_interval_units(
        np.where(is_one_sided, values, values[is_one_sided][0])
    )
    half = np.abs(cells.interval.centre - middle)
    by_slope = 0.5 * column.step * np.exp(log_slope)  # where rounding leaves no difference
    half = np.where(half > 0, half, by_slope)
    half = np.where(is_one_sided, half, cells.interval.half_width)
    centre = np.where(is_one_sided, middle, cells.interval.centre)
    return cells._replace(interval=Interval(centre, half))


def _widest_scale(column: CellColumn, numbers: np.ndarray, centre: np.ndarray) -> float | None:
    """Scale of a normal in column units that has 95 % within ten ranges of the numbers ``(n,)``, in
    table units; ``centre`` are the middles of their intervals.

    Ten ranges in the column's units can lie beyond all numbers.
    """
    if not len(numbers):
        return None
    low = numbers.min()
    high = numbers.max()
    middle = np.median(numbers)
    span = BROAD_RANGES * (high - low + column.step)
    units, log_slopes = column.in_units(np.array([low, high, middle - span, middle + span]))
    distances = np.abs(units - np.median(centre))
    reach = float(distances[:2].max())
    finite_distances = distances[2:][np.isfinite(log_slopes[2:])]
    far_reach = float(finite_distances.min(initial=np.inf))
    if np.isfinite(far_reach):
        reach = max(reach, far_reach)
    return max(reach / 2, column.least_scale)  # of one value whose step is narrower than a float
