"""Posteriors with exact draws and a known log Z, for `benchmarks evidence`.

Each has names of coordinates, an unnormalised log-density ``(n,)`` of points ``(n, D)`` in float64,
exact draws, its log Z, and bounds.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Posterior:
    """Density with exact draws and a known log Z."""

    names: list[str]
    log_p: Callable[[np.ndarray], np.ndarray]
    draw: Callable[[np.random.Generator, int], np.ndarray]
    log_z: float
    bounds: Mapping[str, str] = field(default_factory=dict)


def normal(x, mean, sd):
    """Log-density of a normal, in nats."""
    return -0.5 * np.square((x - mean) / sd) - np.log(sd) - 0.5 * LOG_2PI


def from_grid(rng, n, points, log_weights):
    """Draws from a density on a regular grid ``(m, d)``, uniform within its cells."""
    weights = np.exp(log_weights - log_weights.max())
    chosen = points[rng.choice(len(points), size=n, p=weights / weights.sum())]
    steps = [np.diff(np.unique(column))[0] for column in points.T]
    return chosen + (rng.random(chosen.shape) - 0.5) * steps


def log_sum(values):
    """Log of a sum of exponentials."""
    top = values.max()
    return float(top + np.log(np.exp(values - top).sum()))


SCHOOLS = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def eight_schools():
    """Rubin 1981: average and log spread, then the effects, which are normal given both."""

    def log_p(x):
        mean, log_sd, effects = x[:, 0], x[:, 1], x[:, 2:]
        prior = normal(mean, 0.0, 10.0) + normal(log_sd, 5.0, 1.0)
        within = normal(effects, mean[:, None], np.exp(log_sd)[:, None]) + normal(
            SCHOOLS, effects, ERRORS
        )
        return prior + within.sum(axis=1)

    axes = np.linspace(-45, 55, 1_200), np.linspace(-2.5, 9, 1_200)
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    spread = np.sqrt(np.exp(2 * grid[:, 1:]) + ERRORS**2)
    marginal = normal(grid[:, 0], 0.0, 10.0) + normal(grid[:, 1], 5.0, 1.0)
    marginal += normal(SCHOOLS, grid[:, :1], spread).sum(axis=1)

    def draw(rng, n):
        both = from_grid(rng, n, grid, marginal)
        precision = 1 / ERRORS**2 + np.exp(-2 * both[:, 1:])
        mean = (SCHOOLS / ERRORS**2 + both[:, :1] * np.exp(-2 * both[:, 1:])) / precision
        effects = mean + rng.standard_normal(mean.shape) / np.sqrt(precision)
        return np.concatenate([both, effects], axis=1)

    names = ["avg_effect", "log_stddev", *(f"effect_{j}" for j in range(1, 9))]
    return Posterior(names, log_p, draw, -36.13082)


def many_well():
    """``exp(-(x⁴ - 6 x² - x/2 + y²/2))`` of four independent pairs: two wells each."""
    pairs = 4

    def log_p(x):
        well, other = x[:, 0::2], x[:, 1::2]
        return -(well**4 - 6 * well**2 - 0.5 * well + 0.5 * other**2).sum(axis=1)

    axis = np.linspace(-3.2, 3.2, 20_001)
    wells = -(axis**4 - 6 * axis**2 - 0.5 * axis)

    def draw(rng, n):
        x = np.empty((n, 2 * pairs))
        for pair in range(pairs):
            x[:, 2 * pair] = from_grid(rng, n, axis[:, None], wells)[:, 0]
        x[:, 1::2] = rng.standard_normal((n, pairs))
        return x

    log_z = pairs * (log_sum(wells) + math.log(axis[1] - axis[0]) + 0.5 * LOG_2PI)
    return Posterior([f"x{i + 1}" for i in range(2 * pairs)], log_p, draw, log_z)


def banana():
    """``x ~ N(0, 1)``, ``y ~ N(x², 0.3²)``."""

    def log_p(x):
        return normal(x[:, 0], 0.0, 1.0) + normal(x[:, 1], x[:, 0] ** 2, 0.3)

    def draw(rng, n):
        first, second = rng.standard_normal((2, n))
        return np.stack([first, first**2 + 0.3 * second], axis=1)

    return Posterior(["x", "y"], log_p, draw, 0.0)


def funnel():
    """Neal's funnel: ``x ~ N(0, 3²)``, nine others ``N(0, e^x)``."""

    def log_p(x):
        spread = np.exp(x[:, :1] / 2)
        return normal(x[:, 0], 0.0, 3.0) + normal(x[:, 1:], 0.0, spread).sum(axis=1)

    def draw(rng, n):
        first = 3 * rng.standard_normal((n, 1))
        return np.concatenate([first, np.exp(first / 2) * rng.standard_normal((n, 9))], axis=1)

    return Posterior([f"x{i + 1}" for i in range(10)], log_p, draw, 0.0)


