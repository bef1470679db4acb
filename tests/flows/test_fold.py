"""Maps in a row are each map after the other, in the compiled loop and its gradient as well."""

from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
import pytest
from catalogue import (
    ON_JAX,
    assert_equal_compiled,
    either_way,
    eps_of,
    gradients,
    on_tensorflow,
    recorded,
    recorded_twice,
    run_one,
    to_numpy,
)
from keras import ops

from nflow_cli.backend.programs import compiled
from nflow_cli.flows.affine import Affine
from nflow_cli.flows.composition import run_maps
from nflow_cli.flows.map import Map, Memo
from nflow_cli.flows.planar import Planar
from nflow_cli.flows.radial import Radial


@dataclass(frozen=True)
class Net(Map):
    """Two products, the second of what the first gives: not invertible, but hard on a memo."""

    def shapes(self, dim):
        return {"inner": (5, dim), "outer": (dim, 5)}

    def forward(self, memo, z, inner, outer):
        hidden = ops.tanh(memo.dense(inner, z))
        moved = ops.tanh(z + memo.dense(outer, hidden))
        return moved, ops.sum(moved * moved, axis=-2)


DIM = 3
PLANAR, RADIAL, AFFINE, NET = Planar(), Radial(), Affine(full=True), Net()
PATTERNS = [
    pytest.param([PLANAR, RADIAL], 5, id="planar-radial"),
    pytest.param([RADIAL, PLANAR], 1, id="radial-planar"),
    pytest.param([AFFINE, RADIAL, Affine()], 5, id="affine-radial-affine"),
]
# Leading axes and batch of weights: one set for all points, one for each row, one for each restart.
SHARED, ROWS, RESTARTS = ((), 1), ((), 4), ((3,), 1)

every_pattern = pytest.mark.parametrize(("maps", "k"), PATTERNS[::2] if ON_JAX else PATTERNS)
both_ways = pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])


def points_of(*leading, dtype="float64"):
    return np.random.default_rng(1).standard_normal((*leading, DIM)).astype(dtype)


def draw(maps, k, *layouts, dtype="float64"):
    """Draw the raw weights of each map of a pattern; the last layout is that of all from there."""
    rng = np.random.default_rng(0)
    drawn = []
    for position, flow in enumerate(maps[:k]):
        lead, batch = layouts[min(position, len(layouts) - 1)]
        repeats = len(range(position, k, len(maps)))
        shapes = {n: (repeats, *lead, *s, batch) for n, s in flow.shapes(DIM).items()}
        drawn.append({n: rng.standard_normal(shape).astype(dtype) for n, shape in shapes.items()})
    return drawn


def run(maps, weights, k, points, inverse):
    return [to_numpy(tensor) for tensor in run_maps(maps, weights, k, points, inverse)]


def weights_at(flow, raw, index):
    """Return the weights ``(repeats, *shape)`` of a map at the point ``(*lead, row)``."""
    picked = {}
    for (name, value), shape in zip(raw.items(), flow.shapes(DIM).values()):
        lead = value.shape[1 : -1 - len(shape)]
        *at, row = [
            0 if size == 1 else i
            for size, i in zip((*lead, value.shape[-1]), index[-1 - len(lead) :])
        ]
        picked[name] = value[(slice(None), *at, ..., row)]
    return picked


def one_at_a_time(maps, weights, k, points, inverse):
    """Apply map after map to points ``(*lead, batch, D)``, each with weights of its own."""
    leading = points.shape[:-1]
    own = [
        [weights_at(flow, raw, index) for index in np.ndindex(leading)]
        for flow, raw in zip(maps, weights)
    ]
    rows, log_det = points.reshape(-1, DIM), 0.0
    for i in reversed(range(k)) if inverse else range(k):
        repeat, position = divmod(i, len(maps))
        raw = {n: np.stack([at[n][repeat] for at in own[position]]) for n in own[position][0]}
        rows, change = run_one(maps[position], raw, rows, inverse)
        log_det = log_det + change
    return rows.reshape(points.shape), log_det.reshape(leading)


def assert_close(got, expected, dtype="float64"):
    few_ulp = 256 * eps_of(dtype)
    np.testing.assert_allclose(got, expected, few_ulp, few_ulp)


@every_pattern
@both_ways
def test_maps_in_a_row_equal_a_loop_over_maps_and_points(maps, k, inverse):
    # One set for all, one for each row, the same of several draws, and one for each restart.
    for layout, leading in ((SHARED, (4,)), (ROWS, (4,)), (ROWS, (3, 4)), (RESTARTS, (3, 4))):
        points, weights = points_of(*leading), draw(maps, k, layout)
        moved, log_det = run(maps, weights, k, points, inverse)
        assert (moved.shape, log_det.shape) == (points.shape, leading)
        assert moved.dtype == log_det.dtype == "float64"
        expected, change = one_at_a_time(maps, weights, k, points, inverse)
        assert_close(moved, expected)
        assert_close(log_det, change)


