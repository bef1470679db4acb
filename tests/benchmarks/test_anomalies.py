"""The AUC of a detector and its error, by counting and by fresh samples."""

import numpy as np
import pytest

from benchmarks.anomalies import area


def test_an_area_counts_pairs_and_half_of_ties():
    scores = np.array([3.0, 1.0, 2.0, 2.0, 0.0])
    are_odd = np.array([True, True, False, False, False])
    assert area(scores, are_odd)[0] == pytest.approx((3 + 1) / 6)
    ties, _ = area(np.zeros(5), are_odd)
    assert ties == pytest.approx(0.5)


def test_its_error_is_that_of_fresh_samples():
    rng = np.random.default_rng(0)
    are_odd = np.arange(400) < 60
    found = [area(rng.normal(size=400) + 1.2 * are_odd, are_odd) for _ in range(600)]
    areas, errors = np.array(found).T
    assert np.mean(errors) == pytest.approx(areas.std(), rel=0.12)
