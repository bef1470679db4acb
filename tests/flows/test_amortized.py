from functools import cache

import keras
import numpy as np
import pytest
from catalogue import (
    DIRECTIONS,
    DTYPES,
    ROUND_TRIP,
    compiled,
    eps_of,
    evaluate,
    gradients,
    norm,
    to_numpy,
)
from keras import ops
from nflow_cli.flows.amortized import INITIAL_SPREAD
from truth import dense_jacobian

from nflow_cli.flows import AmortizedFlowStack, FlowStack

DIM, WIDTH, BATCH, DRAWS = 3, 4, 6, 2
PATTERNS = {
    "planar": (["planar"], 3),
    "radial": (["radial"], 2),
    "mixed": (["planar", "radial"], 5),
    "none": (["planar"], 0),
}

every_pattern = pytest.mark.parametrize("name", PATTERNS)
both_directions = pytest.mark.parametrize("direction", DIRECTIONS)


def built(name, dtype="float64", seed=3):
    layer = AmortizedFlowStack(*PATTERNS[name], seed=seed, dtype=dtype)
    layer.build((None, DIM), (None, WIDTH))
    layer.built = True
    return layer


@cache
def make(name, dtype="float64"):
    """Build a stack and move its weights away from their start."""
    layer = built(name, dtype)
    rng = np.random.default_rng(0)
    for weight in layer.weights:
        start = to_numpy(weight.value)
        weight.assign(start + 0.3 * rng.standard_normal(start.shape).astype(dtype))
    return layer


def points(dtype="float64", leading=(DRAWS, BATCH)):
    return 1.5 * np.random.default_rng(1).standard_normal((*leading, DIM)).astype(dtype)


def contexts(dtype="float64", batch=BATCH, width=WIDTH):
    return np.random.default_rng(2).standard_normal((batch, width)).astype(dtype)


@cache
def runner(layer, direction):
    return compiled(getattr(layer, direction))


def run(layer, direction, z, context):
    return [to_numpy(tensor) for tensor in runner(layer, direction)(z, context)]


def weights_at(layer, h):
    """Return the raw weights ``θ_0 + A h`` of one context, in NumPy."""
    return [
        to_numpy(weight.value) + to_numpy(slopes[name].value) @ h
        for own, slopes in zip(layer.parameters, layer.slopes)
        for name, weight in own.items()
    ]


def assert_close(got, expected, dtype="float64"):
    few_ulp = 256 * eps_of(dtype)
    np.testing.assert_allclose(got, expected, few_ulp, few_ulp)


@every_pattern
@both_directions
def test_without_slopes_it_is_the_flow_stack_of_the_same_seed(name, direction):
    layer, stack = built(name), FlowStack(*PATTERNS[name], seed=3, dtype="float64")
    stack.build((None, DIM))
    for slopes in layer.slopes:
        for slope in slopes.values():
            slope.assign(np.zeros(slope.shape))
    expected = evaluate(stack, direction, points())
    for got, wanted in zip(run(layer, direction, points(), contexts()), expected):
        assert_close(got, wanted)


@every_pattern
@both_directions
def test_each_example_goes_through_the_stack_of_its_own_weights(name, direction):
    layer, stack = make(name), FlowStack(*PATTERNS[name], dtype="float64")
    stack.build((None, DIM))
    moved, log_det = run(layer, direction, points(), contexts())
    assert (moved.shape, log_det.shape) == ((DRAWS, BATCH, DIM), (DRAWS, BATCH))
    for i, h in enumerate(contexts()):
        own, change = evaluate(stack, direction, points()[:, i], weights_at(layer, h))
        assert_close(moved[:, i], own)
        assert_close(log_det[:, i], change)


@every_pattern
@both_directions
def test_log_det_is_that_of_the_dense_jacobian(name, direction):
    layer, start = make(name), points(leading=(BATCH,))
    _, log_det = run(layer, direction, start, contexts())
    of_each_shift = np.repeat(contexts(), DIM, axis=0)
    jacobian = dense_jacobian(lambda rows: run(layer, direction, rows, of_each_shift)[0], start)
    sign, expected = np.linalg.slogdet(jacobian)
    np.testing.assert_array_equal(sign, 1)
    conditioned = np.maximum(1, np.linalg.norm(np.linalg.inv(jacobian), 2, (1, 2)))
    assert np.all(np.abs(log_det - expected) <= 1e-9 * conditioned)


@every_pattern
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_inverse_undoes_it(name, dtype):
    layer, start, h = make(name, dtype), points(dtype, (BATCH,)), contexts(dtype)
    there, log_det = run(layer, "forward_and_log_det", start, h)
    back, undone = run(layer, "inverse_and_log_det", there, h)
    assert there.dtype == log_det.dtype == dtype
    of_each_shift = np.repeat(contexts(), DIM, axis=0)
    exact = built(name)
    for weight, rounded in zip(exact.weights, layer.weights):
        weight.assign(to_numpy(rounded.value))
    jacobian = dense_jacobian(
        lambda rows: run(exact, "inverse_and_log_det", rows, of_each_shift)[0],
        there.astype("float64"),
    )
    size = np.maximum(np.maximum(norm(start), norm(there)), 1)
    allowed = ROUND_TRIP[dtype] * (1 + np.linalg.norm(jacobian, 2, (1, 2))) * size
    assert np.all(norm(back - start) <= allowed)
    assert np.all(np.abs(log_det + undone) <= 10 * allowed)


