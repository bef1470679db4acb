import numpy as np
import pytest

from benchmarks.draws_beside_rows import heaping, outside_range
from nflow_cli.config.kinds_schema import ColumnKind, Lattice

LEVELS = ColumnKind(kind="levels", levels=["no", "yes"])
NUMBER = ColumnKind(kind="number")
CENTS = ColumnKind(kind="grid", lattice=Lattice(step=0.01))


def wages(n, seed, rounded=0.4):
    """Return wages in cents, a share of which are in full tens of cents."""
    rng = np.random.default_rng(seed)
    cents = rng.integers(100, 5_000, n)
    return np.where(rng.random(n) < rounded, cents // 10 * 10, cents)[:, None] / 100


def test_shares_beyond_the_training_range_are_those_of_each_end():
    train = np.array([[0, 1.0], [1, np.nan], [1, 3.0]])
    rows = np.array([[0, 0.5], [1, 1.0], [1, 3.0], [0, np.nan]])
    draws = np.array([[0, 3.5], [-1, 9.0], [1, 0.0], [0, 2.0]])
    found = outside_range({"sex": LEVELS, "x": NUMBER}, train, rows, draws)
    assert list(found) == ["x"]
    below, above = found["x"]
    assert below[:2] == pytest.approx((1 / 3, 1 / 4)) and above[:2] == (0.0, 0.5)


def test_draws_of_the_rows_own_density_leave_the_range_as_rows_do():
    rng = np.random.default_rng(0)
    train, rows, draws, wide = (rng.normal(size=(n, 1)) for n in (200, 2_000, 20_000, 20_000))
    right = outside_range({"x": NUMBER}, train, rows, draws)["x"]
    assert all(abs(shares.sigmas) < 3 for shares in right)
    wrong = outside_range({"x": NUMBER}, train, rows, 1.5 * wide)["x"]
    assert all(shares.sigmas > 4 for shares in wrong)


def test_heaps_that_draws_have_too_are_within_three_standard_errors():
    found = heaping({"wage": CENTS}, wages(2_000, 0), wages(10_000, 1))["wage"]
    # All rounded cells, and a tenth of the others; of fives a fifth.
    assert found.multiples[10].rows == pytest.approx(0.46, abs=0.04)
    assert found.multiples[5].draws == pytest.approx(0.52, abs=0.02)
    assert found.sigmas < 3 and found.freedom == 9


def test_draws_without_heaps_are_found():
    found = heaping({"wage": CENTS}, wages(2_000, 0), wages(10_000, 1, rounded=0.0))["wage"]
    assert found.multiples[10].sigmas < -20
    assert found.sigmas > 20


def test_wrong_last_digits_are_found_where_multiples_agree():
    rng = np.random.default_rng(0)
    ages = ColumnKind(kind="grid", lattice=Lattice(step=1))
    rows, draws = (rng.integers(0, 90, (n, 1)).astype(float) for n in (2_000, 2_000))
    draws[draws % 10 == 3] -= 1
    found = heaping({"age": ages}, rows, draws)["age"]
    assert all(abs(shares.sigmas) < 3 for shares in found.multiples.values())
    assert found.sigmas > 10


def test_chi_square_of_one_distribution_has_its_degrees_of_freedom():
    pairs = [(wages(500, seed), wages(700, seed + 1_000)) for seed in range(300)]
    values = [heaping({"wage": CENTS}, *pair)["wage"].chi_square for pair in pairs]
    assert np.mean(values) == pytest.approx(9, abs=3.5 * np.sqrt(18 / 300))


def test_an_offset_is_taken_off_and_gaps_are_left_out():
    half = ColumnKind(kind="grid", lattice=Lattice(step=1, offset=2.5))
    rows = np.array([[0.5], [5.5], [10.5], [np.nan]])
    found = heaping({"x": half}, rows, rows + 1)["x"]
    assert found.multiples[5][:2] == (1.0, 0.0)


def test_columns_without_cells_give_no_difference():
    empty = np.full((5, 1), np.nan)
    (found,) = heaping({"wage": CENTS}, wages(50, 0), empty).values()
    assert (found.chi_square, found.freedom) == (0.0, 0)
    assert np.isnan(found.multiples[5].draws)
    (ends,) = outside_range({"wage": CENTS}, empty, wages(50, 0), empty).values()
    assert ends.below.rows == 0.0
