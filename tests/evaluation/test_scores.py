import numpy as np
import pytest
from stacks import density_of, every_stack, make
from truth import Grid, mixture_log_prob, normal_log_prob

from nflow_cli.data.points import load_point_data
from nflow_cli.data.units import Standardisation
from nflow_cli.densities.bases import StandardNormal, UniformBox
from nflow_cli.densities.pushforward import FlowDensity
from nflow_cli.evaluation.scores import gap_to_the_truth, likelihood, mass_of
from nflow_cli.flows import FlowStack
from nflow_cli.registry import POINT_SETS


@every_stack
def test_the_mass_is_1(name):
    mass, error = mass_of(FlowDensity(StandardNormal(), make(name)), 0)
    assert abs(mass - 1) < 1e-3 and error < 1e-3


@pytest.mark.parametrize("name", ["radial", "empty"])
def test_the_mass_from_a_bounded_base_is_1(name):
    mass, error = mass_of(FlowDensity(UniformBox(), make(name)), 0)
    assert abs(mass - 1) < 5e-3 and abs(mass - 1) < error + 1e-3


@pytest.mark.parametrize("scale", [1e-6, 1e3])
def test_the_mass_of_a_narrow_and_of_a_wide_density_is_1(scale):
    # One planar flow that stretches by the scale along an axis: no grid of a picture sees it.
    q = density_of(FlowStack(["planar"], 1))
    u = float(scale + np.log(-np.expm1(-scale)))  # the slope at 0 is softplus(w.u) = scale
    raw = {"u": [[1e3 * u, 0.0]], "w": [[1e-3, 0.0]], "b": [0.0]}
    for name, weight in q.flow.parameters[0].items():
        weight.assign(raw[name])
    mass, error = mass_of(q, 0)
    assert abs(mass - 1) < 1e-3 and error < 1e-3


def test_a_density_whose_samples_are_nowhere_has_no_mass():
    q = FlowDensity(StandardNormal(), make("planar"))
    q.flow.parameters[0]["b"].assign([np.nan] * 4)
    assert np.isnan(mass_of(q, 0)).all()


def test_the_likelihood_of_points_is_their_mean_log_density():
    q = FlowDensity(StandardNormal(), make("empty"))
    points = 2 * np.random.default_rng(0).standard_normal((500, 2))
    found = likelihood(q, points)
    expected = normal_log_prob(points)
    assert found["log_likelihood"] == pytest.approx(expected.mean(), rel=1e-5)
    assert found["log_likelihood_standard_error"] == pytest.approx(
        expected.std(ddof=1) / np.sqrt(500), rel=1e-5
    )
    assert (found["n"], found["outside"], found["n_effective"]) == (500, 0, 500)
    one = likelihood(q, points[:1])
    assert one["log_likelihood_standard_error"] is None and one["n"] == 1


ANGLES = np.arange(8) * np.pi / 4
CENTRES = 2 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], -1)


def eight_gaussians(x):
    return mixture_log_prob(x, np.ones(8), CENTRES, [0.04 * np.eye(2)] * 8)


class Density:
    """A density by the function that is its logarithm."""

    def __init__(self, log_prob):
        self.log_prob = log_prob


def test_the_gap_of_a_gaussian_is_its_kl_by_quadrature():
    mean, scale = np.array([0.3, -0.2]), np.array([1.4, 1.7])
    q = FlowDensity(StandardNormal(), make("empty"), Standardisation(mean, scale))
    grid = Grid(4.0, 401)
    log_p = eight_gaussians(grid.points)
    log_ratio = log_p - normal_log_prob(grid.points, mean, np.diag(scale**2))
    kl = grid.integral(np.exp(log_p) * log_ratio)
    deviation = np.sqrt(grid.integral(np.exp(log_p) * (log_ratio - kl) ** 2))
    received = gap_to_the_truth(q, "eight-gaussians", 3)
    error = received["gap_standard_error"]
    assert error == pytest.approx(deviation / np.sqrt(100_000), rel=0.02)
    assert abs(received["gap"] - kl) < 4 * error


def test_the_truth_has_no_gap():
    received = gap_to_the_truth(Density(eight_gaussians), "eight-gaussians", 0)
    assert list(received.values()) == pytest.approx([0, 0], abs=1e-12)


def test_the_gap_is_that_of_the_columns_in_their_order():
    assert gap_to_the_truth(Density(None), "eight-gaussians", 0, ["x2"])["gap"] is None
    # Half as wide along the first column alone.
    q = Density(lambda x: eight_gaussians(x * [1, 2]) + np.log(2))
    swapped = Density(lambda x: q.log_prob(x[:, ::-1]))
    received, expected = (
        gap_to_the_truth(density, "eight-gaussians", 0, columns)["gap"]
        for density, columns in ((swapped, ["x2", "x1"]), (q, ["x1", "x2"]))
    )
    assert received == pytest.approx(expected) and expected > 0.1


def test_the_gap_is_infinite_where_q_is_0():
    q = Density(lambda x: np.where(x[:, 0] < 2.5, 0.0, -np.inf))
    received = gap_to_the_truth(q, "eight-gaussians", 0)
    assert received["gap"] == np.inf and np.isnan(received["gap_standard_error"])


@pytest.mark.parametrize("name", ["pinwheel", "points.csv"])
def test_data_without_a_density_have_no_gap(name):
    none = {"gap": None, "gap_standard_error": None}
    assert gap_to_the_truth(Density(None), name, 0) == none


@pytest.mark.parametrize("name", POINT_SETS)
def test_the_fresh_points_are_none_of_the_run(name):
    points, data = [], load_point_data(name, 5)
    gap_to_the_truth(Density(lambda x: points.append(x) or np.zeros(len(x))), name, 5)
    for x in points:
        assert x.shape == (100_000, 2)
        assert not np.intersect1d(x, [*data.train, *data.validation, *data.test]).size
