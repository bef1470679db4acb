"""Masked maps against networks in 60 digits, what depends on what, and their compiled loops."""

import itertools
from functools import partial

import numpy as np
import pytest
from catalogue import (
    DIRECTIONS,
    DTYPES,
    WIDTH,
    assert_equal_compiled,
    eps_of,
    evaluate,
    norm,
    on_tensorflow,
    recorded,
    run_one,
    to_numpy,
    weighted_sum,
)
from test_coupling import (
    cases,
    check_in_60_digits,
    coordinates_exactly,
    inputs_of,
    make,
    network,
    raw_of,
)

from nflow_cli.flows.autoregressive import (
    AffineAutoregressive,
    InverseAutoregressive,
    SplineAutoregressive,
)
from nflow_cli.flows.stack import FlowStack, SideBySide

HIDDEN, ROWS = (8, 7), 4
MAPS = {
    "affine": AffineAutoregressive(HIDDEN),
    "spline": SplineAutoregressive(HIDDEN, bins=4, bound=3.0),
    "inverse": InverseAutoregressive(HIDDEN),
}
NAMES = ("affine-autoregressive", "spline-autoregressive", "inverse-autoregressive")
SMALL = [
    {"affine-autoregressive": {"hidden": [5]}},
    {"inverse-autoregressive": {"hidden": [4]}},
    {"sylvester": {"width": 2}},
]

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_map = pytest.mark.parametrize("name", MAPS)
both_directions = pytest.mark.parametrize("direction", DIRECTIONS)


def masked(flow, dim, layers):
    """Yield the layers of a network, 0 where MADE's rule lets no unit see another.

    A hidden unit sees a number of coordinates from 0 to D - 1, an output those before its own.
    """
    seen = [
        np.arange(1, dim),
        *(np.rint(np.linspace(0, dim - 1, width)) for width in flow.hidden),
        np.tile(np.arange(dim), flow.scalar_maps.size),
    ]
    sees = itertools.pairwise(seen[dim == 1 :])
    for layer in layers:
        if layer.ndim == 2:
            inputs, units = next(sees)
            allowed = units[:, None] >= inputs
            context = np.ones((len(units), layer.shape[1] - len(inputs)), bool)
            layer = np.where(np.concatenate([allowed, context], axis=1), layer, 0)
        yield layer


def at_once_exactly(flow, raw, point, eps, context):
    """Return the direction of one pass of one point in 60 digits."""
    order = raw.pop("order").astype(int)
    layers = masked(flow, len(point), raw.values())
    theta, off = network(layers, [*point[order[:-1]], *context], eps)
    inverse = not isinstance(flow, InverseAutoregressive)
    return coordinates_exactly(flow, theta, off, point, order, inverse, eps)


@pytest.mark.parametrize("dim", [1, 2, 5])
@every_dtype
@every_map
def test_at_any_weights_one_pass_is_that_of_a_masked_network_and_undoes_d_passes(dim, dtype, name):
    flow = MAPS[name]
    raw, points = cases(flow, dim, dtype, ROWS)
    at_once = name != "inverse"  # is the inverse
    moved, log_det = run_one(flow, raw, points, inverse=at_once)
    assert moved.dtype == log_det.dtype == dtype
    exactly = partial(at_once_exactly, flow)
    check_in_60_digits(exactly, raw, points, moved, log_det)
    start, log_det = run_one(flow, raw, points, inverse=not at_once)
    check_in_60_digits(exactly, raw, start, points, -log_det)


@pytest.mark.parametrize("dim", [1, 5])
@pytest.mark.parametrize("name", NAMES)
@both_directions
def test_a_coordinate_depends_on_those_before_it_and_on_the_context(dim, name, direction):
    stack = make((name,), dim, k=1, of_a_context=True)
    points, context = inputs_of(dim, "float64", True)
    order = to_numpy(stack.parameters[0]["order"].value)[0].astype(int)
    shifts = 0.5 * np.concatenate([np.zeros((1, dim)), np.eye(dim)[order]])
    (before, *moved), _ = evaluate(stack, direction, [points + shifts[:, None], context])
    for place, after in enumerate(moved):
        np.testing.assert_array_equal(after[:, order[:place]], before[:, order[:place]])
        assert np.all(after[:, order[place:]] != before[:, order[place:]])
    assert np.all(evaluate(stack, direction, [points, context + 0.5])[0] != before)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_at_40_dimensions_of_a_context_it_is_that_of_60_digits(name):
    stack = make((name,), 40, k=1, of_a_context=True)
    points, context = inputs_of(40, "float64", True, batch=1)
    at_once = DIRECTIONS[name != "inverse-autoregressive"]
    moved, log_det = evaluate(stack, at_once, [points, context])
    exactly = partial(at_once_exactly, type(stack.maps[0])(hidden=(128, 128)))
    check_in_60_digits(exactly, raw_of(stack), points, moved, log_det, context)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, "float64") for name in NAMES] + [("affine-autoregressive", "float32")],
)
def test_at_40_dimensions_one_pass_undoes_d_passes(name, dtype):
    stack, inputs = make((name,), 40, dtype, 1, True), inputs_of(40, dtype, True)
    in_turn, at_once = DIRECTIONS[:: 1 if name != "inverse-autoregressive" else -1]
    there, log_det = evaluate(stack, in_turn, inputs)
    back, change = evaluate(stack, at_once, [there, inputs[1]])
    slack = 200 * eps_of(dtype)
    assert np.all(norm(back - inputs[0]) <= slack * (norm(there) + norm(inputs[0])))
    assert np.all(np.abs(log_det + change) <= slack * (40 + np.abs(log_det)))


@on_tensorflow
@pytest.mark.slow
@pytest.mark.parametrize("layout", ["context", "restarts"])
@both_directions
def test_the_gradient_of_a_compiled_loop_is_that_of_its_passes(layout, direction):
    dim, batch, k = 3, 4, 6
    stack = FlowStack(SMALL, k, seed=3, dtype="float64")
    if layout == "restarts":
        stack = SideBySide(SMALL, k, (3, 4), dtype="float64")
    stack.build((None, dim), (None, WIDTH) if layout == "context" else None)
    rng = np.random.default_rng(1)
    inputs = [rng.standard_normal((2, batch, dim)), rng.standard_normal((batch, WIDTH))]
    inputs = inputs[: 1 + (layout == "context")]
    weights = [to_numpy(weight.value) for weight in stack.trainable_variables]
    arrays = [*inputs, *(w + 0.3 * rng.standard_normal(w.shape) for w in weights)]
    value = weighted_sum(stack, direction, len(inputs))
    assert_equal_compiled(partial(recorded, value), arrays)
