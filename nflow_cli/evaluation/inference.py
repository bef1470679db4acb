"""Diagnostics of a fit to a log-density by draws: log Z, moments, k-hat, ESS, missed mass."""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from nflow_cli.data.units import Units
from nflow_cli.densities.bases import Cauchy, CauchyRadius
from nflow_cli.densities.pushforward import Draw, FlowDensity, mixture
from nflow_cli.densities.targets import Target
from nflow_cli.errors import ConfigError, TargetError
from nflow_cli.evaluation import reverse_kl
from nflow_cli.evaluation.defensive import Draws, Weights, log_ratio, scaled
from nflow_cli.evaluation.importance import smoothed, tail_length, tail_of, unseen
from nflow_cli.evaluation.missed_mass import Missed, missed_mass
from nflow_cli.evaluation.normality import most_dependent
from nflow_cli.evaluation.rounding import rounding
from nflow_cli.evaluation.target import values_at
from nflow_cli.evaluation.weights_verdict import ROUGH
from nflow_cli.flows import FlowStack
from nflow_cli.random_streams import stream
from nflow_cli.runs.array_shapes import SHOWN_COLUMNS, SHOWN_SAMPLES

RESAMPLED_FROM = 20  # samples per resampled point
EM_STEPS, LEAST_WEIGHT = 100, 1e-6  # of the weights of a mixture
LEAST_SAMPLES = 20_000  # of a mixture
PER_WIDE, MOMENTS = 9, 10_000  # samples of q for each of its wide neighbours; for its moments
BY_Q = (  # log Z by the draws of q alone, and how far the estimate is from it
    *("q_log_z", "q_log_z_standard_error", "q_pareto_k"),
    *("log_z_difference", "log_z_difference_standard_error"),
)


class Part(NamedTuple):
    """``n`` samples of a density, by the stream of a ``purpose``."""

    source: FlowDensity
    n: int
    purpose: str


