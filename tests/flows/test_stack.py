import re

import numpy as np
import pytest
from catalogue import DTYPES, FULL, WIDTH, eps_of, evaluate, to_numpy
from test_fold import assert_close, one_at_a_time

from nflow_cli.errors import ConfigError
from nflow_cli.flows.map import INITIAL_SPREAD
from nflow_cli.flows.planar import PlanarFlow
from nflow_cli.flows.stack import FlowStack

PATTERNS = [
    pytest.param(["planar", "radial"], 5, id="planar-radial"),
    pytest.param(["radial", "planar"], 1, id="radial-planar"),
    pytest.param([FULL, "planar", "affine"], 5, id="affine-planar-affine"),
]

DIM, BATCH = 3, 6
CONTEXT = np.random.default_rng(2).standard_normal((BATCH, WIDTH))

with_and_without_context = pytest.mark.parametrize(
    "context", [None, CONTEXT], ids=["plain", "context"]
)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
both_ways = pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
both_ends = pytest.mark.parametrize("affine", ["diagonal", "full"])

MEAN = np.array([1.5, -20.0, 0.25])
CHOLESKY = np.array([[0.5, 0, 0], [3, 2, 0], [-0.01, 0.02, 0.1]])


def direction(inverse):
    return "inverse_and_log_det" if inverse else "forward_and_log_det"


def points_of(*leading):
    return np.random.default_rng(1).standard_normal((*leading, DIM))


@pytest.mark.parametrize(("pattern", "k"), PATTERNS)
@both_ways
def test_the_layer_runs_its_weights_in_list_order(pattern, k, inverse):
    layer = FlowStack(pattern, k, seed=1, dtype="float64")
    points = points_of(4)
    layer.build(points.shape)
    own = [{n: to_numpy(v.value)[..., None] for n, v in raw.items()} for raw in layer.parameters]
    moved, log_det = evaluate(layer, direction(inverse), [points])
    expected, change = one_at_a_time(layer.maps, own, k, points, inverse)
    assert_close(moved, expected)
    assert_close(log_det, change)


@every_dtype
@both_ways
@pytest.mark.parametrize("context", [(), (CONTEXT,)], ids=["plain", "context"])
def test_no_flows_are_the_identity_with_log_det_0(dtype, inverse, context):
    layer = FlowStack(["planar", "radial"], 0, dtype=dtype)
    points = points_of(2, BATCH).astype(dtype)
    context = [array.astype(dtype) for array in context]
    moved, log_det = (to_numpy(t) for t in getattr(layer, direction(inverse))(points, *context))
    np.testing.assert_array_equal(moved, points)
    np.testing.assert_array_equal(log_det, np.zeros((2, BATCH), dtype))
    assert not layer.weights


@both_ends
@both_ways
def test_the_affine_map_at_the_end_starts_as_the_identity(affine, inverse):
    layers = [FlowStack(["planar"], 2, 3, affine=end, dtype="float64") for end in (affine, None)]
    results = [getattr(layer, direction(inverse))(points_of(2, 4)) for layer in layers]
    for got, expected in zip(*results):
        np.testing.assert_array_equal(to_numpy(got), to_numpy(expected))


@both_ends
@pytest.mark.parametrize("k", [0, 3])
def test_adapting_the_end_moves_what_the_flows_give_by_mean_and_cholesky(affine, k):
    layer, plain = (
        FlowStack(["radial"], k, 3, affine=end, dtype="float64") for end in (affine, None)
    )
    if k == 0:  # that it was built and moved before does not matter
        layer.build((None, DIM))
        for weight in layer.weights:
            weight.assign(to_numpy(weight.value) + 0.3)
    layer.adapt(MEAN, CHOLESKY)
    triangle = CHOLESKY
    if affine == "diagonal":
        triangle = np.diag(np.sqrt(np.diag(CHOLESKY @ CHOLESKY.T)))
    before, change = evaluate(plain, "forward_and_log_det", [points_of(4)])
    after, log_det = evaluate(layer, "forward_and_log_det", [points_of(4)])
    np.testing.assert_allclose(after, MEAN + before @ triangle.T, 1e-13)
    np.testing.assert_allclose(log_det, change + np.log(np.linalg.det(triangle)), 1e-13)
    back, undone = evaluate(layer, "inverse_and_log_det", [after])
    np.testing.assert_allclose(back, points_of(4), 1e-12, 1e-12)
    np.testing.assert_allclose(undone, -log_det, 1e-12)


