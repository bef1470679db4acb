import numpy as np
import pytest
from catalogue import (
    CATALOGUE,
    DIRECTIONS,
    DTYPES,
    ROUND_TRIP,
    apply,
    build,
    curvatures,
    eps_of,
    evaluate,
    gradients,
    make,
    norm,
    points_for,
    to_numpy,
)
from keras import ops
from truth import central_differences, dense_jacobian

every_flow = pytest.mark.parametrize("name", CATALOGUE)
# Few shapes, used again and again: JAX compiles for each of them.
every_dim = pytest.mark.parametrize("dim", [1, 5])
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
both_directions = pytest.mark.parametrize("direction", DIRECTIONS)


def opposite(direction):
    return DIRECTIONS[1 - DIRECTIONS.index(direction)]


@every_flow
@both_directions
def test_any_leading_axes_give_points_of_their_shape_and_one_log_det_each(name, direction):
    dtype = "float32"
    layer = make(name, 5, dtype)
    flat = points_for(5, dtype, (6,))
    expected, expected_log_det = evaluate(layer, direction, flat)
    for leading in ((6,), (2, 3)):
        points, log_det = evaluate(layer, direction, flat.reshape(*leading, 5))
        assert points.shape == (*leading, 5)
        assert log_det.shape == leading
        assert points.dtype == log_det.dtype == dtype
        few_ulp = 64 * eps_of(dtype)
        np.testing.assert_allclose(points.reshape(6, 5), expected, few_ulp, few_ulp)
        np.testing.assert_allclose(log_det.reshape(6), expected_log_det, few_ulp, few_ulp)
    point, log_det = evaluate(layer, direction, flat[0])
    assert (point.shape, log_det.shape) == ((5,), ())


@every_flow
def test_calling_the_layer_is_running_it_forward(name):
    layer = make(name, 5)
    called = [to_numpy(tensor) for tensor in layer(points_for(5))]
    few_ulp = 64 * eps_of("float64")
    for got, expected in zip(called, evaluate(layer, "forward_and_log_det", points_for(5))):
        np.testing.assert_allclose(got, expected, few_ulp, few_ulp)


@every_flow
@every_dim
@both_directions
def test_log_det_is_that_of_the_dense_jacobian(name, dim, direction):
    layer = make(name, dim)
    points = points_for(dim)
    _, log_det = evaluate(layer, direction, points)
    jacobian = dense_jacobian(lambda rows: evaluate(layer, direction, rows)[0], points)
    sign, expected = np.linalg.slogdet(jacobian)
    np.testing.assert_array_equal(sign, 1)
    # Differences are good to 1e-11 of an entry; a determinant takes that times |J^-1|.
    conditioned = np.maximum(1, np.linalg.norm(np.linalg.inv(jacobian), 2, (1, 2)))
    assert np.all(np.abs(log_det - expected) <= 1e-9 * conditioned)


@every_flow
@every_dim
@every_dtype
@both_directions
def test_each_direction_undoes_the_other(name, dim, dtype, direction):
    layer = make(name, dim, dtype)
    start = points_for(dim, dtype)
    there, log_det_there = evaluate(layer, direction, start)
    back, log_det_back = evaluate(layer, opposite(direction), there)
    size = np.maximum(np.maximum(norm(start), norm(there)), 1)
    exact = make(name, dim)
    jacobian = dense_jacobian(
        lambda rows: evaluate(exact, opposite(direction), rows)[0], there.astype("float64")
    )
    allowed = ROUND_TRIP[dtype] * (1 + np.linalg.norm(jacobian, 2, (1, 2))) * size
    assert np.all(norm(back - start) <= allowed)
    assert np.all(np.abs(log_det_back + log_det_there) <= 10 * allowed)


@every_flow
@every_dtype
@both_directions
def test_a_batch_of_one_equals_its_row_of_a_batch(name, dtype, direction):
    layer = make(name, 5, dtype)
    points = points_for(5, dtype, (33,))
    whole, whole_log_det = evaluate(layer, direction, points)
    few_ulp = 64 * eps_of(dtype)
    for row in (0, 7, 32):
        one, log_det = evaluate(layer, direction, points[row : row + 1])
        np.testing.assert_allclose(one[0], whole[row], few_ulp, few_ulp)
        np.testing.assert_allclose(log_det[0], whole_log_det[row], few_ulp, few_ulp)


