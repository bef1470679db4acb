"""The map of a mixture against distribution functions of 60 digits, and at its limits."""

import mpmath as mp
import numpy as np
import pytest
from catalogue import DTYPES, compiled, eps_of, gradients, to_numpy
from keras import ops

from nflow_cli.flows.mixture import Mixture

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
MIXTURE = Mixture(components=4, least=1e-2)
ROWS = 40


def cases(dtype, size=1.0):
    """Return parameters ``(size, 1, rows)`` and points ``(1, rows)``, some of them far away."""
    rng = np.random.default_rng(0)
    parameters = size * rng.standard_normal((MIXTURE.size, 1, ROWS))
    points = 2 * rng.standard_normal((1, ROWS))
    points[0, :6] = 0, 9, -9, 30, -30, 1e-8
    return parameters.astype(dtype), points.astype(dtype)


def run(function, *arrays):
    return [to_numpy(a) for a in compiled(function)(*map(ops.convert_to_tensor, arrays))]


def exact_components(parameters):
    """Return shares, means and scales by the definition, of 60 digits."""
    numbers = [mp.mpf(float(p)) for p in parameters]
    count, least = MIXTURE.components - 1, mp.mpf(MIXTURE.least)
    shares, means, scales = (numbers[i * count : (i + 1) * count] for i in range(3))
    shares = [mp.exp(s) for s in (0, *shares)]
    shares = [s / mp.fsum(shares) * (1 - least) for s in shares]
    shares[0] += least
    most = mp.log(1 / least)
    broad = mp.sqrt(1 + mp.fsum(m * m for m in means) / count)
    scales = [broad, *(mp.exp(most * mp.tanh(s / most)) for s in scales)]
    return list(zip(shares, [mp.mpf(0), *means], scales))


def exact_tails(parameters, x):
    """Return ``F(x)``, ``1 - F(x)`` and the density."""
    components = exact_components(parameters)
    u = [(share, (mp.mpf(float(x)) - mean) / scale, scale) for share, mean, scale in components]
    below = mp.fsum(share * mp.ncdf(v) for share, v, _ in u)
    above = mp.fsum(share * mp.ncdf(-v) for share, v, _ in u)
    return below, above, mp.fsum(share * mp.npdf(v) / scale for share, v, scale in u)


def residual(parameters, x, z):
    """Return by how much ``z`` is off the score of ``x``, that ``x``'s slope, and its logarithm."""
    below, above, density = exact_tails(parameters, x)
    z = mp.mpf(float(z))
    tail, own = (below, mp.ncdf(z)) if z < 0 else (above, mp.ncdf(-z))
    off = abs(mp.log(tail / own)) * own / mp.npdf(z)
    slope = density / mp.npdf(z)
    return float(off), float(slope), float(mp.log(slope))


@every_dtype
@pytest.mark.parametrize("way", ["forward", "inverse"])
def test_it_has_the_distribution_function_of_its_components(dtype, way):
    parameters, points = cases(dtype)
    moved, log_slope = run(getattr(MIXTURE, way), parameters, points)
    sign = {"inverse": 1, "forward": -1}[way]
    x, z = (points, moved)[::sign]
    assert moved.dtype == log_slope.dtype == dtype
    with mp.workdps(60):
        for i in range(ROWS):
            off, slope, log = residual(parameters[:, 0, i], x[0, i], z[0, i])
            # The parameters' rounding, which scales and shares have too, is as one of x.
            allowed = 32 * eps_of(dtype) * (1 + abs(z[0, i]) + slope * (4 + abs(x[0, i])))
            assert off <= allowed
            assert abs(sign * log_slope[0, i] - log) <= 32 * allowed * max(1, abs(z[0, i]))


@every_dtype
def test_a_latent_comes_back_where_the_density_is_next_to_nothing(dtype):
    # Two narrow components, ten apart, have next to no share of what is between them.
    parameters, _ = cases(dtype)
    parameters[:3], parameters[3:6], parameters[6:] = 9, [[[-5]], [[5]], [[5]]], -20
    z = np.linspace(-8, 8, ROWS)[None].astype(dtype)
    x, log_slope = run(MIXTURE.forward, parameters, z)
    back, log_slope_back = run(MIXTURE.inverse, parameters, x)
    slope = np.exp(log_slope_back.astype("float64"))
    assert np.min(slope) < 0.2 < 20 < np.max(slope)
    allowed = 16 * eps_of(dtype) * (1 + np.abs(z) + slope * np.abs(x))
    np.testing.assert_array_less(np.abs(back - z), allowed)
    np.testing.assert_allclose(log_slope, -log_slope_back, 0, 1e-3)


@pytest.mark.parametrize("way", ["forward", "inverse"])
@pytest.mark.parametrize("size", [0.0, 1.0, 30.0])
def test_gradients_are_finite_at_any_parameters_and_points(way, size):
    parameters, points = cases("float32", size)
    points[0, 6:10] = 1e4, -1e4, 1e6, -1e6

    def total(parameters, points):
        moved, log_slope = getattr(MIXTURE, way)(parameters, points)
        return ops.sum(moved) + ops.sum(log_slope)

    for slope in gradients(total, parameters, points):
        assert np.all(np.isfinite(slope))
