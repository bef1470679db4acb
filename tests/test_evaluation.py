import numpy as np
import pytest
from keras import ops
from truth import (
    Grid,
    call,
    float64,
    kl_divergence,
    needs_float64,
    normal_log_prob,
    push,
    to_numpy,
)

from nflow_cli import evaluation, targets
from nflow_cli.distributions import StandardNormal, UniformBox
from nflow_cli.evaluation import (
    density_arrays,
    evaluate_samples,
    partial_log_densities,
    strip_panels,
)
from nflow_cli.flows import FlowStack

BASE_GRID = Grid(8.5, 501)
STACKS = {
    "planar": (["planar"], 4),
    "radial": (["radial"], 4),
    "mixed": (["planar", "radial"], 5),
    "empty": (["planar"], 0),
}
every_stack = pytest.mark.parametrize("name", STACKS)


class Tilted:
    """A Gaussian whose normaliser is not told."""

    def log_prob(self, z):
        return -0.25 * ops.sum(z * z, axis=-1) + z[..., 0]


class Known(Tilted):
    """The same with its ``log ∫ exp(z1 - |z|^2/4) = 1 + log 4π``."""

    log_z, log_z_source = 1 + np.log(4 * np.pi), "exact"

    def log_prob(self, z):
        return super().log_prob(z) - self.log_z


def make(name, seed=0, dtype="float32", spread=0.4):
    """Build a stack and move its weights away from their start."""
    stack = FlowStack(*STACKS[name], seed=seed, dtype=dtype)
    stack.build((None, 2))
    rng = np.random.default_rng(seed)
    for variable in stack.weights:
        start = to_numpy(variable.value)
        variable.assign(start + spread * rng.standard_normal(start.shape).astype(dtype))
    return stack


def exact_kl(stack, log_p):
    """Return ``∫ q0 (log q0 - log_det - log p(f))`` from the paper's formulas in NumPy."""
    log_q0 = normal_log_prob(BASE_GRID.points)
    z, log_det = push(stack, BASE_GRID.points)
    return BASE_GRID.integral(np.exp(log_q0) * (log_q0 - log_det - log_p(z)))


def in_numpy(target):
    return lambda z: call(target.log_prob, z)


def samples_of(stack, n=2_000, base=None, seed=0):
    z0 = (base or StandardNormal()).sample(np.random.default_rng(seed), (n, 2))
    return z0, to_numpy(stack.forward_and_log_det(ops.convert_to_tensor(z0))[0])


@every_stack
@pytest.mark.parametrize("seed", [0, 1])
def test_kl_is_that_of_the_quadrature_within_4_standard_errors(name, seed):
    stack, target = make(name, seed), targets.Mixture([1, 2], [[1, 0], [-1, 1]])
    figures, _, _ = evaluate_samples(stack, StandardNormal(), target, seed, 100_000)
    expected = exact_kl(stack, in_numpy(target))
    assert expected > 0
    assert abs(figures["kl"] - expected) < 4 * figures["kl_standard_error"]
    assert figures["kl_standard_error"] < 0.02


def test_the_standard_error_is_the_spread_of_the_estimate_over_seeds():
    stack, target = make("planar"), targets.Multimodal()
    runs = [evaluate_samples(stack, StandardNormal(), target, s, 1_000)[0] for s in range(60)]
    spread = np.std([run["kl"] for run in runs], ddof=1)
    told = np.mean([run["kl_standard_error"] for run in runs])
    # The spread of 60 is known to 1/√120.
    assert abs(spread / told - 1) < 4 / np.sqrt(120)


def test_kl_from_a_bounded_base_is_that_of_the_quadrature():
    stack, target = make("empty"), targets.GaussianFromUniform()
    figures, _, _ = evaluate_samples(stack, UniformBox(), target, 0, 100_000)
    # E log p over the box: E (z - 1)^2 = 3 + 1 in each coordinate.
    expected = -np.log(36) + np.log(2 * np.pi) + 4
    assert abs(figures["kl"] - expected) < 4 * figures["kl_standard_error"]


@every_stack
def test_kl_is_never_negative_beyond_its_error(name):
    for seed in range(5):
        stack = make(name, seed)
        for target in (targets.U1(), targets.U2(), targets.Multimodal()):
            figures, _, _ = evaluate_samples(stack, StandardNormal(), target, seed, 5_000)
            assert figures["kl"] > -4 * figures["kl_standard_error"]


