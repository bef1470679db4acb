"""A smooth distribution with exponential tails, against its definition and laws that are known."""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, stats

from nflow_cli.tables.cells.marginal import Normals, fit_normals
from nflow_cli.tables.cells.tails import Tail, Tailed, score, with_tails

NORMALS = Normals(np.log([0.3, 0.7]), np.array([-0.5, 0.8]), np.array([0.4, 1.1]))
LAW = Tailed(NORMALS, Tail(-1.5, 0.3, 0.02), Tail(3.0, 0.6, 1e-4))
# Values, centres and half widths of intervals, and slopes of five rows of one value.
ONE_VALUE = *np.full((2, 5), 2.0), np.full(5, 0.25), np.ones(5)


def density(u):
    """Return the density by its definition."""
    body = stats.norm([-0.5, 0.8], [0.4, 1.1])
    between = np.array([0.3, 0.7]) @ (body.cdf(3.0) - body.cdf(-1.5))
    if u < -1.5:
        return 0.02 / 0.3 * math.exp((u + 1.5) / 0.3)
    if u > 3.0:
        return 1e-4 / 0.6 * math.exp((3.0 - u) / 0.6)
    return (1 - 0.02 - 1e-4) / between * (np.array([0.3, 0.7]) @ body.pdf(u))


@pytest.mark.parametrize("u", [-9.0, -1.6, -1.4, 0.3, 2.999, 3.001, 8.0])
def test_probabilities_below_and_above_are_the_integrals_of_the_density(u):
    ends = sorted([-30.0, -1.5, 3.0, 30.0, u])
    pieces = [integrate.quad(density, a, b, epsabs=1e-14)[0] for a, b in itertools.pairwise(ends)]
    place, at = ends.index(u), np.array([u])
    assert np.exp(LAW.log_below(at)[0]) == pytest.approx(sum(pieces[:place]), rel=1e-9)
    assert np.exp(LAW.log_above(at)[0]) == pytest.approx(sum(pieces[place:]), rel=1e-9)
    assert np.exp(LAW.log_density(at)[0]) == pytest.approx(density(u), rel=1e-9)


@pytest.mark.parametrize("low", [-40.0, -2.0, -1.5, 0.0, 2.9, 3.0, 40.0])
@pytest.mark.parametrize("width", [1e-6, 0.3, 7.0])
def test_an_interval_has_the_mass_between_its_ends(low, width):
    high = low + width
    ends = sorted({low, high, *(end for end in (-1.5, 3.0) if low < end < high)})
    expected = sum(
        integrate.quad(density, a, b, epsabs=0, epsrel=1e-10)[0]
        for a, b in itertools.pairwise(ends)
    )
    (found,) = LAW.log_mass(np.array([low + width / 2]), np.array([width / 2]))
    assert found == pytest.approx(math.log(expected), abs=1e-7)


