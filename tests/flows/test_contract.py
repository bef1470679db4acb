import itertools
from functools import cache

import numpy as np
import pytest
from catalogue import (
    CATALOGUE,
    DIRECTIONS,
    DTYPES,
    NAMES,
    OF_A_CONTEXT,
    ON_JAX,
    PIECEWISE,
    ROUND_TRIP,
    built,
    central_differences,
    compiled,
    context_for,
    curvatures,
    dense_jacobian,
    eps_of,
    evaluate,
    gradients,
    inputs_for,
    make,
    norm,
    over,
    points_for,
    to_numpy,
    weighted_sum,
)

every_flow = over(NAMES)
BATCH = 6 if ON_JAX else 33  # few shapes, used again and again: JAX compiles for each of them
both_directions = pytest.mark.parametrize("direction", DIRECTIONS)


def dims_of(name):
    """Return the dimensions to test: of maps of one coordinate, each map alone is enough."""
    alone = "stack" not in name or name == "mixture coupling stack"
    return (1, 5) if alone and not ON_JAX else (5,)


def opposite(direction):
    return DIRECTIONS[1 - DIRECTIONS.index(direction)]


@cache
def outputs_of(name, dim, dtype, direction):
    """Return what a flow gives for its inputs: points and log-determinants."""
    return evaluate(make(name, dim, dtype), direction, inputs_for(name, dim, dtype))


@cache
def jacobian_of(name, dim, direction):
    """Return the dense Jacobian of a flow at the points that it is called on, in float64."""
    layer, (points, *context) = make(name, dim), inputs_for(name, dim)
    of_each_shift = [np.repeat(array, dim, axis=0) for array in context]
    return dense_jacobian(
        lambda rows: evaluate(layer, direction, [rows, *of_each_shift])[0], points
    )


@every_flow
@both_directions
def test_any_leading_axes_give_the_same_points_and_calling_the_layer_runs_it_forward(
    name, direction
):
    layer, few_ulp = make(name, 5, "float32"), 64 * eps_of("float32")
    flat, context = points_for(5, "float32"), context_for(name, "float32", 3)
    twice = [np.tile(array, (2, 1)) for array in context]
    moved, log_det = evaluate(layer, direction, [flat, *twice])
    cases = [
        ((2, 3), [flat.reshape(2, 3, 5), *context], slice(None)),
        ((1,), [array[4:5] for array in (flat, *twice)], slice(4, 5)),
        ((), [flat[0], *(array[:1] for array in context)], 0),
    ]
    for leading, inputs, rows in cases:
        got, change = evaluate(layer, direction, inputs)
        assert (got.shape, change.shape) == ((*leading, 5), leading)
        assert got.dtype == change.dtype == "float32"
        expected = moved[rows].reshape(got.shape), log_det[rows].reshape(leading)
        np.testing.assert_allclose(got, expected[0], few_ulp, few_ulp)
        np.testing.assert_allclose(change, expected[1], few_ulp, few_ulp)
    if direction == DIRECTIONS[0]:
        for got, expected in zip(layer(flat, *twice), (moved, log_det), strict=True):
            np.testing.assert_allclose(to_numpy(got), expected, few_ulp, few_ulp)


@every_flow
@both_directions
def test_log_det_is_that_of_the_dense_jacobian(name, direction):
    for dim in dims_of(name):
        _, log_det = outputs_of(name, dim, "float64", direction)
        jacobian = jacobian_of(name, dim, direction)
        sign, expected = np.linalg.slogdet(jacobian)
        np.testing.assert_array_equal(sign, sign[0] if "permutation" in name else 1)
        # Differences are good to 1e-11 of an entry; a determinant takes that times |J^-1|.
        conditioned = np.maximum(1, np.linalg.norm(np.linalg.inv(jacobian), 2, (1, 2)))
        assert np.all(np.abs(log_det - expected) <= 1e-9 * conditioned)


