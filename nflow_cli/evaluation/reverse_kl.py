"""Scores of a fit to a log-density by draws: KL, log Z, moments, k-hat, missed mass, rounding."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from keras import ops
from numpy.linalg import norm

from nflow_cli.data.units import IDENTITY, ColumnUnits
from nflow_cli.densities.bases import Base, Cauchy, CauchyRadius
from nflow_cli.densities.log_density import LogDensity
from nflow_cli.densities.pushforward import Draw, PushforwardDensity, mixture, values_at
from nflow_cli.densities.targets import Target
from nflow_cli.errors import ConfigError, TargetError
from nflow_cli.evaluation.association import most_dependent
from nflow_cli.evaluation.importance import Draws, Weights, log_ratio, scaled, smoothed
from nflow_cli.evaluation.missed_mass import Missed, missed_mass
from nflow_cli.evaluation.tallies import Moments
from nflow_cli.evaluation.warnings import EXACT_DRAWS, ROUGH, UNCOVERED_RATIO
from nflow_cli.flows.stack import FlowStack
from nflow_cli.random_streams import stream
from nflow_cli.runs.npz import SHOWN_COLUMNS, SHOWN_SAMPLES

RESAMPLED_FROM = 20  # samples per resampled point
EM_STEPS, LEAST_WEIGHT = 100, 1e-6  # of the weights of a mixture
LEAST_SAMPLES = 20_000  # of a mixture
PER_WIDE, MOMENTS = 9, 10_000  # samples of q for each of its wide neighbours; for its moments
MOST_NUMBERS = 10**8  # coordinates of the samples, which are kept
BY_Q = (  # log Z by the draws of q alone, and how far the estimate is from it
    *("q_log_z", "q_log_z_standard_error", "q_pareto_k"),
    *("log_z_difference", "log_z_difference_standard_error"),
)
MISSED_RATIO = 1_000  # p/q above which p is missed
BLOCK = 1_000_000  # points of a base that are scored at a time
POINTS = 1_000
BITS = 53  # of a float64 mantissa


def judge(
    log_q: np.ndarray, log_p: np.ndarray, *, log_z: float | None, covered: bool = False
) -> dict[str, Any]:
    """Scores of ``q`` by log-densities ``(n,)`` at its own draws, in nats.

    With ``w = p/q``: ``free_energy = E[-log w]``, and the effective sample size ``ess = (Σw)²/(n
    Σw²)``.

    ``kl = free_energy + log_z``, ``None`` if ``log_z`` is. Where ``q`` misses nothing of ``p``,
    ``E[w] = Z``: with the control variate ``w/Z - 1``, its coefficient by regression, the error is
    of second order in ``log w``. Missed mass would bias it by as much.

    Draws where ``log_p`` is not finite weigh nothing, and are left out of ``free_energy``.

    Args:
        log_q: ``log q``.
        log_p: ``log p``, up to a constant.
        log_z: Log of the mass of ``exp(log_p)``, if known.
        covered: Whether ``q`` misses nothing of ``p``.
    """
    ratios, finite = (log_q - log_p).astype(np.float64), np.isfinite(log_p)
    seen = ratios if finite.all() else ratios[finite | np.isnan(log_q)]
    ratios = ratios if finite.all() else np.where(finite, ratios, np.inf)
    shift, root = np.min(ratios), math.sqrt(len(ratios))
    with np.errstate(invalid="ignore", divide="ignore"):  # of infinities
        energy = np.mean(seen) if len(seen) else math.inf
        spread = np.std(seen, ddof=1) if len(seen) > 1 else math.nan
        w = np.exp(shift - ratios)  # the largest is 1
        first, second = np.mean(w), np.mean(w**2)
        shares = np.divide(w, first, out=w)
        ess, estimate = first**2 / second, np.log(first) - shift
        if covered and log_z is not None and ess < 1:
            slope = -np.mean((ratios - energy) * shares) / (1 / ess - 1)
            spread = np.std(ratios + slope * shares, ddof=1)
            energy -= slope * math.expm1(log_z - estimate)
    return {
        "kl": None if log_z is None else float(energy + log_z),
        "kl_standard_error": float(spread / root),
        "free_energy": float(energy),
        "ess": float(ess),
    }


class Part(NamedTuple):
    """``n`` samples of a density, by the stream of a ``purpose``."""

    source: PushforwardDensity
    n: int
    purpose: str


class Sample(NamedTuple):
    """Points ``(n, D)`` in the user's units, with their log-densities."""

    x: np.ndarray
    draws: Draws


