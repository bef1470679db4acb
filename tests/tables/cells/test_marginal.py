"""The marginal of a column against distributions that are known."""

import math

import numpy as np
import pytest

from nflow_cli.tables.cells.layout import Outcomes
from nflow_cli.tables.cells.marginal import fit_marginal, fit_normals

NUMBERS = Outcomes(2, number_code=0)  # and "missing"


def numbers(x, step, weights=None, outcomes=NUMBERS):
    codes = np.where(np.isnan(x), 1, 0)
    return fit_marginal(outcomes, codes, np.nan_to_num(x), np.full(len(x), step / 2), weights)


def log_probs(marginal, x, step):
    return marginal.log_masses(np.zeros(len(x), int), x, np.full(len(x), step / 2))


def bimodal(rng, n):
    return np.where(rng.random(n) < 0.3, rng.normal(2, 0.1, n), rng.normal(-0.5, 0.8, n))


def bimodal_density(x):
    def normal(mean, scale):
        return np.exp(-0.5 * ((x - mean) / scale) ** 2) / (scale * math.sqrt(2 * math.pi))

    return 0.3 * normal(2, 0.1) + 0.7 * normal(-0.5, 0.8)


@pytest.mark.parametrize(("n", "lost"), [(300, 0.06), (5_000, 0.004), (60_000, 0.002)])
def test_a_mixture_is_recovered(n, lost):
    rng = np.random.default_rng(n)
    x, new = bimodal(rng, n), bimodal(rng, 20_000)
    log_p = log_probs(numbers(x, 1e-6), new, 1e-6)
    truth = np.log(bimodal_density(new) * 1e-6)
    assert np.mean(truth - log_p) < lost


@pytest.mark.parametrize("step", [0.05, 0.2, 2.0])
def test_the_outcomes_and_all_values_of_a_grid_have_mass_1(step):
    rng = np.random.default_rng(1)
    x = np.rint(bimodal(rng, 2_000) / step) * step
    x[::10] = np.nan
    marginal = numbers(x, step)
    grid = step * np.arange(-round(600 / step), round(600 / step) + 1)
    log_p = log_probs(marginal, grid, step)
    missing = marginal.log_masses(np.ones(1, int), np.zeros(1), np.ones(1))
    assert np.exp(missing[0]) == pytest.approx(200.5 / 2_001)
    assert np.exp(log_p).sum() + np.exp(missing[0]) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("n", "step"), [(300, 0.05), (1_000, 0.01)])
def test_values_that_repeat_by_chance_are_not_more_likely(n, step):
    rng = np.random.default_rng(3)
    x, new = np.rint(rng.standard_normal((2, n)) / step) * step
    half = np.full(n, step / 2)
    log_p = fit_normals(x, half, np.ones(n), 1e-3).log_mass(new, half)
    truth = -0.5 * new**2 + math.log(step / math.sqrt(2 * math.pi))
    assert np.mean(truth - log_p) < 0.02


def test_one_value_alone_has_nearly_all_the_mass():
    n = 50
    log_p = log_probs(numbers(np.full(n, 3.0), 0.1), np.array([3.0]), 0.1)
    assert -2 / n < log_p[0] < 0


def test_a_column_without_a_number_in_training_has_a_distribution():
    marginal = numbers(np.full(20, np.nan), 0.1)
    log_p = marginal.log_masses(np.array([0, 1, -1]), np.zeros(3), np.full(3, 0.05))
    assert math.log(0.5 / 21) + math.log(1e-3) < log_p[0] < math.log(0.5 / 21)
    assert log_p[1] == pytest.approx(math.log(20.5 / 21)) and log_p[2] == 0


def test_what_stands_beside_an_outcome_that_is_no_number_changes_nothing():
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 2, 400)
    centre, half = rng.standard_normal(400), np.full(400, 1e-4)
    fits = [
        fit_marginal(NUMBERS, codes, np.where(codes == 0, centre, junk), half) for junk in (0, 99)
    ]
    for name in ("log_weights", "means", "scales"):
        first, second = (getattr(fit.normals, name) for fit in fits)
        np.testing.assert_array_equal(first, second)


def test_weighted_rows_are_worth_what_they_weigh():
    rng = np.random.default_rng(6)
    x = rng.standard_normal(20_000)
    marginal = numbers(x, 1e-4, np.exp(x) * 1e9)  # N(1, 1)
    new = rng.normal(1, 1, 10_000)
    log_p = log_probs(marginal, new, 1e-4)
    truth = -0.5 * (new - 1) ** 2 + math.log(1e-4 / math.sqrt(2 * math.pi))
    assert np.mean(truth - log_p) < 0.01


def log_shares(outcomes, codes):
    return fit_marginal(outcomes, np.array(codes)).log_shares


def test_levels_have_their_shares_and_new_ones_that_of_levels_seen_once():
    codes = np.repeat([0, 1, 2, 3], [60, 37, 1, 2])
    rest = np.array([60.5, 37.5, 1.5, 2.5, 0.5])  # the last is "missing"
    expected = np.append(0.99 * rest / rest.sum(), 0.01)
    np.testing.assert_allclose(np.exp(log_shares(Outcomes(6, has_new=True), codes)), expected)
    # All are seen twice, all are different, and none is known: neither 0 nor 1.
    for codes, new in (([0] * 9 + [1] * 10, 1 / 20), (range(20), 20 / 21), ([-1] * 5, 0.5)):
        log_p = log_shares(Outcomes(21, has_new=True), codes)
        assert np.exp(log_p[20]) == pytest.approx(new)
        assert np.exp(log_p).sum() == pytest.approx(1, abs=1e-12) and np.all(np.isfinite(log_p))


def test_an_outlier_has_the_share_of_one_row_more_however_many_values_occur_once():
    codes = np.repeat([0, 1], [1, 98])  # an atom in one row, and numbers
    log_p = log_shares(Outcomes(3, number_code=1, has_new=True), codes)
    assert np.exp(log_p[2]) == pytest.approx(1 / 100)
