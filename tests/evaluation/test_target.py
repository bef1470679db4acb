import numpy as np
import pytest
from keras import ops
from stacks import every_stack, make, scores_of
from truth import (
    Grid,
    call,
    float64,
    kl_divergence,
    normal_log_prob,
    push,
)

from nflow_cli.data.column_maps import Scale
from nflow_cli.data.units import ColumnUnits
from nflow_cli.densities import pushforward
from nflow_cli.densities.bases import StandardNormal, UniformBox
from nflow_cli.densities.pushforward import PushforwardDensity
from nflow_cli.evaluation.motion import density_arrays, strip_panels
from nflow_cli.inference import targets
from nflow_cli.inference.reverse_kl import base_energy, coverage

BASE_GRID = Grid(8.5, 501)


class Tilted(targets.Target):
    """A Gaussian whose normaliser is not told."""

    def log_prob(self, z):
        return -0.25 * ops.sum(z * z, axis=-1) + z[..., 0]


class Known(Tilted):
    """The same with its ``log ∫ exp(z1 - |z|^2/4) = 1 + log 4π``."""

    log_z, log_z_source = 1 + np.log(4 * np.pi), "exact"

    def log_prob(self, z):
        return super().log_prob(z) - self.log_z


def exact_kl(stack, log_p):
    """Return ``∫ q0 (log q0 - log_det - log p(f))`` from the paper's formulas in NumPy."""
    log_q0 = normal_log_prob(BASE_GRID.points)
    z, log_det = push(stack, BASE_GRID.points)
    return BASE_GRID.integral(np.exp(log_q0) * (log_q0 - log_det - log_p(z)))


def in_numpy(target):
    return lambda z: call(target.log_prob, z)


def density(name, seed=0, base=None, **options):
    return PushforwardDensity(base or StandardNormal(), make(name, seed, **options))


def judge(q, target, seed, n):
    return scores_of(q, target, seed, n)


def first_of(q, n=2_000, seed=0):
    return next(q.draw(n, lambda _: np.random.default_rng(seed)))


@every_stack
def test_kl_is_that_of_the_quadrature_within_4_standard_errors(name):
    q, target = density(name), targets.Mixture([1, 2], [[1, 0], [-1, 1]])
    scores = judge(q, target, 0, 40_000)
    expected = exact_kl(q.flow, in_numpy(target))
    assert expected > 0
    assert abs(scores["kl"] - expected) < 4 * scores["kl_standard_error"]
    assert scores["kl_standard_error"] < 0.02


def test_kl_from_a_bounded_base_and_its_error_are_those_of_the_closed_form():
    q, target, n = density("empty", base=UniformBox()), targets.GaussianFromUniform(), 40_000
    scores = judge(q, target, 0, n) | base_energy(q.base, target, 0, n)
    # Over the box E (z - 1)^2 = 3 + 1 and E (z - 1)^4 = 35.2 in each coordinate, log p has halves.
    expected, variance = -np.log(36) + np.log(2 * np.pi) + 4, 2 * (35.2 - 16) / 4
    assert scores["kl_standard_error"] == pytest.approx(np.sqrt(variance / n), rel=0.02)
    assert abs(scores["kl"] - expected) < 4 * scores["kl_standard_error"]
    # Without a flow the fit is its base.
    assert scores["base_free_energy"] == pytest.approx(scores["free_energy"], abs=1e-6)
    error = scores["base_free_energy_standard_error"]
    assert error * np.sqrt(1 - 1 / n) == pytest.approx(scores["kl_standard_error"], rel=1e-6)
    assert scores["missed_share"] == 0.0  # what the box cannot reach is no missed mode


def test_kl_is_never_negative_beyond_its_error_and_ess_lies_between_0_and_1():
    for name, target in [
        ("mixed", targets.U1()),
        ("planar", targets.U2()),
        ("radial", targets.U4()),
        ("mixed", targets.Multimodal()),
    ]:
        scores = judge(density(name), target, 0, 5_000)
        assert scores["kl"] > -4 * scores["kl_standard_error"]
        assert 0 < scores["ess"] <= 1
    far = targets.Mixture([1.0], [[300.0, 0.0]])
    assert 0 < judge(density("empty"), far, 0, 1_000)["ess"] <= 0.01  # hopeless, but a number


