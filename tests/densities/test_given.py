"""The density of the columns of a row given others: flows with a context, and their regression."""

import numpy as np
import pytest
from truth import normal_log_prob

from nflow_cli.data.column_maps import Log, Scale
from nflow_cli.data.units import ColumnUnits
from nflow_cli.densities.bases import StandardNormal
from nflow_cli.densities.pushforward import PushforwardDensity
from nflow_cli.densities.regression import LinearGaussian
from nflow_cli.errors import DataError
from nflow_cli.flows.stack import FlowStack

UNITS = ColumnUnits([[Scale(990.0, 2.0)], [Scale(3.0, 90.0)]])
GIVEN = ColumnUnits([[Scale(-4.0, 0.5)]])
SPLINE = [{"spline-coupling": {"hidden": [8]}}]


def density(given=GIVEN, units=UNITS, pattern=SPLINE, k=3):
    """Return a density of two columns given one, whose weights are no start's."""
    flow = FlowStack(pattern, k, 1, "full" if k else None, dtype="float64")
    count = len(given.columns)
    flow.build((None, 2), (None, count) if count else None)
    rng = np.random.default_rng(0)
    flow.set_weights(
        [
            w if "order" in v.name else w + 0.1 * rng.standard_normal(w.shape)
            for v, w in zip(flow.weights, flow.get_weights())
        ]
    )
    return PushforwardDensity(StandardNormal(), flow, units, given)


@pytest.mark.parametrize("g", [-4.3, -3.0])
def test_the_density_given_a_value_has_mass_1(g):
    units = ColumnUnits([[Scale(1.0, 0.5)], [Log(0.0, "above")]])
    u = np.linspace(-14, 14, 401)
    z = np.stack(np.meshgrid(u, u, indexing="ij"), axis=-1).reshape(-1, 2)
    x, log_det = units.outside_and_log_det(z)
    rows = np.column_stack([np.full(len(x), g), x])
    q = np.exp(density(units=units).log_prob(rows) + log_det)
    assert q.sum() * (u[1] - u[0]) ** 2 == pytest.approx(1, abs=2e-3)


def test_draws_are_at_what_is_given_and_have_the_log_density_that_is_computed_of_them():
    q = density()
    given = np.array([[-5.0], [-3.0]])
    rows = q.sample(4_000, seed=2, given=given)
    assert rows.shape == (8_000, 3)
    np.testing.assert_array_equal(rows[:, 0], np.repeat(given[:, 0], 4_000))
    parts = list(q.batches(4_000, 2, given))
    log_q = np.concatenate([part[2] for part in parts])
    np.testing.assert_allclose(log_q, q.log_prob(rows), rtol=0, atol=1e-6)
    z = q.latent(rows)
    assert z.shape == (8_000, 2)
    np.testing.assert_allclose(q.from_latent(np.column_stack([rows[:, 0], z])), rows, rtol=1e-6)
    np.testing.assert_allclose([z.mean(), z.std()], [0, 1], atol=0.05)
    assert abs(rows[:4_000, 1].mean() - rows[4_000:, 1].mean()) > 0.05


def test_what_is_given_must_be_finite_and_in_its_place():
    q = density()
    rows = q.sample(3, given=np.array([[-4.0]]))
    rows[0, 0], rows[1, 0] = np.nan, np.inf
    log_q = q.log_prob(rows)
    assert np.isnan(log_q[:2]).all() and np.isfinite(log_q[2])
    with pytest.raises(DataError, match=r"expected points \(..., 3\)"):
        q.log_prob(rows[:, 1:])


@pytest.mark.parametrize("weighted", [False, True])
def test_the_linear_gaussian_is_the_most_likely_one(weighted):
    rng = np.random.default_rng(0)
    g = rng.standard_normal(400)
    x = np.column_stack([g, 5 - 2 * g]) + rng.standard_normal((400, 2)) @ [[3.0, 1.0], [0.0, 2.0]]
    rows = np.column_stack([g, x])
    weights = rng.exponential(size=400) if weighted else None
    found = LinearGaussian(density(), rows, weights).log_prob(rows)
    root = np.sqrt(np.ones(400) if weights is None else weights)[:, None]
    design = np.column_stack([np.ones(400), g])
    slopes = np.linalg.lstsq(root * design, root * x)[0]
    away = x - design @ slopes
    covariance = np.cov(away.T, bias=True, aweights=weights)
    covariance += np.outer(*2 * [np.average(away, axis=0, weights=weights)])
    np.testing.assert_allclose(found, normal_log_prob(away, np.zeros(2), covariance), rtol=1e-7)


def test_without_what_is_given_it_is_the_gaussian_of_the_rows():
    points = np.random.default_rng(0).standard_normal((200, 2))
    points = points @ [[3.0, 100.0], [0.0, 50.0]] + [1000.0, -7.0]
    q = density(ColumnUnits([]), k=0)
    found = LinearGaussian(q, points[:160]).log_prob(points[160:])
    covariance = np.cov(points[:160].T, bias=True)
    expected = normal_log_prob(points[160:], points[:160].mean(0), covariance)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
