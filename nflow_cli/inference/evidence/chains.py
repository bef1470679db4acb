"""Convergence of Markov chains: split R-hat, and effective sample size.

Vehtari, Gelman, Simpson, Carpenter & Bürkner 2021 (arXiv 1903.08008).
"""

from collections.abc import Sequence

import numpy as np

from nflow_cli.arrays import ndtri
from nflow_cli.evaluation.two_samples import ranks

LEAST_DRAWS = 4  # of half a chain
RHAT = 1.01  # of long chains, above which they disagree (Vehtari et al.)
CHANCE = 0.01  # that the largest R-hat of chains that agree is above its limit


def split_halves(chains: Sequence[np.ndarray]) -> np.ndarray:
    """Halves ``(2 C, m)`` of chains ``(n,)``, each cut to the shortest."""
    m = min(map(len, chains)) // 2
    return np.stack([part for chain in chains for part in (chain[:m], chain[-m:])])


def split_rhat(chains: Sequence[np.ndarray]) -> float:
    """Rank-normalised split R-hat, of location and of scale: the larger.

    1 for chains that agree. ``chains``: one array ``(n,)`` each, or a single one, of which ArviZ
    has none. NaN if too short.
    """
    halves = split_halves(chains)
    if halves.shape[1] < LEAST_DRAWS:
        return np.nan
    folded = np.abs(halves - np.median(halves))
    return max(_rhat(_normal_scores(halves)), _rhat(_normal_scores(folded)))


def rhat_limit(chains: Sequence[np.ndarray], columns: int = 1) -> float:
    """Split R-hat above which chains disagree: seldom exceeded by chance in any of ``columns``.

    At least 1.01. The squared R-hat of ``C`` half chains of one distribution, of ``m`` draws each
    and ``e`` effective ones, is ``1 - 1/m + F/(e - 1)``, where ``F`` is chi-squared of ``C - 1``
    degrees of freedom by their number; its quantile is by Wilson & Hilferty (1931), for one column
    to 1 %, for ten too large by 4 % of one chain and 1 % of four. ``e`` is that within half chains:
    disagreement makes it no smaller.
    """
    halves = split_halves(chains)
    count, m = halves.shape
    covariance = _autocovariances(halves).mean(axis=0)
    if m < LEAST_DRAWS or not covariance[0] > 0:
        return RHAT
    lost = 0.0  # by each autocovariance, about the mean of its own half chain
    for _ in range(3):
        time = _autocorrelation_time(lost + (1 - lost) * covariance / covariance[0], count * m)
        lost = min(time / m, 0.5)
    spread = 2 / (9 * (count - 1))
    z = float(ndtri(np.float64(1 - CHANCE / (2 * columns)), np))  # of location and of scale
    quantile = (1 - spread + z * np.sqrt(spread)) ** 3
    return max(RHAT, float(np.sqrt(1 - 1 / m + quantile / max(m / time - 1, 1.0))))


def _normal_scores(x: np.ndarray) -> np.ndarray:
    """``Φ⁻¹`` of the ranks of all values among each other, ties shared."""
    n = x.size
    return ndtri((n * ranks(x.ravel(), x.ravel()) + 0.125) / (n + 0.25), np).reshape(x.shape)


def _rhat(halves: np.ndarray) -> float:
    """``√((n - 1)/n + B/(n W))`` of chains ``(C, n)``."""
    n = halves.shape[1]
    within = halves.var(axis=1, ddof=1).mean()
    between = halves.mean(axis=1).var(ddof=1)
    if within == 0:
        return 1.0 if between == 0 else np.inf
    return float(np.sqrt((n - 1) / n + between / within))


def effective_draws(chains: Sequence[np.ndarray]) -> float:
    """Effective sample size of the mean over chains ``(n,)``.

    ``C n / τ`` with the autocorrelation time ``τ``, by Geyer's initial monotone sequence, over
    split chains. ArviZ also adds the first autocorrelation of the pair that ends the sum, if it is
    positive, and leaves out the last lags of a sum that does not end.
    """
    halves = split_halves(chains)
    count, n = halves.shape
    if n < LEAST_DRAWS:
        return np.nan
    covariance = _autocovariances(halves)
    within = covariance[:, 0].mean() * n / (n - 1)
    variance = within * (n - 1) / n + halves.mean(axis=1).var(ddof=1)
    if not variance > 0:
        return np.nan
    rho = 1 - (within - covariance.mean(axis=0)) / variance
    return count * n / _autocorrelation_time(rho, count * n)


def _autocorrelation_time(rho: np.ndarray, total: int) -> float:
    """``1 + 2 Σ ρ_t`` of autocorrelations ``(n,)`` of ``total`` draws, up to the first pair of them
    that is negative, and no pair above its predecessor (Geyer 1992).
    """
    pairs = np.array([1.0, *rho[1 : len(rho) // 2 * 2]]).reshape(-1, 2).sum(axis=1)
    positive = int(np.argmax(pairs <= 0)) if (pairs <= 0).any() else len(pairs)
    time = -1 + 2 * float(np.minimum.accumulate(pairs[:positive]).sum())
    return max(time, 1 / np.log10(total))


def _autocovariances(chains: np.ndarray) -> np.ndarray:
    """Autocovariances ``(C, n)`` of chains ``(C, n)``, divided by ``n``, by FFT."""
    n = chains.shape[1]
    size = 2 ** int(np.ceil(np.log2(2 * n)))
    spectrum = np.fft.rfft(chains - chains.mean(axis=1, keepdims=True), size, axis=1)
    return np.fft.irfft(np.abs(spectrum) ** 2, size, axis=1)[:, :n] / n