@both_directions
def test_no_flows_are_the_identity_with_log_det_0(direction):
    layer = built("none")
    moved, log_det = run(layer, direction, points(), contexts())
    np.testing.assert_array_equal(moved, points())
    np.testing.assert_array_equal(log_det, np.zeros((DRAWS, BATCH)))
    assert not layer.weights


@every_pattern
def test_the_first_call_builds_it_and_calling_is_running_forward(name):
    layer = AmortizedFlowStack(*PATTERNS[name], seed=3, dtype="float64")
    called = [to_numpy(tensor) for tensor in layer(points(), contexts())]
    other = AmortizedFlowStack(*PATTERNS[name], seed=3, dtype="float64")
    ran = [to_numpy(tensor) for tensor in other.forward_and_log_det(points(), contexts())]
    for got, expected in zip(called, ran):
        np.testing.assert_array_equal(got, expected)
    shapes = layer.compute_output_shape((None, DIM), (None, WIDTH))
    assert shapes == ((None, DIM), (None,))


def functional(layer):
    inputs = [keras.Input((DIM,)), keras.Input((WIDTH,))]
    return keras.Model(inputs, layer(*inputs))


@every_pattern
def test_a_model_loads_from_a_keras_file_with_equal_outputs(name, tmp_path):
    layer = AmortizedFlowStack(*PATTERNS[name], seed=3)
    model = functional(layer)
    for weight in layer.weights:
        weight.assign(to_numpy(weight.value) + 0.5)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    data = [points("float32", (BATCH,)), contexts("float32")]
    for got, expected in zip(again(data), model(data)):
        np.testing.assert_array_equal(to_numpy(got), to_numpy(expected))


@every_pattern
def test_the_config_rebuilds_the_layer_with_its_initial_weights(name):
    layer = AmortizedFlowStack(*PATTERNS[name], name="it")  # of a seed that it draws
    again = AmortizedFlowStack.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    for one in (layer, again):
        one.build((None, DIM), (None, WIDTH))
    for one, other in zip(layer.weights, again.weights):
        assert one.path == other.path
        np.testing.assert_array_equal(to_numpy(one.value), to_numpy(other.value))


def test_another_seed_starts_elsewhere():
    for one, other in zip(built("mixed", seed=3).weights, built("mixed", seed=4).weights):
        assert np.all(to_numpy(one.value) != to_numpy(other.value))


def test_weights_spread_over_contexts_as_documented_and_all_differ():
    layer = AmortizedFlowStack(["planar", "radial"], 100, seed=0)
    layer.build((None, 20), (None, 50))
    h = contexts(batch=1, width=50)[0]
    h /= np.sqrt(np.mean(h**2))
    slopes = np.concatenate(
        [to_numpy(slope.value).reshape(-1, 50) for own in layer.slopes for slope in own.values()]
    )
    spread = (slopes @ h) / INITIAL_SPREAD
    assert abs(np.mean(spread**2) - 1) < 4 * np.sqrt(2 / len(spread))
    assert len(np.unique(slopes, axis=0)) == len(slopes)


@pytest.mark.parametrize("name", ["planar", "radial", "mixed"])
def test_gradients_reach_points_contexts_and_weights(name):
    layer = make(name)
    variables = layer.trainable_variables

    def loss(z, context, *weights):
        with keras.StatelessScope(state_mapping=list(zip(variables, weights))):
            moved, log_det = layer.forward_and_log_det(z, context)
        return ops.sum(moved**2) - ops.sum(log_det)

    values = [to_numpy(v.value) for v in variables]
    found = gradients(loss, points(), contexts(), *values)
    assert all(np.all(np.isfinite(g)) for g in found)
    assert all(np.all(g != 0) for g in found)
    # The first context reaches the loss through the weights of its own example alone.
    rng = np.random.default_rng(4)
    direction = rng.standard_normal(WIDTH)
    own = points()[:, :1]

    def along(t):
        moved, log_det = run(layer, "forward_and_log_det", own, contexts()[:1] + t * direction)
        return np.sum(moved**2) - np.sum(log_det)

    step = 1e-5
    slope = (along(step) - along(-step)) / (2 * step)
    assert found[1][0] @ direction == pytest.approx(slope, rel=1e-6)


def test_half_precision_policies_compute_in_float32():
    mixed, plain = (
        AmortizedFlowStack(["planar", "radial"], 3, seed=3, dtype=d)
        for d in ("mixed_float16", "float32")
    )
    data = points("float16", (BATCH,)), contexts("float16")
    exact = [array.astype("float32") for array in data]
    for got, expected in zip(mixed(*data), plain(*exact)):
        assert keras.backend.standardize_dtype(got.dtype) == "float32"
        np.testing.assert_array_equal(to_numpy(got), to_numpy(expected))


@every_pattern
def test_it_restarts_as_a_stack_of_another_seed(name):
    restarted, new = built(name, seed=3), built(name, seed=7)
    restarted.restart(7)
    assert restarted.seed == 7
    for got, expected in zip(restarted.weights, new.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(got.value), to_numpy(expected.value))
