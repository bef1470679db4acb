"""How good a density is by its mass, and by points that the user has."""

import math
from typing import Any

import numpy as np

from nflow_cli.data.points import gaussian_log_prob
from nflow_cli.data.table_rows import TableRows
from nflow_cli.densities.pushforward import FlowDensity
from nflow_cli.densities.rows import RowDensity
from nflow_cli.evaluation.mass import mass
from nflow_cli.evaluation.normality import worst_normality

MASS_SAMPLES = 50_000


def mass_of(density: FlowDensity, seed: int) -> tuple[float, float]:
    """Return ``∫q`` and its error, by :func:`~nflow_cli.evaluation.mass.mass`.

    Both are NaN where a sample is nowhere. The cells follow the samples that ``seed`` gives.
    """
    samples = density.sample(MASS_SAMPLES, seed)
    if not np.isfinite(samples).all():
        return math.nan, math.nan
    return mass(density.log_prob, samples.astype(np.float64))


def likelihood(density: FlowDensity, points: np.ndarray) -> dict[str, Any]:
    """Judge ``q`` by points ``(n, D)`` drawn elsewhere.

    Returns:
        ``log_likelihood``: the mean ``log q`` in nats, ``-inf`` where ``q`` is 0 at a point;
        ``log_likelihood_inside``: the mean over the points where ``q > 0`` (``None`` where there
        are none), with its ``log_likelihood_standard_error`` (``None`` for fewer than 2) and
        their number, ``n_effective``; ``n``, and how many points lie ``outside``, where ``q`` is 0.
    """
    log_q = density.log_prob(points).astype(np.float64)
    inside = log_q[log_q != -math.inf]
    n = len(inside)
    return {
        "log_likelihood": float(log_q.mean()),
        "log_likelihood_inside": float(inside.mean()) if n else None,
        "log_likelihood_standard_error": (
            float(inside.std(ddof=1) / math.sqrt(n)) if n > 1 else None
        ),
        "n_effective": n,
        "n": len(log_q),
        "outside": len(log_q) - n,
    }


def table_scores(density: FlowDensity, data: TableRows) -> dict[str, Any]:
    """Judge ``q`` by the test rows, beside the Gaussian of the training rows.

    Returns:
        ``log_likelihood``, ``gaussian_log_likelihood``, and ``base_log_likelihood`` of the base
        without a flow: means in nats per test row, with the ``*_standard_error`` of each, ``-inf``
        and NaN where a test row is beyond all densities; ``gain``: the mean of ``log q`` less that
        of the Gaussian, paired, with its ``gain_standard_error``; ``n_effective``, how many rows of
        equal weight they are means of; ``normality`` of the latents of the test rows, as
        :func:`~nflow_cli.evaluation.normality.worst_normality` says it; what :func:`of_members`
        does; and the names of the ``columns``.
    """
    log_q, gaussian = (
        density.log_prob(data.test),
        gaussian_log_prob(data.train, data.test, data.units),
    )
    return {
        **_mean("log_likelihood", log_q),
        **_mean("gaussian_log_likelihood", gaussian),
        **_mean("base_log_likelihood", density.base_log_prob(data.test)),
        **_mean("gain", log_q - gaussian),
        "n_effective": len(data.test),
        **worst_normality(density.member_latents(data.test), data.columns)[0],
        **of_members(density.member_log_probs(data.test)),
        "columns": list(data.columns),
    }


def log_q_of_rows(density: FlowDensity | RowDensity, data: TableRows) -> dict[str, np.ndarray]:
    """Return ``test_log_q`` in nats of each test row ``(n,)``, and ``test_weights`` if they differ.

    By these, two fits are compared row by row.
    """
    arrays = {"test_log_q": density.log_prob(data.test).astype(np.float64)}
    return arrays if data.weights.test is None else {**arrays, "test_weights": data.weights.test}


def of_members(log_q: np.ndarray, weights: np.ndarray | None = None) -> dict[str, Any]:
    """Return how good each member is of a mixture, by log-densities ``(R, n)``; of one, nothing.

    Returns:
        ``member_log_likelihoods``: the mean of each in nats; and ``member_spread``: the mean over
        the rows of the standard deviation of ``log q_r`` over members, in nats.
    """
    if len(log_q) == 1:
        return {}
    spread = log_q.std(axis=0, ddof=1)
    return {
        "member_log_likelihoods": np.average(log_q, axis=1, weights=weights).tolist(),
        "member_spread": float(np.average(spread, weights=weights)),
    }


def _mean(name: str, values: np.ndarray) -> dict[str, float]:
    """Return the mean of values ``(n,)`` and its standard error, by name."""
    with np.errstate(invalid="ignore"):  # of infinities
        error = values.std(ddof=1) / math.sqrt(len(values))
        return {name: float(values.mean()), f"{name}_standard_error": float(error)}
