"""Split conformal prediction: coverage of fresh values, whatever the model."""

import math

import numpy as np
import pytest
from scipy import stats

from nflow_cli.arrays import log_ndtr
from nflow_cli.tables.scores.conformal import calibrated, central_scores


@pytest.mark.parametrize("n", [1, 2, 9, 34, 200, 1_000, 100_000])
def test_the_band_of_coverages_is_of_scipys_quantiles_of_beta(n):
    """The coverage is the k-th smallest of n uniform numbers."""
    for coverage in (0.01, 0.5, 0.9, n / (n + 1)):
        k = math.ceil((n + 1) * coverage - 1e-9)
        if k <= n:
            expected = stats.beta.ppf([0.025, 0.975], k, n + 1 - k)
            found = calibrated(np.arange(n) / n, coverage).band
            np.testing.assert_allclose(found, expected, max(1e-12, 1e-13 * n))


def test_too_few_values_calibrate_no_finite_set():
    assert calibrated(np.random.default_rng(0).random(8), 0.9).threshold == np.inf
    assert calibrated(np.zeros(0), 0.9).threshold == np.inf
    assert calibrated(np.random.default_rng(0).random(9), 0.9).threshold < 1
    nine = np.repeat(np.arange(9), 7)
    assert calibrated(np.random.default_rng(0).random(63), 0.9, nine).threshold < 1
    assert calibrated(np.random.default_rng(0).random(63), 0.9, nine // 2).threshold == np.inf


def test_a_row_of_a_fresh_cluster_is_covered():
    """Clusters of 1 to 20 rows, alike by half of their variance; the smaller ones vary more."""
    rng = np.random.default_rng(1)
    is_covered, is_covered_by_rows = [], []
    for _ in range(3_000):
        sizes = rng.integers(1, 21, 25)
        clusters = np.repeat(np.arange(25), sizes)
        scale = 1 + 2 / sizes
        scores = np.abs(rng.normal(size=25)[clusters] + rng.normal(size=len(clusters)))
        scores *= scale[clusters]
        known = clusters > 0  # the first is fresh
        fresh = rng.choice(scores[~known])
        is_covered.append(fresh <= calibrated(scores[known], 0.8, clusters[known]).threshold)
        is_covered_by_rows.append(fresh <= calibrated(scores[known], 0.8).threshold)
    error = np.sqrt(0.8 * 0.2 / 3_000)
    assert 0.8 - 3 * error < np.mean(is_covered) < 0.8 + 1 / 25 + 3 * error
    assert np.mean(is_covered_by_rows) < 0.8 - 3 * error


def test_clusters_of_one_row_are_rows():
    scores = np.random.default_rng(2).random(50)
    alone, alike = calibrated(scores, 0.7), calibrated(scores, 0.7, np.arange(50))
    assert alike == alone._replace(n_clusters=50)


def test_sets_of_a_wrong_model_have_their_coverage():
    """Means over calibrations are k / (n + 1), though the model is too narrow and off its place."""
    rng, n, coverage = np.random.default_rng(1), 99, 0.9
    x = rng.gamma(2, size=(4_000, n + 1))
    below = np.exp(log_ndtr((x - 1.5) / 0.7, np))
    scores = central_scores(below, np.zeros_like(below))
    thresholds = np.array([calibrated(row[:-1], coverage).threshold for row in scores])
    inside = scores[:, -1] <= thresholds
    assert abs(inside.mean() - 0.9) < 4 * np.sqrt(0.09 / 4_000)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 0.99])
def test_a_value_is_in_the_central_interval_from_its_score_on(share):
    """Of a distribution with atoms: the interval is between the least values that reach p."""
    values, rng = np.arange(12), np.random.default_rng(2)
    masses = rng.dirichlet(np.full(12, 0.3))
    through = np.cumsum(masses)
    low, high = (
        values[np.argmax(through >= p - 1e-15)] for p in ((1 - share) / 2, (1 + share) / 2)
    )
    scores = central_scores(through - masses, masses)
    np.testing.assert_array_equal((low <= values) & (values <= high), scores <= share)
