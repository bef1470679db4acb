import numpy as np
import pytest
from keras import ops
from truth import call, gradient

from nflow_cli.data.column_maps import Log, Logit
from nflow_cli.data.units import units_of
from nflow_cli.errors import TargetError
from nflow_cli.inference.log_density import ArrayDensity, TensorDensity, checked_pair

BOUNDS = {"a": [0, None], "c": [-1.0, 3.0], "d": [None, 2.0]}
NAMES = ["a", "b", "c", "d"]
UNITS = units_of(NAMES, BOUNDS)


def of_tensors(x):
    return -ops.sum(ops.square(x - 0.5), axis=-1)


def of_arrays(x):
    return -((x - 0.5) ** 2).sum(axis=1), -2 * (x - 0.5)


def test_bounds_are_a_logarithm_on_one_side_and_a_logit_between_two():
    chains = [[Log(0.0, "above")], [], [Logit(-1.0, 3.0)], [Log(2.0, "below")]]
    assert [list(chain) for chain in UNITS.columns] == chains


def test_a_half_cauchy_of_the_scale_of_its_bound_is_normal():
    density = TensorDensity(
        lambda x: np.log(2 / (5 * np.pi)) - ops.log1p((x[:, 0] / 5) ** 2),
        1,
        units_of(["tau"], {"tau": [0.0, None, 5.0]}),
    )
    z = np.linspace(-8, 8, 33, dtype=np.float32)[:, None]
    expected = -(z[:, 0] ** 2) / 2 - np.log(2 * np.pi) / 2
    np.testing.assert_allclose(call(density.log_prob, z), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [TensorDensity, ArrayDensity])
def test_a_log_density_has_the_jacobian_of_its_bounds(kind):
    z = np.random.default_rng(0).standard_normal((2, 5, 4)).astype(np.float32)
    x, log_det = UNITS.outside_and_log_det(z)
    density = kind(of_tensors if kind is TensorDensity else of_arrays, 4, UNITS)
    expected = -((x - 0.5) ** 2).sum(axis=-1) + log_det
    np.testing.assert_allclose(call(density.log_prob, z), expected, rtol=1e-5, atol=1e-5)


def test_points_between_bounds_have_the_exact_slope_of_their_jacobian():
    z = np.random.default_rng(1).standard_normal((6, 4)).astype(np.float32)
    density, step = TensorDensity(of_tensors, 4, UNITS), 1e-5
    slopes = gradient(density.log_prob, z)
    for column in range(4):
        ends = []
        for sign in (1, -1):
            moved = z.astype(np.float64)
            moved[:, column] += sign * step
            x, log_det = UNITS.outside_and_log_det(moved)
            ends.append(-((x - 0.5) ** 2).sum(axis=-1) + log_det)
        expected = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(slopes[:, column], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (np.zeros(3), "expected a pair"),
        ((np.zeros(3),) * 3, "Received: 3 values"),
        ((np.zeros(2), np.zeros((3, 2))), r"log_p of shape \(3,\)"),
        ((np.zeros(3), np.zeros((3, 1))), r"gradient of shape \(3, 2\)"),
        ((["a"] * 3, np.zeros((3, 2))), "log_p of shape"),
        (([1, [2], 3], np.zeros((3, 2))), "log_p of shape"),
    ],
)
def test_what_is_no_pair_of_arrays_is_refused_in_one_line(result, said):
    with pytest.raises(TargetError, match=said) as refusal:
        checked_pair("f", result, np.zeros((3, 2)))
    assert "\n" not in str(refusal.value)
