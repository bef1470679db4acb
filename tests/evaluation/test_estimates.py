"""Estimates as text: as many digits as their errors leave."""

import math

import pytest

from nflow_cli.evaluation.estimates import with_error


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.00019484, 0.0000029812, "0.0001948 ± 0.0000030"),
        (-18.24887, 0.27945, "-18.25 ± 0.28"),
        (3.14159, 0.0996, "3.14 ± 0.10"),
        (-1234.5678, 12.34, "-1,235 ± 12"),
        (25_123.4, 4_321.0, "25,100 ± 4,300"),
        (-0.00001, 0.021, "0.000 ± 0.021"),
        (1.23456e-19, 2.5e-21, "1.235e-19 ± 2.5e-21"),
        (6.0221e23, 1.3e19, "6.02210e+23 ± 1.3e+19"),
        (0.5, 0.0, "0.50000 ± 0"),  # exact, not an error that is too small to be seen
        (0.5, None, "0.50000"),
        (0.5, math.inf, "0.50000"),
        (None, 0.1, "not finite"),
        (math.nan, 0.1, "not finite"),
    ],
)
def test_an_estimate_has_the_digits_of_its_error_and_this_has_two(value, error, text):
    assert with_error(value, error) == text
