"""Couplings in a row: gradients in compiled loops, orders in files and in training, the start."""

from functools import cache, partial

import keras
import numpy as np
import pytest
from catalogue import (
    DIRECTIONS,
    WIDTH,
    assert_equal_compiled,
    central_differences,
    either_way,
    evaluate,
    on_tensorflow,
    recorded,
    recorded_twice,
    tensors,
    to_numpy,
    weighted_sum,
)

from nflow_cli.backend.programs import compiled
from nflow_cli.config.flows import IN_TURN, OPTIONS, Flow
from nflow_cli.flows.stack import FlowStack, SideBySide

# Few units and bins: a difference across the bend of a unit, or across a knot, is no derivative.
PATTERN = [
    {"spline-coupling": {"hidden": [5], "bins": 3}},
    "permutation",
    {"affine-coupling": {"hidden": [4, 3]}},
]
MASKED = [
    {"affine-autoregressive": {"hidden": [5]}},
    "sylvester",
    {"spline-autoregressive": {"hidden": [5], "bins": 3}},
]
MIXTURE = [{"mixture-coupling": {"hidden": [5]}}]
K, DIM, BATCH, SEEDS = 6, 3, 4, (3, 4)

both_directions = pytest.mark.parametrize("direction", DIRECTIONS)
both_patterns = pytest.mark.parametrize(
    "pattern", [PATTERN, MASKED], ids=["couplings", "masked and sylvester"]
)


@cache
def make(layout):
    """Build a stack, or one of each seed, and move its weights away from their start."""
    stack = FlowStack(PATTERN, K, seed=3, dtype="float64")
    if layout == "restarts":
        stack = SideBySide(PATTERN, K, SEEDS, dtype="float64")
    stack.build((None, DIM), (None, WIDTH) if layout == "context" else None)
    rng = np.random.default_rng(0)
    for weight in stack.trainable_weights:
        start = to_numpy(weight.value)
        weight.assign(start + 0.2 * rng.standard_normal(start.shape))
    return stack


def inputs_of(layout):
    """Return points with a leading axis, of draws or of restarts, and the context if there is one.

    A few are outside of the splines.
    """
    rng = np.random.default_rng(1)
    points, context = 2 * rng.standard_normal((2, BATCH, DIM)), rng.standard_normal((BATCH, WIDTH))
    return [points, context] if layout == "context" else [points]


@on_tensorflow
@either_way
@pytest.mark.parametrize(
    ("layout", "direction"),
    [
        ("context", "forward_and_log_det"),
        pytest.param("restarts", "inverse_and_log_det", marks=pytest.mark.slow),
        pytest.param("context", "inverse_and_log_det", marks=pytest.mark.slow),
        pytest.param("restarts", "forward_and_log_det", marks=pytest.mark.slow),
    ],
)
def test_gradients_of_a_compiled_loop_equal_differences_in_every_array(layout, direction, xla):
    stack, inputs = make(layout), inputs_of(layout)
    arrays = [*inputs, *(to_numpy(weight.value) for weight in stack.trainable_variables)]
    program = compiled(partial(recorded, weighted_sum(stack, direction, len(inputs))), xla)
    slopes = [to_numpy(slope) for slope in program(*tensors(arrays))[1:]]
    rng = np.random.default_rng(4)
    for i, slope in enumerate(slopes):
        way = rng.standard_normal(slope.shape)
        way /= np.linalg.norm(way)

        def along(step, i=i, way=way):
            shifted = [*arrays[:i], arrays[i] + step * way, *arrays[i + 1 :]]
            return float(program(*tensors(shifted))[0])

        expected, got = central_differences(along), np.sum(slope * way)
        assert abs(got - expected) <= 1e-8 * max(1, abs(expected))
        assert np.any(slope)


@on_tensorflow
@pytest.mark.slow
@both_directions
def test_second_derivatives_of_splines_in_a_compiled_loop_equal_those_of_one_by_one(direction):
    stack = FlowStack([{"spline-coupling": {"hidden": [3], "bins": 2}}], 2, 3, dtype="float64")
    stack.build((None, DIM))
    arrays = [*inputs_of("shared"), *(to_numpy(weight) for weight in stack.trainable_weights)]
    rng = np.random.default_rng(3)
    ways = tensors([rng.standard_normal(array.shape) for array in arrays])
    value = weighted_sum(stack, direction, 1)
    assert_equal_compiled(partial(recorded_twice, value, ways), arrays)