def test_the_free_energy_is_kl_less_log_z():
    stack = make("mixed")
    known, _, _ = evaluate_samples(stack, StandardNormal(), Known(), 0, 20_000)
    unknown, _, _ = evaluate_samples(stack, StandardNormal(), Tilted(), 0, 20_000)
    assert known["free_energy"] == pytest.approx(known["kl"] - known["log_z"], abs=1e-12)
    assert known["free_energy"] == pytest.approx(unknown["free_energy"], abs=1e-5)
    assert abs(known["kl"] - exact_kl(stack, in_numpy(Known()))) < 4 * known["kl_standard_error"]


def test_without_log_z_there_is_no_kl():
    figures, _, _ = evaluate_samples(make("planar"), StandardNormal(), Tilted(), 0, 1_000)
    assert figures["kl"] is figures["log_z"] is figures["log_z_source"] is None
    assert np.isfinite([figures["free_energy"], figures["kl_standard_error"]]).all()


def test_ess_and_kl_are_1_and_0_where_q_is_p():
    normal = targets.Mixture([1.0], [[0.0, 0.0]])
    figures, _, _ = evaluate_samples(make("empty"), StandardNormal(), normal, 0, 10_000)
    assert figures["ess"] == pytest.approx(1, abs=1e-6)
    assert figures["kl"] == pytest.approx(0, abs=1e-6)


@every_stack
def test_ess_lies_between_0_and_1(name):
    for target in (targets.U4(), targets.Multimodal(), Tilted()):
        figures, _, _ = evaluate_samples(make(name), StandardNormal(), target, 0, 2_000)
        assert 0 < figures["ess"] <= 1


def test_ess_is_that_of_the_integrals():
    # q = N(0, I), p = N(0, s^2 I) with s < 1: E w = 1 and E w^2 = 1 / (s^4 (2/s^2 - 1)).
    s = 0.8
    narrow = targets.Mixture([1.0], [[0.0, 0.0]], [s**2 * np.eye(2)])
    figures, _, _ = evaluate_samples(make("empty"), StandardNormal(), narrow, 0, 200_000)
    assert figures["ess"] == pytest.approx(s**4 * (2 / s**2 - 1), rel=0.01)


def test_ess_of_a_hopeless_fit_is_a_number():
    far = targets.Mixture([1.0], [[300.0, 0.0]])
    figures, _, _ = evaluate_samples(make("empty"), StandardNormal(), far, 0, 1_000)
    assert 0 < figures["ess"] <= 0.01


def test_the_chunks_that_bound_the_memory_change_nothing(monkeypatch):
    parts = (make("mixed"), StandardNormal(), targets.U1())
    whole, z0, z = evaluate_samples(*parts, 3, 5_000)
    monkeypatch.setattr(evaluation, "CHUNK", 999)
    pieces, z0_again, z_again = evaluate_samples(*parts, 3, 5_000)
    np.testing.assert_array_equal(z0, z0_again)
    np.testing.assert_allclose(z, z_again, 1e-5, 1e-5)
    assert pieces["kl"] == pytest.approx(whole["kl"], abs=1e-5)
    assert pieces["ess"] == pytest.approx(whole["ess"], abs=1e-5)


def test_samples_are_the_images_of_the_base_samples():
    stack = make("mixed")
    _, z0, z = evaluate_samples(stack, StandardNormal(), targets.U1(), 0, 1_000)
    np.testing.assert_allclose(z, push(stack, z0)[0], 1e-4, 1e-4)


def test_the_seed_fixes_the_evaluation():
    parts = (make("planar"), StandardNormal(), targets.U1())
    assert evaluate_samples(*parts, 1, 500)[0] == evaluate_samples(*parts, 1, 500)[0]
    assert evaluate_samples(*parts, 1, 500)[0] != evaluate_samples(*parts, 2, 500)[0]


