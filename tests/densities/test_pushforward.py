import math

import numpy as np
import pytest
from keras import ops
from stacks import every_stack, make
from truth import (
    chi_square_excess,
    dense_jacobian,
    float64,
    needs_float64,
    normal_log_prob,
    push,
    to_numpy,
)

from nflow_cli.data.column_maps import Log, Logit, Scale, TukeyH
from nflow_cli.data.units import IDENTITY, ColumnUnits
from nflow_cli.densities import pushforward
from nflow_cli.densities.bases import StandardNormal, UniformBox
from nflow_cli.densities.pushforward import PushforwardDensity, chunks
from nflow_cli.errors import ConfigError, DataError

every_unit = pytest.mark.parametrize("standardised", [False, True], ids=["identity", "units"])
COLUMNS = ColumnUnits(
    [
        [Log(-1.0, "above"), Scale(0.5, 0.5), TukeyH(0.05)],
        [Logit(0.0, 5.0), Scale(0.0, 2.0)],
    ]
)


def centre_and_scale(dim):
    """Return those of units that differ between coordinates."""
    return 3.0 + np.arange(dim), 10.0 ** np.arange(-1, dim - 1)


def units_of(dim):
    """Return these units."""
    return ColumnUnits([[Scale(*both)] for both in zip(*centre_and_scale(dim))])


every_units = pytest.mark.parametrize(
    "units", [IDENTITY, units_of(2), COLUMNS], ids=["identity", "units", "bounds"]
)


def rng_points(n):
    return np.random.default_rng(0).standard_normal((n, 2)).astype("float32")


def density(name="mixed", base=None, standardised=False, dim=2, **options):
    units = units_of(dim) if standardised else IDENTITY
    return PushforwardDensity(base or StandardNormal(), make(name, dim=dim, **options), units)


def images(q, z0):
    """Return where a density's base samples go, by the paper's formulas in NumPy."""
    return q.units.outside(push(q.flow, z0)[0])


@pytest.mark.parametrize("dim", [1, 2, 5])
@every_stack
@needs_float64
@float64()
def test_the_density_is_that_of_a_dense_jacobian(name, dim):
    z0 = 1.5 * np.random.default_rng(dim).standard_normal((50, dim))
    for units in (IDENTITY, units_of(dim), *([COLUMNS] if dim == 2 else [])):
        q = PushforwardDensity(StandardNormal(), make(name, dim=dim, dtype="float64"), units)
        jacobian = dense_jacobian(lambda z, q=q: images(q, z), z0)
        expected = normal_log_prob(z0, np.zeros(dim), np.eye(dim))
        expected -= np.linalg.slogdet(jacobian)[1]
        log_q = q.log_prob(images(q, z0))
        assert (q.dim, log_q.dtype) == (dim, np.float64)
        np.testing.assert_allclose(log_q, expected, 1e-7, 1e-7)


@pytest.mark.parametrize(("dim", "n"), [(1, 4001), (3, 71)])
def test_the_density_integrates_to_1_over_a_grid(dim, n):
    q = density(dim=dim, standardised=True)
    samples = q.sample(20_000)
    away = 1.5 * np.abs(samples - samples.mean(axis=0)).max(axis=0)
    axes = np.linspace(samples.mean(axis=0) - away, samples.mean(axis=0) + away, n).T
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    mass = np.exp(q.log_prob(points).astype(float)).sum() * np.prod(axes[:, 1] - axes[:, 0])
    assert abs(mass - 1) < 1e-3


def test_the_density_integrates_to_1_by_importance_sampling():
    q, n = density(dim=5, standardised=True), 100_000
    samples = q.sample(n).astype(float)
    mean, covariance = samples.mean(axis=0), 2 * np.cov(samples.T)
    x = np.random.default_rng(0).multivariate_normal(mean, covariance, n)
    w = np.exp(q.log_prob(x) - normal_log_prob(x, mean, covariance))
    error = w.std() / np.sqrt(n)
    assert abs(w.mean() - 1) < 4 * error and error < 0.02


