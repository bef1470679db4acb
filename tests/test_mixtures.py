"""Mixtures of normals: against 40 digits, quadrature, and sums over lattices."""

import math

import mpmath
import numpy as np
import pytest
from catalogue import gradients
from hypothesis import example, given
from hypothesis import strategies as st
from keras import ops
from test_arrays import EPS, every_way, run

from nflow_cli.arrays import logsumexp
from nflow_cli.mixtures import (
    from_normal_score,
    log_cdf,
    log_density,
    log_normal_mass,
    log_sf,
    normal_score,
    quantile,
)

ALLOWED = {"float64": 1e-12, "float32": 1e-5}  # of a logarithm, times 1 + its size
# The middle of an interval and half its width, in scales. Narrow and wide, near and far; where one
# formula takes over from another; where an end is the median.
HARD = [
    *((c, h) for c in (0, 1e-9, 0.3, 1, 5, 25, 40) for h in (1e-9, 1e-6, 1e-3, 0.1, 1, 3, 10)),
    *((c, h) for h in (0.0624, 0.0626) for c in (0, 1e-4, 0.5, 0.999, 1)),
    *((c, 1 / 16 / c) for c in (2, 10, 40)),
    *((h, h) for h in (1e-6, 0.01, 1, 10)),
    *((-3, 1e-6), (-3, 0.5), (-40, 10)),
]


def log_interval_mass(centre, half, log_weights, means, scales, xp, axis=-1):
    """Return ``log(F(centre + half) - F(centre - half))``."""
    c, h = (xp.expand_dims(centre, axis) - means) / scales, xp.expand_dims(half, axis) / scales
    return logsumexp(log_weights + log_normal_mass(c, h, xp), axis, xp)


