import numpy as np
import pytest

from benchmarks.detection import at_least_half, auc, encoded


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