@both_directions
@pytest.mark.parametrize("pattern", [PATTERN, MASKED, MIXTURE], ids=["couplings", "masked", "mix"])
def test_nan_is_nan_in_its_row_alone_and_nothing_far_away_raises(pattern, direction):
    stack = FlowStack(pattern, 2 * len(pattern), seed=3)
    points = 2 * np.random.default_rng(0).standard_normal((16, DIM)).astype("float32")
    stack.build(points.shape)
    before = evaluate(stack, direction, [points])
    rows, others = [2, 3, 4, 5, 6, 7], [0, 1, *range(8, 16)]
    points[[2, 3, 4], [0, 1, 2]] = np.nan
    points[[5, 6, 7], [0, 1, 2]] = np.inf, -np.inf, 1e6
    for got, whole in zip(evaluate(stack, direction, [points]), before):
        assert np.all(np.isnan(got[rows[:3]]))
        # The mixture's quantile of a score so far out is no number.
        assert np.all(np.isfinite(got[7])) or pattern is MIXTURE
        np.testing.assert_array_equal(got[others], whole[others])


def orders_of(layer):
    return [to_numpy(weight.value) for weight in layer.non_trainable_weights]


def test_orders_are_stored_in_files_and_trained_by_nothing(tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((DIM,))
    layer = FlowStack(PATTERN[1:], 4, seed=3)
    model = keras.Model(inputs, layer(inputs))
    # Not those that it starts with.
    changed = [order[:, [1, 2, 0]] for order in orders_of(layer)]
    for weight, order in zip(layer.non_trainable_weights, changed, strict=True):
        weight.assign(order)
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.1)
    model.compile(optimizer, loss=["mse", "mse"], run_eagerly=True)
    points = np.random.default_rng(0).standard_normal((8, DIM)).astype("float32")
    model.fit(points, (points + 1, np.ones(8, "float32")), batch_size=8, verbose=0)
    model.save(tmp_path / "model.keras")
    for kept in (model, keras.saving.load_model(tmp_path / "model.keras")):
        for got, expected in zip(orders_of(kept), changed, strict=True):
            np.testing.assert_array_equal(got, expected)


@both_directions
@both_patterns
def test_restarts_run_the_stack_of_each_seed_with_its_orders(pattern, direction):
    (points,), wide = inputs_of("restarts"), SideBySide(pattern, K, SEEDS, dtype="float64")
    wide.build(points.shape)
    moved, log_det = evaluate(wide, direction, [points])
    for r, seed in enumerate(SEEDS):
        stack = FlowStack(pattern, K, seed, dtype="float64")
        stack.build(points.shape)
        alone, change = evaluate(stack, direction, [points[r]])
        np.testing.assert_allclose(moved[r], alone, 1e-13, 1e-13)
        np.testing.assert_allclose(log_det[r], change, 1e-13, 1e-13)
        for own, together in zip(orders_of(stack), orders_of(wide), strict=True):
            np.testing.assert_array_equal(together[r], own)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_config_knows_about_how_many_weights_a_stack_has(name):
    stack, flow = FlowStack([name], 2), Flow(pattern=[name], k=2)
    stack.build((None, 9), (None, WIDTH))
    count = sum(int(np.prod(weight.shape)) for weight in stack.trainable_weights)
    assert abs(flow.weights(9, WIDTH) - count) <= 0.1 * count + 2 * (WIDTH + 1)


@pytest.mark.parametrize(
    ("name", "dim"),
    [
        *((name, 2) for name in OPTIONS if "coupling" in name or "autoregressive" in name),
        ("affine-coupling", 40),  # of wide networks
        ("spline-autoregressive", 40),
    ],
)
def test_a_fresh_stack_is_near_the_identity(name, dim):
    points = np.random.default_rng(0).standard_normal((200, dim)).astype("float32")
    stack = FlowStack([name], 6, seed=0)
    stack.build(points.shape)
    in_one_pass = DIRECTIONS[name in IN_TURN["forward"]]
    moved, log_det = evaluate(stack, in_one_pass, [points])
    assert 0 < np.sqrt(np.mean((moved - points) ** 2)) < 0.1
    assert 0 < np.sqrt(np.mean(log_det**2) / dim) < 0.1