@pytest.mark.parametrize("pattern", [["planar"], ["radial"], ["planar", "planar"], [FULL]])
def test_the_flows_of_a_stack_start_with_different_values(pattern):
    layer = FlowStack(pattern, 8, seed=0)
    layer.build((None, 2))
    names = {"planar": ("u", "w", "b"), "radial": ("center", "beta")}
    for name in names.get(str(pattern[0]), ("shift", "log_scale", "lower")):
        starts = np.concatenate([to_numpy(raw[name].value) for raw in layer.parameters])
        assert len(np.unique(starts, axis=0)) == 8


def test_options_that_make_no_stack_are_refused():
    for option, values in {
        "k": (-1, 2.5, True, "3", None),
        "seed": (-1, 2.5, True, "3"),
        "affine": ("Full", "", True, 1, ["full"], {"full": True}),
    }.items():
        for value in values:
            with pytest.raises(ConfigError, match=re.escape(f"{option}={value!r}")):
                FlowStack(**{"pattern": ["planar"], "k": 2, option: value})
    with pytest.raises(ConfigError, match="did you mean 'planar'"):
        FlowStack(["radial", "planer"], 2)


def test_an_end_adapts_to_a_gaussian_of_its_dimension_alone():
    stack = FlowStack(["planar"], 1, affine="full")
    stack.build((None, 2))
    for mean, cholesky, named in (
        (np.zeros(1), np.eye(2), "(2,), (2, 2)"),
        (np.zeros(2), np.eye(3), "(2,), (2, 2)"),
        (np.zeros(2), -np.eye(2), "positive diagonal"),
    ):
        with pytest.raises(ConfigError, match=re.escape(named)):
            stack.adapt(mean, cholesky)
    with pytest.raises(ConfigError, match="no affine map at its end"):
        FlowStack([FULL], 2).adapt(MEAN, CHOLESKY)


@both_ways
def test_a_stack_is_given_a_context_if_and_only_if_it_was_built_with_one(inverse):
    plain, points = FlowStack(["planar"], 2), points_of(BATCH)
    plain.build((None, DIM))
    for layer, inputs, named in (
        (built(PLANAR), [points], "built with a context"),
        (plain, [points, CONTEXT], "built without a context"),
        (PlanarFlow(), [points, CONTEXT], "PlanarFlow takes no context"),
    ):
        with pytest.raises(ConfigError, match=named):
            getattr(layer, direction(inverse))(*inputs)


def test_numpys_whole_numbers_are_taken_and_saved_as_pythons():
    config = FlowStack(("planar",), np.int64(3), seed=np.uint32(4)).get_config()
    assert (config["k"], config["seed"]) == (3, 4)
    assert {type(config["k"]), type(config["seed"])} == {int}


# With a context a stack has one set of weights per example, ``θ_0 + A h``.
PLANAR = {"pattern": ["planar"], "k": 3}
STACKS = {
    "planar": PLANAR,
    "mixed": {"pattern": ["planar", "radial"], "k": 5},
    "affine": {"pattern": [FULL, "affine"], "k": 3, "affine": "full"},
}


def built(options, seed=3):
    layer = FlowStack(**options, seed=seed, dtype="float64")
    layer.build((None, DIM), (None, WIDTH))
    return layer


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


