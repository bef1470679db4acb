from functools import cache

import mpmath as mp
import numpy as np
import pytest
from catalogue import DTYPES, compiled, eps_of, gradients, to_numpy
from keras import ops

from nflow_cli.flows.spline import Spline

SPLINE, SMALL = Spline(), Spline(bins=2, bound=0.5, least=0.01)
ROWS = 60
# How many ulp of the bound rounding moves a knot, a point or what a point is moved to.
ULPS = 8

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_spline = pytest.mark.parametrize("spline", [SPLINE, SMALL], ids=["usual", "small"])
both_ways = pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])


class Durkan:
    """A spline in mpmath, as the paper writes it (arXiv 1906.04032, section 3.1 and eqs. 4-8)."""

    def __init__(self, spline, raw):
        bins, raw = spline.bins, [mp.mpf(value) for value in np.asarray(raw).tolist()]
        self.bound, self.least = mp.mpf(spline.bound), mp.mpf(spline.least)
        self.x = self._knots(raw[:bins])
        self.y = self._knots(raw[bins : 2 * bins])
        unit = mp.log(mp.expm1(1 - self.least))
        slopes = [self.least + mp.log1p(mp.exp(value + unit)) for value in raw[2 * bins :]]
        self.delta = [mp.mpf(1), *slopes, mp.mpf(1)]

    def _knots(self, raw):
        exponentials = [mp.exp(value) for value in raw]
        total, knots = mp.fsum(exponentials), [-self.bound]
        for value in exponentials:
            part = self.least + (1 - len(raw) * self.least) * value / total
            knots.append(knots[-1] + 2 * self.bound * part)
        return knots

    def bin(self, knots, value):
        """Return what eq. 4 has of a bin: the two knots, s, and the slopes at its ends."""
        k = max(k for k in range(len(knots) - 1) if k == 0 or knots[k] <= value)
        x, y = self.x[k : k + 2], self.y[k : k + 2]
        return x, y, (y[1] - y[0]) / (x[1] - x[0]), *self.delta[k : k + 2]

    def forward(self, z):
        """Return f and f' by eqs. 4 and 5."""
        if abs(z) > self.bound:
            return z, mp.mpf(1)
        x, y, s, d0, d1 = self.bin(self.x, z)
        xi = (z - x[0]) / (x[1] - x[0])
        across = xi * (1 - xi)
        beta = s + (d1 + d0 - 2 * s) * across
        value = y[0] + (y[1] - y[0]) * (s * xi**2 + d0 * across) / beta
        return value, s**2 * (d1 * xi**2 + 2 * s * across + d0 * (1 - xi) ** 2) / beta**2

    def inverse(self, value):
        """Return the point and the slope of the inverse there, by eqs. 6-8."""
        if abs(value) > self.bound:
            return value, mp.mpf(1)
        x, y, s, d0, d1 = self.bin(self.y, value)
        up, height = value - y[0], y[1] - y[0]
        a = height * (s - d0) + up * (d1 + d0 - 2 * s)
        b = height * d0 - up * (d1 + d0 - 2 * s)
        c = -s * up
        xi = 2 * c / (-b - mp.sqrt(b**2 - 4 * a * c))
        z = x[0] + xi * (x[1] - x[0])
        return z, 1 / self.forward(z)[1]

    def run(self, at, inverse):
        return self.inverse(at) if inverse else self.forward(at)

    def near(self, knots, at, off):
        """Return where within ``off`` of a point a slope may have its extremes."""
        inner = [knot for knot in knots if abs(knot - at) < off]
        return [max(-self.bound, min(self.bound, v)) for v in (at - off, at + off, *inner)]


@cache
def runner(spline, inverse):
    return compiled(spline.inverse if inverse else spline.forward)


def run(spline, raw, points, inverse):
    """Run splines of raw parameters ``(rows, size)`` on points ``(rows,)``; return arrays."""
    moved, log_slope = runner(spline, inverse)(*laid_out(raw, points))
    return to_numpy(moved)[0], to_numpy(log_slope)[0]


def laid_out(raw, points):
    return ops.convert_to_tensor(raw.T[:, None].copy()), ops.convert_to_tensor(points[None])