@every_stack
@needs_float64
@float64()
def test_the_density_at_pushed_samples_is_the_change_of_variables(name):
    stack = make(name, dtype="float64")
    z0 = np.random.default_rng(0).standard_normal((500, 2))
    z, log_det = push(stack, z0)
    got = partial_log_densities(stack, StandardNormal(), {stack.k: z})[stack.k]
    np.testing.assert_allclose(got, normal_log_prob(z0) - log_det, 1e-9, 1e-9)


@every_stack
@needs_float64
@float64()
def test_the_density_after_k_flows_is_that_of_the_first_k_alone(name):
    stack = make(name, dtype="float64")
    rng = np.random.default_rng(1)
    grids = {k: rng.standard_normal((20 + k, 2)) for k in range(stack.k + 1)}
    got = partial_log_densities(stack, StandardNormal(), grids)
    assert set(got) == set(grids)
    for k, points in grids.items():
        first = FlowStack(stack.pattern, k, seed=0, dtype="float64")
        first.build((None, 2))
        for own, whole in zip(first.parameters, stack.parameters):
            for key, variable in own.items():
                variable.assign(whole[key].value[: variable.shape[0]])
        z0, log_det = first.inverse_and_log_det(ops.convert_to_tensor(points))
        expected = normal_log_prob(to_numpy(z0)) + to_numpy(log_det)
        np.testing.assert_allclose(got[k], expected, 1e-12, 1e-12)


def test_only_the_grids_asked_for_come_back():
    points = np.zeros((3, 2), "float32")
    got = partial_log_densities(make("mixed"), StandardNormal(), {1: points, 4: points[:2]})
    assert {k: values.shape for k, values in got.items()} == {1: (3,), 4: (2,)}


def test_points_that_come_from_outside_a_bounded_base_have_no_density():
    stack = make("radial")
    far = np.array([[50.0, 50.0], [0.1, 0.1]], "float32")
    got = partial_log_densities(stack, UniformBox(), {stack.k: far})[stack.k]
    assert got[0] == -np.inf
    assert np.isfinite(got[1])


@pytest.fixture(scope="module")
def arrays():
    stack, target = make("mixed"), targets.U3()
    return stack, density_arrays(stack, StandardNormal(), target, *samples_of(stack), 0, 500)


def test_the_grid_shows_the_targets_window(arrays):
    _, arrays = arrays
    for name in ("axis_1", "axis_2", "deformation_axis_1", "deformation_axis_2"):
        axis = arrays[name]
        assert np.all(np.diff(axis) > 0)
        assert np.all(np.abs(axis) <= np.float32(targets.U3.window))
    assert arrays["deformation_axis_1"][-1] == np.float32(targets.U3.window)
    step = arrays["axis_1"][1] - arrays["axis_1"][0]
    assert arrays["axis_1"][-1] > targets.U3.window - step


def test_the_densities_stand_where_their_axes_say(arrays):
    stack, arrays = arrays
    # Rows follow the second axis, columns the first, as a picture does.
    first, second = np.meshgrid(arrays["axis_1"], arrays["axis_2"])
    points = np.stack([first, second], axis=-1).astype(float)
    expected = call(targets.U3().log_prob, points)
    np.testing.assert_allclose(arrays["log_target"], expected, 1e-4, 1e-4)
    np.testing.assert_allclose(arrays["log_base"], normal_log_prob(points), 1e-5, 1e-5)
    z0 = to_numpy(stack.inverse_and_log_det(points.astype("float32"))[0])
    assert np.abs(push(stack, z0)[0] - points).max() < 1e-4
    expected = normal_log_prob(z0) - push(stack, z0)[1]
    np.testing.assert_allclose(arrays["log_q"], expected, 1e-4, 1e-3)


def test_the_strip_goes_from_the_base_to_the_whole_stack(arrays):
    stack, arrays = arrays
    np.testing.assert_array_equal(arrays["deformation_k"], strip_panels(stack.k))
    first, second = np.meshgrid(arrays["deformation_axis_1"], arrays["deformation_axis_2"])
    points = np.stack([first, second], axis=-1)
    strip = arrays["log_deformation"]
    assert strip.shape == (len(strip_panels(stack.k)), *points.shape[:2])
    np.testing.assert_allclose(strip[0], normal_log_prob(points), 1e-5, 1e-5)
    # The last panel is read off the full grid, at the nearest point.
    near = [np.abs(arrays["axis_1"] - x).argmin() for x in arrays["deformation_axis_1"]]
    inner = slice(1, -1)
    expected = arrays["log_q"][np.ix_(near, near)][inner, inner]
    same = strip[-1][inner, inner] == expected
    assert same.mean() > 0.99  # a tie may go either way