def test_one_sided_intervals_have_the_mass_of_a_side():
    at = np.array([-7.0, 0.5, 9.0])
    above, below = (LAW.log_mass(at, np.full(3, side)) for side in (np.inf, -np.inf))
    np.testing.assert_allclose(above, LAW.log_above(at), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(below, LAW.log_below(at), rtol=1e-9, atol=1e-12)


def test_numbers_by_interpolation_have_seven_digits():
    u = np.linspace(-1.49, 2.99, 1001)
    found = LAW.units_at(LAW.log_below(u), LAW.log_above(u), exact=False)
    np.testing.assert_allclose(found, u, rtol=0, atol=1e-7)


def test_numbers_are_found_again_by_their_probabilities_near_and_far():
    u = np.array([-1e6, -300.0, -1.6, -1.5, -0.4, 0.9, 2.99, 3.2, 50.0, 1e9])
    found = LAW.units_at(LAW.log_below(u), LAW.log_above(u))
    np.testing.assert_allclose(found, u, rtol=1e-9, atol=1e-9)


def test_numbers_between_normals_far_apart_are_found_without_leaving_their_place():
    """A Newton step where the density is e^-655 went to 10^284."""
    scales, middle = np.array([0.25, 16_937.0]), 1e18
    normals = Normals(np.log([0.4, 0.6]), np.array([middle - 4.5e5, middle + 2e5]), scales)
    law = Tailed(normals, Tail(middle - 5e5, 1e3, 0.01), Tail(middle + 3e5, 1e3, 0.01))
    p = np.linspace(0.001, 0.999, 2_001)
    u = law.units_at(np.log(p), np.log1p(-p))
    assert (np.diff(u) >= -4 * np.spacing(middle)).all() and (np.abs(u - middle) < 6e5).all()


def test_a_score_is_that_of_the_smaller_tail():
    z = np.array([-30.0, -1.0, 0.0, 2.0, 30.0])
    found = score(stats.norm.logcdf(z), stats.norm.logsf(z))
    np.testing.assert_allclose(found, z, rtol=1e-9, atol=1e-12)


def tailed(x, half):
    """Return the fit of numbers ``(n,)`` in units, one draw each."""
    ones = np.ones(len(x))
    normals = fit_normals(x, half, ones, 1e-3)
    return with_tails(normals, x, x, half, ones, len(x), (x.min(), x.max()))


@pytest.mark.parametrize(
    "law",
    [stats.norm(), stats.expon(), stats.t(3), stats.gamma(2)],
    ids=["normal", "exponential", "t", "gamma"],
)
def test_the_last_hundredth_of_a_known_law_has_its_probability(law):
    """Mean probability beyond the true 99 % quantile, and its mean excess, of 20 fits."""
    n, beyond, means = 1_000, [], []
    for seed in range(20):
        x = law.rvs(n, random_state=seed)
        half = np.full(n, 1e-6)
        fitted = tailed(x, half)
        beyond.append(np.exp(fitted.log_above(np.array([law.ppf(0.99)]))[0]))
        log_p = np.log(0.01 * (np.arange(200) + 0.5) / 200)
        means.append(fitted.units_at(np.log1p(-np.exp(log_p)), log_p).mean())
    error = np.std(beyond) / math.sqrt(20)
    assert abs(np.mean(beyond) - 0.01) < 4 * error + 5e-4
    truth = law.isf(0.01 * (np.arange(200) + 0.5) / 200).mean()
    spread = law.ppf(0.99) - law.ppf(0.5)
    assert abs(np.mean(means) - truth) < 0.1 * spread


def test_a_new_number_is_beyond_the_last_one_as_often_as_one_in_all():
    x = np.random.default_rng(0).standard_normal(99)
    half = np.full(99, 1e-9)
    fitted = tailed(x, half)
    ends = np.array([x.min(), x.max()])
    assert np.exp(fitted.log_below(ends[:1])) == pytest.approx([0.01], rel=1e-6)
    assert np.exp(fitted.log_above(ends[1:])) == pytest.approx([0.01], rel=1e-6)


def test_one_value_alone_has_tails_of_its_own_width_and_a_third_of_the_mass():
    fitted = with_tails(NORMALS, *ONE_VALUE, 1, (2.0, 2.0))
    assert fitted.lower == (1.75, 0.5, 1 / 3) and fitted.upper == (2.25, 0.5, 1 / 3)
    assert np.exp(fitted.log_mass(np.array([2.0]), np.array([0.25]))) == pytest.approx([1 / 3])
    p = np.array([0.1, 0.3, 0.7, 0.9])
    units = fitted.units_at(np.log(p), np.log1p(-p))
    away = 0.25 - 0.5 * np.log(3 * np.minimum(p, 1 - p))
    np.testing.assert_allclose(units - 2.0, np.sign(p - 0.5) * away)


def test_a_tail_reaches_the_outermost_unit_of_the_column():
    fitted = with_tails(NORMALS, *ONE_VALUE, 1, (-20.0, 100.0))
    log_below, log_above = fitted.log_below(np.array([-20.0])), fitted.log_above(np.array([100.0]))
    np.testing.assert_allclose([log_below[0], log_above[0]], np.log(1 / 3) - 20)
