"""`nflow predict`: one column of a table given the others, on one tiny run."""

import json

import keras
import numpy as np
import pytest
from running import read_rows, succeed
from short_runs import CELLS, POINTS

import nflow_cli
from nflow_cli.errors import DataError

pytestmark = [
    pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="it is trained by it"),
    pytest.mark.usefixtures("without_xla"),
]
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
    assert scores["coverage"] == pytest.approx(inside[known].mean())
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


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ([], 1, "--target: expected one of city, flag, day, rooms, price, wage"),
        (["--target", "pric"], 1, "Received: 'pric' (did you mean 'price'?)"),
        (["--target", "part"], 1, "--target: expected one of"),
        (["--target", "price", "--quantiles", "5"], 2, "expected numbers between 0 and 1"),
        (["--target", "price", "--quantiles", "a"], 2, "expected numbers between 0 and 1"),
        (["--target", "price", "-o", "out.txt"], 2, "ends in .csv or .parquet"),
    ],
)
def test_wrong_options_are_one_line(invoke, run, options, code, words):
    result = invoke("predict", run, "--data", TABLE, "-o", "out.csv", *options)
    assert result.exit_code == code and result.stdout == "", result.output
    assert words in result.stderr and "Traceback" not in result.stderr


def test_a_run_of_another_kind_is_refused(invoke, short_run):
    for other in (short_run(), short_run(**POINTS)):
        result = invoke("predict", other, "--data", TABLE, "-o", "out.csv")
        assert result.exit_code == 2 and "expected a run of `nflow fit` by cells" in result.stderr


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
