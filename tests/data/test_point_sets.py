import numpy as np
import pytest
from truth import chi_square_excess, mixture_log_prob

from nflow_cli.random_streams import stream
from nflow_cli.registry import POINT_SETS, resolve

N = 50_000


def drawn(name, n=N, seed=0):
    return resolve(POINT_SETS[name])(stream(seed, "test"), n)


def smeared(centres, sigma):
    """Return the density, on a grid, of equally likely centres ``(m, 2)`` under Gaussian noise."""

    def density(grid):  # the noise is a product of one along each axis
        axes = zip((grid[:, 0, 0], grid[0, :, 1]), centres.T)
        x, y = (np.exp(-0.5 * ((axis[:, None] - c) / sigma) ** 2) for axis, c in axes)
        return x @ y.T / (len(centres) * 2 * np.pi * sigma**2)

    return density


def middles(n):
    return (np.arange(n) + 0.5) / n


def test_two_moons_are_half_circles_under_noise():
    t = np.pi * middles(200)
    upper = np.stack([np.cos(t), np.sin(t)], -1)
    lower = np.stack([1 - np.cos(t), 0.5 - np.sin(t)], -1)
    density = smeared(np.concatenate([upper, lower]), 0.1)
    assert chi_square_excess(drawn("two-moons"), density, 2.5) < 4


def test_spirals_are_spirals_under_noise():
    t = 3 * np.pi * np.sqrt(middles(400))
    arm = t[:, None] / 3 * np.stack([-np.cos(t), np.sin(t)], -1)
    density = smeared(np.concatenate([arm, -arm]), 0.1)
    assert chi_square_excess(drawn("spirals"), density, 3.5) < 4


def test_eight_gaussians_are_eight_gaussians():
    angles = np.arange(8) * np.pi / 4
    centres = 2 * np.stack([np.cos(angles), np.sin(angles)], -1)
    covariances = np.tile(0.04 * np.eye(2), (8, 1, 1))

    def density(x):
        return np.exp(mixture_log_prob(x, np.ones(8), centres, covariances))

    assert chi_square_excess(drawn("eight-gaussians"), density, 3.0) < 4


def test_a_pinwheel_is_five_gaussians_bent():
    from statistics import NormalDist

    quantiles = np.array([NormalDist().inv_cdf(p) for p in middles(700)])
    r, s = (a.ravel() for a in np.meshgrid(2 + 0.6 * quantiles, 0.2 * quantiles))
    bend = 0.25 * np.exp(r / 2)
    edges = np.linspace(-5, 5, 21)
    expected = np.zeros((20, 20))
    for angle in (bend + 2 * np.pi * arm / 5 for arm in range(5)):
        x, y = r * np.cos(angle) - s * np.sin(angle), r * np.sin(angle) + s * np.cos(angle)
        expected += np.histogram2d(x, y, [edges, edges])[0] / (5 * len(r)) * N
    observed = np.histogram2d(*drawn("pinwheel").T, [edges, edges])[0]
    full = expected >= 20
    chi_square = np.sum((observed[full] - expected[full]) ** 2 / expected[full])
    assert abs(chi_square - full.sum()) < 4 * np.sqrt(2 * full.sum())


@pytest.mark.parametrize("name", POINT_SETS)
def test_a_set_is_fixed_by_its_seed(name):
    one, again, other = (drawn(name, 100, seed) for seed in (0, 0, 1))
    assert (one.shape, one.dtype) == ((100, 2), np.float64)
    np.testing.assert_array_equal(one, again)
    assert not np.intersect1d(one, other).size
