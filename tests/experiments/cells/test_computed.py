"""A fit to a table some of whose columns follow from others: draws, scores, files."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from short_runs import make_run, without_xla

import nflow_cli
from nflow_cli.cli import main

N = 300
COMPUTED = ["country", "log_area", "total"]
RNG = np.random.default_rng(0)
CITY = RNG.integers(0, 12, N)
AREA = np.round(RNG.gamma(3, 20, N) + 1, 1)
NORTH, SOUTH = RNG.integers(0, 60, N).astype(float), RNG.integers(0, 60, N)
NORTH[::9] = np.nan
TABLE = pd.DataFrame(
    {
        "country": [f"country {c % 3}" for c in CITY],
        "city": [f"city {c}" for c in CITY],
        "area": AREA,
        "log_area": np.round(np.log(AREA), 4),
        "north": NORTH,
        "south": SOUTH,
        "total": NORTH + 2 * SOUTH,
    }
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the directory of a run on the table."""
    folder = tmp_path_factory.mktemp("run")
    TABLE.to_csv(folder / "t.csv", index=False)
    with without_xla():
        return make_run(
            folder / "run",
            command="fit",
            data={"name": str(folder / "t.csv"), "missing": "model"},
            flow=None,
            cells={"width": 8, "blocks": 1, "components": 2},
            train={"steps": 20, "batch_size": 32, "chunk": 10},
        )


@pytest.fixture(scope="module")
def trained(run):
    return nflow_cli.load(run)


def test_draws_have_computed_columns_in_the_tables_order_and_obey_them(trained):
    drawn = trained.sample_table(2_000, seed=1).to_pandas()
    assert list(drawn) == [*TABLE, "log_q"]
    of_city = dict(zip(TABLE["city"], TABLE["country"]))
    assert (drawn["city"].map(of_city) == drawn["country"]).all()
    assert (np.round(np.log(drawn["area"]), 4) == drawn["log_area"]).all()
    total = drawn["north"] + 2 * drawn["south"]
    assert 0 < drawn["total"].isna().mean() < 0.5
    pd.testing.assert_series_equal(drawn["total"], total, check_names=False, check_dtype=False)


def test_a_row_that_breaks_a_relation_is_improbable_but_not_impossible(trained):
    broken = TABLE.copy()
    broken["country"] = "country 0"
    broken.loc[1::2, "total"] += 1
    is_broken = (TABLE["country"] != "country 0") | (broken["total"] - TABLE["total"] > 0)
    lost = trained.log_prob(TABLE) - trained.log_prob(broken)
    assert np.isfinite(lost).all()
    assert lost[is_broken].min() > np.log(N / 2)
    assert lost[~is_broken] == pytest.approx(0)


def test_draws_are_scored_as_finite(trained):
    scores = trained.log_prob(trained.sample_table(2_000, seed=2))
    assert np.isfinite(scores).all()


def test_the_summary_has_their_gains(run):
    summary = json.loads((run / "summary.json").read_text())
    assert set(summary["columns"]) == set(TABLE)
    gains = {name: summary["column_gains"][name]["mean"] for name in COMPUTED}
    assert gains["country"] == pytest.approx(np.log(3), abs=0.15)
    assert gains["log_area"] > 4
    assert gains["total"] > 2.5
    assert set(summary["pit"]["columns"]) == set(TABLE)


def test_the_run_passes_its_checks(run):
    result = CliRunner().invoke(main, ["check", str(run)])
    assert result.exit_code == 0, result.output


def test_a_dry_run_says_by_which_function(run):
    result = CliRunner().invoke(
        main, ["fit", str(run.parent / "t.csv"), "--preset", "cells", "--dry-run"]
    )
    lines = {line.split()[0]: line for line in result.output.splitlines() if line.strip()}
    ends = {"country": "= map of city", "log_area": "= log(area)", "total": "= north + 2 * south"}
    assert all(lines[name].endswith(f" {end}") for name, end in ends.items())