@every_unit
def test_the_log_density_is_that_of_the_papers_formulas_in_float32(standardised):
    q = density(standardised=standardised)
    z0 = np.random.default_rng(0).standard_normal((1_000, 2))
    z, log_det = push(q.flow, z0)
    log_q = q.log_prob(q.units.outside(z))
    assert log_q.dtype == (np.float64 if standardised else np.float32)
    away = np.log(centre_and_scale(2)[1]).sum() if standardised else 0.0
    np.testing.assert_allclose(log_q, normal_log_prob(z0) - log_det - away, atol=2e-4)


@every_units
def test_samples_are_the_images_of_the_base_samples_with_their_density(units):
    q = PushforwardDensity(StandardNormal(), make("mixed"), units)
    first, second = q.draw(102_000, lambda chunk: np.random.default_rng(chunk))
    assert (first.start, second.start) == (0, 100_000)
    z0 = StandardNormal().sample(np.random.default_rng(1), (2_000, 2))
    np.testing.assert_array_equal(second.z0, z0)
    np.testing.assert_allclose(q.latent(second.x), z0, atol=1e-3)
    np.testing.assert_allclose(q.from_latent(z0), second.x, 1e-5, 1e-5)
    x = images(q, second.z0.astype(float))
    np.testing.assert_allclose(second.x, x, 1e-4, 1e-4 * x.std())
    np.testing.assert_allclose(second.log_q, q.log_prob(second.x), atol=1e-3)
    assert first.x.dtype == first.log_q.dtype == q.dtype


def test_samples_follow_the_density():
    q = density()
    samples = q.sample(20_000, seed=3)
    assert (samples.shape, samples.dtype) == ((20_000, 2), np.float32)
    assert chi_square_excess(samples, lambda x: np.exp(q.log_prob(x).astype(float)), 4.0) < 4


def test_a_seed_fixes_the_samples_whatever_their_number(monkeypatch):
    q = density()
    monkeypatch.setattr(pushforward, "CHUNK", 30)
    many = q.sample(100, seed=5)
    for n in (0, 1, 29, 30, 31, 60, 99):
        np.testing.assert_allclose(q.sample(n, seed=5), many[:n], atol=1e-5)
    assert len(np.unique(many, axis=0)) == 100
    assert not np.intersect1d(q.sample(100, seed=6), many).size
    np.testing.assert_array_equal(q.sample(100), q.sample(100, seed=0))


@every_stack
@every_unit
def test_points_come_back_from_their_latent_points(name, standardised):
    q = density(name, standardised=standardised)
    x = q.units.outside(3 * np.random.default_rng(0).standard_normal((7, 30, 2)))
    z0 = q.latent(x)
    assert (z0.shape, z0.dtype) == ((7, 30, 2), np.float32)
    back = q.from_latent(z0)
    assert (back.shape, back.dtype) == (x.shape, q.dtype)
    np.testing.assert_allclose(back, x, 1e-5, 1e-4 * x.std())


def test_points_keep_their_leading_shape_and_lists_of_whole_numbers_are_points(monkeypatch):
    monkeypatch.setattr(pushforward, "CHUNK", 5)
    q = density("planar")
    every = np.random.default_rng(0).standard_normal((12, 2))
    each = q.log_prob(every)
    for shape in ((), (0,), (1,), (7,), (3, 4), (2, 0, 3)):
        x = every[: math.prod(shape)].reshape(*shape, 2)
        log_q = q.log_prob(x)
        assert (log_q.shape, log_q.dtype) == (shape, np.float32)
        np.testing.assert_allclose(log_q.ravel(), each[: log_q.size], rtol=1e-5)
        assert q.latent(x).shape == q.from_latent(x).shape == (*shape, 2)
    np.testing.assert_array_equal(q.log_prob([[1, 2]]), q.log_prob(np.array([[1.0, 2.0]])))


@pytest.mark.parametrize("method", ["log_prob", "latent", "from_latent"])
def test_anything_but_points_is_refused(method):
    q = density("empty")
    for x in (1.0, [1.0], [[1.0, 2.0, 3.0]], [["a", "b"]], [[1.0, 2.0], [3.0]], None, [[1j, 0]]):
        with pytest.raises(DataError, match=r"points \(\.\.\., 2\).*Received: .*$"):
            getattr(q, method)(x)


