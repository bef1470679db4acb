import json
import math

import numpy as np
import pytest

from nflow_cli.evaluation.likelihood import Likelihood, likelihood

NAMES = ["a", "b", "c"]


def cells(n=400, seed=0, shift=0.0):
    return np.random.default_rng(seed).normal(shift - 1, 1, (n, 3))


def test_the_mean_of_rows_has_the_standard_error_of_a_mean():
    log_q = cells()
    judged = likelihood(log_q, NAMES, {})
    rows = log_q.sum(axis=1)
    assert judged.mean == pytest.approx(rows.mean())
    assert judged.standard_error == pytest.approx(rows.std(ddof=1) / 20)
    assert (judged.n, judged.n_effective, judged.n_impossible) == (400, 400, 0)


def test_the_error_of_a_gain_is_paired():
    baseline = 10 * cells(seed=1)  # rows differ much, the gain does not
    gain = likelihood(baseline + 0.25, NAMES, {"independent": baseline}).gains["independent"]
    assert gain.mean == pytest.approx(0.75)
    assert gain.standard_error == pytest.approx(0, abs=1e-12)


def test_the_gains_of_columns_add_up_to_that_of_the_row():
    log_q, baseline = cells(), cells(seed=1)
    log_q[:7, 1] = baseline[:7, 1] = np.nan
    log_q[8, 2] = baseline[9, 0] = -math.inf
    weights = np.random.default_rng(2).random(400)
    gain = likelihood(log_q, NAMES, {"b": baseline}, weights).gains["b"]
    assert gain.n == 398 and gain.n_impossible == 1
    assert gain.mean == pytest.approx(sum(column.mean or 0 for column in gain.columns.values()))


def test_a_column_that_gains_nothing_has_a_gain_of_0():
    baseline = cells()
    log_q = baseline + np.array([0.5, 0.0, -0.25])
    columns = likelihood(log_q, NAMES, {"b": baseline}).gains["b"].columns
    assert [columns[name].mean for name in NAMES] == pytest.approx([0.5, 0.0, -0.25])


def test_impossible_rows_are_counted_and_are_not_in_the_mean():
    log_q = cells()
    expected = likelihood(log_q[3:], NAMES, {})
    log_q[:3, 1] = -math.inf
    judged = likelihood(log_q, NAMES, {"b": cells(seed=1)})
    assert (judged.n, judged.n_impossible, judged.n_effective) == (400, 3, 397)
    assert (judged.mean, judged.standard_error) == (expected.mean, expected.standard_error)
    assert judged.gains["b"].n == 397 and judged.gains["b"].n_impossible == 0


def test_unknown_cells_are_left_out_of_the_sum_and_counted():
    log_q = cells()
    log_q[:10, 2] = 0.0
    expected = likelihood(log_q, NAMES, {})
    log_q[:10, 2] = np.nan
    judged = likelihood(log_q, NAMES, {})
    assert judged.n_unknown == 10
    assert judged.mean == expected.mean


def test_a_baseline_of_other_cells_is_refused():
    log_q = cells()
    other = log_q.copy()
    other[0, 0] = np.nan
    for baseline in (other, log_q[:-1], log_q[:, :2]):
        with pytest.raises(ValueError, match="independent"):
            likelihood(log_q, NAMES, {"independent": baseline})


def test_weights_are_numbers_of_equal_rows_but_for_what_is_known():
    log_q, baseline = cells(), cells(seed=1)
    count = np.random.default_rng(2).integers(0, 4, 400)
    weighted = likelihood(log_q, NAMES, {"b": baseline}, count)
    times = np.repeat(np.arange(400), count)
    repeated = likelihood(log_q[times], NAMES, {"b": baseline[times]})
    assert weighted.mean == pytest.approx(repeated.mean)
    assert weighted.gains["b"].mean == pytest.approx(repeated.gains["b"].mean)
    assert weighted.n_effective == pytest.approx(count.sum() ** 2 / (count**2).sum())
    assert (weighted.standard_error or 0) > 1.1 * (repeated.standard_error or 0)


@pytest.mark.parametrize("n", [0, 1])
def test_no_rows_or_one_have_no_error(n):
    judged = likelihood(cells(n), NAMES, {"b": cells(n, 1)})
    assert judged.standard_error is None and judged.gains["b"].standard_error is None
    assert (judged.mean is None) == (n == 0)
    assert Likelihood.model_validate(json.loads(judged.model_dump_json())) == judged
