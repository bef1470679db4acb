"""Robust fits: training without the oddest rows, for a table that may hold wrong ones.

As in FAST-MCD (Rousseeuw & Van Driessen 1999), in turn: regressions on the rows that are kept, and
the rows that are least odd by these. Regressions see what clean rows have in common, where a
network would learn the odd ones, too. In the end rows are left out that are both among the oddest
tenth and far from the others.

The columns by themselves are fitted with those odd rows, too, whose numbers no gap parts from the
kept ones: the tails of a column without them would be too short for rows that are not odd.
"""

import numpy as np

from nflow_cli.data.kinds.dataset import Dataset
from nflow_cli.data.points import Parts
from nflow_cli.evaluation.oddness import in_spreads
from nflow_cli.tables.cells import network
from nflow_cli.tables.cells.cells_density import CellDensity
from nflow_cli.tables.cells.fitting import (
    fitted_columns,
    fitted_computed,
    fitted_marginals,
    layout_of,
)
from nflow_cli.tables.cells.network_start import starting_weights
from nflow_cli.tables.row_oddness import row_measures

MOST_LEFT_OUT = 0.1  # share of the training rows
# Of each round: oddness of a row that is left out, in spreads of those that are kept. In the first
# ones a tenth is; then rows come back.
LEAST_SPREADS = (0.0, 0.0, 5.0)
GAP = 5.0  # mean excesses of a tail: by chance one exponential tail in a hundred has a wider one
COMPONENTS = 10  # normals about a regression
OF_REGRESSIONS = 0.9  # share of a cell beside its marginal


def without_odd_rows(data: Dataset) -> Dataset:
    """Data without the training and validation rows that are odd; its odd rows are known, those of
    the test, too.
    """
    rows = np.concatenate([data.train, data.validation, data.test])
    ends = np.cumsum([len(data.train), len(data.validation)])
    are_odd = np.zeros(len(rows), bool)
    are_far = are_odd
    for least in LEAST_SPREADS:
        train, *_ = np.split(are_odd, ends)
        density = _regressions(_without(data, are_far), _without(data, are_odd))
        measures = row_measures(density, rows).compared(True)
        odd = in_spreads(measures, measures[: ends[0]][~train])
        are_odd = odd > max(least, float(np.quantile(odd[: ends[0]], 1 - MOST_LEFT_OUT)))
        are_far = are_odd & _are_far(density, rows, ~are_odd)
    return _without(data, are_odd)


def note_of_odd_rows(data: Dataset) -> str:
    """Number of the rows that a robust fit leaves out, in words."""
    n_rows = data.n_left_out + len(data.train) + len(data.validation)
    return f"--robust: {data.n_left_out:,} of {n_rows:,} rows are odd, and left out of training"


def _without(data: Dataset, are_odd: np.ndarray) -> Dataset:
    """Data without odd rows, a mask of the rows of all parts ``(n,)``."""
    ends = np.cumsum([len(data.train), len(data.validation)])
    return data.without(Parts(*map(np.flatnonzero, np.split(are_odd, ends))))


def _are_far(density: CellDensity, rows: np.ndarray, are_kept: np.ndarray) -> np.ndarray:
    """Which rows ``(n,)`` have a number that a gap parts from the numbers of rows that are kept."""
    are_far = np.zeros(len(rows), bool)
    for column, values in zip(density.columns, rows.T):
        if not column.has_levels:
            units, log_slopes = column.in_units(values)
            known = np.flatnonzero(np.isfinite(units))
            steps = column.step * np.exp(log_slopes[known])
            are_far[known] |= _are_beyond_gap(units[known], steps, are_kept[known])
            are_far[known] |= _are_beyond_gap(-units[known], steps, are_kept[known])
    return are_far


def _are_beyond_gap(numbers: np.ndarray, steps: np.ndarray, are_kept: np.ndarray) -> np.ndarray:
    """Which numbers ``(n,)`` are above a gap above all that are kept.

    A gap is wider than ``GAP`` mean excesses of the outermost ``⌈√K⌉`` of the K distinct numbers
    below it, or steps.
    """
    distinct, first = np.unique(numbers, return_index=True)
    n_below = np.arange(1, len(distinct))
    n_outermost = np.ceil(np.sqrt(n_below)).astype(int)
    totals = np.append(0.0, np.cumsum(distinct))
    means = (totals[n_below] - totals[n_below - n_outermost]) / n_outermost
    excesses = means - distinct[np.maximum(n_below - n_outermost - 1, 0)]
    widest = GAP * np.maximum(excesses, steps[first][:-1])
    above_kept = distinct[:-1] >= numbers[are_kept].max(initial=-np.inf)
    gaps = np.flatnonzero((np.diff(distinct) > widest) & above_kept)
    return numbers > distinct[gaps[0]] if len(gaps) else np.zeros(len(numbers), bool)


def _regressions(of_columns: Dataset, data: Dataset) -> CellDensity:
    """Density of regressions of each column on those before it, fitted to the training rows of
    ``data``; the columns by themselves to those of ``of_columns``.
    """
    n_given = len(data.given_names)
    columns = fitted_columns(of_columns)
    modelled = of_columns.train[:, n_given:]
    marginals = fitted_marginals(columns[n_given:], modelled, of_columns.weights.train)
    layout = layout_of(columns, n_given, COMPONENTS, 1)
    start = starting_weights(layout, columns, data.train, data.weights.train)
    shapes = network.shapes(layout, 0)
    arrays = {name: start.of(name, np.zeros(shape)) for name, shape in shapes.items()}
    shares = np.full((2, len(marginals)), OF_REGRESSIONS)
    shares[-1] = 1 - OF_REGRESSIONS
    density = CellDensity(columns, layout, marginals, computed=fitted_computed(data, columns))
    return density.with_networks([network.masked_weights(layout, arrays)], shares)