@cache
def cases(spline, dtype):
    """Return raw parameters and points: at the ends, outside, at knots, and anywhere."""
    rng = np.random.default_rng(0)
    reach = rng.choice([1, 10, 1000], (ROWS, 1))
    raw = (reach * rng.uniform(-1, 1, (ROWS, spline.size))).astype(dtype)
    bound = spline.bound
    points = rng.uniform(-1.2 * bound, 1.2 * bound, ROWS).astype(dtype)
    ends = np.array([bound, 1.001 * bound, 1e6, np.finfo(dtype).max, np.inf], dtype)
    ends = np.concatenate([ends, np.nextafter(ends[:1], 0)])
    points[:12] = [*ends, *-ends]
    with mp.workdps(60):
        for i in range(12, 28):
            exact = Durkan(spline, raw[i])
            points[i] = (exact.x, exact.y)[i % 2][1 + i // 2 % (spline.bins - 1)]
    return raw, points


@every_dtype
@every_spline
@both_ways
def test_values_and_slopes_are_those_of_the_paper_in_60_digits(dtype, spline, inverse):
    raw, points = cases(spline, dtype)
    moved, log_slope = run(spline, raw, points, inverse)
    assert moved.dtype == log_slope.dtype == dtype
    outside = np.abs(points) > spline.bound
    np.testing.assert_array_equal(moved[outside], points[outside])
    np.testing.assert_array_equal(log_slope[outside], 0)
    for row in np.flatnonzero(~outside):
        with mp.workdps(60):
            value, log_of_slope, off_value, off_slope = exactly(
                spline, raw[row], points[row], inverse, eps_of(dtype)
            )
            assert abs(moved[row] - value) <= off_value
            assert abs(log_slope[row] - log_of_slope) <= off_slope


def exactly(spline, raw, point, inverse, eps):
    """Return what a point is moved to and the log-slope, and what rounding may change of both.

    Rounding moves knots and points by a few ulp of the bound. The log-slope bends by up to 1e9 at
    a knot, so its extremes within that distance count, on either side of the knot.
    """
    exact, point = Durkan(spline, raw), mp.mpf(float(point))
    value, slope = exact.run(point, inverse)
    z, x = (value, point) if inverse else (point, value)
    off = ULPS * mp.mpf(eps) * exact.bound
    shifted = exact.near(exact.x, z, off)
    shifted += [exact.inverse(v)[0] for v in exact.near(exact.y, x, off)]
    values = shifted if inverse else [exact.forward(v)[0] for v in shifted]
    log_slope = mp.log(slope)
    sign = -1 if inverse else 1
    slopes = [sign * mp.log(exact.forward(v)[1]) for v in shifted]
    off_slope = max(abs(v - log_slope) for v in slopes) + ULPS * eps * (1 + abs(log_slope))
    return value, log_slope, max(abs(v - value) for v in values), off_slope


@every_dtype
@both_ways
def test_what_a_round_trip_loses_is_an_ulp_of_the_bound_through_the_slope(dtype, inverse):
    raw, points = cases(SPLINE, dtype)
    there, _ = run(SPLINE, raw, points, inverse)
    back, _ = run(SPLINE, raw, there, not inverse)
    for row in np.flatnonzero(np.abs(points) <= SPLINE.bound):
        with mp.workdps(60):
            exact, middle = Durkan(SPLINE, raw[row]), mp.mpf(float(there[row]))
            off = ULPS * mp.mpf(eps_of(dtype)) * exact.bound
            # The point where it started and that where it ends both come to lie within these.
            low, high = (exact.run(middle + way * off, not inverse)[0] for way in (-1, 1))
            assert abs(back[row] - mp.mpf(float(points[row]))) <= high - low + off


@both_ways
def test_the_slope_of_the_reference_is_the_derivative_of_its_value(inverse):
    raw, points = (array[28:48] for array in cases(SPLINE, "float64"))
    with mp.workdps(60):
        step = mp.mpf(10) ** -20  # 40 digits are exact
        for own, point in zip(raw, points):
            exact = Durkan(SPLINE, own)
            (slope,) = differences(lambda at, exact=exact: exact.run(at, inverse)[0], [point], step)
            assert abs(slope / exact.run(mp.mpf(point), inverse)[1] - 1) < 1e-20


def total_of(spline, inverse, on_moved, on_log_slope):
    """Return a scalar function of raw parameters ``(rows, size)`` and points ``(rows,)``."""
    on_moved, on_log_slope = map(ops.convert_to_tensor, (on_moved, on_log_slope))

    def total(raw, points):
        run = spline.inverse if inverse else spline.forward
        moved, log_slope = run(ops.transpose(raw)[:, None], points[None])
        return ops.sum(moved * on_moved) + ops.sum(log_slope * on_log_slope)

    return total


@both_ways
def test_gradients_are_differences_of_the_paper_in_60_digits(inverse):
    raw, points = (array[28:48] for array in cases(SPLINE, "float64"))
    on_moved, on_log_slope = np.random.default_rng(1).standard_normal((2, len(points)))
    total = total_of(SPLINE, inverse, on_moved, on_log_slope)
    got = np.column_stack(gradients(total, raw, points))
    with mp.workdps(60):
        step = mp.mpf(10) ** -20  # 40 digits are exact
        for i, row in enumerate(np.column_stack([raw, points])):

            def value(*row, i=i):
                moved, slope = Durkan(SPLINE, row[:-1]).run(row[-1], inverse)
                return on_moved[i] * moved + on_log_slope[i] * mp.log(slope)

            expected = [float(slope) for slope in differences(value, row, step)]
            size = max(1, np.max(np.abs(expected)))
            np.testing.assert_allclose(got[i], expected, 0, 1e-10 * size)


def differences(function, row, step):
    row = [mp.mpf(float(value)) for value in row]
    for j in range(len(row)):
        near = (function(*row[:j], row[j] + way * step, *row[j + 1 :]) for way in (1, -1))
        yield (next(near) - next(near)) / (2 * step)


@every_dtype
@both_ways
def test_gradients_are_finite_everywhere_and_those_of_the_identity_outside(dtype, inverse):
    raw, points = cases(SPLINE, dtype)
    ones = np.ones(len(points), dtype)
    of_raw, of_points = gradients(total_of(SPLINE, inverse, ones, ones), raw, points)
    assert of_raw.dtype == of_points.dtype == dtype
    assert np.all(np.isfinite(of_raw))
    assert np.all(np.isfinite(of_points))
    outside = np.abs(points) > SPLINE.bound
    np.testing.assert_array_equal(of_raw[outside], 0)
    np.testing.assert_array_equal(of_points[outside], 1)


@every_dtype
@both_ways
def test_nan_is_nan_there_alone(dtype, inverse):
    raw, points = (array[28:48].copy() for array in cases(SPLINE, dtype))
    before = run(SPLINE, raw, points, inverse)
    points[3] = raw[7, 2] = np.nan
    for got, whole in zip(run(SPLINE, raw, points, inverse), before):
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(got)), [3, 7])
        others = np.delete(np.arange(len(points)), [3, 7])
        np.testing.assert_array_equal(got[others], whole[others])
