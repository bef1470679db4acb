"""Search for modes of a target that a fit misses, and the mass there."""

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from keras import ops

from nflow_cli.densities.pushforward import PushforwardDensity, values_at
from nflow_cli.densities.target import Target
from nflow_cli.errors import TargetError
from nflow_cli.inference.modes import ValueAndGradient, climb, value_and_gradient
from nflow_cli.random_streams import stream

STARTS = 512  # of climbs
REACHES = (3.0, 10.0, 30.0)  # spread of starts, in standard deviations
STEPS = 150  # of a climb; half of them reach a mode of unit scale
LEAST_EXCESS = 3.0  # nats by which p exceeds q where q has almost no mass
MOST_MODES = 64
LEAST_MASS = 1e-3  # share of p, for a mode to be named
LEAST_SHARE = 1e-4  # of p, for a mode to be listed
DRAWS = 8_192  # of the proposal, a Student's t at each mode
DF = 5.0  # degrees of freedom of these
CURVATURE_STEPS = 3
NEAR_MODE = 0.1  # squared standard deviations within which a climb has reached its mode


class ModeProposal(NamedTuple):
    """Mode of a target ``(D,)`` and a factor ``F`` of its precision ``P = F Fᵀ``.

    ``distance``: squared, of a Newton step from here, ``gᵀ P⁻¹ g``: 0 at a mode.
    """

    mode: np.ndarray
    factor: np.ndarray
    distance: float

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw ``(n, D)`` from a Student's t of :data:`DF` degrees of freedom at the mode."""
        noise = rng.standard_normal((n, len(self.mode)))
        noise /= np.sqrt(rng.chisquare(DF, (n, 1)) / DF)
        return (self.mode + np.linalg.solve(self.factor.T, noise.T).T).astype(np.float32)

    @property
    def cholesky(self) -> np.ndarray:
        """Cholesky factor ``(D, D)`` of the covariance ``P⁻¹``."""
        root = np.linalg.inv(self.factor)  # P⁻¹ = rootᵀ root
        upper = np.linalg.qr(root).R
        return (upper * np.sign(np.diag(upper))[:, None]).T

    def squared_distance(self, z: np.ndarray) -> np.ndarray:
        """``(z - m)ᵀ P (z - m)`` ``(n,)``."""
        return np.sum(((z - self.mode) @ self.factor) ** 2, axis=-1)

    def log_prob(self, z: np.ndarray) -> np.ndarray:
        """Log-density ``(n,)`` of :meth:`draw` in nats."""
        dim = len(self.mode)
        level = math.lgamma((DF + dim) / 2) - math.lgamma(DF / 2) - dim / 2 * math.log(DF * math.pi)
        level += np.linalg.slogdet(self.factor)[1]
        return level - (DF + dim) / 2 * np.log1p(self.squared_distance(z) / DF)


class Missed(NamedTuple):
    """Mass of a target that a fit misses: its share of ``p``, a lower bound, with its error
    (``None`` if unknown), and its modes, by their mass, which is at least :data:`LEAST_SHARE`.
    """

    share: float | None
    standard_error: float | None
    proposals: Sequence[ModeProposal] = ()

    @property
    def place(self) -> np.ndarray | None:
        """Largest missed mode ``(D,)``, if the mass is not negligible."""
        share = self.share or 0.0
        return self.proposals[0].mode if self.proposals and share > LEAST_MASS else None


def missed_mass(
    density: PushforwardDensity,
    target: Target,
    log_z: float,
    max_log_ratio: float,
    seed: int,
    starts: np.ndarray | None = None,
) -> Missed:
    """Share of ``p`` in regions where ``p/q`` is larger than at any sample of ``q``.

    ``p`` is climbed from starts scattered about ``q`` and about 0, by 3, 10 and 30 standard
    deviations. At each end where ``log p - log Z - log q`` is that large a Student's t with the
    curvature of ``log p`` is placed; samples of the mixture ``r`` of these give
    ``m = E_r[p / (Z r), where p/q is that large]``, and the share ``m/(1 + m)``. A narrow peak
    without mass, as in a funnel's neck, adds nothing.

    Args:
        density: ``q``, in the coordinates of its flows.
        target: ``p`` in these, up to a constant.
        log_z: Log of the mass of ``exp(target.log_prob)`` that ``q`` visits, in nats.
        max_log_ratio: Maximum of ``log p - log Z - log q`` at samples of ``q``, in nats; at least
            :data:`LEAST_EXCESS`.
        seed: Of starts and samples.
        starts: More points ``(n, D)`` to climb from.
    """
    # A user's function may fail far from q.
    with suppress(TargetError), np.errstate(all="ignore"):
        return _missed_mass(density, target, log_z, max(max_log_ratio, LEAST_EXCESS), seed, starts)
    return Missed(None, None)