def test_draws_go_down_the_strip_with_it(arrays):
    stack, arrays = arrays
    draws = arrays["deformation_samples"]
    assert draws.shape == (len(strip_panels(stack.k)), 2_000, 2)
    np.testing.assert_array_equal(draws[0], arrays["base_samples"])
    np.testing.assert_allclose(draws[-1], arrays["samples"], atol=1e-5)
    i, k = 4, strip_panels(stack.k)[4]
    half = FlowStack(stack.pattern, k)
    half.build((None, 2))
    for layer, whole in zip(half.weights, stack.weights, strict=True):
        layer.assign(to_numpy(whole)[: layer.shape[0]])
    np.testing.assert_allclose(draws[i], push(half, draws[0])[0], atol=1e-5)


def test_the_samples_shown_are_the_ones_given(arrays):
    stack, arrays = arrays
    z0, z = samples_of(stack)
    np.testing.assert_array_equal(arrays["samples"], z)
    np.testing.assert_array_equal(arrays["base_samples"], z0)
    assert arrays["target_samples"].shape == (2_000, 2)


def test_every_array_is_small_and_plain(arrays):
    for array in arrays[1].values():
        assert array.dtype != object
        assert array.dtype != np.float64
        assert not np.any(np.isnan(array))


def test_a_target_that_tells_nothing_but_log_prob_can_be_shown():
    stack = make("planar")
    drawn = samples_of(stack)
    arrays = density_arrays(stack, StandardNormal(), Tilted(), *drawn, 0, 500)
    assert arrays["target_samples"].shape == (0, 2)
    shown = np.all(np.abs(drawn[1]) <= arrays["axis_1"][-1], axis=1).mean()
    assert shown > 0.99


@pytest.mark.parametrize("window", [1e-3, 1.0, 4.0])
def test_pictures_have_their_grid_however_far_samples_are(window):
    target = Tilted()
    target.window = window
    stack = make("planar")
    arrays = density_arrays(stack, StandardNormal(), target, *samples_of(stack), 0, 500)
    axis = arrays["axis_1"]
    assert len(axis) == 500 and axis[-1] == np.float32(window)
    assert arrays["log_q"].shape == (500, 500)
    middle = to_numpy(stack.inverse_and_log_det(np.zeros((1, 2), "float32"))[1])[0]
    z0 = to_numpy(stack.inverse_and_log_det(np.zeros((1, 2), "float32"))[0])[0]
    expected = normal_log_prob(z0) + middle
    near = np.abs(axis).argmin()
    assert arrays["log_q"][near, near] == pytest.approx(expected, abs=0.1)


def test_samples_that_are_nowhere_have_pictures():
    stack = make("planar")
    z0, z = samples_of(stack)
    z = z.copy()
    z[3] = np.inf
    arrays = density_arrays(stack, StandardNormal(), targets.U1(), z0, z, 0, 500)
    assert arrays["log_q"].shape == (500, 500)


@pytest.mark.parametrize("k", [*range(0, 40), 128, 10_000])
def test_the_strip_has_at_most_9_panels_from_0_to_k(k):
    panels = strip_panels(k)
    assert panels[0] == 0
    assert panels[-1] == k
    assert len(panels) == min(k + 1, 9)
    assert panels == sorted(set(panels))
    gaps = np.diff(panels)
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize("seed", [0, 1])
@float64()
def test_the_density_on_the_grid_has_the_kl_of_the_samples(seed):
    # The inverse on a grid of x and the forward pass on one of z are two roads to one number.
    stack, target = make("mixed", seed, "float64"), targets.Mixture([1, 2], [[1, 0], [-1, 1]])
    grid = Grid(14.0, 601)
    log_q = partial_log_densities(stack, StandardNormal(), {stack.k: grid.points.reshape(-1, 2)})[
        stack.k
    ].reshape(601, 601)
    expected = exact_kl(stack, in_numpy(target))
    assert abs(kl_divergence(log_q, in_numpy(target)(grid.points), grid) - expected) < 1e-4
