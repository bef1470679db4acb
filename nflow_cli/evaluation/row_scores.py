"""How good the density of rows is that are more than modelled numbers, and what is drawn of it."""

from typing import Any

import numpy as np

from nflow_cli.data.dequantisation import NOISES
from nflow_cli.data.table_rows import TableRows
from nflow_cli.densities.linear_gaussian import LinearGaussian
from nflow_cli.densities.rows import RowDensity
from nflow_cli.evaluation.calibration import calibration, judged_rows, ranks
from nflow_cli.evaluation.conditions import spread_conditions
from nflow_cli.evaluation.normality import most_dependent, worst_normality
from nflow_cli.evaluation.scores import of_members
from nflow_cli.evaluation.table import MEASURED
from nflow_cli.evaluation.weighted import effective, weighted_mean
from nflow_cli.random_streams import stream
from nflow_cli.runs.array_shapes import SHOWN_COLUMNS, SHOWN_SAMPLES

DRAWS_AT_ONE = 1_000  # condition, that a picture shows


def row_scores(density: RowDensity, data: TableRows, seed: int) -> dict[str, Any]:
    """Judge ``q`` by the test rows, beside the linear regression of the training rows.

    Returns:
        What :func:`~nflow_cli.evaluation.scores.table_scores` does, where the Gaussian is the
        :class:`~nflow_cli.densities.linear_gaussian.LinearGaussian`, and all means are weighted;
        and the names of columns that are ``given``. A test row with a level that no training row
        has is left out, and counted as ``n_unknown``. Where columns are ``discrete``, all but the
        latents' is a lower bound, by so many ``noises`` a row.
    """
    test, weights = _known(density, data)
    log_q = density.log_prob(test)
    gaussian = LinearGaussian(density, data.train, data.weights.train).log_prob(test)
    return {
        **weighted_mean("log_likelihood", log_q, weights),
        **weighted_mean("gaussian_log_likelihood", gaussian, weights),
        **weighted_mean("base_log_likelihood", density.base_log_prob(test), weights),
        **weighted_mean("gain", log_q - gaussian, weights),
        "n_effective": len(test) if weights is None else effective(weights),
        **_normality(density, data, test, weights, seed)[0],
        **of_members(density.member_log_probs(test), weights),
        "columns": list(data.columns),
        "given": list(density.roles.given),
        "discrete": list(density.roles.steps),
        "noises": NOISES if density.is_discrete else None,
        "n_unknown": len(data.test) - len(test),
    }


def row_arrays(
    density: RowDensity, data: TableRows, seed: int, keep_rows: bool
) -> dict[str, np.ndarray]:
    """Return the arrays to plot of rows and of draws at what is given in them, in the user's units.

    Args:
        density: ``q``.
        data: What it was fitted to.
        seed: Fixes the draws.
        keep_rows: Whether there are test rows among them.
    """
    (test, weights), dim = _known(density, data), density.dim
    shown = _representative(test, weights, seed)[:SHOWN_SAMPLES]
    repeated = np.resize(shown, (SHOWN_SAMPLES, test.shape[1]))
    drawn = density.draw(repeated, lambda part: stream(seed, "samples", part))
    kept = shown if keep_rows else shown[:0]
    _, worst = _normality(density, data, test, weights, seed)
    return {
        "rows": kept[:, :dim],
        "samples": drawn[:, :dim],
        "latents": density.member_latents(kept)[worst],
        "columns_shown": np.array(most_dependent(data.train[:MEASURED, :dim], SHOWN_COLUMNS)),
        **(_conditions(density, kept, seed) if density.roles.given else {}),
    }


def _conditions(density: RowDensity, rows: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Return a few rows whose given values are far apart, and draws at these."""
    at = rows[spread_conditions(rows, density.roles)]
    repeated = np.repeat(at, DRAWS_AT_ONE, axis=0)
    drawn = density.draw(repeated, lambda part: stream(seed, "conditions", part))
    shape = (len(at), DRAWS_AT_ONE, density.dim)
    return {"condition_rows": at, "condition_draws": drawn[:, : density.dim].reshape(shape)}


def calibrated(
    density: RowDensity, data: TableRows, seed: int, keep_rows: bool = True
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Judge the spread of ``q`` by test rows and draws at what is given in them.

    Returns:
        What :func:`~nflow_cli.evaluation.calibration.calibration` does; unless ``keep_rows``, with
        the ends of bins, which are values of single rows, rounded to about a hundredth of the range
        of their column.
    """
    test, weights = _known(density, data)
    chosen = judged_rows(len(test), stream(seed, "judged-rows"))
    rows, rng, roles = test[chosen], stream(seed, "ties"), density.roles

    def draw(given: np.ndarray, call: int) -> np.ndarray:
        first = call * 10**6
        return density.draw(given, lambda part: stream(seed, "calibration", first + part))

    placed = ranks(rows, density.log_prob, draw, roles, rng)
    units = np.zeros(rows.shape[1])
    if not keep_rows:
        units[roles.places(roles.given_numbers)] = 1
        units = units * _round_hundredth(np.ptp(rows, axis=0))
    return calibration(placed, rows, roles, _some(weights, chosen), units)


def _round_hundredth(spread: np.ndarray) -> np.ndarray:
    """Return the powers of ten at or below a hundredth of what is above 0, else 0."""
    return np.where(spread > 0, 10.0 ** np.floor(np.log10(np.maximum(spread, 1e-300)) - 2), 0.0)


def _normality(
    density: RowDensity,
    data: TableRows,
    test: np.ndarray,
    weights: np.ndarray | None,
    seed: int,
) -> tuple[dict[str, Any], int]:
    rows = _representative(test, weights, seed)
    return worst_normality(density.member_latents(rows), data.columns)


def _known(density: RowDensity, data: TableRows) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the test rows whose levels are known, and their weights."""
    known = density.roles.are_known(data.test)
    return data.test[known], _some(data.weights.test, known)


def _some(weights: np.ndarray | None, chosen: np.ndarray) -> np.ndarray | None:
    return None if weights is None else weights[chosen]


def _representative(rows: np.ndarray, weights: np.ndarray | None, seed: int) -> np.ndarray:
    """Return rows of equal weight: as they are, or as many as weighted ones count for, drawn."""
    if weights is None:
        return rows
    n = max(1, int(effective(weights)))
    rng = stream(seed, "representative")
    return rows[rng.choice(len(rows), n, p=weights / weights.sum())]
