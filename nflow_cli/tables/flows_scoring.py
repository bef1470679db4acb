"""Density of flows of the rows of a table: loaded, its scores of rows, arrays of pictures."""

from collections.abc import Callable
from typing import Any

import numpy as np

from nflow_cli.data.kinds.dataset import Dataset
from nflow_cli.densities.pushforward import PushforwardDensity, mixture
from nflow_cli.densities.regression import LinearGaussian
from nflow_cli.evaluation.association import most_dependent
from nflow_cli.evaluation.motion import deformation_arrays, grid_between
from nflow_cli.evaluation.tallies import Moments, RowScores, effective, of_members
from nflow_cli.random_streams import stream
from nflow_cli.runs.npz import SHOWN_COLUMNS, SHOWN_SAMPLES, STRIP_GRID
from nflow_cli.tables.scores.pit import RADIUS, pit, pit_of_latents

SHOWN_GRID = 400
OUTLIERS = 0.001  # share of points outside a plot in each coordinate at each end
BORDER = 0.12  # of a plot, as a share of its width
MEASURED = 20_000  # rows used for correlations
WIDER = 0.25  # extra window at each side, for the stages between base and points


def row_scores(
    density: PushforwardDensity,
    rows: np.ndarray,
    seed: int,
    data: Dataset | None = None,
    advance: Callable[[int], None] | None = None,
) -> RowScores:
    """Scores of rows ``(n, G + D)``, each one cell.

    Of the test rows of ``data`` also by the Gaussian of its training rows, and with the PIT of the
    latents, of an ensemble those of the worst member.
    """
    members = density.member_log_probs(rows)
    log_q = mixture(members, density.member_weights)[:, None]
    if data is None:
        return RowScores(log_q, members.T)
    log_q = np.where(np.isnan(log_q), -np.inf, log_q)  # no fit, where no number is missing
    gaussian = LinearGaussian(density, data.train, data.weights.train).log_prob(rows)[:, None]
    names = [*data.modelled_names, RADIUS]
    worst = max(
        map(pit_of_latents, density.member_latents(rows)),
        key=lambda values: pit(values, names, data.weights.test).excess,
    )
    return RowScores(log_q, members.T, gaussian, pit=worst, pit_columns=names)


def further_scores(
    density: PushforwardDensity, data: Dataset, test_scores: RowScores, seed: int
) -> dict[str, Any]:
    """Log-likelihoods of the base without flows and of members."""
    weights = data.weights.test
    of_base = Moments.of(density.base_log_prob(data.test), weights)
    return {**of_base.scores("base_log_likelihood"), **of_members(test_scores.members, weights)}


def arrays(
    density: PushforwardDensity, data: Dataset, seed: int, keep_rows: bool
) -> dict[str, np.ndarray]:
    """Arrays of the plane, or of rows and draws."""
    is_in_the_plane = density.dim == 2 and not density.n_given and density.n_members == 1
    arrays_of = density_of_points if is_in_the_plane else rows_and_draws
    return arrays_of(density, data, seed, keep_rows)


def density_of_points(
    density: PushforwardDensity, data: Dataset, seed: int, keep_rows: bool = True
) -> dict[str, np.ndarray]:
    """Arrays for the plots of points in the plane, in the user's units; densities in nats per area.

    ``keep_rows``: with test points.
    """
    window = shown_window(data)
    grid = grid_between(window[0], window[1], SHOWN_GRID)
    wider = window + WIDER * np.array([[-1], [1]]) * np.ptp(window, axis=0)
    coarse = grid_between(wider[0], wider[1], STRIP_GRID)
    tests = representative(data.test, data.weights.test, seed)
    n_kept = SHOWN_SAMPLES if keep_rows else 0
    z0 = density.base.sample(stream(seed, "deformation"), (SHOWN_SAMPLES, density.dim))
    return {
        "axis_1": grid.first,
        "axis_2": grid.second,
        "log_q": density.log_prob(grid.points).reshape(grid.shape),
        "samples": density.sample(SHOWN_SAMPLES, seed),
        "test_points": tests[:n_kept],
        **deformation_arrays(density, z0, coarse),
    }


def rows_and_draws(
    density: PushforwardDensity, data: Dataset, seed: int, keep_rows: bool
) -> dict[str, np.ndarray]:
    """Arrays for the plots of rows of any D, in the user's units, with samples at the given
    columns.

    ``keep_rows``: with test rows.
    """
    tests = representative(data.test, data.weights.test, seed)
    shown = tests[:SHOWN_SAMPLES]
    kept = shown if keep_rows else shown[:0]
    g = density.n_given
    if g:
        conditions = np.resize(shown, (SHOWN_SAMPLES, tests.shape[1]))[:, :g]
        draws = density.sample(1, seed, conditions)
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


def shown_range(data: Dataset) -> tuple[float, float]:
    """Plotted range of one column: training rows without outliers."""
    low, high = np.quantile(data.train[:, 0], [OUTLIERS, 1 - OUTLIERS])
    margin = BORDER * (high - low)
    return float(low - margin), float(high + margin)


def shown_window(data: Dataset) -> np.ndarray:
    """Corners ``(2, 2)`` of the plot: training points without outliers."""
    low, high = np.quantile(data.train, [OUTLIERS, 1 - OUTLIERS], axis=0)
    middle = (low + high) / 2
    half = (0.5 + BORDER) * np.maximum(high - low, data.train.std(axis=0))
    return np.stack([middle - half, middle + half])


def representative(rows: np.ndarray, weights: np.ndarray | None, seed: int) -> np.ndarray:
    """Rows of equal weight: resampled to the effective sample size if weighted."""
    if weights is None:
        return rows
    n = max(1, int(effective(weights)))
    rng = stream(seed, "representative")
    return rows[rng.choice(len(rows), n, p=weights / weights.sum())]
