"""`nflow impute`, `sample --given` and several targets of `predict`, on one tiny run."""

import json
import os
import re
import shutil
from datetime import datetime, timedelta

import numpy as np
import pytest
from running import read_rows, succeed
from short_runs import CELLS

import nflow_cli
from nflow_cli.errors import DataError

TABLE = CELLS["data"]["name"]
COVERAGE = "--coverage", ".9"
COLUMNS = ["price", "city", "day", "rooms"]


@pytest.fixture(scope="module")
def run(short_run):
    return short_run(**CELLS)


@pytest.fixture
def gaps(tmp_path):
    """A table with gaps in the columns of the run, and a column that is none of these."""
    rows = read_rows(TABLE)[:40]
    for i, row in enumerate(rows):
        row["note"] = f"row {i}, untouched"
        row[COLUMNS[i % 4]] = ""
        if i % 3 == 0:
            row[COLUMNS[(i + 1) % 4]] = "NA"
    path = tmp_path / "gaps.csv"
    lines = [",".join(rows[0]), *(",".join(map(quoted, row.values())) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path, rows


def quoted(text):
    return f'"{text}"' if "," in text else text


def is_empty(text):
    return text in ("", "NA")


def test_gaps_are_filled_in_the_types_of_their_columns(invoke, run, gaps):
    path, rows = gaps
    scores = json.loads(succeed(invoke, "impute", run, "--data", path, "-o", "out.csv", "--json"))
    filled = read_rows("out.csv")
    assert [*filled[0]] == [*rows[0]]
    count = 0
    for before, after in zip(rows, filled, strict=True):
        for name, text in before.items():
            count += is_empty(text)
            assert after[name] if is_empty(text) else after[name] == text
        assert str(np.datetime64(after["day"])) == after["day"]
        assert float(after["rooms"]).is_integer() and float(after["price"])
    assert scores["n_imputed"] == count == sum(scores["imputed"].values())
    printed = succeed(invoke, "impute", run, "--data", path, "-o", "out.csv")
    assert f"imputed        {count} cells of 40 rows" in printed and printed.endswith("\nout.csv\n")


def test_times_are_filled_in_the_format_of_the_table(invoke):
    rng = np.random.default_rng(0)
    minutes = rng.integers(0, 15_000, 200)
    times = [datetime(2024, 1, 10) + timedelta(minutes=int(m)) for m in minutes]
    write_times("times.csv", [time.isoformat() for time in times])
    assert invoke("fit", "times.csv", "--steps", "4", "--output", "run").exit_code == 0
    for spelled, filled in {
        "%Y-%m-%dT%H:%MZ": r"2024-01-\d\dT\d\d:\d\dZ",
        "%Y-%m-%dT%H:%M:%S+00:00": r"2024-01-\d\dT\d\d:\d\d:\d\d\+00:00",
        "%Y-%m-%d %H:%M:%S+02:00": r"2024-01-\d\d \d\d:\d\d:\d\dZ",
    }.items():
        write_times("gaps.csv", ["", times[5].strftime(spelled)])
        succeed(invoke, "impute", "run", "--data", "gaps.csv", "-o", "out.csv")
        made, known = (row["at"] for row in read_rows("out.csv"))
        assert known == times[5].strftime(spelled) and re.fullmatch(filled, made)


def write_times(path, texts):
    with open(path, "w") as file:
        file.writelines(["at,x\n", *(f"{text},{i % 7 + 0.5}\n" for i, text in enumerate(texts))])


def test_draws_are_tables_one_after_another(invoke, run, gaps):
    path, rows = gaps
    succeed(invoke, "impute", run, "--data", path, "-o", "out.csv", "--draws", "3")
    filled = read_rows("out.csv")
    assert [row["draw"] for row in filled] == [str(d) for d in (1, 2, 3) for _ in rows]
    assert [row["row"] for row in filled] == 3 * [str(1 + i) for i in range(len(rows))]
    assert [row["note"] for row in filled] == 3 * [row["note"] for row in rows]
    gaps = [i for i, row in enumerate(rows) if is_empty(row["price"])]
    prices = np.array([float(filled[d * len(rows) + i]["price"]) for d in range(3) for i in gaps])
    assert len(np.unique(prices)) > len(gaps)
    again = invoke("impute", run, "--data", path, "-o", "-", "--draws", "3")
    with open("out.csv") as file:
        assert again.stdout == file.read()


def test_in_python_a_frame_keeps_its_index(run, gaps):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(gaps[0]).set_axis(range(100, 140))
    trained = nflow_cli.load(run)
    assert list(trained.impute(frame).index) == list(frame.index)
    several = trained.impute(frame, draws=2)
    assert list(several.index) == 2 * list(frame.index) and several["rooms"].notna().all()
    with pytest.raises(DataError, match="draws=0"):
        trained.impute(frame, draws=0)


def test_several_targets_are_predicted_from_the_rest(invoke, run):
    options = "--target", "price,city", "--quantiles", ".1,.9"
    succeed(invoke, "predict", run, "--data", TABLE, "-o", "out.csv", *options)
    rows, table = read_rows("out.csv"), read_rows(TABLE)
    for before, row in zip(table, rows, strict=True):
        assert {key: row[key] for key in before} == before
        low, mean, high = (float(row[f"price_{name}"]) for name in ("q0.1", "mean", "q0.9"))
        assert low <= mean <= high
        shares = [float(row[name]) for name in row if name.startswith("city_p_")]
        assert sum(shares) == pytest.approx(1)
    found = nflow_cli.load(run).predict(TABLE, ["price", "city"], [0.1, 0.9])
    means = [float(row["price_mean"]) for row in rows]
    assert found["price_mean"].to_pylist() == pytest.approx(means)


def test_targets_with_added_columns_of_one_name_are_refused(invoke):
    with open("names.csv", "w") as file:
        file.write("a,a_p,x\n")
        file.writelines(f"{('mean', 'sd')[i % 2]},{i * i % 37}.5,{i % 11}\n" for i in range(200))
    assert invoke("fit", "names.csv", "--steps", "4", "--output", "run").exit_code == 0
    words = ["predict", "run", "--target", "a,a_p", "--data"]
    os.makedirs("parts")
    shutil.copy("names.csv", "parts")
    for more in (["names.csv", "-o", "out.csv"], ["parts", "-o", "out"]):
        result = invoke(*words, *more)
        assert result.exit_code == 1 and "a_p_mean, a_p_sd: predict 'a_p'" in result.stderr
        assert not os.path.exists(more[-1])
    q = nflow_cli.load("run")
    for targets in (["a", "a_p"], ["a_p", "a"], ["x", "x"]):
        with pytest.raises(DataError, match=f"predict {targets[1]!r} by itself"):
            q.predict("names.csv", targets)
    found = q.predict("names.csv", ["a", "x"], [0.1234567, 0.12345671])
    assert len([*found.column_names]) == 2 + 2 + 2 + 1


def test_draws_meet_conditions_on_modelled_columns(invoke, run):
    result = invoke(
        "sample", run, "-n", "50", "-o", "out.csv", "--given", "rooms=4:5,day=2021-03-01:"
    )
    assert result.exit_code == 0, result.output
    rows = read_rows("out.csv")
    assert len(rows) == 50 and {row["rooms"] for row in rows} <= {"4", "5"}
    assert all(row["day"] >= "2021-03-01" for row in rows)


def test_own_columns_that_predictions_replace_are_named(invoke, run):
    rows = read_rows(TABLE)[:5]
    lines = [",".join([*rows[0], "price_mean"])]
    lines += [",".join([*map(quoted, row.values()), "1"]) for row in rows]
    with open("own.csv", "w") as file:
        file.write("\n".join(lines))
    result = invoke("predict", run, "--data", "own.csv", "--target", "price", "-o", "out.csv")
    assert result.exit_code == 0 and "replaced in the output: price_mean" in result.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [*(("city", code) for code in (7.0, 4e8, -2.0, 0.5)), ("price", 1e200)],
)
@pytest.mark.parametrize("command", [("plot",), ("drift", "--data", TABLE)])
def test_cells_of_a_stranger_are_checked(invoke, run, name, value, command):
    shutil.copytree(run, "copy")
    with np.load("copy/evaluation.npz") as saved:
        arrays = dict(saved)
    names = [*read_rows(TABLE)[0]]
    arrays["rows"][0, names.index(name)] = value
    np.savez("copy/evaluation.npz", **arrays)
    words, *options = command
    result = invoke(words, "copy", *options)
    assert result.exit_code == 1 and "evaluation.npz: damaged" in result.stderr
