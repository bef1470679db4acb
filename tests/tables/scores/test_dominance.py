"""Rows by which the log-likelihood of a table is decided."""

import numpy as np
import pytest
from scipy import stats

from nflow_cli.evaluation.tallies import RowScores
from nflow_cli.tables.scores.dominance import dominant_row

NAMES = ["a", "b", "c"]


def judge(log_q, weights=None):
    return dominant_row(RowScores(log_q, log_q[:, :1], pit_columns=NAMES), weights)


def of_normals(n, planted=62.0):
    """Return cells of an exact density, one of which is as unlikely as at 1e12 ranges."""
    log_q = stats.norm.logpdf(np.random.default_rng(n).normal(size=(n, 3)))
    log_q[min(17, n - 1), 1] -= planted
    return log_q


@pytest.mark.parametrize(("n", "is_dominant"), [(10, True), (30, True), (10_000, False)])
def test_one_cell_of_62_nats_decides_the_mean_of_few_rows_and_not_of_many(n, is_dominant):
    assert (judge(of_normals(n)) is not None) == is_dominant


def test_the_row_and_its_column_are_named_with_the_mean_of_the_others():
    log_q = np.zeros((31, 3))
    log_q[:, 0] = np.arange(31) / 10 - 1.5  # median 0, the negative ones sum to -12
    log_q[20] = [0.5, -1.0, -99.5]  # -100 in all
    log_q[3, 1] = np.nan
    log_q[30, 2] = -np.inf  # an impossible row is in no mean
    log_q[29, 2] = 5.0
    found = judge(log_q)
    kept = np.delete(np.arange(31), [20, 30])
    rows = np.nansum(log_q[kept], axis=1)
    middle = np.median(np.append(rows, -100.0))
    total = np.maximum(middle - rows, 0).sum() + middle + 100
    assert (found.row, found.column, found.column_nats) == (21, "c", 99.5)
    assert found.nats == pytest.approx(middle + 100)
    assert found.share == pytest.approx((middle + 100) / total)
    assert found.others_log_likelihood == pytest.approx(rows.mean())


def test_a_row_of_large_weight_counts_as_many_and_one_without_weight_not():
    log_q = of_normals(1_000)
    weights = np.ones(1_000)
    assert judge(log_q, weights) is None
    weights[17] = 30.0
    assert judge(log_q, weights).row == 18
    few, weights = of_normals(30), np.ones(30)
    weights[17] = 0.0
    assert judge(few, weights) is None


def test_flows_have_rows_of_one_cell_and_no_column():
    assert judge(of_normals(30).sum(axis=1)[:, None]).column is None


@pytest.mark.parametrize("values", [[], [-1.0], [-1.0, -50.0], [-0.001] * 999 + [-6.9]])
def test_too_few_rows_and_one_rare_level_among_equal_cells_decide_nothing(values):
    assert judge(np.reshape(values, (-1, 1))) is None


def test_exact_tables_with_heavy_tails_have_no_dominant_row():
    """Chance is 0.001 a table at most; of 500, more than 5 have one with a chance of 1e-5."""
    rng = np.random.default_rng(0)
    laws = [stats.norm(), stats.cauchy(), stats.t(0.3), stats.lognorm(3), stats.pareto(0.5)]
    found = 0
    for _ in range(500):
        n = int(10 ** rng.uniform(1, 3))
        chosen = rng.choice(len(laws), 3)
        columns = [laws[i].logpdf(laws[i].rvs(n, random_state=rng)) for i in chosen]
        found += judge(np.column_stack(columns)) is not None
    assert found <= 5
