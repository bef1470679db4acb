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
from nflow_cli.densities.pushforward import Draw, PushforwardDensity, mixture, values_at
from nflow_cli.densities.target import Target
from nflow_cli.errors import ConfigError, TargetError
from nflow_cli.evaluation.association import most_dependent
from nflow_cli.evaluation.importance import Draws, Weights, log_ratio, scaled, smoothed
from nflow_cli.evaluation.tallies import Moments
from nflow_cli.evaluation.warnings import EXACT_DRAWS, ROUGH, UNCOVERED_RATIO
from nflow_cli.flows.stack import FlowStack
from nflow_cli.inference.log_density import LogDensity
from nflow_cli.inference.missed_mass import Missed, missed_mass
from nflow_cli.random_streams import stream
from nflow_cli.runs.npz import SHOWN_COLUMNS, SHOWN_SAMPLES

RESAMPLED_FROM = 20  # samples per resampled point
EM_STEPS = 100  # of the weights of a mixture
LEAST_WEIGHT = 1e-6  # of a member of it
LEAST_SAMPLES = 20_000  # of a mixture
DRAWS_PER_WIDE = 9  # of q, for each of its wide neighbours
MOMENT_DRAWS = 10_000  # of q, for its moments
MOST_NUMBERS = 10**8  # coordinates of the samples, which are kept
BY_Q = (  # log Z by the draws of q alone, and how far the estimate is from it
    "q_log_z",
    "q_log_z_standard_error",
    "q_pareto_k",
    "log_z_difference",
    "log_z_difference_standard_error",
)
MISSED_RATIO = 1_000  # p/q above which p is missed
BLOCK_POINTS = 1_000_000  # of a base, that are scored at a time
ROUNDING_POINTS = 1_000  # for the rounding error
MANTISSA_BITS = 53  # of a float64


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
    ratios = (log_q - log_p).astype(np.float64)
    possible_ratios = ratios
    is_possible = np.isfinite(log_p)
    if not is_possible.all():
        possible_ratios = ratios[is_possible | np.isnan(log_q)]  # NaN of q stays NaN
        ratios = np.where(is_possible, ratios, np.inf)
    least_ratio = np.min(ratios)
    with np.errstate(invalid="ignore", divide="ignore"):  # of infinities
        energy = np.mean(possible_ratios) if len(possible_ratios) else math.inf
        spread = np.std(possible_ratios, ddof=1) if len(possible_ratios) > 1 else math.nan
        w = np.exp(least_ratio - ratios)  # the largest is 1
        mean_w = np.mean(w)
        ess = mean_w**2 / np.mean(w**2)
        relative_w = np.divide(w, mean_w, out=w)
        if covered and log_z is not None and ess < 1:
            slope = -np.mean((ratios - energy) * relative_w) / (1 / ess - 1)
            spread = np.std(ratios + slope * relative_w, ddof=1)
            energy -= slope * math.expm1(log_z - (np.log(mean_w) - least_ratio))
    kl = None if log_z is None else float(energy + log_z)
    return {
        "kl": kl,
        "kl_standard_error": float(spread / math.sqrt(len(ratios))),
        "free_energy": float(energy),
        "ess": float(ess),
    }


