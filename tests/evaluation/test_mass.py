import math

import numpy as np
import pytest

from nflow_cli.evaluation.mass import cells, mass

RNG = np.random.default_rng(0)
DRAWS = RNG.standard_normal((50_000, 2))
LOG_2PI = math.log(2 * math.pi)


def log_normal(x):
    return -0.5 * (x**2).sum(axis=-1) - LOG_2PI


class Linear:
    """A standard normal, moved by a matrix and a shift."""

    def __init__(self, matrix, shift=(0, 0)):
        self.matrix, self.shift = np.array(matrix, float), np.array(shift, float)
        self.samples = DRAWS @ self.matrix.T + self.shift

    def log_prob(self, x):
        z = np.linalg.solve(self.matrix, (x - self.shift).T).T
        return log_normal(z) - np.linalg.slogdet(self.matrix)[1]


class Mixture:
    """Half of each of two densities."""

    def __init__(self, a, b):
        self.a, self.b = a, b
        self.samples = np.concatenate([a.samples[::2], b.samples[::2]])

    def log_prob(self, x):
        return np.logaddexp(self.a.log_prob(x), self.b.log_prob(x)) - math.log(2)


class Exponential:
    """What ``exp(sigma z)`` makes of a standard normal: most of what its samples span is tail."""

    def __init__(self, sigma):
        self.sigma, self.samples = sigma, np.exp(sigma * DRAWS)

    def log_prob(self, x):
        x = np.maximum(x, 1e-300)
        jacobian = np.log(self.sigma * x).sum(axis=-1)
        return np.where(
            (x > 1e-300).all(axis=-1), log_normal(np.log(x) / self.sigma) - jacobian, -np.inf
        )


class Box:
    """Uniform on a square that is turned: it jumps along lines that no cell follows."""

    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    samples = (RNG.uniform(size=(50_000, 2)) - 0.5) @ turn.T

    def log_prob(self, x):
        return np.where((np.abs(x @ self.turn) < 0.5).all(axis=-1), 0.0, -np.inf)


NORMAL = Linear(np.eye(2))
THIN = Linear([[1, 0], [1, 1e-4]], (5, -3))
FAR = Mixture(Linear(np.eye(2)), Linear(0.1 * np.eye(2), (1000, 1000)))


@pytest.mark.parametrize("density", [NORMAL, THIN, FAR], ids=["normal", "thin", "far apart"])
def test_the_mass_is_1_whatever_the_shape(density):
    found, error = mass(density.log_prob, density.samples)
    assert abs(found - 1) < 1e-3
    assert error < 1e-3


@pytest.mark.parametrize("scale", [1e-80, 1.0, 1e80])
def test_units_are_no_matter(scale):
    small = Linear(scale * np.eye(2))
    assert abs(mass(small.log_prob, small.samples)[0] - 1) < 1e-3


@pytest.mark.parametrize(("sigma", "least"), [(0.5, 2e-4), (1.5, 2e-3), (3.0, 1.0)])
def test_a_heavy_tail_counts_or_is_known_not_to(sigma, least):
    density = Exponential(sigma)
    found, error = mass(density.log_prob, density.samples)
    assert abs(found - 1) <= error
    assert error < least


def test_a_jump_is_found_as_well_as_it_can_be():
    found, error = mass(Box().log_prob, Box.samples)
    assert abs(found - 1) <= error < 5e-3


@pytest.mark.parametrize("factor", [0.9, 1.01])
def test_what_is_no_density_shows(factor):
    found, error = mass(lambda x: log_normal(x) + math.log(factor), DRAWS)
    assert abs(found - factor) < 1e-3 and error < 1e-3


def test_what_is_not_resolved_has_a_large_error():
    def log_prob(x):  # stripes
        return log_normal(x) + np.log1p(np.sin(1e5 * (x[:, 0] + 0.3 * x[:, 1])) * (1 - 1e-9))

    assert mass(log_prob, DRAWS)[1] > 0.01


def test_a_density_that_is_not_a_number_has_no_mass():
    assert math.isnan(mass(lambda x: np.where(x[:, 0] > 1, np.nan, log_normal(x)), DRAWS)[0])


def test_cells_cover_the_samples_once():
    corners, sides = cells(DRAWS)
    low, high = DRAWS.min(axis=0), DRAWS.max(axis=0)
    assert math.isclose(sides.prod(axis=1).sum(), (1.04 * (high - low)).prod())
    inside = (DRAWS[:500, None] >= corners) & (DRAWS[:500, None] < corners + sides)
    assert (inside.all(axis=-1).sum(axis=1) == 1).all()


@pytest.mark.parametrize("samples", [np.zeros((500, 2)), np.repeat(DRAWS[:2], 500, 0), DRAWS[:3]])
def test_few_samples_and_equal_ones_end(samples):
    found, error = mass(log_normal, samples)
    assert 0 <= found < 1.01 and error < 1.01
