"""Scores of a flow density: mass, and likelihood of a table's rows."""

import math
from typing import Any

import numpy as np

from nflow_cli.data.dataset import Dataset
from nflow_cli.densities.linear_gaussian import LinearGaussian
from nflow_cli.densities.pushforward import FlowDensity
from nflow_cli.evaluation.mass import mass
from nflow_cli.evaluation.normality import worst_normality
from nflow_cli.evaluation.tallies import Moments, effective
from nflow_cli.evaluation.truth import gap_to_the_truth
from nflow_cli.random_streams import stream

MASS_SAMPLES = 50_000


def mass_of(density: FlowDensity, seed: int) -> tuple[float, float]:
    """``∫q`` and its error (:func:`~nflow_cli.evaluation.mass.mass`); NaN if a sample is not
    finite.
    """
    samples = density.sample(MASS_SAMPLES, seed)
    if not np.isfinite(samples).all():
        return math.nan, math.nan
    return mass(density.log_prob, samples.astype(np.float64))


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