@pytest.mark.parametrize("name", STACKS)
@both_ways
def test_each_example_goes_through_the_stack_of_its_own_weights(name, inverse):
    layer, stack = built(STACKS[name]), FlowStack(**STACKS[name], dtype="float64")
    stack.build((None, DIM))
    rng = np.random.default_rng(0)
    for weight in layer.weights:
        weight.assign(to_numpy(weight.value) + 0.3 * rng.standard_normal(weight.shape))
    points = 1.5 * points_of(2, BATCH)
    moved, log_det = evaluate(layer, direction(inverse), [points, CONTEXT])
    assert (moved.shape, log_det.shape) == (points.shape, (2, BATCH))
    for i, h in enumerate(CONTEXT):
        own, change = evaluate(stack, direction(inverse), [points[:, i]], weights_at(layer, h))
        assert_close(moved[:, i], own)
        assert_close(log_det[:, i], change)


def test_weights_spread_over_contexts_as_documented_and_all_differ():
    layer = FlowStack(["planar", "radial"], 100, seed=0)
    layer.build((None, 20), (None, 50))
    h = np.random.default_rng(2).standard_normal(50)
    h /= np.sqrt(np.mean(h**2))
    slopes = np.concatenate(
        [to_numpy(slope.value).reshape(-1, 50) for own in layer.slopes for slope in own.values()]
    )
    spread = (slopes @ h) / INITIAL_SPREAD
    assert abs(np.mean(spread**2) - 1) < 4 * np.sqrt(2 / len(spread))
    assert len(np.unique(slopes, axis=0)) == len(slopes)


def stack_of(context, pattern=("radial", FULL), k=3, affine=None):
    """Return a stack whose weights are not those of its start."""
    layer = FlowStack(list(pattern), k, seed=0, affine=affine, dtype="float64")
    layer.build((None, DIM), *([] if context is None else [context.shape]))
    for weight in layer.weights:
        weight.assign(to_numpy(weight.value) + 0.2)
    return layer


@with_and_without_context
@pytest.mark.parametrize("affine", [None, "full"])
@both_ways
def test_its_steps_one_by_one_are_the_run(context, affine, inverse):
    layer, points = stack_of(context, affine=affine), points_of(2, BATCH)
    composition = layer.composition(context)
    steps = list(composition.steps())
    assert len(composition) == len(steps) == 3 + (affine is not None)
    run = composition.run(points, inverse)
    called = getattr(layer, direction(inverse))(points, context)
    log_det = 0.0
    for step in reversed(steps) if inverse else steps:
        points, change = step.run(points, inverse)
        log_det = log_det + to_numpy(change)
    few_ulp = 64 * eps_of("float64")
    for got, whole, by_steps in zip(called, run, (to_numpy(points), log_det), strict=True):
        np.testing.assert_array_equal(to_numpy(got), to_numpy(whole))
        np.testing.assert_allclose(to_numpy(whole), by_steps, few_ulp, few_ulp)


def test_its_steps_say_which_of_the_maps_they_are():
    steps = list(stack_of(None, affine="full").composition().steps())
    maps = [(step.name, type(step.map).__name__) for step in steps]
    assert maps == [
        ("flow 1 of 3 (radial)", "Radial"),
        ("flow 2 of 3 (affine)", "Affine"),
        ("flow 3 of 3 (radial)", "Radial"),
        ("the last affine", "Affine"),
    ]
    none = stack_of(None, k=0).composition()
    assert (len(none), list(none.steps())) == (0, [])


@with_and_without_context
def test_the_weights_of_a_step_are_those_of_one_repeat_with_a_batch(context):
    for step in stack_of(context, affine="full").composition(context).steps():
        is_last = step.name == "the last affine"  # whose shift alone depends on the context
        for name, shape in step.map.shapes(DIM).items():
            batch = 1 if context is None or (is_last and name != "shift") else BATCH
            assert step.weights[name].shape == (1, *shape, batch)
