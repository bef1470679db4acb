from statistics import NormalDist

import numpy as np
import pytest
from truth import Grid, call, float64, gradient, kolmogorov_smirnov, normal_log_prob

from nflow_cli.densities.bases import Base, StandardNormal, UniformBox, Widened

BASES = {"normal": StandardNormal, "box": UniformBox, "wide box": lambda: UniformBox(7.5)}
every_base = pytest.mark.parametrize("base", [make() for make in BASES.values()], ids=list(BASES))


@pytest.mark.parametrize("dim", [1, 2, 40])
@float64()
def test_the_normal_has_the_density_of_a_multivariate_gaussian(dim):
    z = 3 * np.random.default_rng(dim).standard_normal((5, 4, dim))
    expected = normal_log_prob(z, np.zeros(dim), np.eye(dim))
    np.testing.assert_allclose(call(StandardNormal().log_prob, z), expected, 1e-13)


@pytest.mark.parametrize("dim", [1, 2, 5])
@float64()
def test_the_box_is_flat_inside_and_minus_infinity_outside(dim):
    box = UniformBox(3.0)
    z = np.random.default_rng(dim).uniform(-3, 3, (7, dim))
    np.testing.assert_allclose(call(box.log_prob, z), -dim * np.log(6), 1e-14)
    for index in range(dim):
        outside = z.copy()
        outside[:, index] = np.nextafter(3.0, 4) * np.array([1, -1, 1, -1, 1, -1, 1])
        assert np.all(call(box.log_prob, outside) == -np.inf)


def test_quantiles_of_the_normal_have_their_distribution_functions():
    u = np.array([[0.0, 1e-16, 1e-9, 0.02, 0.5], [0.7, 0.975, 1 - 1e-9, 1 - 1e-16, 1.0]])
    z = StandardNormal().quantiles(u)
    assert z.dtype == np.float32 and np.all(np.isfinite(z))
    expected = [
        [NormalDist().inv_cdf(v) if 1e-10 < v < 1 - 1e-10 else np.nan for v in row] for row in u
    ]
    inside = ~np.isnan(expected)
    np.testing.assert_allclose(z[inside], np.array(expected)[inside], 1e-6, 1e-9)
    assert z[0, 0] < -8 and z[1, -1] > 8


def test_quantiles_of_the_box_are_spread_over_it():
    u = np.array([0.0, 0.25, 0.5, 1.0])
    np.testing.assert_array_equal(UniformBox(2.0).quantiles(u), np.float32([-2, -1, 0, 2]))


@every_base
def test_a_point_that_is_not_a_number_has_no_density(base):
    z = np.array([[np.nan, 0.0], [99.0, np.nan], [0.5, 0.5]], "float32")
    assert list(np.isnan(call(base.log_prob, z))) == [True, True, False]


def test_the_border_belongs_to_the_box():
    corners = np.array([[3, 3], [-3, 3], [3, -3], [-3, -3]], "float32")
    assert np.all(np.isfinite(call(UniformBox(3.0).log_prob, corners)))


@float64()
def test_the_normal_integrates_to_1():
    grid = Grid(10.0, 401)
    density = np.exp(call(StandardNormal().log_prob, grid.points))
    assert abs(grid.integral(density) - 1) < 1e-12


@pytest.mark.parametrize("half_width", [0.5, 3.0])
@float64()
def test_the_box_integrates_to_1(half_width):
    middle = (np.arange(-200, 200) + 0.5) * 1.25 * half_width / 200
    points = np.stack(np.meshgrid(middle, middle), axis=-1)
    density = np.exp(call(UniformBox(half_width).log_prob, points))
    assert abs(density.sum() * (middle[1] - middle[0]) ** 2 - 1) < 1e-12


@every_base
@pytest.mark.parametrize("shape", [(2,), (6, 2), (3, 4, 2), (0, 2), (5, 7)])
def test_log_prob_has_the_points_leading_shape_and_type(base, shape):
    points = np.zeros(shape, "float32")
    log_prob = call(base.log_prob, points)
    assert log_prob.shape == shape[:-1]
    assert log_prob.dtype == np.float32


@every_base
def test_the_gradient_is_finite_everywhere(base):
    points = np.array([[0, 0], [3, 3], [-3, 1], [1e3, -1e3], [50, 0]], "float32")
    assert np.all(np.isfinite(gradient(base.log_prob, points)))


