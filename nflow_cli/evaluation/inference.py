"""Importance-sampling diagnostics (PSIS k-hat, log Z, ESS, moments) for unnormalised targets."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from nflow_cli.data.units import Units
from nflow_cli.densities.bases import Widened
from nflow_cli.densities.pushforward import FlowDensity
from nflow_cli.densities.targets import Target
from nflow_cli.errors import TargetError
from nflow_cli.evaluation import reverse_kl
from nflow_cli.evaluation.importance import Smoothed, smoothed
from nflow_cli.evaluation.missed_mass import Missed, missed_mass
from nflow_cli.evaluation.normality import most_dependent
from nflow_cli.evaluation.rounding import rounding
from nflow_cli.evaluation.target import values_at
from nflow_cli.evaluation.weights_verdict import ROUGH
from nflow_cli.random_streams import stream
from nflow_cli.runs.array_shapes import SHOWN_COLUMNS, SHOWN_SAMPLES

RESAMPLED_FROM = 20  # samples per resampled point
EM_STEPS, LEAST_WEIGHT = 100, 1e-6  # of the weights of a mixture
LEAST_SAMPLES = 20_000  # of a mixture
OF_Q = ("kl", "kl_standard_error", "free_energy_standard_error", "ess")


class Judgement(NamedTuple):
    """Scores of a fit by its samples, and their smoothed weights."""

    scores: dict[str, Any]
    weights: Smoothed


def sample_size(n: int, members: int) -> int:
    """Sample size for ``n`` evaluations of a member: each of R evaluates each sample."""
    return n if members == 1 else max(n // members, min(n, LEAST_SAMPLES))


def judge(
    density: FlowDensity,
    target: Target,
    units: Units,
    names: Sequence[str],
    seed: int,
    n: int,
    starts: np.ndarray | None = None,
) -> Judgement:
    """Score ``q`` by ``n`` fresh samples; keys as in docs/scores.md.

    ``target`` is ``p`` in the coordinates of the flows, up to a constant; ``units`` map them to the
    user's, with D ``names``; ``starts`` are as of :func:`missed_mass`. Standard errors of log Z and
    moments are ``None`` if ``pareto_k`` is 0.7 or more.
    """
    log_q, log_p = _log_densities(density, target, stream(seed, "evaluation"), n)
    own = reverse_kl.judge(log_q, log_p, log_z=None if target.log_z is None else 0.0)
    log_weights, log_z = _log_weights(log_q, log_p), target.log_z or 0.0
    tail = smoothed(log_weights)
    estimate = _log_z("estimated_log_z", "log_z_standard_error", "pareto_k", tail, log_z)
    visited = estimate["estimated_log_z"] - log_z
    highest = float(log_weights.max()) - visited
    missed = missed_mass(density, target, visited, highest, seed, starts)
    place = None if missed.place is None else units.outside(missed.place[None])[0].tolist()
    each, errors = moments(density, units, seed, tail.log_weights)
    scores = {
        **{key: own[key] for key in OF_Q},
        "free_energy": own["free_energy"] - log_z,
        **estimate,
        **_widened_log_z(density, target, seed, n),
        "missed_share": missed.share,
        "missed_share_standard_error": missed.standard_error,
        "missed_mode": None if place is None else dict(zip(names, place)),
        **rounding(density, target, seed),
        "log_z": target.log_z,
        "log_z_source": target.log_z_source,
        "n_lost": int(np.sum(~np.isfinite(log_p))),
        "moments": dict(zip(names, each.tolist())),
        "moments_standard_error": dict(zip(names, errors.tolist())) if tail.k < ROUGH else None,
    }
    return Judgement(scores, tail)


def missed_by(
    density: FlowDensity, target: Target, seed: int, n: int, starts: np.ndarray | None = None
) -> Missed:
    """Modes that a fit misses, by a search from ``n`` draws; see :func:`missed_mass`."""
    n = sample_size(n, density.members)
    draws = _log_densities(density, target, stream(seed, "missed-modes"), n)
    log_weights = _log_weights(*draws)
    weights, highest = _scaled(smoothed(log_weights).log_weights)
    visited = float(math.log(weights.mean()) + highest)
    highest = float(log_weights.max()) - visited
    return missed_mass(density, target, visited, highest, seed, starts)


def mixture_weights(density: FlowDensity, target: Target, seed: int, n: int) -> np.ndarray:
    """Weights ``(R,)`` of the mixture of a density's members that is nearest to ``p``.

    By EM, ``w_r ← E_p[w_r q_r / Σ_s w_s q_s]``, which lowers ``KL(p || q)`` at each step;
    expectations by Pareto-smoothed importance weights of draws, as many of each member.
    """
    count = density.members
    each = sample_size(n, count) // count
    z0 = density.base.sample(stream(seed, "mixture"), (count, each, density.dim))
    x = ops.convert_to_numpy(density.push(ops.convert_to_tensor(z0))[0]).reshape(-1, density.dim)
    log_q = density.member_log_probs(x).astype(np.float64)
    with np.errstate(all="ignore"):  # of a user's function, far away
        log_p = values_at(target.log_prob, x).astype(np.float64)
        log_weights = log_p - np.logaddexp.reduce(log_q)
    log_weights[~np.isfinite(log_weights)] = -math.inf
    w, _ = _scaled(smoothed(log_weights).log_weights)
    relative = np.exp(log_q - log_q.max(axis=0))
    shares = np.full(count, 1 / count)
    for _ in range(EM_STEPS):
        joint = shares[:, None] * relative
        shares = np.maximum(joint / joint.sum(axis=0) @ w / w.sum(), LEAST_WEIGHT)
        shares /= shares.sum()
    return shares


def shown_samples(density: FlowDensity, units: Units, seed: int) -> np.ndarray:
    """Plotted samples, in the user's units."""
    return units.outside(next(_points(density, seed, SHOWN_SAMPLES))[1])