def half_space():
    """Five correlated normals (ρ = 0.6) with the first above 0, times 3."""
    dim = 5
    covariance = 0.4 * np.eye(dim) + 0.6
    root, precision = np.linalg.cholesky(covariance), np.linalg.inv(covariance)
    level = math.log(3.0) - 0.5 * np.linalg.slogdet(covariance)[1] - dim / 2 * LOG_2PI

    def log_p(x):
        return np.where(x[:, 0] > 0, level - 0.5 * ((x @ precision) * x).sum(axis=1), -np.inf)

    def draw(rng, n):
        z = rng.standard_normal((n, dim))
        z[:, 0] = np.abs(z[:, 0])  # the first coordinate is that alone
        return z @ root.T

    names = [f"x{i + 1}" for i in range(dim)]
    return Posterior(names, log_p, draw, math.log(1.5), {"x1": "0:"})


class LinearModel:
    """``y = X b + e`` with Gaussian priors whose scales are functions of two log-scales.

    Args:
        y: Data ``(m,)``.
        design: ``X`` ``(m, k)``.
        prior_sd: Of the k coefficients ``(m', k)``, by log-scales ``(m', 2)``.
        noise_sd: ``(m',)``, likewise.
        log_prior: Of the log-scales ``(m',)``.
        axes: Of the grid over both log-scales.
        root: Coefficients of the priors' independent steps: ``b = root @ steps``.
    """

    def __init__(self, y, design, prior_sd, noise_sd, log_prior, axes, root):
        self.y, self.design, self.root = y, design, root
        self.prior_sd, self.noise_sd, self.log_prior = prior_sd, noise_sd, log_prior
        self.grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        self.area = math.prod(axis[1] - axis[0] for axis in axes)
        self.marginal = np.array([self._marginal(scales) for scales in self.grid])

    def log_p(self, x):
        """Log-density of log-scales and coefficients ``(n, 2 + k)``."""
        scales, b = x[:, :2], x[:, 2:]
        steps = np.linalg.solve(self.root, b.T).T
        within = normal(steps, 0.0, self.prior_sd(scales)).sum(axis=1)
        noise = self.noise_sd(scales)[:, None]
        return (
            self.log_prior(scales) + within + normal(self.y, b @ self.design.T, noise).sum(axis=1)
        )

    def _parts(self, scales):
        design = self.design @ self.root
        return design, self.prior_sd(scales[None])[0], self.noise_sd(scales[None])[0]

    def _marginal(self, scales):
        """Log-density of y and the log-scales, the coefficients integrated."""
        design, sd, noise = self._parts(scales)
        covariance = (design * sd**2) @ design.T + noise**2 * np.eye(len(self.y))
        root = np.linalg.cholesky(covariance)
        z = np.linalg.solve(root, self.y)
        level = -np.log(np.diagonal(root)).sum() - len(z) / 2 * LOG_2PI
        return float(self.log_prior(scales[None])[0] + level - 0.5 * z @ z)

    @property
    def log_z(self):
        """By the grid."""
        return log_sum(self.marginal) + math.log(self.area)

    def draw(self, rng, n):
        """Log-scales from the grid, then the coefficients, normal given these."""
        scales = from_grid(rng, n, self.grid, self.marginal)
        rows = []
        for one in scales:
            design, sd, noise = self._parts(one)
            root = np.linalg.cholesky(design.T @ design / noise**2 + np.diag(1 / sd**2))
            mean = np.linalg.solve(root.T, np.linalg.solve(root, design.T @ self.y / noise**2))
            rows.append(self.root @ (mean + np.linalg.solve(root.T, rng.standard_normal(len(sd)))))
        return np.concatenate([scales, rows], axis=1)


