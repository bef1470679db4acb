import numpy as np
import pytest
from stacks import density_of, every_stack, make
from truth import normal_log_prob

from nflow_cli.densities.bases import StandardNormal, UniformBox
from nflow_cli.densities.pushforward import FlowDensity
from nflow_cli.evaluation.likelihood import likelihood_of_points, tallied_points
from nflow_cli.evaluation.scores import mass_of
from nflow_cli.flows import FlowStack


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
    found = likelihood_of_points(tallied_points(q.log_prob(points)))
    expected = normal_log_prob(points)
    assert found["log_likelihood"] == pytest.approx(expected.mean(), rel=1e-5)
    assert found["log_likelihood_standard_error"] == pytest.approx(
        expected.std(ddof=1) / np.sqrt(500), rel=1e-5
    )
    assert (found["n"], found["outside"], found["n_effective"]) == (500, 0, 500)
    one = likelihood_of_points(tallied_points(q.log_prob(points[:1])))
    assert one["log_likelihood_standard_error"] is None and one["n"] == 1