def test_the_free_energy_is_kl_less_log_z_without_which_there_is_no_kl():
    q = density("mixed")
    known, unknown = (judge(q, target, 0, 20_000) for target in (Known(), Tilted()))
    assert known["free_energy"] == pytest.approx(known["kl"] - known["log_z"], abs=1e-12)
    assert known["free_energy"] == pytest.approx(unknown["free_energy"], abs=1e-5)
    expected = exact_kl(q.flow, in_numpy(Known()))
    assert abs(known["kl"] - expected) < 4 * known["kl_standard_error"]
    assert unknown["log_z"] is unknown["log_z_source"] is None
    assert set(coverage(q, Known(), 0).values()) == {None}  # it cannot be sampled
    same, other = (judge(q, Known(), seed, 20_000)["kl"] for seed in (0, 1))
    assert same == known["kl"] != other


def test_ess_is_that_of_the_integrals():
    """Of q = N(0, I), p = N(0, s^2 I) with s <= 1: E w = 1 and E w^2 = 1 / (s^4 (2/s^2 - 1))."""
    for s, off in [(0.8, 0.01), (1.0, 1e-6)]:
        target = targets.Mixture([1.0], [[0.0, 0.0]], [s**2 * np.eye(2)])
        scores = judge(density("empty"), target, 0, 200_000)
        assert scores["ess"] == pytest.approx(s**4 * (2 / s**2 - 1), rel=off)
    assert scores["kl"] == pytest.approx(0, abs=1e-6)  # where q is p


@pytest.mark.parametrize("lost", [0.0, 1e-4, 1e-2])
def test_the_kl_of_a_fit_that_lost_a_little_of_p_is_no_lower(lost):
    # q = N(0, I), which with the control variate would have a KL too low by what is lost.
    v = 0.98
    weights, places = [1 - lost, lost or 1e-30], [[0.0, 0.0], [15.0, 0.0]]
    target = targets.Mixture(weights, places, [v * np.eye(2), np.eye(2)])
    scores = judge(density("empty"), target, 0, 200_000)
    expected = 1 / v - 1 + np.log(v) - np.log1p(-lost)
    assert (scores["uncovered_share"] == 0) == (lost == 0)
    assert abs(scores["kl"] - expected) < 3 * scores["kl_standard_error"]
    assert scores["kl_standard_error"] < (1e-4 if lost else 1e-5)


@pytest.mark.parametrize("apart", [0.5, 7.0])
def test_the_missed_share_is_the_integral_of_what_p_has_beyond_1000_q(apart):
    target = targets.Mixture([0.8, 0.2], [[0.0, 0.0], [apart, 0.0]], [np.eye(2), 0.25 * np.eye(2)])
    p, q = (
        np.exp(call(target.log_prob, BASE_GRID.points)),
        np.exp(normal_log_prob(BASE_GRID.points)),
    )
    exact = BASE_GRID.integral(np.maximum(p - 1000 * q, 0))
    missed = coverage(density("empty"), target, 0)
    error = missed["missed_share_standard_error"]
    assert abs(missed["missed_share"] - exact) <= 4 * error + 1e-3
    assert error < 0.005
    assert (exact > 0.1) == (apart > 1)


def test_the_chunks_that_bound_the_memory_change_nothing(monkeypatch):
    q = density("mixed")
    whole = judge(q, targets.U1(), 3, 20_000)
    monkeypatch.setattr(pushforward, "CHUNK", 9_999)
    pieces = judge(q, targets.U1(), 3, 20_000)
    for key in ("kl", "ess", "estimated_log_z", "missed_share"):
        assert pieces[key] == pytest.approx(whole[key], abs=1e-5)


@pytest.fixture(scope="module")
def arrays():
    q = density("mixed")
    return q, density_arrays(q, targets.U3(), first_of(q), 0, 100)


def test_the_strip_shows_all_densities_from_the_base_to_the_fit(arrays):
    q, _ = arrays
    shifted = PushforwardDensity(StandardNormal(), q.flow, ColumnUnits(2 * [[Scale(90.0, 1.0)]]))
    for one in (q, shifted):  # near the target's window, and far away
        strip = density_arrays(one, targets.U3(), first_of(one), 0, 50)
        axes = strip["deformation_axis_1"], strip["deformation_axis_2"]
        cell = np.prod([axis[1] - axis[0] for axis in axes])
        mass = np.exp(strip["log_deformation"].astype(float)).sum(axis=(1, 2)) * cell
        assert np.all((mass > 0.93) & (mass < 1.01))


