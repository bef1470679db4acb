"""Scores of a flow density by the rows of a table, and arrays of its pictures."""

from typing import Any

import numpy as np

from nflow_cli.data.dataset import Dataset
from nflow_cli.densities.linear_gaussian import LinearGaussian
from nflow_cli.densities.pushforward import FlowDensity
from nflow_cli.evaluation.association import most_dependent
from nflow_cli.evaluation.motion import deformation_arrays, grid_between
from nflow_cli.evaluation.normality import worst_normality
from nflow_cli.evaluation.tallies import Moments, effective
from nflow_cli.evaluation.truth import gap_to_the_truth
from nflow_cli.random_streams import stream
from nflow_cli.runs.npz import SHOWN_COLUMNS, SHOWN_SAMPLES, STRIP_GRID

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


def table_scores(
    density: FlowDensity, data: Dataset, seed: int, fresh: int | None = None
) -> dict[str, Any]:
    """Likelihood scores of ``q`` on the test rows, normality of latents, and the gap to the truth
    by samples of the seed ``fresh`` (``None``: the same); keys as in docs/scores.md.

    Means are weighted, in nats per row; ``-inf`` without an error if a test row is impossible.
    """
    test, weights, columns = data.test, data.weights.test, list(data.modelled)
    log_q = density.log_prob(test)
    gaussian = LinearGaussian(density, data.train, data.weights.train).log_prob(test)
    latents = density.member_latents(representative(test, weights, seed))
    of_q = Moments.of(log_q, weights)
    return {
        **of_q.scores("log_likelihood"),
        **Moments.of(gaussian, weights).scores("gaussian_log_likelihood"),
        **Moments.of(density.base_log_prob(test), weights).scores("base_log_likelihood"),
        **Moments.of(log_q - gaussian, weights).scores("gain"),
        "n_effective": of_q.n_effective,
        **worst_normality(latents, columns),
        **of_members(density.member_log_probs(test), weights),
        "columns": columns,
        "given": list(data.given),
        **gap_to_the_truth(density.log_prob, data.name, seed if fresh is None else fresh, columns),
    }


def representative(rows: np.ndarray, weights: np.ndarray | None, seed: int) -> np.ndarray:
    """Rows of equal weight: resampled to the effective sample size if weighted."""
    if weights is None:
        return rows
    n = max(1, int(effective(weights)))
    rng = stream(seed, "representative")
    return rows[rng.choice(len(rows), n, p=weights / weights.sum())]


def log_q_of_rows(density: FlowDensity, data: Dataset) -> dict[str, np.ndarray]:
    """``test_log_q`` ``(n,)`` in nats, and ``test_weights`` if unequal, for paired comparisons."""
    arrays = {"test_log_q": density.log_prob(data.test).astype(np.float64)}
    return arrays if data.weights.test is None else {**arrays, "test_weights": data.weights.test}


def of_members(log_q: np.ndarray, weights: np.ndarray | None = None) -> dict[str, Any]:
    """Mean log-likelihood in nats of each member, by ``log_q`` ``(R, n)``, and the mean standard
    deviation over members; empty for one member.
    """
    if len(log_q) == 1:
        return {}
    spread = log_q.std(axis=0, ddof=1)
    return {
        "member_log_likelihoods": np.average(log_q, axis=1, weights=weights).tolist(),
        "member_spread": float(np.average(spread, weights=weights)),
    }
