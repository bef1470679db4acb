import numpy as np

from nflow_cli.evaluation.grids import Grid, Together

FIRST, SECOND = np.array([0.0, 1.0, 5.0]), np.array([-2.0, 3.0])
POINTS = [[0, -2], [1, -2], [5, -2], [0, 3], [1, 3], [5, 3]]


def test_the_first_coordinate_goes_along_rows():
    grid = Grid(FIRST, SECOND)
    assert (len(grid), grid.shape) == (6, (2, 3))
    np.testing.assert_array_equal(grid[:], POINTS)


def test_a_part_of_a_grid_is_that_of_the_whole():
    grid = Grid(FIRST, SECOND)
    for part in (slice(1, 4), slice(5, 99), slice(6, 6), slice(None, None, 2)):
        np.testing.assert_array_equal(grid[part], np.array(POINTS, float)[part])
    np.testing.assert_array_equal(grid.at(np.array([4, 0])), [[1, 3], [0, -2]])


def test_of_a_grid_larger_than_memory_a_few_points_are_made():
    axis = np.arange(1e6)
    grid = Grid(axis, axis)
    np.testing.assert_array_equal(grid[10**12 - 2 :], [[999_998, 999_999], [999_999, 999_999]])


def test_a_part_of_several_grids_is_that_of_all_their_points():
    grids = Grid(FIRST, SECOND), Grid(SECOND, FIRST)
    both = np.concatenate([grid[:] for grid in grids])
    together = Together(*grids)
    assert len(together) == 12
    for part in (slice(0, 4), slice(4, 9), slice(6, 6), slice(7, 99), slice(None)):
        np.testing.assert_array_equal(together[part], both[part])
