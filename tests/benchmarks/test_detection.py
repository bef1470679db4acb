import numpy as np
import pytest

from benchmarks.detection import at_least_half, auc, encoded, nearer

NUMBERS = np.zeros(2, bool)


def normals(n, seed, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 1.0, (n, 2))


def frames(**columns):
    pd = pytest.importorskip("pandas")
    return [pd.DataFrame({name: values[i] for name, values in columns.items()}) for i in (0, 1)]


def test_samples_of_one_density_cannot_be_distinguished():
    pytest.importorskip("sklearn")
    # The standard error of an AUC of 500 rows and 500 draws is 0.018.
    assert auc(normals(500, 0), normals(500, 1), seed=0) == pytest.approx(0.5, abs=3.5 * 0.018)


def test_a_shift_is_found_as_well_as_the_best_rule_does():
    pytest.importorskip("sklearn")
    # Of shifts by 1 in both columns: Phi(sqrt(2) / sqrt(2)) = 0.841.
    found = auc(normals(2_000, 0), normals(2_000, 1, mean=1.0), seed=0)
    assert 0.79 < found < 0.86


def test_gaps_that_rows_lack_are_found():
    pytest.importorskip("sklearn")
    draws = normals(500, 1)
    draws[::2, 0] = np.nan
    assert auc(normals(500, 0)[:, [0]], draws[:, [0]], seed=0) == pytest.approx(0.75, abs=0.06)


def test_areas_below_a_half_are_a_half():
    assert at_least_half([0.45, 0.47]) == pytest.approx((0.5, 0.01))
    assert at_least_half([0.6, 0.8]).value == pytest.approx(0.7)


def test_copies_of_training_rows_are_nearer_to_these():
    pytest.importorskip("scipy")
    train, held = normals(300, 0), normals(300, 1)
    assert nearer(NUMBERS, train, held, train[:200]) == 1.0
    assert nearer(NUMBERS, train, held, held[:200]) == 0.0


def test_draws_of_the_rows_own_density_are_as_near_to_both():
    pytest.importorskip("scipy")
    shares = [nearer(NUMBERS, *(normals(300, 3 * i + j) for j in range(3))) for i in range(40)]
    error = np.std(shares, ddof=1) / np.sqrt(40)
    assert abs(np.mean(shares) - 0.5) < 3 * error < 0.03


def test_a_draw_that_is_as_near_to_both_is_half_a_draw():
    pytest.importorskip("scipy")
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


def test_a_level_that_no_row_has_is_one_of_the_encoding():
    rows, draws = frames(city=(["Bonn", "Ulm", None], ["Ulm", "Köln", "Bonn"]))
    found = encoded(rows, draws)
    assert list(found.levels) == [True]
    np.testing.assert_array_equal(found.rows[:, 0], [0, 2, np.nan])
    np.testing.assert_array_equal(found.draws[:, 0], [2, 1, 0])


def test_dates_are_days_and_numbers_are_kept():
    rows, draws = frames(
        day=(["1970-01-02", None], ["1970-01-01", "1969-12-31 12:00"]),
        x=([1, 2], [1.5, np.nan]),
        yes=([True, False], ["False", "True"]),
    )
    found = encoded(rows, draws)
    assert list(found.levels) == [False, False, True]
    np.testing.assert_array_equal(found.rows, [[1, 1, 1], [np.nan, 2, 0]])
    np.testing.assert_array_equal(found.draws, [[0, 1.5, 0], [-0.5, np.nan, 1]])
