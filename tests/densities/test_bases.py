import math

import numpy as np
import pytest
from scipy import stats
from truth import call, float64, normal_log_prob

from nflow_cli.densities.bases import Cauchy, CauchyRadius, StandardNormal, StudentT, UniformBox


@pytest.mark.parametrize("dim", [1, 2, 40])
@float64()
def test_the_normal_has_the_density_of_a_multivariate_gaussian(dim):
    z = 3 * np.random.default_rng(dim).standard_normal((5, 4, dim))
    expected = normal_log_prob(z, np.zeros(dim), np.eye(dim))
    np.testing.assert_allclose(call(StandardNormal().log_prob, z), expected, 1e-13)


@float64()
def test_the_box_and_students_t_have_their_densities():
    z = np.array([[0.5, -2.0, 2.5], [0.0, 0.0, 2.6], [np.nan, 0.0, 9.0]])
    inside, outside, unknown = call(UniformBox(2.5).log_prob, z)
    assert inside == pytest.approx(-3 * math.log(5)) and outside == -math.inf
    assert math.isnan(unknown)
    z = np.random.default_rng(0).normal(size=(50, 1)) * np.logspace(-9, 15, 25)
    for df in (0.5, 1.0, 5.0, 200.0):
        expected = stats.t.logpdf(z, df).sum(axis=-1)
        np.testing.assert_allclose(call(StudentT(df).log_prob, z), expected, 1e-13)


@pytest.mark.parametrize("dim", [1, 2, 5])
@float64()
def test_heavy_tails_have_truncated_cauchy_densities(dim):
    scale = np.repeat([[2_000.0], [100.0], [10.0]], 200, axis=0)
    z = scale * np.random.default_rng(3).uniform(-1, 1, (600, dim))
    within, farther = 2 / np.pi * np.arctan([30, 1_000])  # what is not cut off
    apart = np.where(np.abs(z) <= 30, 1 / (np.pi * within * (1 + z**2)), 0.0).prod(axis=-1)
    r = np.linalg.norm(z, axis=-1) / np.sqrt(dim)
    sphere = 2 * np.pi ** (dim / 2) / math.gamma(dim / 2) * (np.sqrt(dim) * r) ** (dim - 1)
    around = np.where(r <= 1_000, 2 / (np.pi * farther * (1 + r**2)), 0.0) / np.sqrt(dim) / sphere
    for base, density in ((Cauchy(), apart), (CauchyRadius(), around)):
        with np.errstate(divide="ignore"):
            np.testing.assert_allclose(call(base.log_prob, z), np.log(density), 1e-10)
        assert (density == 0).any() and (density > 0).any()


@pytest.mark.parametrize("base", [Cauchy(), CauchyRadius()])
def test_samples_follow_heavy_tails(base):
    samples = base.sample(np.random.default_rng(4), (200_000, 2)).astype(float)
    edges = np.array([-30.0, -8, -2, -0.7, 0.3, 1, 5, 30])
    rng = np.random.default_rng(5)  # masses by uniform points of each cell
    for (i, j), count in np.ndenumerate(np.histogram2d(*samples.T, [edges, edges])[0]):
        low, high = edges[[i, j]], edges[[i + 1, j + 1]]
        points = rng.uniform(low, high, (20_000, 2)).astype("float32")
        p = np.exp(call(base.log_prob, points).astype(float)) * np.prod(high - low)
        error = math.hypot(p.std() / math.sqrt(20_000), math.sqrt(count + 1) / len(samples))
        assert abs(count / len(samples) - p.mean()) < 5 * error
