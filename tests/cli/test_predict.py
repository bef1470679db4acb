"""`nflow predict`: one column of a table given the others, on one tiny run."""

import json

import numpy as np
import pytest
from running import read_rows, succeed
from short_runs import CELLS

import nflow_cli
from nflow_cli.errors import DataError
from nflow_cli.runs.directory import RunDirectory

TABLE = CELLS["data"]["name"]


@pytest.fixture(scope="module")
def run(short_run):
    return short_run(**CELLS)


def predicted(invoke, run, *options):
    succeed(invoke, "predict", run, "--data", TABLE, "-o", "out.csv", *options)
    return read_rows("out.csv")


def numbers(rows, name):
    return np.array([float(row[name] or "nan") for row in rows])


def test_numbers_are_written_beside_the_rows(invoke, run):
    rows, table = predicted(invoke, run, "--target", "price"), read_rows(TABLE)
    assert [{key: row[key] for key in table[0]} for row in rows] == table
    added = ["mean", "sd", "q0.05", "q0.5", "q0.95", "missing", "log_p"]
    names = [f"price_{name}" for name in added]
    assert [*rows[0]] == [*table[0], *names, "quadrature_error"]
    values, low, high = (numbers(rows, f"price{n}") for n in ("", "_q0.05", "_q0.95"))
    known = ~np.isnan(values)
    inside = (low <= values) & (values <= high)
    scores = json.loads(
        succeed(
            invoke, "predict", run, "--data", TABLE, "-o", "a.csv", "--target", "price", "--json"
        )
    )
    assert scores["n"] == len(table) and scores["n_unresolved"] == 0
    share = inside[known].mean()
    assert scores["coverage"] == pytest.approx(share)
    binomial = np.sqrt(share * (1 - share) / (known.sum() - 1))
    assert scores["coverage_standard_error"] == pytest.approx(binomial)
    printed = succeed(invoke, "predict", run, "--data", TABLE, "-o", "a.csv", "--target", "price")
    assert f"coverage       {share:.5f} ± {binomial:.5f} (nominal 0.9)\n" in printed
    error = numbers(rows, "price_mean")[known] - values[known]
    assert scores["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)))
    assert scores["log_p"] == pytest.approx(numbers(rows, "price_log_p").mean())


def test_levels_have_a_probability_each(invoke, run):
    rows = predicted(invoke, run, "--target", "city")
    names = [name for name in rows[0] if name.startswith("city_p_")]
    shares = np.array([[float(row[name]) for name in names] for row in rows])
    assert (shares >= 0).all() and (shares.sum(axis=1) <= 1).all() and len(names) > 2
    likeliest = [names[i].removeprefix("city_p_") for i in shares.argmax(axis=1)]
    assert [row["city_level"] for row in rows] == likeliest
    own = [float(row.get(f"city_p_{row['city']}", "nan")) for row in rows]
    log_p = numbers(rows, "city_log_p")
    known = ~np.isnan(own)
    np.testing.assert_allclose(log_p[known], np.log(np.array(own)[known]))
    printed = succeed(invoke, "predict", run, "--data", TABLE, "-o", "a.csv", "--target", "city")
    wrong = [row["city"] != level for row, level in zip(rows, likeliest)]
    assert f"error rate     {np.mean(wrong):.5f}" in printed and printed.endswith("\na.csv\n")


def test_cells_are_written_as_in_the_table(invoke, run):
    rows = predicted(invoke, run, "--target", "day", "--quantiles", ".5,.1")
    for row in rows:
        days = [row[name] for name in ("day_q0.1", "day_mean", "day_q0.5")]
        assert [str(np.datetime64(day)) for day in days] == days
        assert days[0] <= days[2]
    rows = predicted(invoke, run, "--target", "rooms")
    assert all(row["rooms_q0.5"] == str(int(row["rooms_q0.5"])) for row in rows)


def test_a_table_without_the_target_has_the_same_predictions(invoke, run):
    rows, table = predicted(invoke, run, "--target", "wage"), read_rows(TABLE)
    names = [name for name in table[0] if name != "wage"]
    with open("new.csv", "w") as file:
        print(*names, sep=",", file=file)
        for row in table:
            print(*(row[name] for name in names), sep=",", file=file)
    succeed(invoke, "predict", run, "--data", "new.csv", "-o", "b.csv", "--target", "wage")
    others = read_rows("b.csv")
    added = [name for name in others[0] if name not in names]
    options = ("-o", "c.csv", "--target", "wage", "--plot", "a.svg")
    result = invoke("predict", run, "--data", "new.csv", *options)
    assert (
        result.exit_code == 1 and "--plot: expected the target 'wage' in new.csv" in result.stderr
    )
    assert "wage_log_p" not in added and "wage_mean" in added
    assert [[row[name] for name in added] for row in rows] == [
        [row[name] for name in added] for row in others
    ]


@pytest.mark.parametrize("target", ["price", "city", "day"])
def test_python_gives_the_numbers_of_the_command(invoke, run, target):
    rows = predicted(invoke, run, "--target", target)
    found = nflow_cli.load(run).predict(TABLE, target)
    assert found.num_rows == len(rows)
    for name in found.column_names:
        values = found[name].to_pylist()
        if isinstance(values[0], float):
            np.testing.assert_array_equal(np.array(values, float), numbers(rows, name))
        else:
            assert [str(value) for value in values] == [row[name] for row in rows]


@pytest.mark.parametrize("quantiles", [[0.5, 1.0], [], "x"])
def test_python_refuses_quantiles_that_are_no_probabilities(run, quantiles):
    with pytest.raises(DataError, match="quantiles: expected numbers between 0 and 1"):
        nflow_cli.load(run).predict(TABLE, "price", quantiles)


def scores_of(invoke, run, *options):
    options = ("--data", TABLE, "-o", "out.csv", *options, "--json")
    return json.loads(succeed(invoke, "predict", run, *options)), read_rows("out.csv")


def test_intervals_of_a_coverage_are_written_and_scored(invoke, run):
    scores, rows = scores_of(invoke, run, "--target", "price", "--coverage", ".8")
    values, low, high = (numbers(rows, f"price{n}") for n in ("", "_low", "_high"))
    known, inside = ~np.isnan(values), (low <= values) & (values <= high)
    assert scores["set_coverage"] == pytest.approx(inside[known].mean())
    assert scores["set_width"] == pytest.approx((high - low).mean())
    (group,) = scores["calibration"]["groups"]
    assert group["n"] <= sum(row["price"] != "" for row in rows) and group["group"] == "all"
    assert group["coverage_low"] < 0.8 < group["coverage_high"]


def test_the_share_of_calibration_rows_in_their_sets_is_that_of_their_number(invoke, run):
    """Of n values ⌈(n + 1) c⌉ or more are in the sets that these n calibrate."""
    q = nflow_cli.load(run)
    test = q.experiment.data(RunDirectory(q.path)).test
    for target, coverage in (("price", 0.5), ("city", 0.7), ("rooms", 0.8)):
        own = test[:, q.columns.index(target)]
        found = q.predict(test, target, coverage=coverage)
        if target == "city":
            levels = next(column.first for column in q.row if column.name == target)
            names = [
                levels[int(code)] if code >= 0 else None for code in np.nan_to_num(own, nan=-1)
            ]
            sets = [text.split("|") for text in found["city_set"].to_pylist()]
            inside = np.array([name in members for name, members in zip(names, sets)])
        else:
            low, high = (found[f"{target}_{end}"].to_numpy() for end in ("low", "high"))
            inside = (low <= own) & (own <= high)
        n = (~np.isnan(own)).sum()
        assert inside.sum() >= np.ceil((n + 1) * coverage) - (own == -1).sum()


def test_groups_with_too_few_rows_have_sets_of_all_values(invoke, run):
    scores, rows = scores_of(invoke, run, "--target", "price", "--coverage", ".97", "--by", "city")
    groups = {group["group"]: group["n"] for group in scores["calibration"]["groups"]}
    assert len(groups) > 2 and max(groups.values()) < 0.97 / 0.03
    assert scores["n_infinite"] == len(rows) and {row["price_low"] for row in rows} == {"-inf"}
    out = succeed(
        invoke, "predict", run, "--data", TABLE, "-o", "a.csv", "--target", "city",
        "--coverage", ".97", "--by", "flag",
    )  # fmt: skip
    assert "too few for 0.97, sets contain all values" in out
    levels = [name.removeprefix("city_p_") for name in read_rows("a.csv")[0] if "_p_" in name]
    assert {row["city_set"] for row in read_rows("a.csv")} == {"|".join(levels)}


def test_predictions_are_written_to_standard_output(invoke, run):
    result = invoke("predict", run, "--data", TABLE, "-o", "-", "--target", "city")
    succeed(invoke, "predict", run, "--data", TABLE, "-o", "a.csv", "--target", "city")
    with open("a.csv") as file:
        assert result.stdout == file.read()
    assert "error rate" in result.stderr


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_is_answered_by_one_of_its_library(run, library):
    frames = pytest.importorskip(library)
    table = frames.read_csv(TABLE)
    some = table[5:25] if library == "polars" else table.iloc[5:25]
    found, expected = (nflow_cli.load(run).predict(t, "price") for t in (some, TABLE))
    assert type(found) is type(table)
    np.testing.assert_allclose(found["price_mean"], expected["price_mean"][5:25], rtol=1e-12)
    if library == "pandas":
        assert (found.index == some.index).all()


@pytest.mark.parametrize("target", ["price", "city", "day"])
def test_a_picture_is_drawn_on_request(invoke, run, target):
    predicted(invoke, run, "--target", target, "--plot", "a.png")
    with open("a.png", "rb") as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("target", ["city", "day", "price", "wage", "rooms", "price,wage"])
def test_a_cell_that_no_row_can_have_is_unknown_and_counted(invoke, run, target):
    table, tables = read_rows(TABLE)[:6], {}
    for name, rooms in (("gap", ""), ("off", "6.5"), ("far", "1e200")):
        with open(f"{name}.csv", "w") as file:
            print(*table[0], sep=",", file=file)
            for i, row in enumerate(table):
                print(*({**row, "rooms": rooms if i == 2 else "6"}).values(), sep=",", file=file)
        options = ("--data", f"{name}.csv", "-o", "out.csv", "--target", target)
        printed = succeed(invoke, "predict", run, *options)
        is_other = name != "gap" and target != "rooms"
        assert ("1 cells of 1 rows are off their grid or far away" in printed) == is_other
        row = {k: v for k, v in read_rows("out.csv")[2].items() if k not in table[0]}
        assert "" not in [v for k, v in row.items() if not k.endswith("log_p")]
        tables[name] = {k: v for k, v in row.items() if target != "rooms" or k != "rooms_log_p"}
    if "," not in target:  # by draws an unknown cell is drawn too, and a missing one is not
        assert tables["off"] == tables["far"] == tables["gap"]
    else:
        assert float(tables["off"]["effective_draws"]) < 128


def test_own_rows_have_a_warning(invoke, run):
    scores, _ = scores_of(invoke, run, "--target", "wage")
    assert [warning["word"] for warning in scores["warnings"]] == ["trained on"]


@pytest.fixture(scope="module")
def conditional_run(short_run):
    data = {**CELLS["data"], "columns": ["wage"], "given": ["city", "rooms"]}
    return short_run(**{**CELLS, "data": data})


def test_the_only_modelled_column_is_the_target(invoke, conditional_run):
    rows = predicted(invoke, conditional_run, "--quantiles", ".1,.9")
    assert not numbers(rows, "quadrature_error").any()
    low, high = (numbers(rows, f"wage_{name}") for name in ("q0.1", "q0.9"))
    assert (low <= high).all()
    log_p = nflow_cli.load(conditional_run).log_prob(TABLE)
    np.testing.assert_allclose(numbers(rows, "wage_log_p"), log_p)
    arguments = ["predict", conditional_run, "--data", TABLE, "-o", "b.csv", "--target", "city"]
    result = invoke(*arguments)
    expected = "--target: expected one of wage. Received: 'city', a given column"
    assert (result.exit_code, result.stderr) == (1, f"nflow: error: {expected}\n")
    with pytest.raises(DataError, match="^" + expected.removeprefix("--")):
        nflow_cli.load(conditional_run).predict(TABLE, "city")