def random_mixture(seed, shape=(), components=5, narrowest=-3):
    """Return ``log_weights``, ``means`` and ``scales`` ``(*shape, M)``."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(components), shape)
    means = 3 * rng.standard_normal((*shape, components))
    return np.log(weights), means, 10 ** rng.uniform(narrowest, 1, (*shape, components))


def exact(function, mixture):
    """Return ``Σ_m w_m function(mean, scale)``, of 60 digits."""
    log_weights, *others = mixture
    with mpmath.workdps(60):
        terms = zip(*(map(mpmath.mpf, array.tolist()) for array in others))
        weights = [mpmath.exp(mpmath.mpf(w)) for w in log_weights.tolist()]
        return mpmath.fsum(w * function(*term) for w, term in zip(weights, terms))


def exact_mass(c, h):
    """Return ``Φ(c + h) - Φ(c - h)`` of the numbers given, of 60 digits."""
    with mpmath.workdps(60):
        c, h = abs(mpmath.mpf(float(c))), mpmath.mpf(float(h))
        return mpmath.ncdf(h - c) - mpmath.ncdf(-c - h)


def exact_slopes(c, h):
    """Return the derivatives of the logarithm of :func:`exact_mass` by both numbers."""
    with mpmath.workdps(60):
        mass, c, h = exact_mass(c, h), mpmath.mpf(float(c)), mpmath.mpf(float(h))
        above, below = mpmath.npdf(c + h), mpmath.npdf(c - h)
        return float((above - below) / mass), float((above + below) / mass)


def off(got, exact):
    """Return the error of a logarithm over ``1 + its size``."""
    with mpmath.workdps(60):
        expected = mpmath.log(exact)
        return abs(float((mpmath.mpf(float(got)) - expected) / (1 + abs(expected))))


@every_way
def test_the_mass_of_an_interval_has_its_digits_at_every_width(xp, dtype):
    c, h = np.array(HARD, dtype).T
    got = run(lambda c, h: log_normal_mass(c, h, xp), c, h, xp=xp, dtype=dtype)
    assert max(off(g, exact_mass(*at)) for g, at in zip(got, zip(c, h))) <= ALLOWED[dtype]


@given(st.floats(-40, 40), st.floats(-9, 1))
@example(0.9262493279497153, math.log10(0.062375187910177064))
def test_the_mass_of_an_interval_has_its_digits_anywhere(c, log10_half):
    for dtype in EPS:
        at = np.array([[c], [10**log10_half]], dtype)
        assert off(log_normal_mass(*at, np)[0], exact_mass(*at[:, 0])) <= ALLOWED[dtype]


def mass_slopes(c, h):
    total = gradients(lambda c, h: ops.sum(log_normal_mass(c, h, ops)), c, h)
    return np.stack(total, axis=-1)


# Below 1e-28 the product of a middle and a width is none of float32.
MIDDLES = st.floats(-40, 40).map(lambda c: c if abs(c) > 1e-28 else 0.0)
CELLS = st.lists(st.tuples(MIDDLES, st.floats(-9, 1).map(lambda e: 10**e)), min_size=8, max_size=8)


@given(CELLS)
@example(HARD)
def test_derivatives_of_the_mass_have_four_digits_in_float32(cells):
    c, h = np.array(cells, "float32").T
    expected = np.array([exact_slopes(*at) for at in zip(c, h)])
    # One that is 0 by symmetry has no relative error.
    np.testing.assert_allclose(mass_slopes(c, h), expected, 1e-4, 1e-30)


def test_no_derivative_is_nan_however_far_or_wide():
    far = np.array([0, 1e-30, 1, 1e4, 1e15], "float32")
    c, h = (grid.ravel() for grid in np.meshgrid(far, far[1:]))
    assert np.all(np.isfinite(mass_slopes(c, h)))


@every_way
def test_the_mass_of_a_mixture_is_that_of_its_components(xp, dtype):
    rng = np.random.default_rng(1)
    centre, half = rng.normal(0, 6, 40).astype(dtype), (10 ** rng.uniform(-7, 1, 40)).astype(dtype)
    mixture = [array.astype(dtype) for array in random_mixture(1, (40,), narrowest=-1)]
    got = run(
        lambda *arrays: log_interval_mass(*arrays, xp), centre, half, *mixture, xp=xp, dtype=dtype
    )
    for i, value in enumerate(got):

        def mass(mean, scale, i=i):
            end = (mpmath.mpf(float(centre[i])) - mean) / scale
            return exact_mass_of(end, mpmath.mpf(float(half[i])) / scale)

        exponent = -math.log(value) if value > 0 else abs(value)
        # A mean is known to its own rounding, which the slope of the logarithm amplifies.
        slope = np.abs(centre[i] - mixture[1][i]) / mixture[2][i]
        allowed = ALLOWED[dtype] + EPS[dtype] * np.max(slope * slope) / (1 + exponent)
        assert off(value, exact(mass, [array[i] for array in mixture])) <= allowed


def exact_mass_of(c, h):
    return mpmath.ncdf(h - abs(c)) - mpmath.ncdf(-abs(c) - h)


@pytest.mark.parametrize("step", [2.0, 0.5, 1e-3])
def test_masses_over_a_lattice_and_its_tails_sum_to_1(step):
    mixture = random_mixture(3, narrowest=-2)
    last = round(60 / step)
    centres = step * np.arange(-last, last + 1)
    masses = np.exp(log_interval_mass(centres, np.full_like(centres, step / 2), *mixture, np))
    ends = np.array([-last - 0.5, last + 0.5]) * step
    tails = np.exp([log_cdf(ends[0], *mixture, np), log_sf(ends[1], *mixture, np)])
    assert abs(math.fsum(masses) + math.fsum(tails) - 1) <= 1e-12


def test_a_density_integrates_to_its_distribution_function():
    mixture = random_mixture(4, narrowest=-0.5)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    for end in (-4.0, 0.3, 5.0):
        cuts = np.linspace(-150, end, 100)
        half = np.diff(cuts)[:, None] / 2
        x = cuts[:-1, None] + half * (1 + nodes)
        below = np.sum(half * weights * np.exp(log_density(x, *mixture, np)))
        assert abs(below - np.exp(log_cdf(np.array(end), *mixture, np))) <= 1e-13
        assert abs(1 - below - np.exp(log_sf(np.array(end), *mixture, np))) <= 1e-13


def test_quantiles_are_where_the_distribution_function_is_theirs():
    mixture = random_mixture(5, (400,))
    rng = np.random.default_rng(6)
    p = np.concatenate([rng.uniform(size=200), 10 ** rng.uniform(-300, -1, 200)])
    x = quantile(p, *mixture)
    slack = np.exp(log_density(x, *mixture, np)) * np.spacing(np.abs(x)) * 2
    got = np.exp(log_cdf(x, *mixture, np))
    # The logarithm of p has a rounding of its own size.
    assert np.all(np.abs(got - p) <= p * 1e-15 * (8 + np.abs(np.log(p))) + slack)
    np.testing.assert_array_equal(
        quantile(np.array([0, 1.0]), *random_mixture(5)), [-np.inf, np.inf]
    )


@every_way
def test_normal_scores_and_what_has_them_are_inverse(xp, dtype):
    rng = np.random.default_rng(7)
    mixture = [array.astype(dtype) for array in random_mixture(7, (600,))]
    z = np.concatenate([rng.standard_normal(300), rng.uniform(-30, 30, 300)]).astype(dtype)
    z[:4] = 0, -300, 300, 1e-6
    x = run(lambda *arrays: from_normal_score(*arrays, xp), z, *mixture, xp=xp, dtype=dtype)
    back = run(lambda *arrays: normal_score(*arrays, xp)[0], x, *mixture, xp=xp, dtype=dtype)
    exact = [array.astype("float64") for array in (x, *mixture)]
    slope = np.exp(normal_score(*exact, np)[1])
    reach = np.maximum(np.abs(x), np.max(np.abs(mixture[1]), axis=-1))
    np.testing.assert_array_less(
        np.abs(back - z), 16 * EPS[dtype] * (1 + np.abs(z) + slope * reach)
    )


def test_the_slope_of_a_normal_score_is_the_ratio_of_the_densities():
    mixture = random_mixture(9, (300,))
    x = np.random.default_rng(9).normal(0, 6, 300)
    z, log_slope = normal_score(x, *mixture, np)
    expected = log_density(x, *mixture, np) + z * z / 2 + math.log(2 * math.pi) / 2
    np.testing.assert_allclose(log_slope, expected, 1e-13, 1e-13 * (1 + np.max(z * z)))


def test_components_may_be_along_another_axis_and_rows_do_not_depend_on_one_another():
    mixture = random_mixture(10, (4, 6))
    x, half = np.random.default_rng(10).normal(0, 3, (4, 6)), np.full((4, 6), 0.1)
    moved = [np.moveaxis(array, -1, 0) for array in mixture]
    pairs = [
        *((log_cdf, (x,)), (log_sf, (x,)), (log_density, (x,)), (log_interval_mass, (x, half))),
        *((normal_score, (x,)), (from_normal_score, (x,))),
    ]
    for function, points in pairs:
        expected = function(*points, *mixture, np)
        np.testing.assert_allclose(function(*points, *moved, np, axis=-3), expected, 1e-12, 1e-12)
    whole = from_normal_score(x, *mixture, np)
    some = np.where(np.arange(6) % 2, np.nan, x)
    alone = from_normal_score(some, *mixture, np)
    np.testing.assert_array_equal(alone[:, ::2], whole[:, ::2])
    assert np.all(np.isnan(alone[:, 1::2]))
