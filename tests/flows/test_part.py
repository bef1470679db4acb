"""Maps that go a part of their way: between the identity and the map, each a bijection."""

import numpy as np
import pytest
from catalogue import NAMES, OF_A_CONTEXT, ON_JAX, make, over, points_for, to_numpy

STACKS = [n for n in NAMES if "stack" in n and n not in OF_A_CONTEXT and "empty" not in n]
# JAX compiles each operation of each map for each shape.
PARTS, DIMS = ((0.3,), (5,)) if ON_JAX else ((0.3, 0.9), (1, 5))

every_stack = over([*STACKS, "sylvester", "full affine"])


def steps(name, dim):
    return list(make(name, dim).composition().steps())


def moved(step, points, inverse=False):
    return [to_numpy(tensor) for tensor in step.run(points, inverse)]


def jacobians(step, points, size=1e-6):
    """Return a matrix of central differences at each point; all go through the map in one call."""
    ways = size * np.eye(points.shape[-1])
    rows = points[:, None] + np.concatenate([ways, -ways])
    there, back = np.split(moved(step, rows.reshape(-1, len(ways)))[0].reshape(rows.shape), 2, 1)
    return np.swapaxes(there - back, 1, 2) / (2 * size)


@every_stack
@pytest.mark.parametrize("dim", DIMS)
def test_a_map_begins_as_the_identity_and_ends_as_itself(name, dim):
    points = points_for(dim)
    for step in steps(name, dim):
        start, log_det = moved(step.part(0.0), points)
        np.testing.assert_allclose(start, points, atol=1e-12)
        np.testing.assert_allclose(log_det, 0, atol=1e-12)
        for got, expected in zip(moved(step.part(1.0), points), moved(step, points)):
            np.testing.assert_allclose(got, expected, atol=1e-10)


@every_stack
@pytest.mark.parametrize("t", PARTS)
def test_between_them_it_is_a_bijection_with_that_determinant(name, t):
    points = points_for(2)
    for step in (step.part(t) for step in steps(name, 2)):
        there, log_det = moved(step, points)
        back, log_det_back = moved(step, there, inverse=True)
        np.testing.assert_allclose(back, points, atol=1e-9)
        np.testing.assert_allclose(log_det_back, -log_det, atol=1e-9)
        expected = np.linalg.slogdet(jacobians(step, points))[1]
        np.testing.assert_allclose(log_det, expected, atol=1e-7)


@pytest.mark.parametrize("name", ["planar stack", "radial stack", "sylvester"])
@pytest.mark.parametrize("t", PARTS)
def test_of_one_shift_by_a_function_every_point_goes_straight(name, t):
    points = points_for(3)
    for step in steps(name, 3):
        way = moved(step, points)[0] - points
        np.testing.assert_allclose(moved(step.part(t), points)[0], points + t * way, atol=1e-12)


def test_a_planar_map_without_a_direction_is_a_shift_in_part_too():
    (step,) = list(make("planar stack with a full end", 2).composition().steps())[:1]
    weights = step.weights | {"w": 0 * step.weights["w"]}
    shift = type(step)(step.name, step.map, weights)
    points = points_for(2)
    whole = moved(shift, points)[0] - points
    np.testing.assert_allclose(moved(shift.part(0.5), points)[0], points + whole / 2, atol=1e-12)


def test_the_geometry_of_a_planar_map_is_that_of_its_formula():
    for step in steps("planar stack", 2):
        g = {name: np.squeeze(v, (0, -1)) for name, v in step.map.geometry(**step.arrays()).items()}
        points = points_for(2)
        h = np.tanh(points @ g["w"] + g["b"])
        np.testing.assert_allclose(moved(step, points)[0], points + h[:, None] * g["û"])
        assert g["w"] @ g["û"] > -1


def test_the_geometry_of_a_radial_map_is_that_of_its_formula():
    for step in steps("radial stack", 2):
        g = {name: np.squeeze(v, (0, -1)) for name, v in step.map.geometry(**step.arrays()).items()}
        away = points_for(2) - g["c"]
        r = np.linalg.norm(away, axis=-1, keepdims=True)
        expected = points_for(2) + g["β̂"] * away / (g["α"] + r)
        np.testing.assert_allclose(moved(step, points_for(2))[0], expected)
        assert g["β̂"] > -g["α"] < 0
