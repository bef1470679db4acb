"""Outliers of a column against a Cauchy distribution of 50 digits."""

import mpmath
import numpy as np
import pytest

from nflow_cli.tables.cells.outliers import Outliers, fit_outliers

LAW = Outliers(3.0, 2.0)


def below(x):
    return mpmath.mpf(1) / 2 + mpmath.atan((mpmath.mpf(x) - 3) / 2) / mpmath.pi


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (2.0, 4.0),
        (-1e3, 1e3),
        (-50.0, 1e6),
        (3.0, 3.0 + 2**-30),
        (1e12, 1e12 + 1),
        (-1e200, -1e200 + 1e190),
        (1e6, 1e9),
        (-np.inf, 0.0),
        (5.0, np.inf),
    ],
)
def test_an_interval_has_its_mass_to_all_digits(low, high):
    with mpmath.workdps(450):
        expected = float(mpmath.log(below(high) - below(low)))
    (found,) = LAW.log_mass(*np.array([[low], [high], [high - low]]))
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_intervals_that_cover_the_line_have_sum_1():
    ends = np.array([-np.inf, -1e9, -7.0, 2.5, 3.0, 3.5, 1e4, 1e300, np.inf])
    mass = np.exp(LAW.log_mass(ends[:-1], ends[1:], np.diff(ends)))
    assert mass.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(np.cumsum(mass)[:-1], LAW.below(ends[1:-1]), atol=1e-12)


def test_quantiles_are_where_the_probability_is():
    p = np.array([1e-9, 0.01, 0.3, 0.5, 0.75, 0.999])
    np.testing.assert_allclose(LAW.below(LAW.quantile(p)), p, rtol=1e-6)


def test_half_of_the_outliers_are_within_five_ranges_of_the_median():
    numbers = np.array([1.0, 2.0, 4.0, 11.0, 3.0])
    law = fit_outliers(numbers, 0.0)
    assert law.below(np.array([3.0 + 50.0])) - law.below(np.array([3.0 - 50.0])) == pytest.approx(
        0.5
    )