class Component(NamedTuple):
    """Density of a sampled mixture, with its number of draws and the name of their stream."""

    density: PushforwardDensity
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
    """Number of samples for ``n`` evaluations of each member of a density.

    Each of R members evaluates each sample. The coordinates of all samples are at most
    :data:`MOST_NUMBERS`.
    """
    n = min(n, MOST_NUMBERS // density.dim)
    if density.n_members == 1:
        return n
    return max(n // density.n_members, min(n, LEAST_SAMPLES))


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
    weights = Weights(draws)
    q_weights = Weights(draws.without_wide)
    draws = draws._replace(log_mix=draws.log_q)  # frees memory: only weights are by the mixture
    missed_scores = coverage(density, target, seed)
    if target.sample is None:
        missed = missed_mass(density, target, q_weights.log_z, q_weights.largest, seed, starts)
        mode = None
        if missed.place is not None:
            mode = dict(zip(names, units.outside(missed.place[None])[0].tolist()))
        missed_scores |= {
            "missed_share": missed.share,
            "missed_share_standard_error": missed.standard_error,
            "missed_mode": mode,
        }
    covered = target.log_z is not None and missed_scores["uncovered_share"] == 0
    pairs, errors, ks = moments(x, weights)
    moment_errors = None
    if weights.k < ROUGH:
        moment_errors = dict(zip(names, np.where(ks < ROUGH, errors, np.nan).tolist()))
    scores = {
        **_energies(draws, weights, target.log_z, covered),
        **_log_zs(draws, weights, q_weights, target.log_z or 0.0),
        **missed_scores,
        **rounding(density, target, seed),
        "log_z": target.log_z,
        "log_z_source": target.log_z_source,
        "n_lost": int(np.sum(~np.isfinite(draws.log_p[draws.is_of_q]))),
        "moments": dict(zip(names, pairs.tolist())),
        "moments_standard_error": moment_errors,
        "moments_pareto_k": dict(zip(names, ks.tolist())),
    }
    return ScoredDraws(scores, x, weights)


def _energies(draws: Draws, weights: Weights, log_z: float | None, covered: bool) -> dict[str, Any]:
    """Scores by draws of ``q``: free energy, ESS and KL, in nats but for the ESS, with standard
    errors. Where log Z is unknown the KL is by its estimate.
    """
    log_q = draws.without_wide.log_q
    log_p = draws.without_wide.log_p
    target_log_z = None if log_z is None else 0.0  # where it is known, log p is normalised
    scores = judge(log_q, log_p, log_z=target_log_z, covered=covered)
    energies = np.where(np.isfinite(log_p), log_q - log_p, scores["free_energy"])
    energy_terms = weights.within(_terms_of_all_draws(draws, energies / len(energies)))
    energy_error = float(norm(energy_terms))
    if covered:
        energy_error = scores["kl_standard_error"]
    kl = scores["kl"]
    kl_error = energy_error
    if log_z is None:
        kl = scores["free_energy"] + weights.log_z
        kl_error = _standard_error(energy_terms + weights.terms(), weights.unseen, weights.k)
    return {
        "kl": kl,
        "kl_standard_error": kl_error,
        "free_energy": scores["free_energy"] - (log_z or 0.0),
        "free_energy_standard_error": energy_error,
        "ess": scores["ess"],
    }


def _log_zs(draws: Draws, weights: Weights, q_weights: Weights, shift: float) -> dict[str, Any]:
    """Scores of log Z in nats: by all draws; by those of ``q`` alone, and the difference, ``None``
    if there are no others. ``shift`` is added: the log Z by which log p is normalised.
    """
    terms = weights.terms()
    scores = {
        "estimated_log_z": weights.log_z + shift,
        "log_z_standard_error": _standard_error(terms, weights.unseen, weights.k),
        "pareto_k": weights.k,
    }
    if draws.is_of_q.all():  # p fails at those of the wide neighbour
        return scores | dict.fromkeys(BY_Q)
    q_terms = weights.within(_terms_of_all_draws(draws, q_weights.plain))
    unseen = math.hypot(weights.unseen, q_weights.unseen)
    by_q = (
        q_weights.log_z + shift,
        _standard_error(q_terms, q_weights.unseen, q_weights.k),
        q_weights.k,
        weights.log_z - q_weights.log_z,
        _standard_error(terms - q_terms, unseen, max(weights.k, q_weights.k)),
    )
    return scores | dict(zip(BY_Q, by_q))


def _standard_error(terms: np.ndarray, unseen: float, k: float) -> float | None:
    """Standard error of log Z in nats by its terms ``(n,)`` and its unseen part; ``None`` where
    k-hat is poor.
    """
    return math.hypot(norm(terms), unseen) if k < ROUGH else None


def _terms_of_all_draws(draws: Draws, q_terms: np.ndarray) -> np.ndarray:
    """Terms ``(m,)`` of the draws of ``q``, and 0 at all others: ``(n,)``."""
    terms = np.zeros(len(draws.strata))
    terms[draws.is_of_q] = q_terms
    return terms


def search_missed_modes(
    density: PushforwardDensity, target: Target, seed: int, n: int, starts: np.ndarray | None = None
) -> Missed:
    """Modes that a fit misses, by a search from ``n`` draws; see :func:`missed_mass`."""
    component = Component(density, sample_size(n, density), "missed-modes")
    _, draws = _sample([component], target, IDENTITY, seed, even=False)
    weights = Weights(draws)
    return missed_mass(density, target, weights.log_z, weights.largest, seed, starts)


def mixture_weights(density: PushforwardDensity, target: Target, seed: int, n: int) -> np.ndarray:
    """Weights ``(R,)`` of the mixture of a density's members that is nearest to ``p``.

    By EM, ``w_r ← E_p[w_r q_r / Σ_s w_s q_s]``, which lowers ``KL(p || q)`` at each step;
    expectations by Pareto-smoothed importance weights of draws, as many of each member.
    """
    count = density.n_members
    per_member = sample_size(n, density) // count
    z0 = density.base.sample(stream(seed, "mixture"), (count, per_member, density.dim))
    x = ops.convert_to_numpy(density.push(ops.convert_to_tensor(z0))[0]).reshape(-1, density.dim)
    log_q = density.member_log_probs(x).astype(np.float64)  # (R, n)
    with np.errstate(all="ignore"):  # of a user's function, far away
        log_p = values_at(target.log_prob, x).astype(np.float64)
    log_weights = log_ratio(log_p, np.logaddexp.reduce(log_q))
    w, _ = scaled(smoothed(log_weights).log_weights)
    relative_q = np.exp(log_q - log_q.max(axis=0))
    shares = np.full(count, 1 / count)
    for _ in range(EM_STEPS):
        joint = shares[:, None] * relative_q
        shares = np.maximum(joint / joint.sum(axis=0) @ w / w.sum(), LEAST_WEIGHT)
        shares /= shares.sum()
    return shares


def sample_of(
    density: PushforwardDensity, target: Target, units: ColumnUnits, seed: int, n: int
) -> Sample:
    """``n`` samples of ``q`` and, unless ``p`` fails there, those of its wide neighbours; of a
    bounded base there are none, as log Z is that of the region where ``q`` is not 0.
    """
    components = [Component(density, n, "evaluation")]
    if not density.base.bounded:
        components += _wide_neighbours(density, seed, n // DRAWS_PER_WIDE // 2)
    return _sample(components, target, units, seed)


def _wide_neighbours(density: PushforwardDensity, seed: int, n: int) -> Iterator[Component]:
    """Yield two wide densities near ``q``, of ``n`` draws each: heavy tails through its flows,
    along each of their latents; and of the moments of ``q``, in all directions, if these are finite
    and in no plane. Either is light where the other is heavy.
    """
    yield Component(PushforwardDensity(Cauchy(), density.flow), n, "widened")
    rng = stream(seed, "moments")
    x = next(density.draw(MOMENT_DRAWS, lambda _: rng)).x.astype(np.float64)
    gaussian = FlowStack(["planar"], 0, affine="full")
    with suppress(np.linalg.LinAlgError, ConfigError):  # not finite, or in a plane
        gaussian.adapt(x.mean(axis=0), np.linalg.cholesky(np.atleast_2d(np.cov(x.T))))
        yield Component(PushforwardDensity(CauchyRadius(), gaussian), n, "around")


def _sample(
    components: Sequence[Component],
    target: Target,
    units: ColumnUnits,
    seed: int,
    even: bool = True,
) -> Sample:
    """Samples of ``q``, the first component, and of the others unless ``p`` fails at theirs, with
    log-densities of the mixture of all that are sampled.
    """
    counts = np.array([component.n for component in components])
    log_shares = np.log(counts / counts.sum())

    def blocks_of(index: int) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield blocks of draws of a component: points, and arrays of :class:`Draws`."""
        density, n, purpose = components[index]
        rng = stream(seed, purpose)
        for points in density.draw(n, lambda _: rng, even=even):
            with np.errstate(all="ignore"):  # of a user's function, far away
                log_p = values_at(target.log_prob, points.x).astype(np.float64)
                component_log_densities = _log_densities(components, index, points)
                log_densities = np.stack(component_log_densities, axis=-1, dtype=float)
            log_mixture = np.logaddexp.reduce(log_shares + log_densities, axis=1)
            strata = points.member  # of q; below 0 of other components
            if index > 0:
                strata = np.full(len(log_p), -index)
            log_q = log_densities[:, 0].copy()
            yield units.outside(points.x), log_q, log_mixture, log_p, strata.astype(np.int16)

    blocks = list(blocks_of(0))
    with suppress(TargetError):
        blocks += [block for index in range(1, len(components)) for block in blocks_of(index)]
    x, log_q, log_mixture, log_p, strata = _join_blocks(blocks)
    if len(log_p) == components[0].n:  # of q alone
        log_mixture = log_q
    return Sample(x, Draws(log_q, log_mixture, log_p, strata))


def _join_blocks(blocks: list[tuple[np.ndarray, ...]]) -> list[np.ndarray]:
    """Join the arrays of all blocks; each is freed when it is joined, as draws may fill the
    memory.
    """
    parts = [list(arrays) for arrays in zip(*blocks)]
    blocks.clear()
    joined = []
    while parts:
        joined.append(np.concatenate(parts.pop(0)))
    return joined


def _log_densities(components: Sequence[Component], index: int, points: Draw) -> list[np.ndarray]:
    """Log-densities ``(m,)`` in nats of each component, at points drawn from the one of an
    ``index``.

    ``q`` and its first neighbour share the flows: they differ by their bases at the latents.
    """
    q = components[0].density
    if len(components) == 1:
        log_q = q.log_prob(points.x) if points.log_q is None else points.log_q
        return [log_q]

    def log_base_ratios(z0: np.ndarray) -> np.ndarray:
        """Log-ratio ``(…)`` of the neighbour's base to that of ``q`` at latents ``(…, D)``."""
        flat = z0.reshape(-1, q.dim)
        log_base = values_at(q.base.log_prob, flat)
        log_wide = values_at(components[1].density.base.log_prob, flat)
        return (log_wide - log_base).reshape(z0.shape[:-1])

    if points.log_q is None or index > 1:  # by inversion
        log_q = q.member_log_probs(points.x)
        log_ratios = log_base_ratios(q.member_latents(points.x))
    else:
        log_ratios = log_base_ratios(points.z0[None])
        log_q = points.log_q - log_ratios if index else points.log_q[None]
    weights = q.member_weights
    log_densities = [mixture(log_q, weights), mixture(log_q + log_ratios, weights)]
    return log_densities + [c.density.log_prob(points.x) for c in components[2:]]


def shown_samples(density: PushforwardDensity, units: ColumnUnits, seed: int) -> np.ndarray:
    """Samples of ``q`` for the plots ``(n, D)``, in the user's units."""
    rng = stream(seed, "evaluation")
    return units.outside(next(density.draw(SHOWN_SAMPLES, lambda _: rng, even=True)).x)


def moments(x: np.ndarray, weights: Weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighted mean and standard deviation of each coordinate of points ``(n, D)``, their standard
    errors, and k-hat of their terms, ``(D, 2)`` each.

    With shares ``s``: ``m = Σ s x`` and ``sd² = Σ s (x - m)²``, with errors by the delta method:
    those of sums of ``w (x - m)`` and ``w ((x - m)² - sd²) / 2 sd``.
    """
    has_weight = weights.shares > 0
    means_and_sds = []
    errors_and_ks = []
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for coordinates in x.T:
            mean = weights.shares[has_weight] @ coordinates[has_weight]
            deviations = coordinates - mean
            deviations[~has_weight] = 0.0
            sd = np.sqrt(weights.shares @ np.square(deviations))
            means_and_sds.append((mean, sd))
            errors_and_ks.append(weights.error(deviations))
            np.square(deviations, out=deviations)  # in place, as draws may fill the memory
            deviations -= sd**2
            deviations /= 2 * sd
            errors_and_ks.append(weights.error(deviations))
    errors, ks = np.reshape(errors_and_ks, (-1, 2, 2)).transpose(2, 0, 1)
    return np.array(means_and_sds), errors, ks


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
    levels = (np.arange(n) + stream(seed, "resampling").random(n)) / n
    cumulative = np.cumsum(weights.shares)
    numbers = np.searchsorted(cumulative, levels * cumulative[-1])
    numbers = np.minimum(numbers, len(cumulative) - 1)
    return x[stream(seed, "order").permutation(numbers)]


def arrays_of(
    density: PushforwardDensity,
    target: Target,
    units: ColumnUnits,
    seed: int,
    scored_draws: ScoredDraws,
) -> dict[str, np.ndarray]:
    """Arrays for the plots; ``rows`` are exact samples if available, else resampled."""
    if target.sample is not None:
        rows = target.sample(stream(seed, "target-samples"), SHOWN_SAMPLES)
    else:
        rows = resample(scored_draws.x, scored_draws.weights, seed, SHOWN_SAMPLES)
    return {
        "rows": rows,
        "samples": shown_samples(density, units, seed),
        "columns_shown": np.array(most_dependent(rows, SHOWN_COLUMNS)),
        "tail": scored_draws.weights.tail.tail,
        "smooth_tail": scored_draws.weights.tail.smooth_tail,
    }


def effective_share(weights: np.ndarray) -> float:
    """Effective sample size of weights of sum 1 as a fraction, ``1 / (n Σw²)``."""
    return float(1 / (weights @ weights) / len(weights))


def base_energy(base: Base, target: Target, seed: int, n: int) -> dict[str, float | None]:
    """Free energy of the base alone, by the ``n`` samples of it that give those of a fit."""
    z0 = base.sample(stream(seed, "evaluation"), (n, target.dim))
    blocks = np.array_split(z0, max(n // BLOCK_POINTS, 1))
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
    log_ratios = values_at(target.log_prob, x) - density.log_prob(x).astype(np.float64)
    uncovered = float(np.mean(~(log_ratios < math.log(UNCOVERED_RATIO))))
    if density.base.bounded:
        log_ratios[np.isposinf(log_ratios)] = -np.inf
    with np.errstate(over="ignore"):
        missed = Moments.of(np.maximum(1 - MISSED_RATIO * np.exp(-log_ratios), 0))
    return dict(zip(keys, (missed.mean, missed.standard_error, uncovered, None)))


def step_of(values: np.ndarray) -> float:
    """Rounding step of log-density values, in nats; NaN if one is not finite.

    The median spacing of their type, or if larger the greatest power of 2 that divides all:
    ``(log p + 1e8) - 1e8`` in float32 has steps of 8, also when cast to float64.
    """
    if not np.isfinite(values).all():
        return math.nan
    spacing = float(np.median(np.spacing(np.abs(values))))
    distinct = np.unique(values.astype(np.float64))
    if len(distinct) == 1:  # the step is unknown
        return spacing
    mantissas, exponents = np.frexp(distinct[distinct != 0])
    integers = (mantissas * 2.0**MANTISSA_BITS).astype(np.int64)
    divisors = np.ldexp((integers & -integers).astype(np.float64), exponents - MANTISSA_BITS)
    return max(spacing, float(divisors.min()))


def user_log_prob(target: Target) -> Callable[[Any], Any]:
    """Function of points ``(..., D)``: ``log p``, of a user's function without the Jacobian of the
    units.
    """
    if isinstance(target, LogDensity):
        return lambda z: target.values(target.outside(z)[0])
    return target.log_prob


def rounding(density: PushforwardDensity, target: Target, seed: int) -> dict[str, float]:
    """Rounding error of ``log p`` at samples of ``q``; NaN if not finite.

    ``log_density_step`` in nats (:func:`step_of`); ``rounding_error``, the standard deviation in
    nats of the error by such steps and by moving each coordinate by one float: a step h has
    variance h²/12.
    """
    rng = stream(seed, "rounding")
    z = next(density.draw(ROUNDING_POINTS, lambda _: rng)).x
    neighbours = z + np.spacing(z) * rng.choice(np.array([-1, 1], z.dtype), z.shape)
    with np.errstate(all="ignore"):  # of a user's function
        log_p = values_at(target.log_prob, z)
        neighbour_log_p = values_at(target.log_prob, neighbours).astype(np.float64)
        step = step_of(values_at(user_log_prob(target), z))
        variance = float(np.mean((neighbour_log_p - log_p) ** 2))
    return {"log_density_step": step, "rounding_error": float(np.sqrt((step**2 + variance) / 12))}
