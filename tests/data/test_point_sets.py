import itertools
from statistics import NormalDist

import numpy as np
import pytest
from truth import bin_masses, chi_square_excess, mixture_log_prob, normal_log_prob

from nflow_cli.random_streams import stream
from nflow_cli.registry import POINT_SETS, resolve

N = 50_000
# Of each set, half the width of a square that holds all of it but 1e-9, and into
# how many parts its side is cut for the midpoint rule.
SQUARES = {
    "two-moons": (3.0, 120),
    "eight-gaussians": (3.6, 80),
    "spirals": (4.2, 160),
    "checkerboard": (4.0, 8),
    "rings": (4.0, 400),
}
# The first two points of each set of before, that runs which users have were trained on.
FIRST = {
    "two-moons": [[0.9123509288, -0.0903343335], [1.7840419967, -0.0132337337]],
    "eight-gaussians": [[2.2172962230, -0.1731496135], [2.0768924705, -0.4018730166]],
    "spirals": [[1.4228058791, -1.9889509237], [0.6250990617, -1.2191928720]],
}


def make(name):
    return resolve(POINT_SETS[name])()


def drawn(name, n=N, seed=0):
    return make(name).sample(stream(seed, "test"), n)


def density(name):
    """Return the density of a set at points ``(..., 2)``."""
    log_prob = make(name).log_prob
    return lambda x: np.exp(log_prob(x.reshape(-1, 2)).reshape(x.shape[:-1]))


def smeared(centres, sigma):
    """Return the density, on a grid, of equally likely centres ``(m, 2)`` under Gaussian noise."""

    def density(grid):  # the noise is a product of one along each axis
        axes = zip((grid[:, 0, 0], grid[0, :, 1]), centres.T)
        x, y = (np.exp(-0.5 * ((axis[:, None] - c) / sigma) ** 2) for axis, c in axes)
        return x @ y.T / (len(centres) * 2 * np.pi * sigma**2)

    return density


def middles(n):
    return (np.arange(n) + 0.5) / n


def moons(t):
    upper = np.stack([np.cos(t), np.sin(t)], -1)
    return upper, np.stack([1 - np.cos(t), 0.5 - np.sin(t)], -1)


def arms(t):
    arm = t[:, None] / 3 * np.stack([-np.cos(t), np.sin(t)], -1)
    return arm, -arm


@pytest.mark.parametrize("name", SQUARES)
def test_a_density_integrates_to_1(name):
    half_width, parts = SQUARES[name]
    edges = np.linspace(-half_width, half_width, 2)
    # The density of the rings has a pole at 0, of a mass of 1e-22.
    assert abs(bin_masses(density(name), edges, parts).sum() - 1) < 1e-7


@pytest.mark.parametrize("name", ["checkerboard", "rings"])
def test_points_are_drawn_from_the_density(name):
    assert chi_square_excess(drawn(name), density(name), 3.0) < 4


@pytest.mark.parametrize(
    ("name", "centres", "width"),
    [
        ("two-moons", moons(np.pi * middles(200)), 2.5),
        ("spirals", arms(3 * np.pi * np.sqrt(middles(400))), 3.5),
    ],
)
def test_half_circles_and_spirals_are_under_noise(name, centres, width):
    expected = smeared(np.concatenate(centres), 0.1)
    assert chi_square_excess(drawn(name), expected, width) < 4


@pytest.mark.parametrize(("name", "curves", "end"), [("two-moons", moons, 1), ("spirals", arms, 3)])
def test_the_density_along_curves_is_that_of_simpsons_rule(name, curves, end):
    t, step = np.linspace(0, end * np.pi, 20_001, retstep=True)
    weights = np.full(len(t), 2.0)
    weights[1:-1:2], weights[[0, -1]] = 4.0, 1.0
    of_t = 2 * t / t[-1] ** 2 if name == "spirals" else 1 / t[-1]
    log_weights = np.log(np.maximum(weights * of_t, 1e-300) * step / 6)

    def log_prob(x):
        log_p = [log_weights + normal_log_prob(c, x, 0.01 * np.eye(2)) for c in curves(t)]
        return np.logaddexp.reduce(np.concatenate(log_p))

    angle = np.linspace(0, 6, 20)
    away = np.stack([np.cos(angle), np.sin(angle)], -1)  # ten deviations
    points = np.concatenate([drawn(name, 60), np.concatenate(curves(t))[::2_001] + away])
    expected = [log_prob(x) for x in points]
    np.testing.assert_allclose(make(name).log_prob(points), expected, rtol=0, atol=1e-10)


def test_eight_gaussians_are_eight_gaussians():
    angles = np.arange(8) * np.pi / 4
    centres = 2 * np.stack([np.cos(angles), np.sin(angles)], -1)
    covariances = np.tile(0.04 * np.eye(2), (8, 1, 1))

    def log_prob(x):
        return mixture_log_prob(x, np.ones(8), centres, covariances)

    points = drawn("eight-gaussians")
    assert chi_square_excess(points, lambda x: np.exp(log_prob(x)), 3.0) < 4
    points *= 1.5
    np.testing.assert_allclose(make("eight-gaussians").log_prob(points), log_prob(points), 1e-12)


def test_a_checkerboard_is_flat_on_the_dark_squares_and_0_elsewhere():
    board = np.array([[1, 0, 1, 0], [0, 1, 0, 1]] * 2)  # by column and row, from the lower left
    places = np.stack(np.meshgrid(*[np.arange(-5.0, 6, 2)] * 2, indexing="ij"), -1).reshape(-1, 2)
    log_p = make("checkerboard").log_prob(places + 0.3).reshape(6, 6)
    np.testing.assert_allclose(np.exp(log_p), np.pad(board, 1) / 32)
    assert np.isfinite(make("checkerboard").log_prob(drawn("checkerboard"))).all()


def test_rings_have_the_mass_that_the_noise_of_the_radius_leaves_between_two_circles():
    log_prob, edges = make("rings").log_prob, np.array([0.3, 0.85, 1.0, 1.4, 1.95, 2.6, 3.0, 3.2])
    for low, high in itertools.pairwise(edges):
        radius = low + (high - low) * middles(4_000)
        points = radius * [np.cos(radius), np.sin(radius)]  # in any direction
        mass = np.mean(np.exp(log_prob(points.T)) * 2 * np.pi * radius) * (high - low)
        expected = np.mean(
            [np.diff([NormalDist(r, 0.1).cdf(e) for e in (low, high)]) for r in (1, 2, 3)]
        )
        assert mass == pytest.approx(expected, abs=1e-6)


def test_rings_are_folded_at_the_centre():
    rho = 0.01
    normal = NormalDist(1, 0.1)
    expected = (normal.pdf(rho) + normal.pdf(-rho)) / 3 / (2 * np.pi * rho)
    p = np.exp(make("rings").log_prob(np.array([[0.0, rho], [0.0, 0.0]])))
    assert p[0] == pytest.approx(expected, rel=1e-9) and p[1] == np.inf


@pytest.mark.parametrize("name", POINT_SETS)
def test_a_set_is_fixed_by_its_seed(name):
    one, again, other = (drawn(name, 100, seed) for seed in (0, 0, 1))
    assert (one.shape, one.dtype) == ((100, 2), np.float64)
    np.testing.assert_array_equal(one, again)
    assert not np.intersect1d(one, other).size
    if name in FIRST:
        points = make(name).sample(stream(0, f"points/{name}"), 7)
        np.testing.assert_allclose(points[:2], FIRST[name], atol=1e-9)
