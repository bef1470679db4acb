"""Arrays for the plots of a flow density fitted to a table."""

import numpy as np

from nflow_cli.data.dataset import Dataset
from nflow_cli.densities.pushforward import FlowDensity
from nflow_cli.evaluation.grids import grid_between
from nflow_cli.evaluation.motion import deformation_arrays
from nflow_cli.evaluation.normality import most_dependent
from nflow_cli.evaluation.scores import representative
from nflow_cli.random_streams import stream
from nflow_cli.runs.array_shapes import SHOWN_COLUMNS, SHOWN_SAMPLES, STRIP_GRID

SHOWN_GRID = 400
# Share of points outside a plot in each coordinate at each end; border.
OUTLIERS, BORDER = 0.001, 0.12
MEASURED = 20_000  # rows used for correlations
WIDER = 0.25  # extra window at each side, for the stages between base and points


def density_of_points(
    density: FlowDensity, data: Dataset, seed: int, keep_rows: bool = True
) -> dict[str, np.ndarray]:
    """Arrays for the plots of points in the plane, in the user's units; densities in nats per area.

    ``keep_rows``: with test points.
    """
    window = shown_window(data)
    grid = grid_between(window[0], window[1], SHOWN_GRID)
    wider = window + WIDER * np.array([[-1], [1]]) * np.ptp(window, axis=0)
    coarse = grid_between(wider[0], wider[1], STRIP_GRID)
    z0 = density.base.sample(stream(seed, "deformation"), (SHOWN_SAMPLES, density.dim))
    return {
        "axis_1": grid.first,
        "axis_2": grid.second,
        "log_q": density.log_prob(grid.points).reshape(grid.shape),
        "samples": density.sample(SHOWN_SAMPLES, seed),
        "test_points": shown_tests(data, seed)[: None if keep_rows else 0],
        **deformation_arrays(density, z0, coarse),
    }


def rows_and_draws(
    density: FlowDensity, data: Dataset, seed: int, keep_rows: bool
) -> dict[str, np.ndarray]:
    """Arrays for the plots of rows of any D, in the user's units, with samples at the given
    columns.

    ``keep_rows``: with test rows.
    """
    tests = representative(data.test, data.weights.test, seed)
    shown, g = tests[:SHOWN_SAMPLES], density.n_given
    kept = shown[: None if keep_rows else 0]
    if g:
        draws = density.sample(1, seed, np.resize(shown, (SHOWN_SAMPLES, tests.shape[1]))[:, :g])
    else:
        draws = density.sample(SHOWN_SAMPLES, seed)
    arrays = {
        "rows": kept[:, g:],
        "samples": draws[:, g:],
        "columns_shown": np.array(most_dependent(data.train[:MEASURED, g:], SHOWN_COLUMNS)),
    }
    if density.dim > 1 or g:
        return arrays
    low, high = shown_range(data)
    axis = np.linspace(low, high, SHOWN_GRID)
    return {**arrays, "axis_1": axis, "log_q": density.log_prob(axis[:, None])}


def shown_tests(data: Dataset, seed: int) -> np.ndarray:
    """Plotted test rows, of equal weight."""
    return representative(data.test, data.weights.test, seed)[:SHOWN_SAMPLES]


def shown_range(data: Dataset) -> tuple[float, float]:
    """Plotted range of one column: training rows without outliers."""
    low, high = np.quantile(data.train[:, 0], [OUTLIERS, 1 - OUTLIERS])
    margin = BORDER * (high - low)
    return float(low - margin), float(high + margin)


def shown_window(data: Dataset) -> np.ndarray:
    """Corners ``(2, 2)`` of the plot: training points without outliers."""
    low, high = np.quantile(data.train, [OUTLIERS, 1 - OUTLIERS], axis=0)
    middle, half = (low + high) / 2, (0.5 + BORDER) * np.maximum(high - low, data.train.std(axis=0))
    return np.stack([middle - half, middle + half])
