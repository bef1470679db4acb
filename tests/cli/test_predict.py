"""`nflow predict`: one column of a table given the others, or several, on one tiny run."""

import json
import os
import shutil

import numpy as np
import pytest
from running import read_rows, succeed
from short_runs import CELLS, without_pictures, without_programs

import nflow_cli
from nflow_cli.errors import DataError
from nflow_cli.evaluation.estimates import with_error
from nflow_cli.experiments.run import Run
from nflow_cli.tables.answers import predict
from nflow_cli.tables.unknown import conditional_of_known
from nflow_cli.terminal import progress

TABLE = CELLS["data"]["name"]


@pytest.fixture(scope="module")
def run(short_run):
    return short_run(**CELLS)


def predicted(invoke, run, target, *options, data=TABLE):
    """Return what is printed of predictions, and their rows."""
    words = ["predict", run, "--data", data, "-o", "out.csv", "--target", target, *options]
    printed = succeed(invoke, *words)
    return json.loads(printed) if "--json" in options else printed, read_rows("out.csv")


def numbers(rows, name):
    return np.array([float(row[name] or "nan") for row in rows])


def check_price(rows, printed, scores_of):
    scores = scores_of()
    names = [*("mean", "sd", "q0.05", "q0.5", "q0.95", "missing", "log_p")]
    added = [f"price_{name}" for name in names]
    assert [*rows[0]] == [*read_rows(TABLE)[0], *added, "quadrature_error"]
    values, low, high = (numbers(rows, f"price{n}") for n in ("", "_q0.05", "_q0.95"))
    known = ~np.isnan(values)
    share = ((low <= values) & (values <= high))[known].mean()
    binomial = np.sqrt(share * (1 - share) / (known.sum() - 1))
    error = numbers(rows, "price_mean")[known] - values[known]
    assert [warning["word"] for warning in scores["warnings"]] == ["trained on"]
    assert scores["n"] == len(rows) and scores["n_unresolved"] == 0
    assert scores["coverage"] == pytest.approx(share)
    assert scores["coverage_standard_error"] == pytest.approx(binomial)
    assert f"coverage       {with_error(share, binomial)} (nominal 0.9)\n" in printed
    assert scores["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)))
    assert scores["rmse"] < scores["rmse_alone"] == pytest.approx(values[known].std(), rel=0.1)
    assert "\nRMSE of mean   " in printed and " (the column's own mean: " in printed
    assert scores["log_p"] == pytest.approx(numbers(rows, "price_log_p").mean())


def check_city(rows, printed, *_):
    names = [name for name in rows[0] if name.startswith("city_p_")]
    shares = np.array([[float(row[name]) for name in names] for row in rows])
    assert (shares >= 0).all() and (shares.sum(axis=1) <= 1).all() and len(names) > 2
    likeliest = [names[i].removeprefix("city_p_") for i in shares.argmax(axis=1)]
    assert [row["city_level"] for row in rows] == likeliest
    own = np.array([float(row.get(f"city_p_{row['city']}", "nan")) for row in rows])
    known = ~np.isnan(own)
    np.testing.assert_allclose(numbers(rows, "city_log_p")[known], np.log(own[known]))
    wrong = [row["city"] != level for row, level in zip(rows, likeliest)]
    error = with_error(np.mean(wrong), np.std(wrong, ddof=1) / np.sqrt(len(wrong)))
    assert f"error rate     {error} (the most frequent level: " in printed
    assert printed.endswith("\nout.csv\n")


def check_day(rows, *_):
    for row in rows:
        days = [row[name] for name in ("day_q0.05", "day_mean", "day_q0.5")]
        assert [str(np.datetime64(day)) for day in days] == days
        assert days[0] <= days[2]


@pytest.mark.parametrize(
    ("target", "check"), [("price", check_price), ("city", check_city), ("day", check_day)]
)
def test_predictions_are_written_beside_the_rows_drawn_and_scored(invoke, run, target, check):
    printed, rows = predicted(invoke, run, target, "--plot", "a.png")
    table = read_rows(TABLE)
    assert [{key: row[key] for key in table[0]} for row in rows] == table
    with open("a.png", "rb") as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"
    check(rows, printed, lambda: predicted(invoke, run, target, "--json")[0])
    found = nflow_cli.load(run).predict(TABLE, [target])
    assert found.num_rows == len(rows)
    for name in found.column_names:
        values = found[name].to_pylist()
        if isinstance(values[0], float):
            np.testing.assert_array_equal(np.array(values, float), numbers(rows, name))
        else:
            assert [str(value) for value in values] == [row[name] for row in rows]


def test_quantiles_of_whole_numbers_are_whole_numbers(invoke, run):
    _, rows = predicted(invoke, run, "rooms", "--quantiles", ".5,.1")
    assert all(row["rooms_q0.5"] == str(int(row["rooms_q0.5"])) for row in rows)


def test_a_table_without_the_target_has_the_same_predictions(invoke, run, write):
    _, rows = predicted(invoke, run, "wage")
    names = [name for name in read_rows(TABLE)[0] if name != "wage"]
    write("new.csv", [{name: row[name] for name in names} for row in rows])
    _, others = predicted(invoke, run, "wage", data="new.csv")
    added = [name for name in others[0] if name not in names]
    assert "wage_log_p" not in added and "wage_mean" in added
    assert [[row[name] for name in added] for row in rows] == [
        [row[name] for name in added] for row in others
    ]
    words = ["predict", run, "--data", "new.csv", "-o", "c.csv", "--target", "wage"]
    result = invoke(*words, "--plot", "a.svg")
    assert result.exit_code == 1 and "--plot: expected the target 'wage'" in result.stderr


@pytest.mark.parametrize("quantiles", [[0.5, 1.0], [], "x"])
def test_python_refuses_quantiles_that_are_no_probabilities(run, quantiles):
    with pytest.raises(DataError, match="quantiles: expected numbers between 0 and 1"):
        nflow_cli.load(run).predict(TABLE, "price", quantiles)


def test_intervals_of_a_coverage_are_written_and_scored(invoke, run):
    scores, rows = predicted(invoke, run, "price", "--coverage", ".8", "--json")
    values, low, high = (numbers(rows, f"price{n}") for n in ("", "_low", "_high"))
    known, inside = ~np.isnan(values), (low <= values) & (values <= high)
    assert scores["set_coverage"] == pytest.approx(inside[known].mean())
    assert scores["set_width"] == pytest.approx((high - low).mean(), abs=0.01)  # of ends in cents
    (group,) = scores["calibration"]["groups"]
    assert group["n"] <= sum(row["price"] != "" for row in rows) and group["group"] == "all"
    assert group["coverage_low"] < 0.8 < group["coverage_high"]


def test_the_share_of_calibration_rows_in_their_sets_is_that_of_their_number(invoke, run):
    """Of n values ⌈(n + 1) c⌉ or more are in the sets that these n calibrate."""
    q = nflow_cli.load(run)
    test = Run.open(q.path).data.test
    for target, coverage in (("price", 0.5), ("city", 0.7), ("rooms", 0.8)):
        own = test[:, q.columns.index(target)]
        found = q.predict(test, target, coverage=coverage)
        if target == "city":
            levels = next(
                column.coded_values for column in q.density.row_columns if column.name == target
            )
            names = [
                levels[int(code)] if code >= 0 else None for code in np.nan_to_num(own, nan=-1)
            ]
            sets = [json.loads(text) for text in found["city_set"].to_pylist()]
            inside = np.array([name in members for name, members in zip(names, sets)])
        else:
            low, high = (found[f"{target}_{end}"].to_numpy() for end in ("low", "high"))
            inside = (low <= own) & (own <= high)
        n = (~np.isnan(own)).sum()
        assert inside.sum() >= np.ceil((n + 1) * coverage) - (own == -1).sum()


def test_held_out_rows_are_predicted_once_for_all_calibrations_of_a_target(run, monkeypatch):
    q, counts = nflow_cli.load(run), []

    def counted(rows, *others):
        counts.append(len(rows))
        return conditional_of_known(rows, *others)

    monkeypatch.setattr(predict, "conditional_of_known", counted)
    rows = q.held_out[:3]
    for question in ({"coverage": 0.8}, {"coverage": 0.5, "by": "city"}):
        q.predict(rows, "price", **question)
    q.predict(rows, "rooms", coverage=0.8)
    assert counts == [len(q.held_out), 3, 3, len(q.held_out), 3]


def test_python_prints_no_progress_outside_a_terminal(run, monkeypatch, capsys):
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    q = nflow_cli.load(run)
    q.predict(q.held_out[:3], "price", coverage=0.8)
    assert capsys.readouterr().err == ""


def test_a_long_quadrature_names_the_fit_that_needs_none(invoke, run, monkeypatch):
    monkeypatch.setattr(predict, "WAIT_SECONDS", 0.0)
    last = nflow_cli.load(run).density.columns[-1].name
    os.makedirs("parts")
    shutil.copy(TABLE, "parts")
    for target, data, output in (
        ("price", TABLE, "a.csv"),
        ("price", "parts", "a"),
        (last, TABLE, "b.csv"),
    ):
        result = invoke("predict", run, "--data", data, "--target", target, "-o", output)
        assert result.stderr.count(f"--target {target}) predicts") == (target != last)


def test_groups_with_too_few_rows_have_sets_of_all_values(invoke, run):
    by_city = ["--coverage", ".97", "--by", "city", "--json"]
    scores, rows = predicted(invoke, run, "price", *by_city)
    groups = {group["group"]: group["n"] for group in scores["calibration"]["groups"]}
    assert len(groups) > 2 and max(groups.values()) < 0.97 / 0.03
    assert scores["n_infinite"] == len(rows) and {row["price_low"] for row in rows} == {"-inf"}
    printed, rows = predicted(invoke, run, "city", "--coverage", ".97", "--by", "flag")
    assert "too few for 0.97, sets contain all values" in printed
    levels = [name.removeprefix("city_p_") for name in rows[0] if "_p_" in name]
    assert {row["city_set"] for row in rows} == {json.dumps(levels)}


def test_predictions_are_written_to_standard_output(invoke, run):
    result = invoke("predict", run, "--data", TABLE, "-o", "-", "--target", "city")
    predicted(invoke, run, "city")
    with open("out.csv") as file:
        assert result.stdout == file.read()
    assert "error rate" in result.stderr


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_is_answered_by_one_of_its_library(run, library):
    frames = pytest.importorskip(library)
    table = frames.read_csv(TABLE)
    some = table[5:25] if library == "polars" else table.iloc[5:25]
    found, expected = (nflow_cli.load(run).predict(t, "city") for t in (some, TABLE))
    assert type(found) is type(table)
    np.testing.assert_allclose(found["city_log_p"], expected["city_log_p"][5:25], rtol=1e-12)
    if library == "pandas":
        assert (found.index == some.index).all()


@pytest.mark.parametrize("target", ["city", "day", "price", "wage", "rooms", "price,wage"])
def test_a_cell_that_no_row_can_have_is_unknown_and_counted(invoke, run, write, target):
    table, tables = read_rows(TABLE)[:6], {}
    for name, rooms in (("gap", ""), ("off", "6.5")):
        write(
            "new.csv", [{**row, "rooms": rooms if i == 2 else "6"} for i, row in enumerate(table)]
        )
        printed, rows = predicted(invoke, run, target, data="new.csv")
        is_other = name != "gap" and target != "rooms"
        assert ("1 cells of 1 rows are off their grid" in printed) == is_other
        is_averaged = target not in ("rooms", "price,wage")
        assert ("unknown        1 rows have unknown cells" in printed) == is_averaged
        row = {k: v for k, v in rows[2].items() if k not in table[0]}
        assert "" not in [v for k, v in row.items() if not k.endswith("log_p")]
        tables[name] = {k: v for k, v in row.items() if target != "rooms" or k != "rooms_log_p"}
    if "," not in target:  # by draws an unknown cell is drawn too, and a missing one is not
        assert tables["off"] == tables["gap"]
    else:
        assert float(tables["off"]["effective_draws"]) < 128


def test_scores_that_no_row_has_are_not_printed(invoke, run, write):
    write("new.csv", [{**row, "rooms": ""} for row in read_rows(TABLE)[:3]])
    printed, _ = predicted(invoke, run, "rooms", data="new.csv")
    assert "mean width" in printed
    assert not [score for score in ("log p", "coverage", "RMSE", "finite") if score in printed]


def test_the_only_modelled_column_is_the_target(invoke, short_run, write):
    data = {**CELLS["data"], "columns": ["wage"], "given": ["city", "rooms"]}
    run = short_run(**{**CELLS, "data": data})
    words = ["predict", run, "--data", TABLE, "-o", "out.csv"]
    succeed(invoke, *words, "--quantiles", ".1,.9")
    rows = read_rows("out.csv")
    assert not numbers(rows, "quadrature_error").any()
    low, high = (numbers(rows, f"wage_{name}") for name in ("q0.1", "q0.9"))
    assert (low <= high).all()
    log_p = nflow_cli.load(run).log_prob(TABLE)
    np.testing.assert_allclose(numbers(rows, "wage_log_p"), log_p)
    q = nflow_cli.load(run)
    own, found = q.held_out[:, q.columns.index("wage")], q.predict(q.held_out)
    rmse = np.sqrt(np.nanmean(np.square(own - found["wage_mean"].to_numpy())))
    assert q.summary["losses"]["rmse"] == pytest.approx(rmse)
    assert "RMSE of mean   " in str(q) and " (the column's own mean: " in str(q)
    write("gap.csv", [{**row, "rooms": ""} for row in read_rows(TABLE)[:1]])
    printed = succeed(invoke, "predict", run, "--data", "gap.csv", "-o", "gap_out.csv")
    assert "hidden         1 rows have empty given cells" in printed and "unknown  " not in printed
    result = invoke(*words, "--target", "city")
    expected = "--target: expected one of wage. Received: 'city', a given column"
    assert (result.exit_code, result.stderr) == (1, f"nflow: error: {expected}\n")
    with pytest.raises(DataError, match="^" + expected.removeprefix("--")):
        nflow_cli.load(run).predict(TABLE, "city")


def test_several_targets_are_predicted_from_the_rest(invoke, run, write):
    table = read_rows(TABLE)[:60]
    write("new.csv", table)
    _, rows = predicted(invoke, run, "price,city", "--quantiles", ".1,.9", data="new.csv")
    for before, row in zip(table, rows, strict=True):
        assert {key: row[key] for key in before} == before
        low, mean, high = (float(row[f"price_{name}"]) for name in ("q0.1", "mean", "q0.9"))
        assert low <= mean <= high
        shares = [float(row[name]) for name in row if name.startswith("city_p_")]
        assert sum(shares) == pytest.approx(1)
    found = nflow_cli.load(run).predict("new.csv", ["price", "city"], [0.1, 0.9])
    assert found["price_mean"].to_pylist() == pytest.approx(numbers(rows, "price_mean"))


def test_targets_with_added_columns_of_one_name_are_refused(invoke):
    with open("names.csv", "w") as file:
        file.write("a,a_p,x\n")
        file.writelines(f"{('mean', 'sd')[i % 2]},{i * i % 37}.5,{i % 11}\n" for i in range(200))
    small = ["--set", "cells={width: 8, blocks: 1, components: 3}", "--steps", 2, "--output", "run"]
    with without_programs(), without_pictures():
        assert invoke("fit", "names.csv", *small).exit_code == 0
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


def test_own_columns_that_predictions_replace_are_named(invoke, run, write):
    write("own.csv", [{**row, "price_mean": 1} for row in read_rows(TABLE)[:5]])
    result = invoke("predict", run, "--data", "own.csv", "--target", "price", "-o", "out.csv")
    assert result.exit_code == 0 and "replaced in the output: price_mean" in result.stderr
