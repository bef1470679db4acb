import json
import math
from statistics import NormalDist

import numpy as np
import pytest

from nflow_cli.evaluation.pit import Pit, p_value, pit

NAMES = ["a", "b", "c", "d"]


def uniform(n=1_000, dim=4, seed=0):
    return np.random.default_rng(seed).random((n, dim))


def shifted(u, by):
    """Return the PIT under N(0, 1) of values that are `by` standard deviations off."""
    normal = NormalDist()
    return np.array([normal.cdf(normal.inv_cdf(p) + by) for p in u])


def test_cells_of_the_density_stay_within_the_band_in_99_of_100_samples():
    outside = [not pit(uniform(200, seed=seed), NAMES).is_calibrated for seed in range(500)]
    assert 0 < sum(outside) <= 12  # 5 expected; more than 12 in 2 of 1,000 tries


def test_p_values_of_the_density_are_uniform():
    values = [pit(uniform(100, 1, seed), ["a"]).p_value or 0.0 for seed in range(1_000)]
    for level in (0.01, 0.1, 0.5, 0.9):
        spread = math.sqrt(level * (1 - level) / 1_000)
        assert np.mean(np.array(values) <= level) == pytest.approx(level, abs=3.5 * spread)


# Of Kolmogorov's limiting distribution, by tables (Smirnov 1948).
@pytest.mark.parametrize(("x", "p"), [(0.5, 0.963945), (1.0, 0.269999), (1.36, 0.049486)])
def test_the_p_value_is_kolmogorovs(x, p):
    assert p_value(x / 1e5, 1e10) == pytest.approx(p, abs=5e-6)


def test_a_shifted_column_is_found_and_named():
    u = uniform()
    u[:, 2] = shifted(u[:, 2], 0.25)
    judged = pit(u, NAMES)
    assert judged.is_calibrated is False and judged.worst_column == "c"
    # A normal shifted by 0.25 is off by at most 2 Φ(0.125) - 1.
    assert judged.columns["c"].distance == pytest.approx(0.0995, abs=3 * 0.5 / math.sqrt(1_000))
    assert (judged.p_value or 0) < 1e-6
    assert [name for name in NAMES if judged.columns[name].excess > 1] == ["c"]


def test_the_band_is_wider_for_more_columns_and_for_fewer_rows():
    def widest(n, dim):
        column = pit(uniform(n, dim), [str(i) for i in range(dim)]).columns["0"]
        return column.band or 0.0

    assert widest(100, 1) == pytest.approx(1.628 / (10 + 0.12 + 0.011), rel=1e-3)
    assert widest(100, 50) > 1.25 * widest(100, 1)
    assert widest(25, 1) > 1.9 * widest(100, 1)


def test_equal_weights_change_nothing_and_unequal_ones_count_for_fewer_rows():
    u = uniform()
    assert pit(u, NAMES, np.full(1_000, 7.0)) == pit(u, NAMES)
    weights = np.repeat([1.0, 0.0], 500)
    half, weighted = pit(u[:500], NAMES), pit(u, NAMES, weights)
    assert weighted == half
    # A tenth of the rows with nearly all of the weight: their number is the effective one.
    heavy = pit(u, NAMES, np.where(np.arange(1_000) < 100, 1.0, 1e-6))
    alone = pit(u[:100], NAMES)
    assert heavy.columns["a"].n_effective == pytest.approx(100, rel=1e-2)
    assert heavy.columns["a"].band == alone.columns["a"].band
    assert heavy.columns["a"].distance == pytest.approx(alone.columns["a"].distance, abs=1e-3)


def test_unknown_cells_are_left_out_of_their_column_alone():
    u = uniform()
    u[:900, 1] = np.nan
    judged = pit(u, NAMES)
    assert [judged.columns[name].n for name in NAMES] == [1_000, 100, 1_000, 1_000]
    assert judged.columns["b"].distance == pit(u[900:], NAMES).columns["b"].distance
    u[:, 3] = np.nan
    without = pit(u, NAMES)
    assert without.columns["d"].distance is None
    # The others are judged as three columns.
    assert without.columns["a"].band == pit(u[:, :3], NAMES[:3]).columns["a"].band


@pytest.mark.parametrize("shape", [(0, 4), (5, 4)])
def test_without_known_cells_there_is_no_verdict(shape):
    judged = pit(np.full(shape, np.nan), NAMES)
    assert (judged.is_calibrated, judged.worst_column, judged.p_value) == (None, None, None)


def test_the_scores_pass_through_json():
    judged = pit(uniform(), NAMES)
    assert Pit.model_validate(json.loads(judged.model_dump_json())) == judged
