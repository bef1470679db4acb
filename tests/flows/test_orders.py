import itertools

import numpy as np
import pytest
from catalogue import to_numpy
from keras import ops

from nflow_cli.flows.orders import alternating, as_matrices, parting, shuffle

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
