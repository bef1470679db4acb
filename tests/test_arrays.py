"""Functions over an array namespace, against 40 digits."""

import math

import mpmath
import numpy as np
import pytest
from catalogue import gradients, to_numpy
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from scipy import special

from nflow_cli.arrays import (
    dtype_of,
    log1mexp,
    log_ndtr,
    log_softmax,
    logsumexp,
    ndtri,
    ndtri_exp,
    silu,
)

EPS = {"float64": 2.0**-52, "float32": 2.0**-23}
WAYS = {"numpy": (np, "float64"), "numpy32": (np, "float32"), "keras": (ops, "float32")}
every_way = pytest.mark.parametrize(("xp", "dtype"), WAYS.values(), ids=WAYS)
# Both tails, the middle, and as near to 0 as it goes.
POINTS = np.concatenate([-(10.0 ** np.arange(-9, 4.1, 0.5)), [0.0], 10.0 ** np.arange(-9, 1, 0.25)])


def run(function, *arrays, xp, dtype):
    """Return what a function of arrays of a type gives, as an array of that type."""
    arrays = [np.asarray(array, dtype) for array in arrays]
    if xp is np:
        with np.errstate(all="raise", under="ignore"):
            result = function(*arrays)
    else:
        result = to_numpy(function(*map(ops.convert_to_tensor, arrays)))
    assert result.dtype == dtype
    return result


def of_each(function, array):
    """Return a function of one number of 40 digits, of each number of an array."""
    with mpmath.workdps(40):
        return np.array([float(function(mpmath.mpf(float(x)))) for x in array])


def derivative(function, array):
    """Return the derivative of an elementwise function of a float32 tensor."""
    return gradients(lambda x: ops.sum(function(x)), np.asarray(array, "float32"))[0]


def log_phi(x):
    return mpmath.log1p(-mpmath.ncdf(-x)) if x > 0 else mpmath.log(mpmath.ncdf(x))


def hazard(x):
    """Return φ(x) / Φ(x)."""
    return mpmath.npdf(x) / mpmath.ncdf(x)


@every_way
def test_log_of_the_normal_distribution_function_has_its_digits_in_both_tails(xp, dtype):
    points = POINTS.astype(dtype)
    got = run(lambda x: log_ndtr(x, xp), points, xp=xp, dtype=dtype)
    # Above the median the value is of the size of exp(-x²/2), which has the rounding of x²/2.
    allowed = EPS[dtype] * (8 + np.maximum(points, 0) ** 2)
    np.testing.assert_array_less(np.abs(got / of_each(log_phi, points) - 1), allowed)


def test_its_derivative_is_the_density_over_the_distribution_function():
    points = POINTS.astype("float32")
    got = derivative(lambda x: log_ndtr(x, ops), points)
    np.testing.assert_allclose(got, of_each(hazard, points), 1e-5)
    far = np.array([-1e15, -1e6, 1e6, 1e15], "float32")
    assert np.all(np.isfinite(derivative(lambda x: log_ndtr(x, ops), far)))


@every_way
def test_a_quantile_from_a_logarithm_has_this_logarithm(xp, dtype):
    log_p = -(10.0 ** np.arange(-6, 8, 0.25))
    log_p = np.append(log_p, [-0.5, -math.log(2), -0.7]).astype(dtype)
    z = run(lambda x: ndtri_exp(x, xp), log_p, xp=xp, dtype=dtype)
    # A rounding of z changes the logarithm by that times the hazard.
    allowed = EPS[dtype] * (8 * np.abs(log_p) + 2 * np.abs(z) * of_each(hazard, z))
    np.testing.assert_array_less(np.abs(of_each(log_phi, z) - log_p), allowed)
    ends = run(lambda x: ndtri_exp(x, xp), [-math.inf, -1e30, 0], xp=xp, dtype=dtype)
    np.testing.assert_allclose(ends, [-math.inf, -math.sqrt(2e30), math.inf], 1e-6)


def test_the_derivative_of_a_quantile_is_that_of_an_inverse():
    log_p = -(10.0 ** np.arange(-6, 6, 0.25)).astype("float32")
    got = derivative(lambda x: ndtri_exp(x, ops), log_p)
    with mpmath.workdps(40):
        z = ndtri_exp(log_p.astype("float64"), np)
    np.testing.assert_allclose(got, 1 / of_each(hazard, z), 1e-4)


def test_the_normal_distribution_and_its_quantiles_are_those_of_scipy_over_all_doubles():
    x = np.concatenate([-np.logspace(150, -300, 900), [0.0], np.logspace(-300, 1.5, 600)])
    np.testing.assert_allclose(log_ndtr(x, np), special.log_ndtr(x), 2e-13)
    log_p = -np.logspace(-300, 300, 1_200)
    # SciPy's, of thirteen digits below -1e5; the tests above are to the last digit.
    np.testing.assert_allclose(ndtri_exp(log_p, np), special.ndtri_exp(log_p), 1e-12)
    p = np.concatenate([np.logspace(-307, -1, 600), np.linspace(0.1, 0.9, 401)])
    p = np.concatenate([p, 1 - np.logspace(-16, -1, 100), [0, 1]])
    np.testing.assert_allclose(ndtri(p, np), special.ndtri(p), 1e-15, 1e-15)


