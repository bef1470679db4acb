"""What the flows of a density in the plane do, moment by moment, and grids of points."""

import numpy as np
import pytest
from short_runs import without_programs
from stacks import every_stack, make
from truth import float64, needs_float64, to_numpy

from nflow_cli.data.column_maps import Scale
from nflow_cli.data.units import ColumnUnits
from nflow_cli.densities.bases import StandardNormal, UniformBox
from nflow_cli.densities.pushforward import PushforwardDensity
from nflow_cli.evaluation import motion as of_motion
from nflow_cli.evaluation.motion import (
    MOST_FRAMES,
    Grid,
    Motion,
    flow_arrays,
    moments_of,
    motion_arrays,
)
from nflow_cli.flows.stack import FlowStack

UNITS = ColumnUnits([[Scale(10.0, 4.0)], [Scale(-3.0, 0.5)]])
COUPLINGS = [{"spline-coupling": {"hidden": [8]}}, "permutation"]


def density(pattern=("planar", "radial"), k=3, affine="full", base=None, spread=0.3, **units):
    flow = FlowStack(list(pattern), k, seed=1, affine=affine)
    flow.build((None, 2))
    rng = np.random.default_rng(0)
    for weight in flow.trainable_weights:
        weight.assign(np.asarray(weight) + spread * rng.standard_normal(weight.shape))
    return PushforwardDensity(base or StandardNormal(), flow, **units)


@pytest.fixture(scope="module", autouse=True)
def operation_by_operation():
    """Compile nothing: each part of a flow would be a program of its own, which runs once."""
    with without_programs():
        yield


@pytest.fixture(scope="module")
def motions():
    densities = density(), density(units=UNITS), density(COUPLINGS, 2, None, spread=0.1)
    return [Motion(one) for one in densities]


@pytest.fixture
def few_moments(monkeypatch):
    monkeypatch.setattr(of_motion, "FRAMES_A_FLOW", 3)


@pytest.mark.usefixtures("few_moments")
@pytest.mark.parametrize("which", [1, 2])  # the first is the second in other units
def test_the_mass_is_1_at_every_moment_and_the_ends_are_the_base_and_the_fit(motions, which):
    motion = motions[which]
    arrays = motion_arrays(motion, 0)
    first, second = arrays["axis_1"], arrays["axis_2"]
    cell = (first[1] - first[0]) * (second[1] - second[0])
    mass = np.exp(arrays["log_density"]).sum(axis=(1, 2)) * cell
    assert arrays["moments"][0] == 0 and arrays["moments"][-1] == len(motion.steps)
    assert np.all((mass > 0.97) & (mass < 1.003))  # the window leaves out some of it
    grid = np.stack(np.meshgrid(first, second), axis=-1)
    q = motion.density
    np.testing.assert_allclose(arrays["log_density"][-1], q.log_prob(grid), atol=2e-4)
    z, log_det = q.units.inside_and_log_det(grid)
    base = -(z**2).sum(axis=-1) / 2 - np.log(2 * np.pi) + log_det
    np.testing.assert_allclose(arrays["log_density"][0], base, atol=1e-4)


@pytest.mark.parametrize(("which", "moment"), [(0, 0.4), (0, 1.0), (2, 1.7)])
def test_draws_at_a_moment_have_the_density_of_that_moment(motions, which, moment):
    """The mean of the log-density over draws is that over a grid: minus the entropy."""
    motion = motions[which]
    z0 = np.random.default_rng(0).standard_normal((10_000, 2))
    (draws,) = motion.images([moment], z0)
    axis = np.linspace(-14, 14, 201)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    log_q = motion.log_density(moment, grid).astype(float)
    weights = np.exp(log_q) * (axis[1] - axis[0]) ** 2
    assert weights.sum() == pytest.approx(1, abs=2e-3)
    sampled = motion.log_density(moment, draws)
    assert sampled.mean() == pytest.approx(
        (weights * log_q).sum(), abs=5 * sampled.std() / np.sqrt(len(draws))
    )
    np.testing.assert_allclose(draws.mean(axis=0), weights @ grid, atol=0.08)


def first_flows(stack, k):
    """Return a stack of the first ``k`` flows of another."""
    first = FlowStack(stack.pattern, k, seed=0, dtype=stack.variable_dtype)
    first.build((None, stack.dim))
    for own, whole in zip(first.parameters, stack.parameters):
        for key, variable in own.items():
            variable.assign(to_numpy(whole[key])[: variable.shape[0]])
    return first


@every_stack
@needs_float64
@float64()
def test_at_whole_moments_it_is_what_the_first_flows_alone_do(name):
    motion = Motion(PushforwardDensity(StandardNormal(), make(name, dim=3, dtype="float64")))
    points, ks = np.random.default_rng(1).standard_normal((20, 3)), range(len(motion.steps) + 1)
    for k, images in zip(ks, motion.images(ks, points), strict=True):
        first = PushforwardDensity(StandardNormal(), first_flows(motion.density.flow, k))
        np.testing.assert_allclose(motion.log_density(k, points), first.log_prob(points), 1e-12)
        np.testing.assert_allclose(images, first.from_latent(points), 1e-12, 1e-12)


def test_moments_rise_from_0_to_the_end_and_hold_every_flow_if_there_is_room():
    for length in (1, 2, 8, 32, 96, 97, 1_000):
        moments = moments_of(length)
        assert moments[0] == 0 and moments[-1] == length and np.all(np.diff(moments) > 0)
        assert 24 <= len(moments) - 1 <= MOST_FRAMES
        if length <= MOST_FRAMES:
            assert set(range(length + 1)) <= set(moments)


def test_a_flow_takes_lines_draws_and_density_along(motions):
    motion = motions[0]
    for number in (1, 2, 4):
        arrays = flow_arrays(motion, number, 0)
        step = motion.steps[number - 1]
        for key in ("lines", "draws"):
            name = {"lines": "lines", "draws": "draws_before"}[key]
            moved, _ = step.run(arrays[name].astype("float32"))
            np.testing.assert_allclose(np.asarray(moved), arrays[f"{key}_after"], atol=1e-4)
        grid = np.stack(np.meshgrid(arrays["axis_1"], arrays["axis_2"]), axis=-1).reshape(-1, 2)
        back, log_det = map(np.asarray, step.run(grid.astype("float32"), inverse=True))
        expected = motion.log_density(number - 1, back) + log_det
        np.testing.assert_allclose(arrays["log_after"].ravel(), expected, atol=2e-3)


@pytest.mark.usefixtures("few_moments")
def test_the_edge_of_a_bounded_base_moves_too():
    arrays = motion_arrays(Motion(density(("radial",), 2, None, UniformBox())), 0)
    assert np.isneginf(arrays["log_density"]).any(axis=(1, 2)).all()
    cell = np.prod([np.diff(arrays[name])[0] for name in ("axis_1", "axis_2")])
    mass = np.exp(arrays["log_density"]).sum(axis=(1, 2)) * cell
    assert np.all(np.abs(mass - 1) < 0.03)


def test_points_of_a_grid_go_along_its_rows_first():
    grid = Grid(np.array([0.0, 1.0, 5.0]), np.array([-2.0, 3.0]))
    assert grid.shape == (2, 3)
    np.testing.assert_array_equal(grid.points, [[0, -2], [1, -2], [5, -2], [0, 3], [1, 3], [5, 3]])
