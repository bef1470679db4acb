"""Evidence from draws of a posterior: the learned harmonic mean, and the bridge estimate.

``1/Z = E_p[q_T(x) / p̃(x)]`` for draws of ``p = p̃/Z`` and any density ``q_T`` whose tails are no
heavier than those of ``p`` (Gelfand & Dey 1994; with learned densities McEwen, Wallis, Price &
Spurio Mancini 2021, arXiv 2111.12720). ``q_T`` is a flow with its latents shrunk: the base is
``N(0, T I)``, ``T <= 1``.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nflow_cli.evaluation.importance import pareto_k, smoothed, tail_length
from nflow_cli.inference.evidence.chains import effective_draws

BRIDGE_STEPS = 1_000  # of the iteration, at most
CLOSE = 1e-10  # nats of its last step
TEMPERATURES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6)
LIGHT = 0.1  # k-hat of a tail that is no reason for a lower temperature


class HeldOutDraws(NamedTuple):
    """Draws of some chains by a density that was fitted to the others.

    Attributes:
        log_q: ``(n,)`` in nats.
        squared: Squared norm of the latents ``(n,)``.
        log_p: Unnormalised log-density ``(n,)`` in nats.
        dim: D.
    """

    log_q: np.ndarray
    squared: np.ndarray
    log_p: np.ndarray
    dim: int

    def log_ratios(self, temperature: float) -> np.ndarray:
        """``log q_T - log p̃`` ``(n,)`` in nats.

        ``log q_T = log q - D/2 log T + (1 - 1/T) |z|²/2`` at the latents ``z``.
        """
        shrunk = (1 - 1 / temperature) * self.squared / 2 - self.dim / 2 * math.log(temperature)
        return self.log_q + shrunk - self.log_p


def best_temperature(fold: HeldOutDraws) -> float:
    """Temperature of the least k-hat, at least 0.1, then of the least standard error of ``1/Z``.

    ``fold``: draws that judge nothing else.
    """

    def badness(temperature: float) -> tuple[float, float]:
        log_ratios = fold.log_ratios(temperature)
        ratios = np.exp(log_ratios - log_ratios.max())
        return max(pareto_k(-log_ratios), LIGHT), float(ratios.std() / ratios.mean())

    return min(TEMPERATURES, key=badness)


class Estimate(NamedTuple):
    """Estimate of log Z in nats.

    Attributes:
        log_z: By all draws.
        within: Standard error by batch means within chains.
        between: Standard error between the chains.
        k: k-hat of the ratios.
        by_chain: log Z of each chain.
        effective: Effective sample size of the mean ratio.
        tail: Raw log-ratios of the tail, ordered, relative to the largest.
        smooth_tail: Smoothed ones.
    """

    log_z: float
    within: float
    between: float
    k: float
    by_chain: list[float]
    effective: float
    tail: np.ndarray
    smooth_tail: np.ndarray

    @property
    def standard_error(self) -> float:
        """The larger of :attr:`within` and :attr:`between`."""
        return float(np.fmax(self.within, self.between))


def harmonic_mean(log_ratios: Sequence[np.ndarray]) -> Estimate:
    """``log Z = -log E_p[q_T/p̃]`` by the log-ratios ``(n,)`` of each chain.

    The ratios are Pareto-smoothed, the tail's length by their effective sample size. The standard
    error is that of the mean ratio, relative to it: the larger of that by batch means within chains
    and that between chains.
    """
    joined = np.concatenate(log_ratios)
    peak = float(joined.max())
    ends = np.cumsum([len(part) for part in log_ratios])[:-1]
    raw = [np.exp(part - peak) for part in log_ratios]
    effective = float(np.fmin(effective_draws(raw), len(joined)))
    autocorrelation_time = len(joined) / effective
    tail = smoothed(joined, tail_length(len(joined), effective))
    ratios = np.exp(tail.log_weights - peak)
    average = float(ratios.mean())
    chains = [part / average for part in np.split(ratios, ends)]
    means = np.array([part.mean() for part in chains])
    return Estimate(
        log_z=-math.log(average) - peak,
        within=_batch_error(chains, autocorrelation_time),
        between=_between(chains, means),
        k=tail.k,
        by_chain=(-np.log(means * average) - peak).tolist(),
        effective=effective,
        tail=tail.tail,
        smooth_tail=tail.smooth_tail,
    )


def _batch_error(chains: Sequence[np.ndarray], autocorrelation_time: float) -> float:
    """Standard error of the mean by means of batches of two autocorrelation times or more."""
    batches = []
    for chain in chains:
        length = max(math.ceil(2 * autocorrelation_time), math.isqrt(len(chain)))
        count = max(len(chain) // length, 1)
        batches += [part.mean() for part in np.array_split(chain, count)]
    if len(batches) < 2:
        return math.nan
    return float(np.std(batches, ddof=1) / math.sqrt(len(batches)))


def _between(chains: Sequence[np.ndarray], means: np.ndarray) -> float:
    """Standard error of the mean by the means of chains, weighted by their lengths."""
    count = len(chains)
    if count < 2:
        return math.nan
    shares = np.array([len(chain) for chain in chains], float)
    shares /= shares.sum()
    squares = np.square(shares * (means - shares @ means)).sum()
    return float(math.sqrt(squares * count / (count - 1)))


class Bridge(NamedTuple):
    """Bridge estimate of log Z, and its standard error, in nats."""

    log_z: float
    standard_error: float


def bridge(log_ratios: Sequence[np.ndarray], sample_log_ratios: np.ndarray) -> Bridge:
    """``log Z`` by bridge sampling between draws of ``p`` and samples of ``q``.

    The fixed point of ``Z = E_q[p̃ h] / E_p[q h]``, ``h = 1/(s₁ p̃ + s₂ Z q)``, with the shares
    ``s`` of both sample sizes, that of the draws their effective one (Meng & Wong 1996, eq. 4.1).
    The standard error is by the delta method (Frühwirth-Schnatter 2004), that of draws as in
    :func:`harmonic_mean`. Samples without mass under ``p`` are ``-inf``.

    Args:
        log_ratios: ``log p̃ - log q`` ``(n,)`` at the draws of each chain, in nats.
        sample_log_ratios: The same ``(m,)`` at samples of ``q``.
    """
    joined = np.concatenate(log_ratios)
    effective = float(np.fmin(effective_draws(log_ratios), len(joined)))
    share = effective / (effective + len(sample_log_ratios))
    log_z = float(np.median(joined))

    def terms(values: np.ndarray) -> np.ndarray:
        return -np.logaddexp(math.log(share) + values - log_z, math.log1p(-share))

    for _ in range(BRIDGE_STEPS):
        numerator = log_mean(sample_log_ratios - log_z + terms(sample_log_ratios))
        step = numerator - log_mean(terms(joined))
        log_z += step
        if not abs(step) > CLOSE:
            break
    chains = [np.exp(terms(part)) for part in log_ratios]
    average = np.concatenate(chains).mean()
    chains = [part / average for part in chains]
    within = _batch_error(chains, len(joined) / effective)
    between = _between(chains, np.array([part.mean() for part in chains]))
    ratios = np.exp(sample_log_ratios - log_z + terms(sample_log_ratios))
    sample_error = ratios.std() / ratios.mean() / math.sqrt(len(ratios))
    return Bridge(log_z, float(math.hypot(np.fmax(within, between), sample_error)))


def log_mean(values: np.ndarray) -> float:
    """Log of the mean of ``exp(values)`` ``(n,)``."""
    return float(np.logaddexp.reduce(values) - math.log(len(values)))