@both_ways
def test_weights_are_taken_by_name_in_any_order(inverse):
    points, weights = points_of(4), draw([PLANAR, RADIAL], 2, SHARED)
    turned = [dict(reversed(raw.items())) for raw in weights]
    expected = run([PLANAR, RADIAL], weights, 2, points, inverse)
    for got, same in zip(run([PLANAR, RADIAL], turned, 2, points, inverse), expected):
        np.testing.assert_array_equal(got, same)


@both_ways
@pytest.mark.parametrize(
    ("layouts", "leading"),
    [
        pytest.param([((3, 1), 4)], (2, 4), id="both"),
        pytest.param([RESTARTS], (4,), id="restarts of one batch"),
        pytest.param([RESTARTS, ROWS], (1,), id="restarts-rows"),
        pytest.param([SHARED, RESTARTS], (4,), id="shared-restarts", marks=pytest.mark.slow),
    ],
)
def test_weights_broadcast_against_points_also_in_a_compiled_loop(inverse, layouts, leading):
    maps, k = [AFFINE, RADIAL], 4
    points, weights = points_of(*leading), draw(maps, k, *layouts)
    final = np.broadcast_shapes(leading, *((*lead, batch) for lead, batch in layouts))
    every = np.broadcast_to(points, (*final, DIM))
    expected, change = one_at_a_time(maps, weights, k, every, inverse)

    def call(points, weights):
        return run_maps(maps, weights, k, points, inverse)

    program = compiled(call, xla=False) if keras.config.backend() == "tensorflow" else call
    moved, log_det = (to_numpy(tensor) for tensor in program(points, weights))
    assert_close(moved, expected)
    assert_close(log_det, change)


def weighted_sum(maps, k, inverse, weights):
    """Return a scalar function of points and weights that has all outputs in it."""
    on_outputs = np.random.default_rng(2).standard_normal((3, 4, DIM + 1))

    def value(points, *flat):
        sets = keras.tree.pack_sequence_as(weights, list(flat))
        moved, log_det = run_maps(maps, sets, k, points, inverse)
        together = ops.concatenate([moved, ops.expand_dims(log_det, -1)], axis=-1)
        return ops.sum(together * on_outputs)

    return value


# The loop is the same in a program of TensorFlow's own kernels, which take a third of the time to
# compile; training holds XLA's gradient to a plain loop of updates.
@on_tensorflow
@either_way
@pytest.mark.parametrize(
    ("maps", "inverse", "layouts", "both"),
    [
        pytest.param([PLANAR, RADIAL], True, [RESTARTS], False, id="inverse-restarts"),
        pytest.param([AFFINE, NET], False, [SHARED, RESTARTS], True, id="forward-shared-restarts"),
        *(
            pytest.param(maps, inverse, layouts, True, marks=pytest.mark.slow)
            for maps, inverse, layouts in (
                ([AFFINE], True, [ROWS]),
                ([AFFINE, NET], False, [ROWS, SHARED]),
                *(
                    (maps, inverse, [layout])
                    for maps in ([AFFINE, PLANAR], [PLANAR, RADIAL])
                    for inverse in (False, True)
                    for layout in (SHARED, ROWS, RESTARTS)
                ),
            )
        ),
    ],
)
def test_the_compiled_loop_has_the_derivatives_of_the_maps_in_a_row(
    maps, inverse, layouts, both, xla
):
    """The first ones, and both."""
    weights = draw(maps, 4, *layouts)
    value = weighted_sum(maps, 4, inverse, weights)
    arrays = [points_of(3, 4), *keras.tree.flatten(weights)]
    rng = np.random.default_rng(3)
    ways = [rng.standard_normal(array.shape) for array in arrays]
    derivatives = partial(recorded_twice, value, ways) if both else partial(recorded, value)
    assert_equal_compiled(derivatives, arrays, xla)


@pytest.mark.parametrize("batch", [1, 4], ids=["shared", "rows"])
@pytest.mark.parametrize(
    ("lead", "leading"),
    [((), ()), ((), (3,)), ((3,), (3,)), ((3, 1), (3, 2)), ((3,), (2, 3))],
    ids=str,
)
def test_dense_is_the_product_of_each_point_with_its_matrix(batch, lead, leading):
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((*lead, 5, 2, batch))
    points = rng.standard_normal((*leading, 2, 4))
    got = to_numpy(Memo().dense(ops.convert_to_tensor(weights), ops.convert_to_tensor(points)))
    every = np.broadcast_to(weights, (*leading, 5, 2, 4))
    expected = np.zeros((*leading, 5, 4))
    for *at, row in np.ndindex(*leading, 4):
        expected[(*at, ..., row)] = every[(*at, ..., row)] @ points[(*at, ..., row)]
    np.testing.assert_allclose(got, expected, 1e-14, 1e-14)


def test_no_gradient_passes_through_a_root():
    def value(x):
        return ops.sum(x * Memo().root(ops.sqrt, x))

    x = np.array([1.0, 4.0, 9.0])
    np.testing.assert_array_equal(gradients(value, x)[0], np.sqrt(x))
