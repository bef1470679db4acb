"""Fits to one table, compared row by row of its test. Runs here are only written."""

import json

import numpy as np
import pytest
from written_runs import write_fit

from nflow_cli.sweeps import compare
from nflow_cli.sweeps.paired import differences

RNG = np.random.default_rng(0)
N = 400
GOOD = -27 + 10 * RNG.standard_normal(N)  # the error of its mean is 0.5
WORSE = GOOD - 0.15 + 0.5 * RNG.standard_normal(N)


def differences_of(*paths):
    return differences(compare.group(compare.gather(map(str, paths))[0]))


def test_the_difference_is_the_mean_over_rows_with_the_error_of_paired_rows(tmp_path, invoke):
    write_fit(tmp_path / "a", GOOD, flow__k=1)
    write_fit(tmp_path / "b", WORSE, data__bounds={"a": [0, None]}, flow__k=9)
    best, worse = differences_of(tmp_path / "a", tmp_path / "b")
    assert best is None
    assert worse.value == pytest.approx(WORSE.mean() - GOOD.mean())
    assert worse.standard_error == pytest.approx(np.std(WORSE - GOOD, ddof=1) / np.sqrt(N))
    result = invoke("compare", tmp_path / "a", tmp_path / "b")
    header, *rows = result.stdout.splitlines()
    names = "data flow K seeds log-likelihood Gaussian to the best, paired data.bounds.a"
    names += " updates/s best run"
    assert " ".join(header.split()) == names
    assert f"{GOOD.mean():.4f} ± {np.std(GOOD, ddof=1) / np.sqrt(N):.4f}" in rows[0]
    assert f"{worse.value:.4f} ± {worse.standard_error:.4f}" in rows[1]
    printed = json.loads(invoke("compare", tmp_path / "a", tmp_path / "b", "--json").stdout)
    assert [g.get("difference_to_the_best") for g in printed["groups"]] == [None, worse._asdict()]


def test_one_row_that_has_nearly_all_weight_gives_no_difference(tmp_path):
    weights = np.where(np.arange(N) == 7, 1e6, 1e-3)
    for k, log_q in ((1, GOOD), (2, WORSE)):
        write_fit(tmp_path / f"{k}", log_q, weights, data__weights="w", flow__k=k)
    assert differences_of(tmp_path / "1", tmp_path / "2") == [None, None]


@pytest.mark.parametrize("counted", [N, 100])
def test_rows_of_one_weight_count_alike_and_those_of_none_not_at_all(tmp_path, counted):
    weights = np.where(np.arange(N) < counted, 2.5, 0.0)
    for k, log_q in ((1, GOOD), (2, WORSE)):
        write_fit(tmp_path / f"{k}", log_q, weights, data__weights="w", flow__k=k)
    _, worse = differences_of(tmp_path / "1", tmp_path / "2")
    d = (WORSE - GOOD)[:counted]
    assert worse.value == pytest.approx(d.mean())
    assert worse.standard_error == pytest.approx(np.std(d, ddof=1) / np.sqrt(counted))


@pytest.mark.parametrize(
    "other",
    [
        {"sha256": "1"},
        {"data__split_seed": 1},
        {"data__columns": ["a", "c"]},
        {"data__given": ["b"], "data__columns": ["a"]},
        {"log_q": WORSE[:-1]},
        {"log_q": np.where(np.arange(N) == 3, -np.inf, WORSE)},
    ],
)
def test_fits_to_other_rows_or_columns_have_no_difference(tmp_path, other):
    write_fit(tmp_path / "a", GOOD)
    write_fit(tmp_path / "b", **{"log_q": WORSE, "flow__k": 9, **other})
    assert differences_of(tmp_path / "a", tmp_path / "b") == [None, None]


def test_a_run_that_kept_no_rows_is_compared_without(tmp_path, invoke):
    write_fit(tmp_path / "a", GOOD)
    write_fit(tmp_path / "b", WORSE, flow__k=9, evaluate__keep_rows=False)
    result = invoke("compare", tmp_path / "a", tmp_path / "b")
    assert (result.exit_code, "paired" in result.stdout) == (0, False)
