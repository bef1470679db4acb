import itertools

import numpy as np
import pytest
from catalogue import DIRECTIONS, DTYPES, evaluate, to_numpy
from keras import ops

from nflow_cli.flows.orders import alternating, as_matrices, parting, shuffle
from nflow_cli.flows.stack import FlowStack

DIMS = [*range(2, 33), 40, 63, 64]


def moving(place, dim):
    """Return which coordinates the coupling at a place moves."""
    return set(parting(place, dim)[: dim - dim // 2].tolist())


@pytest.mark.parametrize("order", [parting, shuffle, alternating])
def test_an_order_has_each_coordinate_once_and_is_the_same_every_time(order):
    for dim, place in itertools.product([1, *DIMS], range(20)):
        np.testing.assert_array_equal(np.sort(order(place, dim)), np.arange(dim))
        np.testing.assert_array_equal(order(place, dim), order(place, dim))


def test_every_two_coordinates_are_parted_by_the_places_that_are_documented():
    for dim in DIMS:
        apart = np.eye(dim, dtype=bool)
        for place in range(2 * int(np.ceil(np.log2(dim)))):
            moved = np.isin(np.arange(dim), list(moving(place, dim)))
            apart |= moved[:, None] != moved
        assert np.all(apart)


def test_each_coordinate_moves_in_each_pair_of_places():
    for dim, pair in itertools.product([1, *DIMS], range(20)):
        assert moving(2 * pair, dim) | moving(2 * pair + 1, dim) == set(range(dim))


def test_orders_alternate_with_their_reverses_and_the_pairs_differ():
    for dim, pair in itertools.product([1, *DIMS], range(5)):
        there, back = (alternating(place, dim) for place in (2 * pair, 2 * pair + 1))
        np.testing.assert_array_equal(back, there[::-1])
    assert [alternating(place, 2).tolist() for place in range(4)] == 2 * [[0, 1], [1, 0]]
    assert len({tuple(alternating(place, 40)) for place in range(20)}) == 20


def test_shuffles_differ_and_at_two_coordinates_they_swap():
    for number in range(4):
        assert shuffle(number, 2).tolist() == [1, 0]
    assert len({tuple(shuffle(number, 40)) for number in range(20)}) == 20


def test_the_matrices_of_an_order_take_out_its_coordinates_and_put_them_back():
    orders, point = np.array([[2, 0, 1], [0, 2, 1]]), np.array([10, 20, 30])
    there, back = as_matrices(ops.convert_to_tensor(orders[..., None].astype("float32")))
    for order, out, home in zip(orders, to_numpy(there)[..., 0], to_numpy(back)[..., 0]):
        np.testing.assert_array_equal(out @ point, point[order])
        np.testing.assert_array_equal(home @ point[order], point)


def permutations(dim, k, dtype="float64"):
    stack = FlowStack(["permutation"], k, dtype=dtype)
    stack.build((None, dim))
    return stack


def points_of(dim, dtype="float64"):
    """Return points of all sizes: sums of others with 0 would show."""
    rng = np.random.default_rng(dim)
    sizes = 10.0 ** rng.uniform(-30, 30, (16, dim))
    return (sizes * rng.standard_normal((16, dim))).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_permutation_moves_coordinates_and_not_a_bit_of_them(dtype, direction):
    for dim in (1, 2, 5, 40):
        points, order = points_of(dim, dtype), np.arange(dim)
        for number in range(3):
            order = order[shuffle(number, dim)]
        way = order if direction == DIRECTIONS[0] else np.argsort(order)
        moved, log_det = evaluate(permutations(dim, 3, dtype), direction, [points])
        assert moved.dtype == log_det.dtype == dtype
        np.testing.assert_array_equal(moved, points[:, way])
        np.testing.assert_array_equal(log_det, np.zeros(16))
    points = points_of(5, dtype)
    points[3, 1], points[7, 2] = np.nan, np.inf
    moved, _ = evaluate(permutations(5, 2, dtype), direction, [points])
    assert np.flatnonzero(~np.all(np.isfinite(moved), -1)).tolist() == [3, 7]


def test_a_permutation_has_nothing_to_train():
    stack = permutations(5, 3)
    assert not stack.trainable_weights
    (orders,) = stack.non_trainable_weights
    expected = [shuffle(number, 5) for number in range(3)]
    np.testing.assert_array_equal(to_numpy(orders.value), expected)
