"""The density fitted to points, in the user's units: its values on grids, and what is drawn."""

import numpy as np

from nflow_cli.data.table_rows import TableRows
from nflow_cli.densities.pushforward import FlowDensity
from nflow_cli.evaluation.grids import Grid
from nflow_cli.evaluation.normality import most_dependent, worst_normality
from nflow_cli.evaluation.target import strip_panels
from nflow_cli.random_streams import stream
from nflow_cli.runs.array_shapes import SHOWN_COLUMNS, SHOWN_SAMPLES, STRIP_GRID

SHOWN_GRID = 400
# Points that the pictures may leave out, in each coordinate at each end; and their border.
STRAYS, BORDER = 0.001, 0.12
MEASURED = 20_000  # rows that the dependence of columns is measured by
WIDER = 0.25  # of the window, at each side, for what lies between the base and the points


def density_of_points(
    density: FlowDensity, data: TableRows, seed: int, keep_rows: bool = True
) -> dict[str, np.ndarray]:
    """Return the arrays to plot of points in the plane; ``keep_rows``: test points among them.

    All arrays are in the user's units; densities are in nats per unit of area.
    """
    window = shown_window(data)
    grid = _grid(window, SHOWN_GRID)
    coarse = _grid(window + WIDER * np.array([[-1], [1]]) * np.ptp(window, axis=0), STRIP_GRID)
    panels = strip_panels(density.flow.length)
    log_density = density.partial_log_densities(dict.fromkeys(panels, coarse))
    return {
        "axis_1": grid.first,
        "axis_2": grid.second,
        "log_q": density.log_prob(grid[:]).reshape(grid.shape),
        "samples": density.sample(SHOWN_SAMPLES, seed),
        "test_points": data.test[: SHOWN_SAMPLES if keep_rows else 0],
        "deformation_k": np.array(panels),
        "log_deformation": np.stack([log_density[k].reshape(coarse.shape) for k in panels]),
        "deformation_axis_1": coarse.first,
        "deformation_axis_2": coarse.second,
        "deformation_samples": deformation_samples(density, panels, seed),
    }


def rows_and_draws(
    density: FlowDensity, data: TableRows, seed: int, keep_rows: bool
) -> dict[str, np.ndarray]:
    """Return the arrays to plot of rows of any D, in the user's units.

    Args:
        density: ``q``.
        data: What it was fitted to.
        seed: Fixes the draws.
        keep_rows: Whether there are test rows among them, and their latents, which give them away;
            of a mixture those of the member that is furthest from N(0, I).
    """
    tests = data.test[: SHOWN_SAMPLES if keep_rows else 0]
    _, worst = worst_normality(density.member_latents(data.test), data.columns)
    arrays = {
        "rows": tests,
        "samples": density.sample(SHOWN_SAMPLES, seed),
        "latents": density.member_latents(tests)[worst],
        "columns_shown": np.array(most_dependent(data.train[:MEASURED], SHOWN_COLUMNS)),
    }
    if density.dim > 1:
        return arrays
    low, high = shown_range(data)
    axis = np.linspace(low, high, SHOWN_GRID)
    return {**arrays, "axis_1": axis, "log_q": density.log_prob(axis[:, None])}


def shown_range(data: TableRows) -> tuple[float, float]:
    """Return what the picture of one column shows: all training rows but strays."""
    low, high = np.quantile(data.train[:, 0], [STRAYS, 1 - STRAYS])
    margin = BORDER * (high - low)
    return float(low - margin), float(high + margin)


def deformation_samples(density: FlowDensity, panels: list[int], seed: int) -> np.ndarray:
    """Draw from the density after the first k flows, for each k of ``panels``: ``(P, n, D)``."""
    z0 = density.base.sample(stream(seed, "deformation"), (SHOWN_SAMPLES, density.dim))
    return density.partial_samples(z0, panels)


def shown_window(data: TableRows) -> np.ndarray:
    """Return the corners ``(2, 2)`` of what the pictures show: all training points but strays."""
    low, high = np.quantile(data.train, [STRAYS, 1 - STRAYS], axis=0)
    middle, half = (low + high) / 2, (0.5 + BORDER) * np.maximum(high - low, data.train.std(axis=0))
    return np.stack([middle - half, middle + half])


def _grid(window: np.ndarray, n: int) -> Grid:
    first, second = np.linspace(window[0], window[1], n).T
    return Grid(first, second)
