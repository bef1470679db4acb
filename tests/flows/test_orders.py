import itertools

import numpy as np
import pytest
from catalogue import to_numpy
from keras import ops

from nflow_cli.flows.orders import as_matrix, parting, shuffle

DIMS = [*range(2, 33), 40, 63, 64]


def moving(place, dim):
    """Return which coordinates the coupling at a place moves."""
    return set(parting(place, dim)[: dim - dim // 2].tolist())


@pytest.mark.parametrize("order", [parting, shuffle])
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


def test_shuffles_differ_and_at_two_coordinates_they_swap():
    for number in range(4):
        assert shuffle(number, 2).tolist() == [1, 0]
    assert len({tuple(shuffle(number, 40)) for number in range(20)}) == 20


def test_the_matrix_of_an_order_takes_out_its_coordinates():
    order = np.array([[2.0, 0.0, 1.0], [0.0, 2.0, 1.0]])
    matrix = to_numpy(as_matrix(ops.convert_to_tensor(order[..., None])))[..., 0]
    for row, own in zip(order.astype(int), matrix):
        np.testing.assert_array_equal(own @ [10, 20, 30], np.array([10, 20, 30])[row])
