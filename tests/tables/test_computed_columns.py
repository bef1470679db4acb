"""A fit to a table some of whose columns follow from others: draws, scores, files."""

import json
import re
import shutil

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv as arrow_csv
from running import succeed
from short_runs import make_run, without_programs

import nflow_cli
from nflow_cli.errors import RunDirectoryError

N = 300
COMPUTED = ["country", "log_area", "total"]
RNG = np.random.default_rng(0)
CITY = RNG.integers(0, 12, N)
AREA = np.round(RNG.gamma(3, 20, N) + 1, 1)
NORTH, SOUTH = RNG.integers(0, 60, N).astype(float), RNG.integers(0, 60, N)
NORTH[::9] = np.nan
TABLE = {
    "country": np.array([f"country {c % 3}" for c in CITY]),
    "city": np.array([f"city {c}" for c in CITY]),
    "area": AREA,
    "log_area": np.round(np.log(AREA), 4),
    "north": NORTH,
    "south": SOUTH,
    "total": NORTH + 2 * SOUTH,
}


def table_of(columns):
    return pa.table({name: pa.array(v, from_pandas=True) for name, v in columns.items()})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the directory of a run on the table."""
    folder = tmp_path_factory.mktemp("run")
    arrow_csv.write_csv(table_of(TABLE), folder / "t.csv")
    with without_programs():
        return make_run(
            folder / "run",
            command="fit",
            data={"name": str(folder / "t.csv"), "missing": "model"},
            flow=None,
            cells={"width": 8, "blocks": 1, "components": 2},
            train={"steps": 4, "batch_size": 32, "chunk": 2},
        )


@pytest.fixture(scope="module")
def trained(run):
    return nflow_cli.load(run)


def test_draws_have_computed_columns_in_the_tables_order_and_obey_them(trained):
    table = trained.sample_table(2_000, seed=1)
    assert table.column_names == [*TABLE, "log_q"]
    drawn = {name: table.column(name).to_numpy() for name in TABLE}
    of_city = dict(zip(TABLE["city"], TABLE["country"]))
    assert [of_city[city] for city in drawn["city"]] == drawn["country"].tolist()
    np.testing.assert_array_equal(np.round(np.log(drawn["area"]), 4), drawn["log_area"])
    assert 0 < np.isnan(drawn["total"]).mean() < 0.5
    np.testing.assert_array_equal(drawn["total"], drawn["north"] + 2 * drawn["south"])
    assert np.isfinite(trained.log_prob(table)).all()


def test_a_row_that_breaks_a_relation_is_improbable_but_not_impossible(trained):
    total = TABLE["total"].copy()
    total[1::2] += 1
    broken = {**TABLE, "country": np.full(N, "country 0"), "total": total}
    is_broken = (TABLE["country"] != "country 0") | (total - TABLE["total"] > 0)
    whole, other = (trained.log_prob(table_of(columns)) for columns in (TABLE, broken))
    lost = whole - other
    assert np.isfinite(lost).all()
    assert lost[is_broken].min() > np.log(N / 2)
    assert lost[~is_broken] == pytest.approx(0)


def test_a_broken_relation_is_explained_by_its_function(run, invoke):
    total = TABLE["total"][:6].copy()
    total[2] += 1
    arrow_csv.write_csv(table_of({**{n: v[:6] for n, v in TABLE.items()}, "total": total}), "n.csv")
    result = invoke("evaluate", run, "--data", "n.csv", "--explain", "-o", "o.csv")
    assert result.exit_code == 0, result.output
    expected = f"total: expected {total[2] - 1:.0f} (north + 2 * south), is {total[2]:.0f}"
    assert expected in result.output
    found = arrow_csv.read_csv("o.csv")
    assert found["oddest"].to_pylist()[2] == "total"
    nats = found["total_surprise"].to_numpy()
    assert nats[2] == pytest.approx(np.log(N * 0.9), abs=0.3)
    np.testing.assert_array_equal(np.delete(nats, 2), 0.0)


DAMAGED = [  # the end of the names of arrays, what is done to them, and what is named
    ("computed_broken", lambda e: -e, "computed_broken"),
    ("computed_broken", lambda e: e + 1e30, "computed_broken"),
    ("computed_0_log_shares", lambda log_p: log_p + 1e300, "computed_0_log_shares"),
    ("computed_1_log_shares", lambda log_p: log_p + 1, "computed_1_log_shares"),
    ("computed_2_normals", lambda normals: normals + 1e300, "computed_2_normals"),
    ("computed_2_normals", lambda normals: normals * [[1], [1], [-1]], "computed_2_normals"),
    ("computed_2_normals", lambda normals: np.add(normals, [[1], [0], [0]]), "computed_2_normals"),
    ("_kernel", lambda kernel: kernel * 1e150, "inputs_kernel: expected numbers up to 3.4e+38"),
    ("limits", lambda limits: limits * 1e30, "limits: expected ends near"),
    ("limits", lambda limits: np.add(limits, [[0], [1e9], [2e9]]), "limits: expected ends near"),
]


def test_arrays_that_no_training_has_are_refused_by_name(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    with np.load(run / "weights.npz") as file:
        whole = {name: array.astype(float) for name, array in file.items()}
    for names, change, damaged in DAMAGED:
        arrays = {n: change(a) if n.endswith(names) else a for n, a in whole.items()}
        np.savez(copy / "weights.npz", **arrays)
        with pytest.raises(RunDirectoryError) as refused:
            nflow_cli.load(copy)
        assert str(refused.value).startswith(f"{copy / 'weights.npz'}: damaged: {damaged}")


def test_the_summary_has_their_gains(run):
    summary = json.loads((run / "summary.json").read_text())
    assert set(summary["columns"]) == set(TABLE)
    gains = {name: summary["column_gains"][name]["mean"] for name in COMPUTED}
    assert gains["country"] == pytest.approx(np.log(3), abs=0.15)
    assert gains["log_area"] > 4
    assert gains["total"] > 2.5
    part = sum(gains.values())
    assert part > 7 and summary["computed_gain"] == pytest.approx(part)
    printed = repr(nflow_cli.load(run))
    assert f" nats, paired, of which {part:.5f} by computed columns\n" in printed
    (largest,) = re.findall(r"largest gains +(.+)", printed)
    assert {text.split()[0] for text in largest.split(", ")} <= set(TABLE) - set(COMPUTED)
    assert set(summary["pit"]["columns"]) == set(TABLE)


def test_the_run_passes_its_checks_and_a_dry_run_says_by_which_function(run, invoke):
    assert invoke("check", run).exit_code == 0
    output = succeed(invoke, "fit", run.parent / "t.csv", "--preset", "cells", "--dry-run")
    lines = {line.split()[0]: line for line in output.splitlines() if line.strip()}
    ends = {"country": "= map of city", "log_area": "= log(area)", "total": "= north + 2 * south"}
    assert all(lines[name].endswith(f" {end}") for name, end in ends.items())


def test_a_computed_target_follows_from_its_sources(trained):
    table = {**{name: TABLE[name][:40] for name in TABLE}, "total": np.zeros(40)}
    for name, value in (("log_area", np.round(np.log(AREA[:40]), 4)), ("total", TABLE["total"])):
        found = trained.predict(table_of(table), name)
        known = ~np.isnan(value[:40])
        for part in ("mean", "q0.05", "q0.95"):
            np.testing.assert_allclose(found[f"{name}_{part}"].to_numpy()[known], value[:40][known])
        assert not found[f"{name}_sd"].to_numpy()[known].any()
    found = trained.predict(table_of(table), "country")
    for level in ("country 0", "country 1", "country 2"):
        np.testing.assert_array_equal(found[f"country_p_{level}"], table["country"] == level)


def test_a_computed_target_of_an_unknown_source_is_the_function_of_its_prediction(trained):
    rows = {name: TABLE[name][:60] for name in TABLE}
    areas = {name: values for name, values in rows.items() if name not in ("area", "log_area")}
    p = np.array([0.05, 0.5, 0.95])
    found = trained.predict(table_of(areas), "log_area", p)
    ends = np.sort([*(p - 1 / 64), *(p + 1 / 64)])  # the draws are a hundred quantiles
    around = trained.predict(table_of({**areas, "area": np.full(60, np.nan)}), "area", ends)
    for share in p:
        low, high = (np.log(around[f"area_q{share + d:g}"]) for d in (-1 / 64, 1 / 64))
        drawn = found[f"log_area_q{share:g}"].to_numpy()
        assert (low - 1e-3 <= drawn).all() and (drawn <= high + 1e-3).all()
    cities = {name: values for name, values in rows.items() if name not in ("city", "country")}
    found, of_city = (trained.predict(table_of(cities), name) for name in ("country", "city"))
    for i in range(3):
        names = [f"city {c}" for c in range(i, 12, 3)]
        share = sum(of_city[f"city_p_{name}"].to_numpy() for name in names)
        np.testing.assert_allclose(found[f"country_p_country {i}"], share, atol=0.03)


def test_a_computed_target_of_two_unknown_sources_is_by_draws_of_both(trained, invoke):
    rows = {n: TABLE[n][:60] for n in TABLE if n not in ("north", "south", "total")}
    found = trained.predict(table_of(rows), "total")
    both = trained.predict(table_of(rows), ["north", "south"])
    expected = both["north_mean"].to_numpy() + 2 * both["south_mean"].to_numpy()
    np.testing.assert_allclose(found["total_mean"].to_numpy(), expected, rtol=1e-6)
    assert (found["effective_draws"].to_numpy() > 10).all()
    arrow_csv.write_csv(table_of(rows), "n.csv")
    words = ["predict", trained.path, "--data", "n.csv", "--target", "total", "-o", "o.csv"]
    result = invoke(*words)
    assert result.exit_code == 0 and "least effective sample size" in result.output
    result = invoke(*words, "--coverage", ".9")
    expected = "coverage: expected one target, not computed from others, received total"
    assert result.exit_code == 1 and expected in result.stderr