def _missed_mass(
    density: PushforwardDensity,
    target: Target,
    log_z: float,
    least: float,
    seed: int,
    starts: np.ndarray | None,
) -> Missed:
    slopes = value_and_gradient(target)
    rng = stream(seed, "missed-mass")
    points = _starts(density, rng)
    if starts is not None:
        points = np.concatenate([starts, points])

    def log_p_and_ratio(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        log_p = values_at(target.log_prob, z).astype(np.float64) - log_z
        return log_p, log_p - density.log_prob(z)

    ends = climb(slopes, points, STEPS)
    height, excess = log_p_and_ratio(ends)
    unseen = np.isfinite(height) & (excess > least)
    if not unseen.any():
        return Missed(0.0, 0.0)
    ends = ends[unseen][np.argsort(-height[unseen], kind="stable")]
    proposals = _proposals(slopes, ends)
    count = len(proposals)
    numbers = np.sort(np.arange(DRAWS) % count)  # of the proposal of each draw
    sizes = np.bincount(numbers, minlength=count)
    z = np.concatenate([proposals[i].draw(rng, int(sizes[i])) for i in range(count)])
    log_r = np.logaddexp.reduce([proposal.log_prob(z) for proposal in proposals])
    log_r -= math.log(count)
    log_p, excess = log_p_and_ratio(z)
    w = np.where(np.isfinite(log_p) & (excess > least), np.exp(log_p - log_r), 0.0)
    mass = float(w.mean())
    error = float(w.std() / math.sqrt(len(w)))
    if not math.isfinite(mass + error):
        return Missed(None, None)
    masses = np.bincount(numbers, w, count) / len(w)
    kept = []
    for i in np.argsort(-masses, kind="stable"):
        if masses[i] > LEAST_SHARE * (1 + mass) and proposals[i].distance < NEAR_MODE:
            kept.append(proposals[i])
    return Missed(mass / (1 + mass), error / (1 + mass) ** 2, kept)


def _starts(density: PushforwardDensity, rng: np.random.Generator) -> np.ndarray:
    """Starts ``(n, D)`` of climbs: half about ``q``, half about 0."""
    samples = next(density.draw(1_000, lambda _: rng)).x.astype(np.float64)
    scattered = rng.standard_normal((STARTS, density.dim)) * np.resize(REACHES, STARTS)[:, None]
    half = STARTS // 2
    scattered[:half] = samples.mean(axis=0) + samples.std(axis=0) * scattered[:half]
    return scattered


def _proposals(slopes: ValueAndGradient, ends: np.ndarray) -> list[ModeProposal]:
    """Proposals at the ends of climbs, none within a standard deviation of a former."""
    proposals: list[ModeProposal] = []
    gradients = ops.convert_to_numpy(slopes(ops.convert_to_tensor(ends))[1]).astype(np.float64)
    for end, gradient in zip(ends.astype(np.float64), gradients):
        if len(proposals) == MOST_MODES:
            break
        if all(proposal.squared_distance(end) > 1 for proposal in proposals):
            factor = _factor(slopes, end)
            step = np.linalg.solve(factor, gradient)
            proposals.append(ModeProposal(end, factor, float(step @ step)))
    return proposals


def _factor(slopes: ValueAndGradient, mode: np.ndarray) -> np.ndarray:
    """Factor ``F`` of the curvature ``-∂² log p = F Fᵀ`` at a mode, by differences of gradients.

    Steps are a third of each coordinate's scale, by iteration.
    """
    dim = len(mode)
    steps = 1e-2 * np.maximum(np.abs(mode), 1e-2)
    curvature = np.eye(dim)
    for _ in range(CURVATURE_STEPS):
        moves = np.diag(steps)
        points = np.concatenate([mode + moves, mode - moves]).astype(np.float32)
        gradients = ops.convert_to_numpy(slopes(ops.convert_to_tensor(points))[1])
        up, down = np.split(gradients.astype(np.float64), 2)
        curvature = np.nan_to_num((down - up) / (2 * steps[:, None]))
        bend = np.diag(curvature)  # of each coordinate
        steps = np.where(bend > 0, 1 / (3 * np.sqrt(np.maximum(bend, 1e-12))), 3 * steps)
    values, vectors = np.linalg.eigh((curvature + curvature.T) / 2)
    least = max(float(values[-1]), 1e-12) * 1e-10
    return vectors * np.sqrt(np.maximum(values, least))
