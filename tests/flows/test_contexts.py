"""A stack that is built with a context has one set of weights per example, ``θ_0 + A h``."""

from functools import cache

import keras
import numpy as np
import pytest
from catalogue import DIRECTIONS, FULL, ON_JAX, WIDTH, compiled, eps_of, evaluate, to_numpy

from nflow_cli.errors import ConfigError
from nflow_cli.flows import FlowStack, PlanarFlow
from nflow_cli.flows.map import INITIAL_SPREAD

DIM, BATCH, DRAWS = 3, 6, 2
STACKS = {
    "planar": {"pattern": ["planar"], "k": 3},
    "radial": {"pattern": ["radial"], "k": 2},
    "mixed": {"pattern": ["planar", "radial"], "k": 5},
    "affine": {"pattern": [FULL, "affine"], "k": 3, "affine": "full"},
    "none": {"pattern": ["planar"], "k": 0},
}

every_stack = pytest.mark.parametrize(
    "name", ["mixed", "affine", "none"] if ON_JAX else list(STACKS)
)
both_directions = pytest.mark.parametrize("direction", DIRECTIONS)


def built(name, dtype="float64", seed=3):
    layer = FlowStack(**STACKS[name], seed=seed, dtype=dtype)
    layer.build((None, DIM), (None, WIDTH))
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
    """Return the weights of a stack for one context, in NumPy: ``θ_0 + A h``, and its end's."""
    flows = [
        to_numpy(weight.value) + to_numpy(slopes[name].value) @ h
        for own, slopes in zip(layer.parameters, layer.slopes)
        for name, weight in own.items()
    ]
    last = {name: to_numpy(weight.value) for name, weight in layer.last.items()}
    for name, slope in layer.last_slopes.items():
        last[name] = last[name] + to_numpy(slope.value) @ h
    return [*flows, *last.values()]


def assert_close(got, expected, dtype="float64"):
    few_ulp = 256 * eps_of(dtype)
    np.testing.assert_allclose(got, expected, few_ulp, few_ulp)


@every_stack
@both_directions
def test_without_slopes_it_is_the_stack_without_a_context_of_the_same_seed(name, direction):
    layer, stack = built(name), FlowStack(**STACKS[name], seed=3, dtype="float64")
    stack.build((None, DIM))
    for slopes in layer.slopes:
        for slope in slopes.values():
            slope.assign(np.zeros(slope.shape))
    expected = evaluate(stack, direction, [points()])
    for got, wanted in zip(run(layer, direction, points(), contexts()), expected):
        assert_close(got, wanted)


@every_stack
@both_directions
def test_each_example_goes_through_the_stack_of_its_own_weights(name, direction):
    layer, stack = make(name), FlowStack(**STACKS[name], dtype="float64")
    stack.build((None, DIM))
    moved, log_det = run(layer, direction, points(), contexts())
    assert (moved.shape, log_det.shape) == ((DRAWS, BATCH, DIM), (DRAWS, BATCH))
    for i, h in enumerate(contexts()):
        own, change = evaluate(stack, direction, [points()[:, i]], weights_at(layer, h))
        assert_close(moved[:, i], own)
        assert_close(log_det[:, i], change)


@both_directions
def test_no_flows_are_the_identity_with_log_det_0(direction):
    layer = built("none")
    moved, log_det = run(layer, direction, points(), contexts())
    np.testing.assert_array_equal(moved, points())
    np.testing.assert_array_equal(log_det, np.zeros((DRAWS, BATCH)))
    assert not layer.weights


@every_stack
def test_the_first_call_builds_it_and_calling_is_running_forward(name):
    layer, other = (FlowStack(**STACKS[name], seed=3, dtype="float64") for _ in range(2))
    called = [to_numpy(tensor) for tensor in layer(points(), contexts())]
    ran = [to_numpy(tensor) for tensor in other.forward_and_log_det(points(), contexts())]
    for got, expected in zip(called, ran):
        np.testing.assert_array_equal(got, expected)
    shapes = layer.compute_output_shape((None, DIM), (None, WIDTH))
    assert shapes == ((None, DIM), (None,))


@every_stack
def test_a_model_loads_from_a_keras_file_with_equal_outputs(name, tmp_path):
    layer = FlowStack(**STACKS[name], seed=3)
    inputs = [keras.Input((DIM,)), keras.Input((WIDTH,))]
    model = keras.Model(inputs, layer(*inputs))
    for weight in layer.weights:
        weight.assign(to_numpy(weight.value) + 0.5)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    data = [points("float32", (BATCH,)), contexts("float32")]
    for got, expected in zip(again(data), model(data)):
        np.testing.assert_array_equal(to_numpy(got), to_numpy(expected))


@every_stack
def test_the_config_rebuilds_the_layer_with_the_names_of_its_weights(name):
    layer = FlowStack(**STACKS[name], name="it")  # of a seed that it draws
    again = FlowStack.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    for one in (layer, again):
        one.build((None, DIM), (None, WIDTH))
    for one, other in zip(layer.weights, again.weights, strict=True):
        assert one.path == other.path
        np.testing.assert_array_equal(to_numpy(one.value), to_numpy(other.value))


def test_another_seed_starts_elsewhere():
    for one, other in zip(built("mixed", seed=3).weights, built("mixed", seed=4).weights):
        assert np.all(to_numpy(one.value) != to_numpy(other.value))


def test_weights_spread_over_contexts_as_documented_and_all_differ():
    layer = FlowStack(["planar", "radial"], 100, seed=0)
    layer.build((None, 20), (None, 50))
    h = contexts(batch=1, width=50)[0]
    h /= np.sqrt(np.mean(h**2))
    slopes = np.concatenate(
        [to_numpy(slope.value).reshape(-1, 50) for own in layer.slopes for slope in own.values()]
    )
    spread = (slopes @ h) / INITIAL_SPREAD
    assert abs(np.mean(spread**2) - 1) < 4 * np.sqrt(2 / len(spread))
    assert len(np.unique(slopes, axis=0)) == len(slopes)


@both_directions
def test_a_stack_is_given_a_context_if_and_only_if_it_was_built_with_one(direction):
    stack, plain = built("planar"), FlowStack(["planar"], 2)
    plain.build((None, DIM))
    with pytest.raises(ConfigError, match=r"this stack was built with a context; give one"):
        getattr(stack, direction)(points())
    with pytest.raises(ConfigError, match=r"this stack was built without a context"):
        getattr(plain, direction)(points(), contexts())
    with pytest.raises(ConfigError, match=r"PlanarFlow takes no context; a FlowStack does"):
        getattr(PlanarFlow(), direction)(points(), contexts())