@every_way
def test_quantiles_of_probabilities_are_symmetric_and_infinite_at_the_ends(xp, dtype):
    p = np.array([0, 1e-30, 0.125, 0.5, 0.875, 1])
    got = run(lambda p: ndtri(p, xp), p, xp=xp, dtype=dtype)
    np.testing.assert_array_equal(got[[0, 5]], [-math.inf, math.inf])
    np.testing.assert_allclose(of_each(mpmath.ncdf, got[1:5]), p[1:5], 100 * EPS[dtype])
    assert abs(got[3]) <= EPS[dtype]


@every_way
def test_sums_of_exponentials_neither_overflow_nor_vanish(xp, dtype):
    inf = math.inf
    x = np.array([[1000, 1001, -inf], [-3e4, -3e4, -3e4], [0, -50, 1e-3], [-inf, -inf, -inf]])
    sums = [1001 + math.log1p(math.exp(-1)), -3e4 + math.log(3), None, -inf]
    sums[2] = float(mpmath.log(1 + mpmath.exp(-50) + mpmath.exp(mpmath.mpf("1e-3"))))
    got = run(lambda x: logsumexp(x, -1, xp), x, xp=xp, dtype=dtype)
    np.testing.assert_allclose(got, sums, 4 * EPS[dtype])
    across = run(lambda x: logsumexp(x, 0, xp), x.T, xp=xp, dtype=dtype)
    np.testing.assert_allclose(across, sums, 4 * EPS[dtype])
    shares = run(lambda x: log_softmax(x, -1, xp), x[:3], xp=xp, dtype=dtype)
    expected = x[:3] - np.array(sums[:3])[:, None]
    np.testing.assert_allclose(shares, expected, 8 * EPS[dtype], 3e4 * EPS[dtype])


def test_the_derivative_of_a_log_sum_is_the_softmax():
    x = np.random.default_rng(0).normal(0, 30, (50, 7)).astype("float32")
    expected = np.exp(x - logsumexp(x.astype("float64"), -1, np)[:, None])
    np.testing.assert_allclose(
        derivative(lambda x: logsumexp(x, -1, ops), x), expected, 1e-4, 1e-30
    )


@every_way
def test_log1mexp_and_silu_equal_40_digits(xp, dtype):
    small = -(10.0 ** np.arange(-12, 1.9, 0.25)).astype(dtype)
    small = np.append(small, np.array([-math.log(2), -0.7], dtype))
    got = run(lambda x: log1mexp(x, xp), small, xp=xp, dtype=dtype)
    expected = of_each(lambda x: mpmath.log(-mpmath.expm1(x)), small)
    np.testing.assert_allclose(got, expected, 8 * EPS[dtype] * 80)
    points = np.append(POINTS[POINTS > -80], 1e30).astype(dtype)
    got = run(lambda x: silu(x, xp), points, xp=xp, dtype=dtype)
    expected = of_each(lambda x: x / (1 + mpmath.exp(-x)), points)
    np.testing.assert_allclose(got, expected, 8 * EPS[dtype] * 80)


def test_the_derivatives_of_log1mexp_and_silu_are_theirs_and_finite():
    small = np.append(-(10.0 ** np.arange(-6, 1.9, 0.25)), -math.log(2)).astype("float32")
    got = derivative(lambda x: log1mexp(x, ops), small)
    np.testing.assert_allclose(got, of_each(lambda x: -1 / mpmath.expm1(-x), small), 1e-4)
    points = np.append(POINTS[POINTS > -80], [1e30, -1e30]).astype("float32")
    got = derivative(lambda x: silu(x, ops), points)
    share = of_each(lambda x: 1 / (1 + mpmath.exp(-x)), points.astype("float64"))
    expected = share * (1 + points.astype("float64") * (1 - share))
    np.testing.assert_allclose(got, expected, 1e-4, 1e-30)


@given(st.floats(-38, 38))
def test_the_two_sides_of_a_median_are_one_another(x):
    below, above = log_ndtr(np.array([x, -x]), np)
    assert abs(math.exp(below) + math.exp(above) - 1) <= 4e-16
    low, high = ndtri_exp(np.array([below, above]), np)
    best = low if x < 0 else -high
    assert abs(best - x) <= 1e-15 * (1 + abs(x))


def test_the_type_of_any_array_is_numpys():
    for dtype in EPS:
        assert dtype_of(np.zeros(2, dtype)) == dtype_of(ops.zeros(2, dtype)) == dtype