OBSERVED = (  # inference_gym 0.0.5, brownian_motion_missing_middle_observations
    *(0.21592641, 0.118771404, -0.07945447, 0.037677474, -0.27885845, -0.1484156),
    *(-0.3250906, -0.22957903, -0.44110894, -0.09830782, -0.8786016),
    *(-0.83736074, -0.7384849, -0.8939254, -0.7774566, -0.70238715, -0.87771565),
    *(-0.51853573, -0.6948214, -0.6202789),
)


def brownian():
    """Brownian motion of 30 steps with unknown scales; steps 11 to 20 are not observed."""
    steps, seen = 30, [*range(10), *range(20, 30)]
    model = LinearModel(
        np.array(OBSERVED),
        np.eye(steps)[seen],
        lambda scales: np.repeat(np.exp(scales[:, :1]), steps, axis=1),
        lambda scales: np.exp(scales[:, 1]),
        lambda scales: normal(scales, 0.0, 2.0).sum(axis=1),
        (np.linspace(-5, 0.5, 120), np.linspace(-8, 0.5, 120)),
        np.tril(np.ones((steps, steps))),
    )
    names = ["log_innovation", "log_observation", *(f"loc_{t}" for t in range(1, steps + 1))]
    return Posterior(names, model.log_p, model.draw, 1.187749)


def radon():
    """Radon levels by county: a floor's effect, and county intercepts of unknown spread.

    Data drawn once from the model, by a seed: ``y ~ N(a_c + b floor, s)``, ``a_c ~ N(1.3, t)``.
    """
    counties, houses, rng = 6, 8, np.random.default_rng(1)
    county = np.repeat(np.arange(counties), houses)
    floor = (rng.random(len(county)) < 0.3).astype(float)
    y = 1.3 + 0.35 * rng.standard_normal(counties)[county] - 0.7 * floor
    y += 0.75 * rng.standard_normal(len(y)) - 1.3
    design = np.column_stack([floor, np.eye(counties)[county]])

    def prior_sd(scales):
        return np.column_stack([np.ones(len(scales)), *[np.exp(scales[:, 0])] * counties])

    model = LinearModel(
        y,
        design,
        prior_sd,
        lambda scales: np.exp(scales[:, 1]),
        lambda scales: normal(scales, -1.0, 1.0).sum(axis=1),
        (np.linspace(-6, 3, 150), np.linspace(-1.3, 0.6, 100)),
        np.eye(counties + 1),
    )
    names = ["log_t", "log_s", "floor", *(f"county_{c}" for c in range(1, counties + 1))]
    return Posterior(names, model.log_p, model.draw, model.log_z)


POSTERIORS = {
    "eight-schools": eight_schools,
    "many-well": many_well,
    "banana": banana,
    "radon": radon,
    "brownian": brownian,
    "half-space": half_space,
    "funnel": funnel,
}


CHAINS, LENGTH, STAY = 4, 2_000, 0.5


def chains_of(posterior, seed):
    """Draws ``(CHAINS, LENGTH, D)`` that repeat the last with probability ``STAY``."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(CHAINS):
        moved = rng.random(LENGTH) >= STAY
        moved[0] = True
        fresh = posterior.draw(rng, int(moved.sum()))
        found.append(fresh[np.cumsum(moved) - 1])
    return np.stack(found)
