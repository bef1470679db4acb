"""Robust fits: training without the oddest rows, for a table that may hold wrong ones.

As in FAST-MCD (Rousseeuw & Van Driessen 1999), in turn: regressions on the rows that are kept, and
the rows that are least odd by these. Regressions see what clean rows have in common, where a
network would learn the odd ones, too. In the end rows are left out that are both among the oddest
tenth and far from the others.
"""

import numpy as np

from nflow_cli.data.dataset import Dataset
from nflow_cli.data.points import Parts
from nflow_cli.densities.cells import network
from nflow_cli.densities.cells.density import CellDensity
from nflow_cli.densities.cells.fitting import (
    fitted_columns,
    fitted_computed,
    fitted_marginals,
    layout_of,
)
from nflow_cli.densities.cells.start import starting_weights
from nflow_cli.evaluation.oddness import in_spreads
from nflow_cli.experiments.table.oddness import row_measures

MOST_LEFT_OUT = 0.1  # share of the training rows
# Of each round: oddness of a row that is left out, in spreads of those that are kept. In the first
# ones a tenth is; then rows come back, and with them the tails of columns.
LEAST_SPREADS = (0.0, 0.0, 5.0, 5.0, 5.0)
COMPONENTS = 10  # normals about a regression
OF_REGRESSIONS = 0.9  # share of a cell beside its marginal


def without_odd_rows(data: Dataset) -> Dataset:
    """Data without the training and validation rows that are odd; its odd rows are known, those of
    the test, too.
    """
    rows = np.concatenate([data.train, data.validation, data.test])
    ends = np.cumsum([len(data.train), len(data.validation)])
    are_odd = np.zeros(len(rows), bool)
    for least in LEAST_SPREADS:
        train, *_ = np.split(are_odd, ends)
        measures = row_measures(_regressions(_without(data, are_odd)), rows).compared(True)
        odd = in_spreads(measures, measures[: ends[0]][~train])
        are_odd = odd > max(least, float(np.quantile(odd[: ends[0]], 1 - MOST_LEFT_OUT)))
    return _without(data, are_odd)


def note_of_odd_rows(data: Dataset) -> str:
    """Number of the rows that a robust fit leaves out, in words."""
    n_rows = data.n_left_out + len(data.train) + len(data.validation)
    return f"--robust: {data.n_left_out:,} of {n_rows:,} rows are odd, and left out of training"


def _without(data: Dataset, are_odd: np.ndarray) -> Dataset:
    """Data without odd rows, a mask of the rows of all parts ``(n,)``."""
    ends = np.cumsum([len(data.train), len(data.validation)])
    return data.without(Parts(*map(np.flatnonzero, np.split(are_odd, ends))))


def _regressions(data: Dataset) -> CellDensity:
    """Density of regressions of each column on those before it, fitted to training rows."""
    n_given = len(data.given_names)
    columns = fitted_columns(data)
    weights = data.weights.train
    marginals = fitted_marginals(columns[n_given:], data.train[:, n_given:], weights)
    layout = layout_of(columns, n_given, COMPONENTS, 1)
    start = starting_weights(layout, columns, data.train, weights)
    shapes = network.shapes(layout, 0)
    arrays = {name: start.of(name, np.zeros(shape)) for name, shape in shapes.items()}
    shares = np.full((2, len(marginals)), OF_REGRESSIONS)
    shares[-1] = 1 - OF_REGRESSIONS
    density = CellDensity(columns, layout, marginals, computed=fitted_computed(data, columns))
    return density.with_networks([network.masked_weights(layout, arrays)], shares)
