import mpmath
import numpy as np
import pytest

from nflow_cli.plotting.quantiles import chance, interpolated, levels


@pytest.mark.parametrize("n", [20, 2000])
def test_chance_holds_95_percent_of_a_quantile(n):
    for i in (1, 2, n // 4, n // 2, n):
        low, high = chance(np.array([(i - 0.5) / n]), n)
        within = mpmath.betainc(i, n - i + 1, float(low[0]), float(high[0]), regularized=True)
        assert float(within) == pytest.approx(0.95, abs=0.02)


def test_levels_reach_from_the_smallest_value_to_the_largest():
    values = np.random.default_rng(0).normal(size=37)
    p = levels(37)
    drawn = np.quantile(values, p, method="hazen")
    assert (drawn[0], drawn[-1]) == (values.min(), values.max())
    assert np.all(np.diff(p) > 0)
    np.testing.assert_allclose(p, 1 - p[::-1], atol=1e-12)
    assert np.all(levels(1) == 0.5)


def test_a_quantile_between_values_is_that_of_the_line_through_them():
    x = np.array([0.0, 1.0, 3.0])
    np.testing.assert_allclose(
        interpolated(x, np.array([0, 0.5, 1]))(np.array([0.25, 0.75])), [0.5, 2]
    )
