import math

import numpy as np
import pytest
from truth import call

from nflow_cli.inference.examples import Banana, EightSchools, Funnel, Gmm40, ManyWell

EVERY = [Funnel(3), ManyWell(4), Banana(), EightSchools(), Gmm40()]


def log_prob(target, points):
    return call(target.log_prob, np.asarray(points, np.float32)).astype(np.float64)


def mass_on(target, *axes):
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    cell = math.prod(axis[1] - axis[0] for axis in axes)
    return float(np.exp(log_prob(target, grid)).sum() * cell)


@pytest.mark.parametrize(
    ("target", "axes"),
    [
        (Funnel(2), [np.linspace(-12, 8, 401), np.linspace(-60, 60, 3001)]),
        (ManyWell(2), [np.linspace(-4, 4, 401), np.linspace(-7, 7, 201)]),
        (Banana(), [np.linspace(-6, 6, 601), np.linspace(-3, 40, 2151)]),
        (Gmm40(), [np.linspace(-50, 50, 501)] * 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_built_in_density_has_a_mass_of_1(target, axes):
    # The funnel is wider than any grid: what is lost is in its mouth, and its neck is too narrow.
    assert mass_on(target, *axes) == pytest.approx(1, abs=0.08 if type(target) is Funnel else 2e-3)


def test_the_funnel_is_written_out():
    v, x = -2.0, np.array([0.3, -0.1])
    expected = -0.5 * (v / 3) ** 2 - math.log(3 * math.sqrt(2 * math.pi))
    for value in x:
        expected += -0.5 * value**2 / math.exp(v) - 0.5 * math.log(2 * math.pi * math.exp(v))
    assert log_prob(Funnel(3), [[v, *x]])[0] == pytest.approx(expected, rel=1e-5)


def test_many_wells_are_a_product_of_pairs():
    points = np.random.default_rng(0).standard_normal((20, 6))
    pairs = [log_prob(ManyWell(2), points[:, i : i + 2]) for i in (0, 2, 4)]
    np.testing.assert_allclose(log_prob(ManyWell(6), points), sum(pairs), rtol=1e-5, atol=1e-4)
    left = np.mean(ManyWell(2).sample(np.random.default_rng(0), 100_000)[:, 0] < 0)
    assert left == pytest.approx(0.1556929, abs=0.005)


def schools_posterior():
    """Return average and log spread on a grid, and the log-evidence of each: effects integrated."""
    a, t = np.meshgrid(np.linspace(-60, 70, 521), np.linspace(-3, 10, 521), indexing="ij")
    log_p = -0.5 * ((a / 10) ** 2 + (t - 5) ** 2) - math.log(10) - math.log(2 * math.pi)
    for y, sigma in zip(EightSchools.effects, EightSchools.errors):
        variance = sigma**2 + np.exp(2 * t)
        log_p += -0.5 * (y - a) ** 2 / variance - 0.5 * np.log(2 * math.pi * variance)
    return a, t, log_p


def test_eight_schools_have_the_log_z_and_moments_of_a_quadrature():
    a, t, log_p = schools_posterior()
    cell, w = (130 / 520) * (13 / 520), np.exp(log_p - log_p.max())
    assert log_p.max() + math.log(w.sum() * cell) == pytest.approx(EightSchools.log_z, abs=1e-5)
    w /= w.sum()
    for index, values in enumerate((a, t)):
        mean = (w * values).sum()
        moments = mean, math.sqrt((w * (values - mean) ** 2).sum())
        np.testing.assert_allclose(moments, EightSchools().moments[index], atol=2e-5)


def test_eight_schools_are_the_joint_density_of_effects_and_hyperparameters():
    rng = np.random.default_rng(1)
    point = np.concatenate([[3.0, 1.5], 5 + 4 * rng.standard_normal(8)])

    def normal(x, mean, spread):
        return -0.5 * ((x - mean) / spread) ** 2 - math.log(spread * math.sqrt(2 * math.pi))

    expected = normal(point[0], 0, 10) + normal(point[1], 5, 1) - EightSchools.log_z
    for effect, y, sigma in zip(point[2:], EightSchools.effects, EightSchools.errors):
        expected += normal(effect, point[0], math.exp(point[1])) + normal(y, effect, sigma)
    assert log_prob(EightSchools(), point[None])[0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("target", EVERY, ids=lambda target: type(target).__name__)
def test_exact_samples_have_the_moments_that_are_known(target):
    assert call(target.log_prob, np.zeros((2, 3, target.dim), np.float32)).shape == (2, 3)
    if target.sample is None:
        return
    x = target.sample(np.random.default_rng(2), 200_000)
    assert x.shape == (200_000, target.dim)
    for index, (mean, spread) in target.moments.items():
        error = spread / math.sqrt(len(x))
        assert abs(x[:, index].mean() - mean) < 5 * error
        assert abs(x[:, index].std() - spread) < 10 * error