class ScoredDraws(NamedTuple):
    """Scores of a fit by its samples ``x`` ``(n, D)``, and their importance weights."""

    scores: dict[str, Any]
    x: np.ndarray
    weights: Weights


def sample_size(n: int, density: PushforwardDensity) -> int:
    """Sample size for ``n`` evaluations of a member, as each of R evaluates each sample; of at most
    :data:`MOST_NUMBERS` numbers.
    """
    n = min(n, MOST_NUMBERS // density.dim)
    return n if density.members == 1 else max(n // density.members, min(n, LEAST_SAMPLES))


def score(
    density: PushforwardDensity,
    target: Target,
    units: ColumnUnits,
    names: Sequence[str],
    seed: int,
    n: int,
    starts: np.ndarray | None = None,
) -> ScoredDraws:
    """Score ``q`` by ``n`` fresh samples; keys as in docs/scores.md.

    ``target`` is ``p`` in the coordinates of the flows, up to a constant; ``units`` map them to the
    user's, with D ``names``; ``starts`` are as of :func:`missed_mass`. log Z and moments are by
    these and a ninth as many samples of a wider density. Standard errors are ``None`` if the k-hat
    of their terms is 0.7 or more.

    Where ``p`` has a sampler, missed mass is by :func:`coverage`, and the KL has a control
    variate if nothing is missed; else by a search.
    """
    x, draws = sample_of(density, target, units, seed, n)
    weights, alone = Weights(draws), Weights(draws.alone)
    draws = draws._replace(log_mix=draws.log_q)  # frees memory: only weights are by the mixture
    of_p = coverage(density, target, seed)
    if target.sample is None:
        missed = missed_mass(density, target, alone.log_z, alone.largest, seed, starts)
        place = None if missed.place is None else units.outside(missed.place[None])[0].tolist()
        of_p |= {
            "missed_share": missed.share,
            "missed_share_standard_error": missed.standard_error,
            "missed_mode": None if place is None else dict(zip(names, place)),
        }
    covered = target.log_z is not None and of_p["uncovered_share"] == 0
    each, errors, ks = moments(x, weights)
    errors = np.where(ks < ROUGH, errors, np.nan)
    is_known = weights.k < ROUGH
    scores = {
        **_energies(draws, weights, target.log_z, covered),
        **_log_zs(draws, weights, alone, target.log_z or 0.0),
        **of_p,
        **rounding(density, target, seed),
        "log_z": target.log_z,
        "log_z_source": target.log_z_source,
        "n_lost": int(np.sum(~np.isfinite(draws.log_p[draws.own]))),
        "moments": dict(zip(names, each.tolist())),
        "moments_standard_error": dict(zip(names, errors.tolist())) if is_known else None,
        "moments_pareto_k": dict(zip(names, ks.tolist())),
    }
    return ScoredDraws(scores, x, weights)


def _energies(draws: Draws, weights: Weights, log_z: float | None, covered: bool) -> dict[str, Any]:
    """Free energy, ESS and KL; where log Z is unknown, by its estimate."""
    log_q, _, log_p, _ = draws.alone
    known = None if log_z is None else 0.0
    scores = judge(log_q, log_p, log_z=known, covered=covered)
    gaps = np.where(np.isfinite(log_p), log_q - log_p, scores["free_energy"])
    terms = weights.within(_among(draws, gaps / len(gaps)))
    of_energy = scores["kl_standard_error"] if covered else float(norm(terms))
    kl, error = scores["kl"], of_energy
    if log_z is None:
        kl = scores["free_energy"] + weights.log_z
        of_z = math.hypot(norm(terms + weights.terms()), weights.unseen)
        error = of_z if weights.k < ROUGH else None
    return {
        "kl": kl,
        "kl_standard_error": error,
        "free_energy": scores["free_energy"] - (log_z or 0.0),
        "free_energy_standard_error": of_energy,
        "ess": scores["ess"],
    }


def _log_zs(draws: Draws, weights: Weights, alone: Weights, shift: float) -> dict[str, Any]:
    """Log Z, also by the draws of ``q`` alone, and the difference, if there are others."""
    terms, of_q = weights.terms(), weights.within(_among(draws, alone.plain))
    k, k_of_q = weights.k, alone.k
    scores = {
        "estimated_log_z": weights.log_z + shift,
        "log_z_standard_error": math.hypot(norm(terms), weights.unseen) if k < ROUGH else None,
        "pareto_k": k,
    }
    if draws.own.all():  # p fails at those of the wide neighbour
        return scores | dict.fromkeys(BY_Q)
    lacks = math.hypot(weights.unseen, alone.unseen)
    error_away = math.hypot(norm(terms - of_q), lacks) if max(k, k_of_q) < ROUGH else None
    away = weights.log_z - alone.log_z, error_away
    error = math.hypot(norm(of_q), alone.unseen) if k_of_q < ROUGH else None
    return scores | dict(zip(BY_Q, (alone.log_z + shift, error, k_of_q, *away)))


def _among(draws: Draws, of_q: np.ndarray) -> np.ndarray:
    """Terms ``(m,)`` of the draws of ``q`` among all ``(n,)``."""
    terms = np.zeros(len(draws.strata))
    terms[draws.own] = of_q
    return terms


def search_missed_modes(
    density: PushforwardDensity, target: Target, seed: int, n: int, starts: np.ndarray | None = None
) -> Missed:
    """Modes that a fit misses, by a search from ``n`` draws; see :func:`missed_mass`."""
    part = Part(density, sample_size(n, density), "missed-modes")
    _, draws = _sample([part], target, IDENTITY, seed, even=False)
    weights = Weights(draws)
    return missed_mass(density, target, weights.log_z, weights.largest, seed, starts)


def mixture_weights(density: PushforwardDensity, target: Target, seed: int, n: int) -> np.ndarray:
    """Weights ``(R,)`` of the mixture of a density's members that is nearest to ``p``.

    By EM, ``w_r ← E_p[w_r q_r / Σ_s w_s q_s]``, which lowers ``KL(p || q)`` at each step;
    expectations by Pareto-smoothed importance weights of draws, as many of each member.
    """
    count = density.members
    each = sample_size(n, density) // count
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


def sample_of(
    density: PushforwardDensity, target: Target, units: ColumnUnits, seed: int, n: int
) -> Sample:
    """``n`` samples of ``q`` and, unless ``p`` fails there, those of its wide neighbours; of a
    bounded base there are none, as log Z is that of the region where ``q`` is not 0.
    """
    parts = [Part(density, n, "evaluation")]
    if not density.base.bounded:
        parts += _neighbours(density, seed, n // PER_WIDE // 2)
    return _sample(parts, target, units, seed)


def _neighbours(density: PushforwardDensity, seed: int, n: int) -> Iterator[Part]:
    """Heavy tails through the flows, along each of their latents; and of the moments of ``q``, in
    all directions: either is light where the other is heavy.
    """
    yield Part(PushforwardDensity(Cauchy(), density.flow), n, "widened")
    rng, gaussian = stream(seed, "moments"), FlowStack(["planar"], 0, affine="full")
    x = next(density.draw(MOMENTS, lambda _: rng)).x.astype(np.float64)
    with suppress(np.linalg.LinAlgError, ConfigError):  # not finite, or in a plane
        gaussian.adapt(x.mean(axis=0), np.linalg.cholesky(np.atleast_2d(np.cov(x.T))))
        yield Part(PushforwardDensity(CauchyRadius(), gaussian), n, "around")


def _sample(
    parts: Sequence[Part], target: Target, units: ColumnUnits, seed: int, even: bool = True
) -> Sample:
    """Samples of all parts, or of the first if ``p`` fails at the others."""
    counts = np.array([part.n for part in parts])
    log_shares = np.log(counts / counts.sum())

    def drawn(number: int) -> Iterator[tuple[np.ndarray, ...]]:
        rng = stream(seed, parts[number].purpose)
        for points in parts[number].source.draw(parts[number].n, lambda _: rng, even=even):
            with np.errstate(all="ignore"):  # of a user's function, far away
                log_p = values_at(target.log_prob, points.x).astype(np.float64)
                heights = np.stack(_log_densities(parts, number, points), -1, dtype=float)
            log_mix = np.logaddexp.reduce(log_shares + heights, axis=1)
            strata = points.member if number == 0 else np.full(len(log_p), -number)
            x, log_q = units.outside(points.x), heights[:, 0].copy()
            yield x, log_q, log_mix, log_p, strata.astype(np.int16)

    blocks = [*drawn(0)]
    with suppress(TargetError):
        blocks += [block for number in range(1, len(parts)) for block in drawn(number)]
    x, log_q, log_mix, log_p, strata = _joined(blocks)
    is_mixed = len(log_p) > parts[0].n
    return Sample(x, Draws(log_q, log_mix if is_mixed else log_q, log_p, strata))


def _joined(blocks: list[tuple[np.ndarray, ...]]) -> list[np.ndarray]:
    """Arrays of all blocks, which are freed one after the other: draws may fill the memory."""
    parts = [[*arrays] for arrays in zip(*blocks)]
    blocks.clear()
    arrays = []
    while parts:
        arrays.append(np.concatenate(parts.pop(0)))
    return arrays


def _log_densities(parts: Sequence[Part], number: int, points: Draw) -> list[np.ndarray]:
    """Log-densities ``(m,)`` of all parts at points of one; through the flows by their latents."""
    density, x = parts[0].source, points.x
    if len(parts) == 1:
        return [density.log_prob(x) if points.log_q is None else points.log_q]
    if density.base.bounded:  # whose ratio to another base has no end
        return [part.source.log_prob(x) for part in parts]

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


def shown_samples(density: PushforwardDensity, units: ColumnUnits, seed: int) -> np.ndarray:
    """Plotted samples, in the user's units."""
    rng = stream(seed, "evaluation")
    return units.outside(next(density.draw(SHOWN_SAMPLES, lambda _: rng, even=True)).x)


def moments(x: np.ndarray, weights: Weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighted mean and standard deviation of each coordinate ``(n, D)``, their errors, and k-hat
    of their terms, ``(D, 2)`` each.

    With shares ``s``: ``m = Σ s x`` and ``sd² = Σ s (x - m)²``, with errors by the delta method:
    those of sums of ``w (x - m)`` and ``w ((x - m)² - sd²) / 2 sd``.
    """
    some, pairs, errors = weights.shares > 0, [], []
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for column in x.T:
            mean = weights.shares[some] @ column[some]
            off = column - mean
            off[~some] = 0.0
            spread = np.sqrt(weights.shares @ np.square(off))
            pairs.append((mean, spread))
            errors.append(weights.error(off))
            np.square(off, out=off)
            off -= spread**2
            off /= 2 * spread
            errors.append(weights.error(off))
    error, k = np.reshape(errors, (-1, 2, 2)).transpose(2, 0, 1)
    return np.array(pairs), error, k


def resampled(
    density: PushforwardDensity, target: Target, units: ColumnUnits, seed: int, n: int
) -> tuple[np.ndarray, Weights]:
    """``n`` points ``(n, D)`` by :func:`resample` in the user's units, and weights of the original
    samples.
    """
    x, draws = sample_of(density, target, units, seed, max(RESAMPLED_FROM * n, 1_000))
    weights = Weights(draws)
    return resample(x, weights, seed, n), weights


def resample(x: np.ndarray, weights: Weights, seed: int, n: int) -> np.ndarray:
    """Sampling-importance resampling: ``n`` of the points ``(m, D)``, in random order."""
    places = (np.arange(n) + stream(seed, "resampling").random(n)) / n
    total = np.cumsum(weights.shares)
    chosen = np.minimum(np.searchsorted(total, places * total[-1]), len(total) - 1)
    return x[stream(seed, "order").permutation(chosen)]


def arrays_of(
    density: PushforwardDensity, target: Target, units: ColumnUnits, seed: int, judged: ScoredDraws
) -> dict[str, np.ndarray]:
    """Arrays for the plots; ``rows`` are exact samples if available, else resampled."""
    if target.sample is not None:
        rows = target.sample(stream(seed, "target-samples"), SHOWN_SAMPLES)
    else:
        rows = resample(judged.x, judged.weights, seed, SHOWN_SAMPLES)
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


def base_energy(base: Base, target: Target, seed: int, n: int) -> dict[str, Any]:
    """Free energy of the base alone, by the ``n`` samples of it that give those of a fit."""
    z0 = base.sample(stream(seed, "evaluation"), (n, target.dim))
    blocks = np.array_split(z0, max(n // BLOCK, 1))
    energies = [values_at(base.log_prob, z) - values_at(target.log_prob, z) for z in blocks]
    energy = Moments.of(np.concatenate(energies))
    return {
        "base_free_energy": energy.mean - (target.log_z or 0.0),  # of exp(-U)
        "base_free_energy_standard_error": energy.standard_error,
    }


def coverage(density: PushforwardDensity, target: Target, seed: int) -> dict[str, Any]:
    """Shares of ``p`` that ``q`` hardly covers, by exact samples of ``p``: samples of ``q`` do not
    show a mode that none visits. ``None`` if ``p`` has no sampler.

    ``missed_share`` is ``∫ max(p - 1000 q, 0)``, the mean of ``max(1 - 1000 q/p, 0)``. A share
    ``s`` costs about ``-log(1 - s)`` nats of ``KL(q || p)`` or more. Where a bounded base makes
    ``q`` 0 nothing counts. ``uncovered_share`` is that of samples with ``q < p/100``, those too.
    """
    keys = ("missed_share", "missed_share_standard_error", "uncovered_share", "missed_mode")
    if target.sample is None:
        return dict.fromkeys(keys)
    x = target.sample(stream(seed, "missed"), EXACT_DRAWS)
    excess = values_at(target.log_prob, x) - density.log_prob(x).astype(np.float64)
    uncovered = float(np.mean(~(excess < math.log(UNCOVERED_RATIO))))
    if density.base.bounded:
        excess[np.isposinf(excess)] = -np.inf
    with np.errstate(over="ignore"):
        missed = Moments.of(np.maximum(1 - MISSED_RATIO * np.exp(-excess), 0))
    return dict(zip(keys, (missed.mean, missed.standard_error, uncovered, None)))


def step_of(values: np.ndarray) -> float:
    """Rounding step of log-density values, in nats; NaN if one is not finite.

    The median spacing of their type, or if larger the greatest power of 2 that divides all:
    ``(log p + 1e8) - 1e8`` in float32 has steps of 8, also when cast to float64.
    """
    if not np.isfinite(values).all():
        return math.nan
    step = float(np.median(np.spacing(np.abs(values))))
    different = np.unique(values.astype(np.float64))
    if len(different) == 1:  # the step is unknown
        return step
    mantissas, exponents = np.frexp(different[different != 0])
    whole = (mantissas * 2.0**BITS).astype(np.int64)
    common = np.ldexp((whole & -whole).astype(np.float64), exponents - BITS)
    return max(step, float(common.min()))


def own_values(target: Target) -> Callable[[Any], Any]:
    """``log p`` of points ``(..., D)``; of a user's function without the Jacobian."""
    if isinstance(target, LogDensity):
        return lambda z: target.values(target.outside(z)[0])
    return target.log_prob


def rounding(density: PushforwardDensity, target: Target, seed: int) -> dict[str, Any]:
    """Rounding error of ``log p`` at samples of ``q``; NaN if not finite.

    ``log_density_step`` in nats (:func:`step_of`); ``rounding_error``, the standard deviation in
    nats of the error by such steps and by moving each coordinate by one float: a step h has
    variance h²/12.
    """
    rng = stream(seed, "rounding")
    z = next(density.draw(POINTS, lambda _: rng)).x
    moved = z + np.spacing(z) * rng.choice(np.array([-1, 1], z.dtype), z.shape)
    with np.errstate(all="ignore"):  # of a user's function
        here, there = (values_at(target.log_prob, points) for points in (z, moved))
        step = step_of(values_at(own_values(target), z))
        noise = float(np.mean((there.astype(np.float64) - here) ** 2))
    return {"log_density_step": step, "rounding_error": float(np.sqrt((step**2 + noise) / 12))}