def test_the_densities_stand_where_their_axes_say(arrays):
    q, arrays = arrays
    for name in ("axis_1", "axis_2"):
        axis = arrays[name]
        assert np.all(np.diff(axis) > 0)
        assert -axis[0] == axis[-1] == np.float32(targets.U3.window)
    # Rows follow the second axis, columns the first, as a picture does.
    first, second = np.meshgrid(arrays["axis_1"], arrays["axis_2"])
    points = np.stack([first, second], axis=-1).astype(float)
    expected = call(targets.U3().log_prob, points)
    np.testing.assert_allclose(arrays["log_target"], expected, 1e-4, 1e-4)
    np.testing.assert_allclose(arrays["log_base"], normal_log_prob(points), 1e-5, 1e-5)
    z0 = q.latent(points)
    assert np.abs(push(q.flow, z0)[0] - points).max() < 1e-4
    expected = normal_log_prob(z0) - push(q.flow, z0)[1]
    np.testing.assert_allclose(arrays["log_q"], expected, 1e-4, 1e-3)


def test_the_strip_goes_from_the_base_to_the_whole_stack_and_draws_with_it(arrays):
    q, arrays = arrays
    panels = strip_panels(q.flow.k)
    np.testing.assert_array_equal(arrays["deformation_k"], panels)
    first, second = np.meshgrid(arrays["deformation_axis_1"], arrays["deformation_axis_2"])
    points = np.stack([first, second], axis=-1)
    strip = arrays["log_deformation"]
    assert strip.shape == (len(panels), *points.shape[:2])
    np.testing.assert_allclose(strip[0], normal_log_prob(points), 1e-5, 1e-5)
    np.testing.assert_allclose(strip[-1], q.log_prob(points), 1e-5, 1e-4)
    first, draws = first_of(q), arrays["deformation_samples"]
    np.testing.assert_array_equal(arrays["samples"], first.x)
    np.testing.assert_array_equal(arrays["base_samples"], first.z0)
    assert arrays["target_samples"].shape == (2_000, 2)
    np.testing.assert_array_equal(draws[0], first.z0)
    np.testing.assert_allclose(draws[-1], arrays["samples"], atol=1e-5)
    for array in arrays.values():
        assert array.dtype not in (object, np.float64) and not np.any(np.isnan(array))


def test_a_target_that_tells_nothing_but_log_prob_can_be_shown():
    q = density("planar")
    first = first_of(q)
    arrays = density_arrays(q, Tilted(), first, 0, 100)
    assert arrays["target_samples"].shape == (0, 2)
    shown = np.all(np.abs(first.x) <= arrays["axis_1"][-1], axis=1).mean()
    assert shown > 0.99


def test_pictures_have_their_grid_however_far_samples_are_or_nowhere():
    q = density("planar")
    first = first_of(q)
    z0 = q.latent([0.0, 0.0])
    expected = normal_log_prob(z0) - push(q.flow, z0)[1]
    lost = first.x.copy()
    lost[3] = np.inf
    for window, x in [(1e-3, first.x), (4.0, first.x), (4.0, lost)]:
        target = Tilted()
        target.window = window
        arrays = density_arrays(q, target, first._replace(x=x), 0, 101)
        assert arrays["axis_1"][-1] == np.float32(window)
        assert arrays["log_q"].shape == (101, 101)
        assert arrays["log_q"][50, 50] == pytest.approx(expected, abs=0.1)


def test_the_strip_has_at_most_9_panels_from_0_to_k():
    for k in (*range(40), 128, 10_000):
        panels = strip_panels(k)
        assert (panels[0], panels[-1], len(panels)) == (0, k, min(k + 1, 9))
        gaps = np.diff(panels)
        assert len(gaps) == 0 or (gaps.min() > 0 and gaps.max() - gaps.min() <= 1)


@float64()
def test_the_density_on_the_grid_has_the_kl_of_the_samples():
    """The inverse on a grid of x and the forward pass on one of z are two roads to one number."""
    q = density("mixed", dtype="float64")
    target, grid = targets.Mixture([1, 2], [[1, 0], [-1, 1]]), Grid(14.0, 401)
    log_q = q.log_prob(grid.points)
    expected = exact_kl(q.flow, in_numpy(target))
    assert abs(kl_divergence(log_q, in_numpy(target)(grid.points), grid) - expected) < 1e-4
