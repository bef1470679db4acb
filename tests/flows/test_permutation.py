import numpy as np
import pytest
from catalogue import DIRECTIONS, DTYPES, evaluate, to_numpy

from nflow_cli.flows import FlowStack
from nflow_cli.flows.orders import shuffle

DIMS = (1, 2, 3, 5, 40)

every_dim = pytest.mark.parametrize("dim", DIMS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def permutations(dim, k, dtype="float64"):
    stack = FlowStack(["permutation"], k, dtype=dtype)
    stack.build((None, dim))
    return stack


def points_of(dim, dtype):
    """Return points of all sizes: sums of others with 0 would show."""
    rng = np.random.default_rng(dim)
    sizes = 10.0 ** rng.uniform(-30, 30, (16, dim))
    return (sizes * rng.standard_normal((16, dim))).astype(dtype)


@every_dim
@every_dtype
def test_the_coordinates_change_places_and_not_a_bit_of_them(dim, dtype):
    points = points_of(dim, dtype)
    order = np.arange(dim)
    for number in range(3):
        order = order[shuffle(number, dim)]
    ways = order, np.argsort(order)
    for direction, way in zip(DIRECTIONS, ways):
        moved, log_det = evaluate(permutations(dim, 3, dtype), direction, [points])
        assert moved.dtype == log_det.dtype == dtype
        np.testing.assert_array_equal(moved, points[:, way])
        np.testing.assert_array_equal(log_det, np.zeros(16))


def test_it_has_nothing_to_train():
    stack = permutations(5, 3)
    assert not stack.trainable_weights
    (orders,) = stack.non_trainable_weights
    expected = [shuffle(number, 5) for number in range(3)]
    np.testing.assert_array_equal(to_numpy(orders.value), expected)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_what_is_not_finite_stays_in_its_row(direction):
    points = points_of(5, "float64")
    points[3, 1], points[7, 2] = np.nan, np.inf
    moved, _ = evaluate(permutations(5, 2), direction, [points])
    assert np.flatnonzero(~np.all(np.isfinite(moved), -1)).tolist() == [3, 7]
