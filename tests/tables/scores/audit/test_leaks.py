"""Attacks on rows by draws: exact laws have no leak, planted leaks are found."""

import numpy as np
import pytest

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.tables.scores.audit.leaks import (
    copies,
    inferred,
    linkability,
    metric_of,
    near_copies,
    nearness,
    pool_of,
    singling_out,
)

M = 300
KINDS = {
    "a": ColumnKind(kind="number", type="decimal", resolution=0.01),
    "b": ColumnKind(kind="number", type="decimal", resolution=0.01),
    "c": ColumnKind(kind="levels", type="text", levels=list("uvwxyz")),
    "d": ColumnKind(kind="number", type="decimal", resolution=0.01),
}


def rows(rng, n=M):
    a, b, d = rng.normal(size=(3, n)).round(2)
    b[rng.random(n) < 0.1] = np.nan
    c = np.where(a > 0, rng.integers(0, 3, n), rng.integers(2, 6, n))
    return np.column_stack([a, b, c, d + a]).round(2)


def attacks(train, holdout, draws, seed=0):
    rng = np.random.default_rng(seed)
    pool = pool_of(train, holdout, rng)
    metric = metric_of(KINDS, train)
    return {
        "copies": copies(pool, draws),
        "near copies": near_copies(pool, metric, draws),
        "nearness": nearness(pool, metric, draws),
        "singling out": singling_out(pool, metric, draws, rng),
        "linkability": linkability(pool, metric, draws),
        "inference": pool.rate(inferred(pool, metric, draws).mean(axis=1)),
    }


def test_intervals_of_an_exact_law_have_no_difference_in_95_of_100():
    covered = dict.fromkeys(attacks(*map(rows, map(np.random.default_rng, range(3)))), 0)
    small = dict.fromkeys(covered, 0)
    for seed in range(100):
        rng = np.random.default_rng([7, seed])
        for name, rate in attacks(rows(rng), rows(rng), rows(rng), seed).items():
            covered[name] += rate.low <= 0 <= rate.high
            small[name] += rate.p_value <= 0.05
    assert min(covered.values()) >= 90, covered
    assert max(small.values()) <= 12, small


def test_copies_are_found_by_every_attack_but_predicates_which_are_weak():
    rng = np.random.default_rng(1)
    train, holdout, draws = rows(rng), rows(rng), rows(rng)
    draws[:150] = train[:150]
    found = attacks(train, holdout, draws)
    assert found["copies"].training == pytest.approx(1 / 2)
    assert found["copies"].holdout == 0
    weak = found.pop("singling out")
    assert weak.p_value < 0.1 and weak.difference > 0
    for name, rate in found.items():
        assert rate.p_value < 0.01 and rate.low > 0, name


def test_leaks_are_in_the_order_of_the_cells_that_are_resampled():
    rng = np.random.default_rng(2)
    train, holdout = rows(rng), rows(rng)
    differences = []
    for share in (0.0, 0.1, 0.3, 1.0):
        shuffled = np.column_stack([rng.permutation(column) for column in train.T])
        draws = np.where(rng.random(train.shape) < share, shuffled, train)
        found = attacks(train, holdout, draws)
        differences.append([found[name].difference for name in ("nearness", "linkability")])
    assert (np.diff(differences, axis=0) < 0).all()


def test_a_distance_is_gowers():
    train = np.array([[0.0, np.nan, 1.0, 0.0], [2.0, 5.0, 0.0, 0.0]])
    metric = metric_of(KINDS, train)
    first = np.array([[0.5, np.nan, 1.0, 0.0]])
    second = np.array([[1.5, np.nan, 1.0, 0.0], [0.5, 3.0, 2.0, 0.0]])
    np.testing.assert_allclose(metric.between(first, second), [[0.5, 2.0]])
    assert metric.nearest(first, second)[1] == [0]


def test_rows_of_a_group_have_one_label():
    rng = np.random.default_rng(3)
    groups = np.tile(np.repeat(np.arange(10), 5), 2) + np.repeat([0, 100], 50)
    pool = pool_of(rows(rng, 50), rows(rng, 50), rng, groups)
    by_group = pool.labels.reshape(-1, 20, 5)
    assert (by_group == by_group[:, :, :1]).all() and (pool.labels.sum(axis=1) == 50).all()