@every_flow
@both_directions
def test_each_direction_undoes_the_other(name, direction):
    for dim, dtype in itertools.product(dims_of(name), DTYPES):
        layer = make(name, dim, dtype)
        start, *context = inputs_for(name, dim, dtype)
        there, log_det_there = outputs_of(name, dim, dtype, direction)
        back, log_det_back = evaluate(layer, opposite(direction), [there, *context])
        size = np.maximum(np.maximum(norm(start), norm(there)), 1)
        # The way back has the inverse of the Jacobian of the way there.
        lipschitz = 1 / np.linalg.norm(jacobian_of(name, dim, direction), -2, (1, 2))
        allowed = ROUND_TRIP[dtype] * (1 + lipschitz) * size
        assert np.all(norm(back - start) <= allowed)
        assert np.all(np.abs(log_det_back + log_det_there) <= 10 * allowed)


def arrays_of(layer, inputs):
    """Return the inputs and the weights, in one list."""
    return [*inputs, *(to_numpy(variable.value) for variable in layer.trainable_variables)]


@every_flow
@both_directions
def test_gradients_equal_central_differences_and_reach_every_weight_and_input(name, direction):
    layer, inputs = make(name, 5), inputs_for(name, 5)
    arrays = arrays_of(layer, inputs)
    value = weighted_sum(layer, direction, len(inputs))
    slopes = gradients(value, *arrays)
    for slope in slopes:
        assert np.any(slope) if name in PIECEWISE else np.all(slope)
    # A way at random has a part in every coordinate of every array.
    rng, program = np.random.default_rng(2), compiled(value)
    ways = [rng.standard_normal(array.shape) for array in arrays]

    def along(step):
        return float(program(*(array + step * way for array, way in zip(arrays, ways))))

    expected = central_differences(along)
    got = sum(np.sum(slope * way) for slope, way in zip(slopes, ways))
    assert abs(got - expected) <= 1e-8 * max(1, abs(expected))


# What stands around the maps is a matter of the first derivative: JAX is asked for the maps'.
# A context is one more product: one stack of one is enough, and so is one of couplings.
@over(
    [n for n in NAMES if not (ON_JAX and n in {*OF_A_CONTEXT, "planar stack with a full end"})],
    *("mixed stack", "mixed stack of a context", "affine stack of a context"),
    *("planar stack with a full end", "affine coupling stack", "mixture coupling stack"),
    *("masked stack", "masked spline stack of a context", "sylvester"),
)
@both_directions
def test_second_derivatives_equal_central_differences_of_the_first(name, direction):
    layer, inputs = make(name, 5), inputs_for(name, 5)
    rng, arrays = np.random.default_rng(3), arrays_of(layer, inputs)
    ways = [rng.standard_normal(array.shape) for array in arrays]
    value = weighted_sum(layer, direction, len(inputs))

    def slopes_at(step):
        shifted = [np.asarray(array + step * way) for array, way in zip(arrays, ways)]
        return np.concatenate([slope.ravel() for slope in gradients(value, *shifted)])

    got = np.concatenate([c.ravel() for c in curvatures(value, ways, *arrays)])
    expected = central_differences(slopes_at)
    np.testing.assert_allclose(got, expected, 1e-7, 1e-7 * max(1, np.abs(expected).max()))


@every_flow
def test_the_seed_fixes_the_initial_weights(name):
    def initial(seed):
        layer = built(CATALOGUE[name](seed=seed), name, 4)
        return [to_numpy(variable.value) for variable in layer.weights]

    for first, again in zip(initial(3), initial(3)):
        np.testing.assert_array_equal(first, again)
    if initial(3):
        assert any(np.any(first != other) for first, other in zip(initial(3), initial(4)))
        assert any(np.any(first != other) for first, other in zip(initial(None), initial(None)))


@every_flow
@both_directions
def test_float32_agrees_with_float64(name, direction):
    single, double = make(name, 5, "float32"), make(name, 5)
    inputs = inputs_for(name, 5, "float32", BATCH)
    exactly = [
        [to_numpy(array).astype("float64") for array in arrays]
        for arrays in (inputs, single.trainable_variables)
    ]
    for narrow, wide in zip(
        evaluate(single, direction, inputs), evaluate(double, direction, *exactly)
    ):
        np.testing.assert_allclose(narrow, wide, 1e-4, 1e-4)