@float64()
def test_the_gradient_of_the_normal_is_minus_z():
    z = np.random.default_rng(0).standard_normal((9, 3))
    np.testing.assert_allclose(gradient(StandardNormal().log_prob, z), -z, 1e-14)


@every_base
def test_samples_are_float32_and_fixed_by_the_generator(base):
    first = base.sample(np.random.default_rng(5), (3, 4, 2))
    again = base.sample(np.random.default_rng(5), (3, 4, 2))
    other = base.sample(np.random.default_rng(6), (3, 4, 2))
    assert first.shape == (3, 4, 2)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert np.all(first != other)


@every_base
@pytest.mark.parametrize("shape", [(2, 6), (5, 2, 6), (4, 5, 3, 6)])
def test_a_base_of_independent_coordinates_draws_columns_in_their_order(base, shape):
    columns = base.sample_columns(np.random.default_rng(5), shape)
    assert columns.dtype == np.float32
    drawn = base.sample(np.random.default_rng(5), (np.prod(shape),))
    np.testing.assert_array_equal(columns, drawn.reshape(shape))


class Numbered(Base):
    """Draws points whose coordinates count upwards: the first axes vary slowest."""

    def log_prob(self, z):
        raise NotImplementedError

    def sample(self, rng, shape):
        return np.arange(np.prod(shape), dtype="float32").reshape(shape)


def test_columns_are_the_points_of_a_base():
    points = Numbered().sample(np.random.default_rng(0), (4, 5, 3))
    columns = Numbered().sample_columns(np.random.default_rng(0), (4, 3, 5))
    for i in range(4):
        for n in range(5):
            np.testing.assert_array_equal(columns[i, :, n], points[i, n])


@every_base
def test_every_sample_has_a_finite_density(base):
    samples = base.sample(np.random.default_rng(0), (200_000, 2))
    assert np.all(np.isfinite(call(base.log_prob, samples)))


def test_samples_follow_the_normal():
    samples = StandardNormal().sample(np.random.default_rng(1), (100_000, 2)).astype(float)
    axis = np.linspace(-9, 9, 10_001)
    margin = np.exp(-0.5 * axis**2)
    for column in samples.T:
        assert kolmogorov_smirnov(column, axis, margin) < 1.95  # exceeded once in a thousand
    assert abs(np.corrcoef(samples.T)[0, 1]) < 4 / np.sqrt(len(samples))


@pytest.mark.parametrize("half_width", [0.25, 3.0])
def test_samples_fill_the_box_evenly(half_width):
    samples = UniformBox(half_width).sample(np.random.default_rng(2), (100_000, 2)).astype(float)
    axis = np.linspace(-half_width, half_width, 3)
    for column in samples.T:
        assert kolmogorov_smirnov(column, axis, np.ones(3)) < 1.95
    assert abs(np.corrcoef(samples.T)[0, 1]) < 4 / np.sqrt(len(samples))


def test_only_the_box_calls_itself_bounded():
    assert UniformBox().bounded
    assert not StandardNormal().bounded


@float64()
def test_a_widened_base_is_half_the_base_and_half_of_heavy_tails():
    base = Widened(StandardNormal())
    z = np.random.default_rng(3).uniform(-40, 40, (200, 3)) * np.array([[1.0], [0.1]]).repeat(
        100, 0
    )
    inside = np.abs(z).max(axis=-1) <= 30
    cauchy = -np.log(np.pi * (1 + z**2)).sum(axis=-1)
    within = 3 * np.log(2 / np.pi * np.arctan(30))  # what is not cut off
    tails = np.where(inside, cauchy - within, -np.inf)
    expected = np.logaddexp(normal_log_prob(z, np.zeros(3), np.eye(3)), tails) - np.log(2)
    np.testing.assert_allclose(call(base.log_prob, z), expected, 1e-10)


def test_samples_follow_the_widened_base():
    base = Widened(StandardNormal())
    samples = base.sample(np.random.default_rng(4), (100_000, 2)).astype(float)
    axis = np.linspace(-30, 30, 20_001)
    margin = np.exp(call(base.log_prob, axis[:, None].astype("float32")).astype(float))
    for column in samples.T:
        assert kolmogorov_smirnov(column, axis, margin) < 1.95