class Sample(NamedTuple):
    """Samples of ``q`` and a ninth as many of its wide neighbours, drawn again when needed."""

    parts: Sequence[Part]
    seed: int
    draws: Draws

    def points(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Points ``(m, D)`` and their places."""
        return ((place, points.x) for _, place, points in _points(self.parts, self.seed))


class Judgement(NamedTuple):
    """Scores of a fit by its samples, and their importance weights."""

    scores: dict[str, Any]
    weights: Weights


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
    user's, with D ``names``; ``starts`` are as of :func:`missed_mass`. log Z and moments are by
    these and a ninth as many samples of a wider density. Standard errors are ``None`` if the k-hat
    of their terms is 0.7 or more.
    """
    sample = sample_of(density, target, seed, n)
    draws = sample.draws
    weights, alone = Weights(draws), Weights(draws.alone)
    missed = missed_mass(density, target, alone.log_z, alone.largest, seed, starts)
    place = None if missed.place is None else units.outside(missed.place[None])[0].tolist()
    each, errors, ks = moments(sample, units, weights)
    errors = np.where(ks < ROUGH, errors, np.nan)
    is_known = weights.k < ROUGH
    scores = {
        **_energies(draws, weights, target.log_z),
        **_log_zs(draws, weights, alone, target.log_z or 0.0),
        "missed_share": missed.share,
        "missed_share_standard_error": missed.standard_error,
        "missed_mode": None if place is None else dict(zip(names, place)),
        **rounding(density, target, seed),
        "log_z": target.log_z,
        "log_z_source": target.log_z_source,
        "n_lost": int(np.sum(~np.isfinite(draws.log_p[draws.own]))),
        "moments": dict(zip(names, each.tolist())),
        "moments_standard_error": dict(zip(names, errors.tolist())) if is_known else None,
        "moments_pareto_k": dict(zip(names, ks.tolist())),
    }
    return Judgement(scores, weights)


def _energies(draws: Draws, weights: Weights, log_z: float | None) -> dict[str, Any]:
    """Free energy, ESS and KL; where log Z is unknown, by its estimate."""
    log_q, _, log_p, _ = draws.alone
    scores = reverse_kl.judge(log_q, log_p, log_z=None if log_z is None else 0.0)
    gaps = np.where(np.isfinite(log_p), log_q - log_p, scores["free_energy"])
    terms = weights.within(_among(draws, gaps / len(gaps)))
    kl, error = scores["kl"], _norm(terms)
    if log_z is None:
        kl = scores["free_energy"] + weights.log_z
        of_z = math.hypot(_norm(terms + weights.terms), weights.unseen)
        error = of_z if weights.k < ROUGH else None
    return {
        "kl": kl,
        "kl_standard_error": error,
        "free_energy": scores["free_energy"] - (log_z or 0.0),
        "free_energy_standard_error": _norm(terms),
        "ess": scores["ess"],
    }


def _log_zs(draws: Draws, weights: Weights, alone: Weights, shift: float) -> dict[str, Any]:
    """Log Z, also by the draws of ``q`` alone, and the difference, if there are others."""
    terms, of_q = weights.terms, weights.within(_among(draws, alone.plain))
    k, k_of_q = weights.k, alone.k
    scores = {
        "estimated_log_z": weights.log_z + shift,
        "log_z_standard_error": math.hypot(_norm(terms), weights.unseen) if k < ROUGH else None,
        "pareto_k": k,
    }
    if draws.own.all():  # p fails at those of the wide neighbour
        return scores | dict.fromkeys(BY_Q)
    lacks = math.hypot(weights.unseen, alone.unseen)
    error_away = math.hypot(_norm(terms - of_q), lacks) if max(k, k_of_q) < ROUGH else None
    away = weights.log_z - alone.log_z, error_away
    error = math.hypot(_norm(of_q), alone.unseen) if k_of_q < ROUGH else None
    return scores | dict(zip(BY_Q, (alone.log_z + shift, error, k_of_q, *away)))


def _among(draws: Draws, of_q: np.ndarray) -> np.ndarray:
    """Terms ``(m,)`` of the draws of ``q`` among all ``(n,)``."""
    terms = np.zeros(len(draws.strata))
    terms[draws.own] = of_q
    return terms


def missed_by(
    density: FlowDensity, target: Target, seed: int, n: int, starts: np.ndarray | None = None
) -> Missed:
    """Modes that a fit misses, by a search from ``n`` draws; see :func:`missed_mass`."""
    n = sample_size(n, density.members)
    draws = _draws([Part(density, n, "missed-modes")], target, seed, even=False)
    log_weights = log_ratio(draws.log_p, draws.log_q)
    w, highest = scaled(smoothed(log_weights).log_weights)
    visited = math.log(w.mean()) + highest
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
    log_weights = log_ratio(log_p, np.logaddexp.reduce(log_q))
    w, _ = scaled(smoothed(log_weights).log_weights)
    relative = np.exp(log_q - log_q.max(axis=0))
    shares = np.full(count, 1 / count)
    for _ in range(EM_STEPS):
        joint = shares[:, None] * relative
        shares = np.maximum(joint / joint.sum(axis=0) @ w / w.sum(), LEAST_WEIGHT)
        shares /= shares.sum()
    return shares


def sample_of(density: FlowDensity, target: Target, seed: int, n: int) -> Sample:
    """``n`` samples of ``q`` and, unless ``p`` fails there, those of its wide neighbours."""
    parts = [Part(density, n, "evaluation"), *_neighbours(density, seed, n // PER_WIDE // 2)]
    try:
        return Sample(parts, seed, _draws(parts, target, seed))
    except TargetError:
        return Sample(parts[:1], seed, _draws(parts[:1], target, seed))


def _neighbours(density: FlowDensity, seed: int, n: int) -> Iterator[Part]:
    """Heavy tails through the flows, along each of their latents; and of the moments of ``q``, in
    all directions: either is light where the other is heavy.
    """
    yield Part(FlowDensity(Cauchy(), density.flow), n, "widened")
    rng, gaussian = stream(seed, "moments"), FlowStack(["planar"], 0, affine="full")
    x = next(density.points(MOMENTS, lambda _: rng)).x.astype(np.float64)
    with suppress(np.linalg.LinAlgError, ConfigError):  # not finite, or in a plane
        gaussian.adapt(x.mean(axis=0), np.linalg.cholesky(np.atleast_2d(np.cov(x.T))))
        yield Part(FlowDensity(CauchyRadius(), gaussian), n, "around")


def _draws(parts: Sequence[Part], target: Target, seed: int, even: bool = True) -> Draws:
    n = sum(part.n for part in parts)
    heights, log_p, strata = np.empty((len(parts), n)), np.empty(n), np.empty(n, int)
    for number, place, points in _points(parts, seed, even):
        with np.errstate(all="ignore"):  # of a user's function, far away
            heights[:, place] = _log_densities(parts, number, points)
            log_p[place] = values_at(target.log_prob, points.x)
        strata[place] = -number if number else points.member
    shares = np.log([part.n / n for part in parts])[:, None]
    log_mix = heights[0] if len(parts) == 1 else np.logaddexp.reduce(shares + heights)
    return Draws(heights[0], log_mix, log_p, strata)


def _points(
    parts: Sequence[Part], seed: int, even: bool = True
) -> Iterator[tuple[int, slice, Draw]]:
    """Points of all parts, with the numbers of these and their places."""
    before = 0
    for number, (source, n, purpose) in enumerate(parts):
        rng = stream(seed, purpose)
        for points in source.points(n, lambda _, rng=rng: rng, even=even):
            start = before + points.start
            yield number, slice(start, start + len(points.x)), points
        before += n


def _log_densities(parts: Sequence[Part], number: int, points: Draw) -> list[np.ndarray]:
    """Log-densities ``(m,)`` of all parts at points of one; through the flows by their latents."""
    density, x = parts[0].source, points.x
    if len(parts) == 1:
        return [density.log_prob(x) if points.log_q is None else points.log_q]

    def more(z0: np.ndarray) -> np.ndarray:  # by the other base
        flat = z0.reshape(-1, density.dim)
        base, wide = (values_at(part.source.base.log_prob, flat) for part in parts[:2])
        return (wide - base).reshape(z0.shape[:-1])

    if points.log_q is None or number > 1:
        log_q, gain = density.member_log_probs(x), more(density.member_latents(x))
    else:
        gain = more(points.z0[None])
        log_q = points.log_q - gain if number else points.log_q[None]
    found = [mixture(each, density.member_weights) for each in (log_q, log_q + gain)]
    return found + [part.source.log_prob(x) for part in parts[2:]]


def shown_samples(density: FlowDensity, units: Units, seed: int) -> np.ndarray:
    """Plotted samples, in the user's units."""
    (_, _, points), *_ = _points([Part(density, SHOWN_SAMPLES, "evaluation")], seed)
    return units.outside(points.x)


def moments(
    sample: Sample, units: Units, weights: Weights
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighted mean and standard deviation of each coordinate, their errors, and k-hat of their
    terms, ``(D, 2)`` each, in the user's units.

    With shares ``s``: ``m = Σ s x`` and ``sd² = Σ s (x - m)²``, with errors by the delta method:
    those of sums of ``w (x - m)`` and ``w ((x - m)² - sd²) / 2 sd``.
    """
    shares, control, plain = weights.shares, weights.control, weights.plain
    rough = shown_samples(sample.parts[0].source, units, sample.seed)
    center = rough.mean(axis=0, dtype=np.float64)  # avoids cancellation
    sums, count = np.zeros((2, len(center))), tail_length(len(shares)) + 1
    squares, products = np.zeros((2, 2 * len(center)))
    of_strata, largest = np.zeros((len(weights.counts), len(squares))), np.empty((0, len(squares)))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for place, x in sample.points():
            off = np.where(shares[place, None] > 0, units.outside(x) - center, 0.0)
            sums += shares[place] @ off, shares[place] @ off**2
        shift, spread = sums[0], np.sqrt(np.maximum(sums[1] - sums[0] ** 2, 0.0))
        for place, x in sample.points():
            off = np.where(shares[place, None] > 0, units.outside(x) - center - shift, 0.0)
            both = np.concatenate([off, (off**2 - spread**2) / (2 * spread)], axis=1)
            terms = plain[place, None] * both
            squares += np.sum(terms**2, axis=0)
            products += control[place] @ terms
            np.add.at(of_strata, weights.strata[place], terms)
            largest = np.concatenate([largest, np.abs(terms)])
            rest = max(len(largest) - count, 0)
            largest = np.partition(largest, rest, axis=0)[rest:]
        within = squares - np.sum(of_strata**2 / weights.counts[:, None], axis=0)
        errors = np.sqrt(np.maximum(within - products**2 / weights.square, 0.0))
        tails = np.log(np.sort(largest, axis=0) / largest.max(axis=0)).T
    fitted = [tail_of(tail) for tail in tails]
    ks = np.array([tail.k for tail in fitted])
    lacks = largest.max(axis=0) * [unseen(*each) for each in zip(fitted, tails)]
    errors = np.hypot(errors, lacks)
    pairs = np.stack([center + shift, spread], axis=1)
    return pairs, errors.reshape(2, -1).T, ks.reshape(2, -1).T


def resampled(
    density: FlowDensity, target: Target, units: Units, seed: int, n: int
) -> tuple[np.ndarray, Weights]:
    """Sampling-importance resampling: ``n`` points ``(n, D)`` in the user's units, and weights of
    the original samples.
    """
    sample = sample_of(density, target, seed, max(RESAMPLED_FROM * n, 1_000))
    weights = Weights(sample.draws)
    places = (np.arange(n) + stream(seed, "resampling").random(n)) / n
    total = np.cumsum(weights.shares)
    chosen = np.minimum(np.searchsorted(total, places * total[-1]), len(total) - 1)
    points = np.empty((n, density.dim))
    for place, x in sample.points():
        here = (chosen >= place.start) & (chosen < place.stop)
        points[here] = units.outside(x)[chosen[here] - place.start]
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
        "tail": judged.weights.tail.tail,
        "smooth_tail": judged.weights.tail.smooth_tail,
    }


def effective_share(weights: np.ndarray) -> float:
    """Effective sample size of weights of sum 1 as a fraction, ``1 / (n Σw²)``."""
    return float(1 / (weights @ weights) / len(weights))


def _norm(terms: np.ndarray) -> float:
    return math.sqrt(terms @ terms)
