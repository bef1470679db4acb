import numpy as np
import pytest
from catalogue import DTYPES, compiled, eps_of, to_numpy
from keras import ops

from nflow_cli.flows.elementwise import ScaleAndShift
from nflow_cli.flows.mixture import Mixture
from nflow_cli.flows.spline import Spline

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
MAPS = [ScaleAndShift(), Spline(), Spline(bins=2, bound=0.5), Mixture(), Mixture(2)]


def run(function, parameters, points):
    tensors = map(ops.convert_to_tensor, (parameters, points))
    return [to_numpy(tensor) for tensor in compiled(function)(*tensors)]


@every_dtype
@pytest.mark.parametrize(
    "scalar", MAPS, ids=["affine", "spline", "small spline", "mixture", "small mixture"]
)
def test_where_all_parameters_are_0_it_is_the_identity(scalar, dtype):
    points = np.random.default_rng(0).uniform(-7, 7, (2, 3, 50)).astype(dtype)
    parameters = np.zeros((2, scalar.size, 3, 50), dtype)
    few_ulp = 16 * eps_of(dtype) * 7
    for function in (scalar.forward, scalar.inverse):
        moved, log_slope = run(function, parameters, points)
        assert moved.dtype == log_slope.dtype == dtype
        np.testing.assert_allclose(moved, points, 0, few_ulp)
        np.testing.assert_allclose(log_slope, np.zeros_like(points), 0, few_ulp)


@every_dtype
def test_scales_are_bounded_and_small_ones_are_exponentials(dtype):
    raw = np.array([-1e6, -1e-3, 0, 1e-3, 1e6], dtype)
    parameters = np.stack([np.ones(5, dtype), raw])[:, None]
    moved, log_slope = run(ScaleAndShift().forward, parameters, np.full((1, 5), 2, dtype))
    expected = 3 * np.tanh(raw.astype("float64") / 3)
    np.testing.assert_allclose(log_slope[0], expected, 8 * eps_of(dtype), 0)
    np.testing.assert_allclose(moved[0], 2 * np.exp(expected) + 1, 16 * eps_of(dtype))
