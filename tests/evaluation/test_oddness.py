"""P-values of cells and rows, against closed forms and chance."""

import numpy as np
import pytest

from nflow_cli.evaluation.oddness import (
    adjusted,
    expected_share,
    no_likelier,
    p_values,
    two_sided,
)

SHARES = np.array([0.1, 0.25, 0.4, 0.15, 0.1])


def test_the_two_sided_tail_is_uniform_for_a_number():
    below = np.linspace(0, 1, 1_001)
    p = two_sided(below, np.zeros(1_001))
    for t in (0.01, 0.1, 0.5):
        assert np.mean(p <= t) == pytest.approx(t, abs=2e-3)


def test_the_two_sided_tail_of_whole_numbers():
    below = np.cumsum(SHARES) - SHARES
    np.testing.assert_allclose(two_sided(below, SHARES), [0.2, 0.7, 1.0, 0.5, 0.2])


def test_a_level_has_the_probability_of_all_that_are_no_likelier():
    every = np.tile(SHARES, (6, 1))
    p = no_likelier(np.append(SHARES, np.nan), every)
    np.testing.assert_allclose(p, [0.2, 0.6, 1.0, 0.35, 0.2, np.nan])


def test_a_p_value_counts_the_held_out_rows_that_are_at_least_as_odd():
    held_out = np.array([1.0, 2.0, 2.0, np.inf])
    odd = np.array([0.0, 2.0, 2.5, np.inf])
    np.testing.assert_allclose(p_values(odd, held_out), [1.0, 0.8, 0.4, 0.4])
    np.testing.assert_array_equal(p_values(odd, np.empty(0)), np.ones(4))


@pytest.mark.parametrize("n", [20, 99, 100])
def test_a_share_of_small_p_values_is_as_expected(n):
    rng = np.random.default_rng(n)
    p = np.concatenate([p_values(rng.random(50), rng.random(n)) for _ in range(2_000)])
    for t in (0.01, 0.05, 0.3):
        share = expected_share(np.array(n), t)
        assert share <= t and np.mean(p <= t) == pytest.approx(share, abs=0.005)


def test_adjusted_p_values_are_those_of_benjamini_and_hochberg():
    p = np.array([0.04, 0.01, 0.03, 0.5, 0.01])
    below = [min(p[p >= x] * 5 / [np.sum(p <= y) for y in p[p >= x]]) for x in p]
    np.testing.assert_allclose(adjusted(p), below)
    np.testing.assert_allclose(adjusted(p), [0.05, 0.025, 0.05, 0.5, 0.025])


def test_the_share_of_false_discoveries_is_bounded():
    rng, shares = np.random.default_rng(0), []
    for _ in range(300):
        odd = np.append(rng.normal(0, 1, 90), rng.normal(6, 1, 10))
        found = adjusted(p_values(odd, rng.normal(0, 1, 500))) <= 0.2
        shares.append(found[:90].sum() / max(found.sum(), 1))
    assert np.mean(shares) < 0.2