def test_a_number_or_a_seed_that_counts_nothing_is_refused():
    q = density()
    for n in (-1, 2.5, "5", True, None):
        with pytest.raises(DataError, match=rf"expected a whole number.*Received: n={n!r}"):
            q.sample(n)
    for seed in (1.5, True, "1", -1):
        with pytest.raises(ConfigError, match=rf"expected a whole.*Received: seed={seed!r}"):
            q.sample(5, seed=seed)
    np.testing.assert_array_equal(q.sample(np.int64(3), np.int64(1)), q.sample(3, 1))


@pytest.mark.parametrize("base", [StandardNormal(), UniformBox()])
def test_far_points_have_no_density_and_nan_stays_nan(base):
    points = np.array([[1e30, 0], [0, -np.inf], [3e14, 0], [np.nan, 0], [1e30, np.nan]])
    far = density(base=base).log_prob(points)
    assert (far[:2] == -np.inf).all() and far[2] < -1e25 and np.isnan(far[3:]).all()


def test_outside_the_image_of_a_bounded_base_the_density_is_0():
    q = density("radial", base=UniformBox())
    corners = np.array([[2.99, -2.99], [-2.9, 2.9], [0.1, 0.2], [3.01, 0], [-3.1, 3.1], [0, -99]])
    inside = [True, True, True, False, False, False]
    assert list(q.log_prob(images(q, corners)) > -np.inf) == inside


def test_push_and_pull_take_any_leading_shape():
    q = density()
    z0 = ops.convert_to_tensor(np.random.default_rng(0).standard_normal((3, 4, 2)), "float32")
    z, log_q = q.push(z0)
    again, log_q_again = q.pull(z)
    np.testing.assert_allclose(to_numpy(again), to_numpy(z0), atol=1e-4)
    np.testing.assert_allclose(to_numpy(log_q), to_numpy(log_q_again), atol=1e-4)
    assert tuple(log_q.shape) == (3, 4)


def in_columns(base=None):
    return PushforwardDensity(base or StandardNormal(), make("mixed"), COLUMNS)


def test_a_density_of_bounded_columns_has_mass_1_and_its_samples_follow_it():
    q = in_columns()
    z, x = q.latent(q.sample(5_000)), q.sample(5_000)
    assert (x[:, 0] > -1).all() and ((x[:, 1] > 0) & (x[:, 1] < 5)).all()
    assert np.abs(z.mean(axis=0)).max() < 0.06 and np.abs(np.cov(z.T) - np.eye(2)).max() < 0.1
    # The first column in steps of its logarithm, which it falls off with.
    log_away, second = np.linspace(-8, 12, 801), np.linspace(0, 5, 503)[1:-1]
    points = np.stack(np.meshgrid(np.exp(log_away) - 1, second, indexing="ij"), axis=-1)
    log_mass = q.log_prob(points) + log_away[:, None]
    assert abs(np.exp(log_mass).sum() * 0.025 * (second[1] - second[0]) - 1) < 2e-3


@every_units
def test_the_base_alone_has_its_density_in_the_users_units(units):
    q, z0 = PushforwardDensity(StandardNormal(), make("mixed"), units), rng_points(50)
    x, away = q.units.outside_and_log_det(z0)
    np.testing.assert_allclose(q.base_log_prob(x), normal_log_prob(z0) - away, 1e-6, 1e-6)


@pytest.mark.parametrize("base", [StandardNormal(), UniformBox()])
def test_on_a_bound_and_outside_there_is_no_density_and_no_latent_point(base):
    q = in_columns(base=base)
    outside = np.array([[-1.0, 2], [-9.0, 2], [0, 0], [0, 5], [0, 5.5], [np.inf, 2], [0, -np.inf]])
    nan = np.array([[np.nan, 2], [np.nan, 7], [-3, np.nan]])
    points = np.concatenate([outside, nan, [[0.5, 2.5]]])
    log_q = q.log_prob(points)
    assert (log_q[:7] == -np.inf).all() and np.isnan(log_q[7:10]).all() and np.isfinite(log_q[10])
    latent = q.latent(points)
    assert np.isnan(latent[:10]).all() and np.isfinite(latent[10]).all()


def test_of_many_columns_fewer_points_are_computed_at_a_time():
    assert [part.stop - part.start for part in chunks(150_000, 2)] == [100_000, 50_000]
    assert [part.stop - part.start for part in chunks(5_000, 1_000)] == [2_000, 2_000, 1_000]
