"""Parts of a density of cells fitted before training: columns, marginals, computed columns."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nflow_cli.data.dataset import Dataset
from nflow_cli.densities.cells.columns import CellColumn, Cells, Interval
from nflow_cli.densities.cells.computed import Computed
from nflow_cli.densities.cells.layout import Layout, Outcomes
from nflow_cli.densities.cells.marginal import STANDARD, Marginal, fit_marginal, scaled_weights
from nflow_cli.densities.cells.outliers import fit_outliers
from nflow_cli.densities.cells.scores import Numbers, Scores, fit_scores
from nflow_cli.densities.cells.start import fit_parents, in_numbers

LEAST_FLOOR = 1e-5  # least scale of a normal, in units in which the numbers are near 1
NARROW = 0.01  # quantile of half widths that bounds the scales
IN_ATOMS = 1e-9  # part of the shares of atoms that is no number
HURDLE = 0.1  # nats a row by which an earlier column predicts atoms, of a hurdle model
BROAD_RANGES = 10.0  # ranges of the numbers that hold 95 % of a broad normal


def fitted_columns(data: Dataset) -> list[CellColumn]:
    """The given and modelled columns of a table."""
    columns: list[CellColumn] = []
    for place in range(len(data.given) + len(data.modelled)):
        columns.append(_fitted(data, place, columns))
    return columns


def _fitted(data: Dataset, place: int, before: Sequence[CellColumn] = ()) -> CellColumn:
    """Column with the limits of its normals: least scale a quarter of a typical interval, ends
    those of the intervals.
    """
    name = data.columns[place]
    column = CellColumn(name, data.kinds[name].alone, tuple(data.units.get(name, ())))
    if not column.has_numbers:
        return column
    numbers = _within_bounds(column, data.train[:, place])
    column = replace(column, outliers=fit_outliers(numbers, column.step))
    if column.has_scores and place >= len(data.given):
        column = replace(column, is_hurdle=_is_hurdle(column, data, before))
        column = replace(column, scores=_scores(column, data, place))
    in_order = column.scores is not None and not column.is_hurdle
    _, (centre, half) = _numbers(column, data.train[:, place], with_atoms=in_order)
    floor = _floor(half)
    low, high = ((centre - half).min(), (centre + half).max()) if len(centre) else (0.0, 0.0)
    wide = max(4 * floor, 1e-2) if high - low < 4 * floor else 0.0
    return replace(column, floor=floor, low=float(low - wide), high=float(high + wide))


def _within_bounds(column: CellColumn, values: np.ndarray) -> np.ndarray:
    """Numbers among values ``(n,)``, without those beyond the bounds."""
    return values[column.outcomes.have_numbers(column.codes(values))]


def _is_hurdle(column: CellColumn, data: Dataset, before: Sequence[CellColumn]) -> bool:
    """Whether a hurdle model fits: an earlier column predicts which numbers are atoms, whose wide
    intervals would leak into the others, and better than one predicts their order, which outcomes
    do not have.
    """
    cells = [one.encode(values) for one, values in zip([*before, column], data.train.T)]
    known = np.flatnonzero(column.outcomes.have_numbers(cells[-1].codes))
    if not (column.first and before and len(known)):
        return False
    are_atoms = cells[-1].codes != column.number
    codes = np.stack([*(one.codes for one in cells[:-1]), are_atoms], axis=1)[known]
    outcomes = [*(one.outcomes for one in before), Outcomes(2)]
    weights = None if data.weights.train is None else data.weights.train[known]
    (parent,) = fit_parents(outcomes, codes, weights, len(before))
    by_class = parent.gain / len(known)
    return by_class > HURDLE and by_class > _gain_by_order([*before, column], cells)


def _gain_by_order(columns: Sequence[CellColumn], cells: Sequence[Cells]) -> float:
    """Nats a row that a normal regression on one of the other numbers gains of the last one."""
    have = [column.outcomes.have_numbers(cell.codes) for column, cell in zip(columns, cells)]
    gains = [0.0]
    for one, other in zip(cells[:-1], have[:-1]):
        both = other & have[-1]
        x, y = one.units[both], cells[-1].units[both]
        if both.any() and np.ptp(x) > 0 and np.ptp(y) > 0:
            gains.append(-np.log1p(-(min(abs(np.corrcoef(x, y)[0, 1]), 1 - 1e-9) ** 2)) / 2)
    return max(gains)


def _floor(half: np.ndarray) -> float:
    narrow = float(np.quantile(half, NARROW)) if len(half) else 1.0
    return max(LEAST_FLOOR, narrow / 2)


def _numbers(
    column: CellColumn, values: np.ndarray, with_atoms: bool = True
) -> tuple[np.ndarray, Interval]:
    """Which of values ``(n,)`` are numbers, and their intervals, symmetric."""
    cells = with_both_ends(column, values)
    some = column.outcomes.have_numbers(cells.codes) & (with_atoms | (cells.codes == column.number))
    return some, Interval(*(part[some] for part in cells.interval))


def _scores(column: CellColumn, data: Dataset, place: int) -> Scores | None:
    """Normal scores by all rows with a weight but the test part: validation compares gains over
    them alone.
    """
    values = np.concatenate([data.train[:, place], data.validation[:, place]])
    parts = [part for part in (data.weights.train, data.weights.validation) if part is not None]
    of_rows = np.concatenate(parts) if parts else np.ones(len(values))
    values, of_rows = values[of_rows > 0], of_rows[of_rows > 0]
    some, interval = _numbers(column, values, with_atoms=not column.is_hurdle)
    if not some.any():
        return None
    weights = scaled_weights(int(some.sum()), of_rows[some])
    numbers, kind = column.nearest(values[some]), column.kind
    of = Numbers(numbers, *interval, weights, column.in_units, kind.decimals, kind.step)
    return fit_scores(of, _floor(interval.half), _widest(column, numbers, interval.centre))


def fitted_computed(data: Dataset, columns: Sequence[CellColumn]) -> list[Computed]:
    """The computed columns of a table.

    A relation that none of n training rows breaks is broken with probability ``1/(n + 1)``.
    """
    found, rows = [], data.train
    for place in range(len(columns), len(data.columns)):
        column = _fitted(data, place)
        (marginal,) = fitted_marginals([column], rows[:, [place]], data.weights.train)
        one = Computed(column, place, columns, marginal, 1.0)
        expected = one.expected(rows)
        count = int((expected.known & ~one.holds(rows, expected)).sum())
        found.append(replace(one, broken=(1 + count) / (1 + len(rows))))
    return found


def layout_of(columns: Sequence[CellColumn], n_given: int, components: int, width: int) -> Layout:
    """Layout of a network of columns, the first ``n_given`` given."""
    outcomes = tuple(column.outcomes for column in columns)
    cycles = tuple(column.n_cycles for column in columns)
    return Layout(outcomes, n_given, components, width, cycles)


def fitted_marginals(
    columns: Sequence[CellColumn], rows: np.ndarray, weights: np.ndarray | None
) -> list[Marginal]:
    """Marginals of columns, by their training rows ``(n, C)``: N(0, 1) in normal scores."""
    marginals = []
    for column, values in zip(columns, rows.T):
        cells, widest = with_both_ends(column, values), None
        if column.has_numbers and not column.scores:
            some = column.outcomes.have_numbers(cells.codes)
            widest = _widest(column, values[some], cells.interval.centre[some])
        outcomes = column.outcomes
        if column.scores:
            shares = fit_marginal(outcomes, cells.codes, weights=weights).log_shares
            shares = in_numbers(column, shares, IN_ATOMS)
            marginals.append(Marginal(outcomes, shares, STANDARD))
        else:
            limits = column.floor, widest
            marginals.append(fit_marginal(outcomes, cells.codes, *cells.interval, weights, *limits))
    return marginals


def with_both_ends(column: CellColumn, values: np.ndarray) -> Cells:
    """Encode values ``(n,)``, one-sided intervals made symmetric."""
    cells = column.encode(values)
    has_one = np.isinf(cells.interval.half)
    if not has_one.any():
        return cells
    middle, log_slope = column.inside(np.where(has_one, values, values[has_one][0]))
    half = np.abs(cells.interval.centre - middle)
    by_slope = 0.5 * column.step * np.exp(log_slope)  # where rounding leaves no difference
    half = np.where(has_one, np.where(half > 0, half, by_slope), cells.interval.half)
    centre = np.where(has_one, middle, cells.interval.centre)
    return cells._replace(interval=Interval(centre, half))


def _widest(column: CellColumn, numbers: np.ndarray, centre: np.ndarray) -> float | None:
    """Scale of a normal with 95 % within ten ranges of the numbers, in table units.

    Ten ranges in the column's units can lie beyond all numbers.
    """
    if not len(numbers):
        return None
    low, high = numbers.min(), numbers.max()
    middle, far = np.median(numbers), BROAD_RANGES * (high - low + column.step)
    units, log_slopes = column.in_units(np.array([low, high, middle - far, middle + far]))
    away = np.abs(units - np.median(centre))
    is_value = np.isfinite(log_slopes)
    far_away = away[2:][is_value[2:]].min(initial=np.inf)
    near = float(away[:2].max())
    widest = (max(near, float(far_away)) if np.isfinite(far_away) else near) / 2
    return max(widest, column.floor)  # of one value whose step is narrower than a float
