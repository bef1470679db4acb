import numpy as np
import pytest

from benchmarks.detection import at_least_half, auc, encoded, nearer

NUMBERS = np.zeros(2, bool)


def normals(n, seed, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 1.0, (n, 2))


def test_samples_of_one_density_cannot_be_distinguished_and_shifts_and_gaps_can():
    pytest.importorskip("sklearn")
    # The standard error of an AUC of 500 rows and 500 draws is 0.018.
    assert auc(normals(500, 0), normals(500, 1), seed=0) == pytest.approx(0.5, abs=3.5 * 0.018)
    # Of shifts by 1 in both columns: Phi(sqrt(2) / sqrt(2)) = 0.841.
    assert 0.79 < auc(normals(2_000, 0), normals(2_000, 1, mean=1.0), seed=0) < 0.86
    draws = normals(500, 1)
    draws[::2, 0] = np.nan
    assert auc(normals(500, 0)[:, [0]], draws[:, [0]], seed=0) == pytest.approx(0.75, abs=0.06)


def test_areas_below_a_half_are_a_half():
    assert at_least_half([0.45, 0.47]) == pytest.approx((0.5, 0.01))
    assert at_least_half([0.6, 0.8]).value == pytest.approx(0.7)


def test_copies_are_nearer_to_their_rows_and_draws_of_the_rows_own_density_to_neither():
    pytest.importorskip("scipy")
    train, held = normals(300, 0), normals(300, 1)
    assert nearer(NUMBERS, train, held, train[:200]) == 1.0
    assert nearer(NUMBERS, train, held, held[:200]) == 0.0
    shares = [nearer(NUMBERS, *(normals(300, 3 * i + j) for j in range(3))) for i in range(40)]
    error = np.std(shares, ddof=1) / np.sqrt(40)
    assert abs(np.mean(shares) - 0.5) < 3 * error < 0.03
    rows = np.array([[0.0, 1.0], [np.nan, 2.0]])
    assert nearer(np.array([True, False]), rows, rows[::-1], rows) == 0.5


def test_levels_and_gaps_count_as_one_standard_deviation():
    pytest.importorskip("scipy")
    levels = np.array([True, False])
    train = np.array([[0, 0.0], [0, 2.0], [1, np.nan]])  # a number's standard deviation is 1
    held = np.array([[1, 9.0], [1, 9.0], [1, 3.5]])
    # Another level and the same number, 1 away, beside a number 1.5 away; and beside one 0.5 away.
    assert nearer(levels, train, held, np.array([[1, 2.0]])) == 1.0
    assert nearer(levels, train, held, np.array([[1, 3.0]])) == 0.0
    # A gap is alike to a gap alone.
    assert nearer(levels, train, held, np.array([[1, np.nan]])) == 1.0


def test_levels_of_draws_alone_dates_as_days_and_numbers_are_encoded():
    pd = pytest.importorskip("pandas")
    rows = pd.DataFrame({"city": ["Bonn", "Ulm", None], "day": ["1970-01-02", None, None]})
    draws = pd.DataFrame({"city": ["Ulm", "Köln"], "day": ["1970-01-01", "1969-12-31 12:00"]})
    rows["x"], draws["x"] = [1, 2, 3], [1.5, np.nan]
    rows["yes"], draws["yes"] = [True, False, True], ["False", "True"]
    found = encoded(rows, draws)
    assert list(found.levels) == [True, False, False, True]
    np.testing.assert_array_equal(found.rows.T[:2], [[0, 2, np.nan], [1, np.nan, np.nan]])
    np.testing.assert_array_equal(found.rows.T[2:], [[1, 2, 3], [1, 0, 1]])
    np.testing.assert_array_equal(found.draws, [[2, 0, 1.5, 0], [1, -0.5, np.nan, 1]])
