"""Changes of dependence between columns, against known dependences."""

import numpy as np
import pytest

from nflow_cli.evaluation.relations import as_held_out, change_of_pit, features


def test_new_numbers_get_the_held_out_numbers_of_their_ranks():
    rng = np.random.default_rng(0)
    held_out = rng.normal(size=300)
    found = as_held_out(held_out, np.exp(3 * held_out + 1))
    np.testing.assert_array_equal(found, held_out)
    ties = as_held_out(np.r_[np.zeros(60), np.arange(1.0, 41)], np.r_[np.full(40, 7.0), np.nan, 8])
    assert (ties[:40] == ties[0]).all() and ties[0] == 0 and np.isnan(ties[40]) and ties[41] > 30
    np.testing.assert_array_equal(as_held_out(np.full(2, np.nan), held_out), held_out)


def test_a_pit_that_depends_on_a_level_changes_with_its_share_alone():
    rng = np.random.default_rng(0)
    levels = [(rng.random(2_000) < share).astype(float) for share in (0.2, 0.8)]
    pits = [np.clip(rng.random(2_000) * (1 - 0.3 * level), 0, 1) for level in levels]
    given = features(*levels, are_levels=True)
    assert change_of_pit(*pits, {}).p_value < 1e-6
    assert change_of_pit(*pits, {}, given).p_value > 1e-3
    pits[1][::2] = np.nan
    assert change_of_pit(*pits, {}, given).p_value > 1e-3


def dependent(rng, correlation, n=2_000):
    """Return PITs and another column, normal scores of which have a correlation."""
    x, y = rng.normal(size=(2, n))
    y = correlation * x + np.sqrt(1 - correlation**2) * y
    return np.argsort(np.argsort(y)) / n + 0.5 / n, x


def test_a_new_dependence_that_leaves_the_pit_uniform_is_found_with_its_column():
    rng = np.random.default_rng(0)
    (before, x), (after, y) = dependent(rng, 0.0), dependent(rng, 0.2)
    noise = features(*rng.normal(size=(2, 2_000)), False)
    found = change_of_pit(before, after, {"x": features(x, y, False), "noise": noise})
    assert found.p_value < 1e-4 and found.link.column == "x"
    assert found.link.before == pytest.approx(0, abs=0.07)
    assert found.link.after == pytest.approx(0.19, abs=0.07)
    levels = features(np.digitize(x, [-1, 1]), np.digitize(y, [-1, 1]), True)
    found = change_of_pit(before, after, {"x": levels})
    assert found.p_value < 1e-4 and found.link.before is None
    square = features(x, np.abs(y), False), features(x, y, False)
    after = np.argsort(np.argsort(y**2 + rng.normal(size=2_000))) / 2_000
    assert all(change_of_pit(before, after, {"x": one}).link.column == "x" for one in square)


def test_features_of_gaps_and_of_rare_levels():
    gaps = [np.where(np.arange(100) < k, np.nan, np.arange(100)) for k in (20, 10)]
    before, after, are_ordered = features(*gaps, False)
    assert are_ordered and before.shape == after.shape == (100, 3)
    np.testing.assert_array_equal(before[:, 2], np.isnan(gaps[0]))
    assert (before[:20, :2] == 0).all() and before[20:, :2].any(axis=1).all()
    codes = np.repeat([0.0, 1, 2, np.nan], [60, 3, 27, 10])
    before, _, _ = features(codes, codes, True)
    np.testing.assert_array_equal(before.sum(axis=0), [60, 27, 10])


def test_the_rate_of_false_alarms():
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        parts = [dependent(rng, 0.0, 300), dependent(rng, 0.0, 200)]
        level = [rng.integers(0, 3, 300), rng.integers(0, 3, 200)]
        others = {"x": features(parts[0][1], parts[1][1], False), "y": features(*level, True)}
        found.append(change_of_pit(parts[0][0], parts[1][0], others).p_value)
    assert np.mean(np.array(found) <= 0.1) <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / 200)