@every_flow
@every_dtype
@both_directions
def test_permuting_the_batch_permutes_the_result(name, dtype, direction):
    layer = make(name, 5, dtype)
    points = points_for(5, dtype, (33,))
    order = np.random.default_rng(1).permutation(33)
    few_ulp = 64 * eps_of(dtype)
    for got, whole in zip(
        evaluate(layer, direction, points[order]), evaluate(layer, direction, points)
    ):
        np.testing.assert_allclose(got, whole[order], few_ulp, few_ulp)


def sum_of(layer, direction, on_points, on_log_det):
    """Return the function of points and weights that weighs what the layer gives, and sums up."""
    on_points, on_log_det = map(ops.convert_to_tensor, (on_points, on_log_det))

    def weighted_sum(points, *weights):
        moved, log_det = apply(layer, direction, points, *weights)
        return ops.sum(moved * on_points) + ops.sum(log_det * on_log_det)

    return weighted_sum


@every_flow
@both_directions
def test_gradients_equal_central_differences(name, direction):
    layer = make(name, 5)
    rng = np.random.default_rng(2)
    points = points_for(5)
    weights = [to_numpy(variable.value) for variable in layer.trainable_variables]
    on_points, on_log_det = rng.standard_normal(points.shape), rng.standard_normal(len(points))

    weighted_sum = sum_of(layer, direction, on_points, on_log_det)
    arrays = [points, *weights]
    slopes = gradients(weighted_sum, *arrays)
    for _ in range(3):
        ways = [rng.standard_normal(array.shape) for array in arrays]

        def along(step, ways=ways):
            shifted = [array + step * way for array, way in zip(arrays, ways)]
            moved, log_det = evaluate(layer, direction, shifted[0], shifted[1:])
            return np.sum(moved * on_points) + np.sum(log_det * on_log_det)

        expected = central_differences(along)
        got = sum(np.sum(slope * way) for slope, way in zip(slopes, ways))
        assert abs(got - expected) <= 1e-8 * max(1, abs(expected))


@every_flow
@both_directions
def test_second_derivatives_equal_central_differences_of_the_first(name, direction):
    layer = make(name, 5)
    rng = np.random.default_rng(3)
    points = points_for(5)
    arrays = [points, *(to_numpy(variable.value) for variable in layer.trainable_variables)]
    ways = [rng.standard_normal(array.shape) for array in arrays]
    on_points, on_log_det = rng.standard_normal(points.shape), rng.standard_normal(len(points))

    weighted_sum = sum_of(layer, direction, on_points, on_log_det)

    def slopes_at(step):
        shifted = [np.asarray(array + step * way) for array, way in zip(arrays, ways)]
        return np.concatenate([slope.ravel() for slope in gradients(weighted_sum, *shifted)])

    got = np.concatenate([c.ravel() for c in curvatures(weighted_sum, ways, *arrays)])
    expected = central_differences(slopes_at)
    np.testing.assert_allclose(got, expected, 1e-7, 1e-7 * max(1, np.abs(expected).max()))


@every_flow
@both_directions
def test_a_finite_gradient_reaches_every_weight_and_point(name, direction):
    dtype = "float32"
    layer = make(name, 5, dtype)
    weights = [to_numpy(variable.value) for variable in layer.trainable_variables]

    def total(points, *weights):
        moved, log_det = apply(layer, direction, points, *weights)
        return ops.sum(moved * moved) + ops.sum(log_det)

    for slope in gradients(total, points_for(5, dtype), *weights):
        assert slope.dtype == dtype
        assert np.all(np.isfinite(slope))
        assert np.all(slope != 0)


@every_flow
def test_the_seed_fixes_the_initial_weights(name):
    def initial(seed):
        layer = CATALOGUE[name](seed=seed)
        layer.build((None, 4))
        return [to_numpy(variable.value) for variable in layer.weights]

    for first, again in zip(initial(3), initial(3)):
        np.testing.assert_array_equal(first, again)
    if initial(3):
        assert any(np.any(first != other) for first, other in zip(initial(3), initial(4)))
        assert any(np.any(first != other) for first, other in zip(initial(None), initial(None)))


@every_flow
@both_directions
def test_float32_agrees_with_float64(name, direction):
    single, double = make(name, 5, "float32"), build(name, 5, "float64", 0)
    for variable, rounded in zip(double.weights, single.weights):
        variable.assign(to_numpy(rounded.value).astype("float64"))
    points = points_for(5, "float32", (33,))
    for narrow, wide in zip(
        evaluate(single, direction, points), evaluate(double, direction, points.astype("float64"))
    ):
        np.testing.assert_allclose(narrow, wide, 1e-4, 1e-4)
