"""Parts of a density of cells fitted before training: columns, marginals, computed columns."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nflow_cli.data.dataset import Dataset
from nflow_cli.densities.cells.columns import CellColumn, Cells, Interval
from nflow_cli.densities.cells.computed import Computed
from nflow_cli.densities.cells.layout import Layout
from nflow_cli.densities.cells.marginal import Marginal, Support, fit_lattices, fit_marginal
from nflow_cli.densities.cells.network import PADDING, Parameters

LEAST_FLOOR = 1e-5  # least scale of a normal, in units in which the numbers are near 1
NARROW = 0.01  # quantile of half widths that bounds the scales
BROAD_RANGES = 10.0  # ranges of the numbers that hold 95 % of a broad normal


def fitted_columns(data: Dataset) -> list[CellColumn]:
    """The given and modelled columns of a table."""
    return [_fitted(data, i) for i in range(len(data.given) + len(data.modelled))]


def _fitted(data: Dataset, place: int) -> CellColumn:
    """Column with the limits of its normals: least scale a quarter of a typical interval, ends
    those of the intervals.
    """
    name = data.columns[place]
    column = CellColumn(name, data.kinds[name].alone, tuple(data.units.get(name, ())))
    if not column.has_numbers:
        return column
    cells = with_both_ends(column, data.train[:, place])
    centre, half = (part[column.are_numbers(cells.codes)] for part in cells.fine)
    narrow = float(np.quantile(half, NARROW)) if len(half) else 1.0
    floor = max(LEAST_FLOOR, narrow / 2)
    low, high = ((centre - half).min(), (centre + half).max()) if len(centre) else (0.0, 0.0)
    wide = max(4 * floor, 1e-2) if high - low < 4 * floor else 0.0
    return CellColumn(name, column.kind, column.maps, floor, float(low - wide), float(high + wide))


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
    return Layout(tuple(column.outcomes for column in columns), n_given, components, width)


def fitted_marginals(
    columns: Sequence[CellColumn], rows: np.ndarray, weights: np.ndarray | None
) -> list[Marginal]:
    """Marginal of each column, by training rows ``(n, C)``."""
    marginals = []
    for column, values in zip(columns, rows.T):
        cells = with_both_ends(column, values)
        widest = _widest(column, values, cells) if column.has_numbers else None
        support = support_of(column, widest)
        if column.n_lattices > 1:
            intervals = [cells.fine, *cells.coarse]
            marginals.append(fit_lattices(support, cells.codes, intervals, weights))
        else:
            marginals.append(fit_marginal(support, cells.codes, *cells.fine, weights))
    return marginals


def support_of(column: CellColumn, widest: float | None = None) -> Support:
    """Support of a column's marginal."""
    count, lattices = column.outcomes.count, column.outcomes.lattices
    return Support(count, column.number, column.new, column.floor, widest, lattices)


def with_both_ends(column: CellColumn, values: np.ndarray) -> Cells:
    """Encode values ``(n,)``, one-sided intervals made symmetric."""
    cells = column.encode(values)
    symmetric = []
    for interval in (cells.fine, *cells.coarse):
        has_one = np.isinf(interval.half)
        if has_one.any():
            middle, log_slope = column.inside(np.where(has_one, values, values[has_one][0]))
            half = np.abs(interval.centre - middle)
            by_slope = 0.5 * column.step * np.exp(log_slope)  # where rounding leaves no difference
            half = np.where(has_one, np.where(half > 0, half, by_slope), interval.half)
            interval = Interval(np.where(has_one, middle, interval.centre), half)
        symmetric.append(interval)
    return Cells(cells.codes, symmetric[0], tuple(symmetric[1:]))


def _widest(column: CellColumn, values: np.ndarray, cells: Cells) -> float | None:
    """Scale of a normal with 95 % within ten ranges of the numbers, in table units.

    Ten ranges in the column's units can lie beyond all numbers.
    """
    are_numbers = column.are_numbers(cells.codes)
    numbers = values[are_numbers]
    if not len(numbers):
        return None
    low, high = numbers.min(), numbers.max()
    middle, far = np.median(numbers), BROAD_RANGES * (high - low + column.step)
    units, log_slopes = column.inside(np.array([low, high, middle - far, middle + far]))
    away = np.abs(units - np.median(cells.fine.centre[are_numbers]))
    is_value = np.isfinite(log_slopes)
    far_away = away[2:][is_value[2:]].min(initial=np.inf)
    near = float(away[:2].max())
    widest = (max(near, float(far_away)) if np.isfinite(far_away) else near) / 2
    return max(widest, column.floor)  # of one value whose step is narrower than a float


def as_parameters(layout: Layout, marginals: Sequence[Marginal]) -> Parameters:
    """Marginals as parameters of one row, bank by bank."""
    shares = []
    for bank in layout.banks:
        padded = np.full((len(bank.modelled), bank.size, 1), PADDING)
        for c, i in enumerate(bank.modelled):
            padded[c, : layout.outcomes[i].count, 0] = marginals[i].log_shares
        shares.append(padded if bank.size > 1 else None)
    normals = [marginals[i].normals for i in layout.mixed]
    most = max((len(one.means) for one in normals), default=0)
    arrays = np.zeros((3, len(normals), most, 1))
    arrays[0], arrays[2] = PADDING, 1.0
    for n, one in enumerate(normals):
        arrays[:, n, : len(one.means), 0] = one.log_weights, one.means, one.scales
    return Parameters(shares, *arrays)