def _points(density: FlowDensity, seed: int, n: int) -> Iterator[tuple[int, np.ndarray]]:
    rng = stream(seed, "evaluation")
    return density.points(n, lambda _: rng)


def _log_densities(
    density: FlowDensity, target: Target, rng: np.random.Generator, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """``log q`` and ``log p`` ``(n,)`` at draws of ``q``."""
    log_q, log_p = np.empty(n), np.empty(n)
    for draw in density.draw(n, lambda _: rng):
        part = slice(draw.start, draw.start + len(draw.x))
        with np.errstate(all="ignore"):  # of a user's function, far away
            log_q[part], log_p[part] = draw.log_q, values_at(target.log_prob, draw.x)
    return log_q, log_p


def _log_weights(log_q: np.ndarray, log_p: np.ndarray) -> np.ndarray:
    """``log p/q``, -inf where ``log p`` is no number."""
    return np.where(np.isfinite(log_p) & np.isfinite(log_q), log_p - log_q, -math.inf)


def _log_z(name: str, error: str, k: str, weights: Smoothed, log_z: float) -> dict[str, Any]:
    w, highest = _scaled(weights.log_weights)
    average = w.mean()
    spread = w.std() / average / math.sqrt(len(w))
    return {
        name: float(math.log(average) + highest + log_z),
        error: float(spread) if weights.k < ROUGH else None,
        k: weights.k,
    }


def _widened_log_z(density: FlowDensity, target: Target, seed: int, n: int) -> dict[str, Any]:
    keys = ("widened_log_z", "widened_log_z_standard_error", "widened_pareto_k")
    wider = FlowDensity(Widened(density.base), density.flow)
    try:
        draws = _log_densities(wider, target, stream(seed, "widened"), n)
    except TargetError:
        return dict.fromkeys(keys)
    return _log_z(*keys, smoothed(_log_weights(*draws)), target.log_z or 0.0)


def _scaled(log_weights: np.ndarray) -> tuple[np.ndarray, float]:
    highest = float(log_weights.max())
    if not math.isfinite(highest):  # p is finite nowhere
        return np.full(len(log_weights), 1.0), -math.inf
    return np.exp(log_weights - highest), highest


def effective_share(log_weights: np.ndarray) -> float:
    """Effective sample size as a fraction, ``(Σw)² / (n Σw²)``."""
    w, _ = _scaled(log_weights)
    return float(w.sum() ** 2 / (w**2).sum() / len(w))


def moments(
    density: FlowDensity, units: Units, seed: int, log_weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean and standard deviation of each coordinate, and their errors, ``(D, 2)`` each.

    With weights ``w`` of sum 1: ``m = Σ w x`` and ``s² = Σ w (x - m)²``, with errors by the delta
    method ``√(Σ w² (x - m)²)`` and ``√(Σ w² ((x - m)² - s²)²) / 2s``, in the user's units.
    """
    w, _ = _scaled(log_weights)
    w = w / w.sum()
    center = shown_samples(density, units, seed).mean(
        axis=0, dtype=np.float64
    )  # avoids cancellation
    sums, squares = np.zeros((3, density.dim)), np.zeros((5, density.dim))  # of w and w², by power
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for start, x in _points(density, seed, len(w)):
            off = units.outside(x) - center
            part = w[start : start + len(off)]
            powers = [off**power for power in range(5)]
            sums += [part @ power for power in powers[:3]]
            squares += [part**2 @ power for power in powers]
        shift = sums[1]
        spread = np.sqrt(np.maximum(sums[2] - shift**2, 0.0))
        second, fourth = (
            sum(math.comb(n, i) * squares[i] * (-shift) ** (n - i) for i in range(n + 1))
            for n in (2, 4)
        )  # Σ w² (x - m)^n, by those of x - center
        off_spread = fourth - 2 * spread**2 * second + spread**4 * squares[0]
        errors = np.sqrt(np.maximum([second, off_spread / (2 * spread) ** 2], 0.0))
    return np.stack([center + shift, spread], axis=1), errors.T


def resampled(
    density: FlowDensity, target: Target, units: Units, seed: int, n: int
) -> tuple[np.ndarray, Smoothed]:
    """Sampling-importance resampling: ``n`` points ``(n, D)`` in the user's units, and weights of
    the original samples.
    """
    count = max(RESAMPLED_FROM * n, 1_000)
    draws = _log_densities(density, target, stream(seed, "evaluation"), count)
    weights = smoothed(_log_weights(*draws))
    w, _ = _scaled(weights.log_weights)
    places = (np.arange(n) + stream(seed, "resampling").random(n)) / n * w.sum()
    chosen = np.minimum(np.searchsorted(np.cumsum(w), places), count - 1)
    points = np.empty((n, density.dim))
    for start, x in _points(density, seed, count):
        here = (chosen >= start) & (chosen < start + len(x))
        points[here] = units.outside(x)[chosen[here] - start]
    return points[stream(seed, "order").permutation(n)], weights


def arrays_of(
    density: FlowDensity, target: Target, units: Units, seed: int, judged: Judgement
) -> dict[str, np.ndarray]:
    """Arrays for the plots; ``rows`` are exact samples if available, else resampled."""
    if target.sample is not None:
        rows = target.sample(stream(seed, "target-samples"), SHOWN_SAMPLES)
    else:
        rows, _ = resampled(density, target, units, seed, SHOWN_SAMPLES)
    return {
        "rows": rows,
        "samples": shown_samples(density, units, seed),
        "columns_shown": np.array(most_dependent(rows, SHOWN_COLUMNS)),
        "tail": judged.weights.tail,
        "smooth_tail": judged.weights.smooth_tail,
    }
