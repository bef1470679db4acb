"""Runs on tables with given columns, categories, whole numbers and weights, from end to end."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import parquet
from running import arrays_of, assert_same_run, read_rows, succeed
from short_runs import KilledError, edit_json, edit_weights, killed_after, without_xla

import nflow_cli
from nflow_cli import experiments
from nflow_cli.cli import main
from nflow_cli.errors import DataError
from nflow_cli.evaluation.flow_checks import Outcome
from nflow_cli.evaluation.row_scores import calibrated
from nflow_cli.evaluation.weighted import weighted_mean
from nflow_cli.experiments.check import check_run
from nflow_cli.experiments.table import typed_checks
from nflow_cli.runs.directory import RunDirectory

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="the commands run on TensorFlow"
)
PLACES = ['north, "upper"', "é's"]  # which CSV quotes
ROLES = ["--given", "place,g\\, h", "--categorical", "colour,size,place", "--weights", "weight"]
ROLES += ["--discrete", "n,price:0.1", "--bounds", "price=0:"]
NARROW = ["--set", "flow.pattern=[{affine-coupling: {hidden: [8]}}]"]
SHORT = [*NARROW, "--k", 1, "--steps", 40, "--set", "train.chunk=10"]
SHORT += ["--set", "train.checkpoint_seconds=0"]
COLUMNS = ["n", "colour", "x", "price", "size", "place", "g, h", "log_q"]  # of what is drawn


def some_table(n=240, seed=0):
    """Return columns, the sizes of which depend on their colours."""
    rng = np.random.default_rng(seed)
    g, is_red = rng.standard_normal(n), rng.random(n) < 0.6
    large = np.where(is_red, 0.9, 0.2) > rng.random(n)
    return {
        "n": rng.poisson(4 + 3 * large),
        "colour": np.where(is_red, "red", "blue"),
        "weight": rng.choice([0.5, 1.0, 3.0], n),
        "g, h": g,
        "x": g + 2 * is_red + rng.standard_normal(n),
        "place": np.array(PLACES)[rng.integers(0, 2, n)],
        "price": np.round(rng.exponential(1.0, n), 1),
        "size": np.where(large, "l", "s"),
    }


def write_table(path, table):
    rows = zip(*(column.tolist() for column in table.values()))
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([list(table), *rows])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a folder with a table and a run on it, and how that ended."""
    folder = tmp_path_factory.mktemp("typed")
    write_table(folder / "mine.csv", some_table())
    with without_xla(), pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ["fit", "mine.csv", *ROLES, *SHORT, "--output", "run"]
        done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return folder, done


@pytest.fixture(scope="module")
def density(home):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home[0])
        yield nflow_cli.load("run")


def refusal(invoke, *args):
    """Return the one line that a command ends in."""
    result = invoke(*args)
    assert result.exit_code == 1 and not result.stdout, result.output
    (line,) = result.stderr.splitlines()
    return line.removeprefix("nflow: error: ")


def test_a_run_tells_its_scores_what_is_given_and_that_it_is_a_lower_bound(home):
    folder, done = home
    summary = RunDirectory(folder / "run").read_json("summary.json")
    assert (summary["columns"], summary["given"]) == (["n", "x", "price"], ["g, h", "place"])
    assert (summary["discrete"], summary["noises"], summary["n_unknown"]) == (["n", "price"], 16, 0)
    gain = summary["log_likelihood"] - summary["gaussian_log_likelihood"]
    assert summary["gain"] == pytest.approx(gain, abs=1e-9)
    assert summary["calibration"]["n"] == 24
    assert summary["n_effective"] == pytest.approx(summary["calibration"]["n_effective"])
    words = "lower bounds, by 16 noises a row, as these go in steps: n, price"
    lines = done.stdout.splitlines()
    assert [line[:15] + line[15:].lstrip() for line in lines if words in line] == [15 * " " + words]
    (line,) = [line for line in lines if line.startswith("log-likelihood")]
    assert line.startswith(f"log-likelihood {summary['log_likelihood']:.5f} ± ")
    assert line.endswith(f", effective sample size {summary['n_effective']:.1f}")
    assert done.stderr.splitlines()[0].startswith("weighted by weight: the 192 rows to train on")


def test_python_shows_the_table_that_the_command_printed(home, density):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home[0])
        assert repr(density) == home[1].stdout.rstrip("\n")


def test_a_run_has_the_pictures_of_calibration_and_of_conditions(home):
    assert sorted(path.stem for path in (home[0] / "run" / "plots").iterdir()) == [
        *("calibration", "conditions", "corner", "marginals", "normality", "training")
    ]


def test_the_log_density_of_each_test_row_is_kept_with_its_weight(home):
    run = RunDirectory(home[0] / "run")
    arrays, summary = arrays_of(run), run.read_json("summary.json")
    mean = np.average(arrays["test_log_q"], weights=arrays["test_weights"])
    assert mean == pytest.approx(summary["log_likelihood"], abs=1e-12)


def test_every_check_of_a_sound_run_passes(at_home):
    done = at_home("check", "run")
    lines = done.stdout.splitlines()
    assert done.exit_code == 0
    assert [line[11:25].strip() for line in lines][-8:] == [
        *("data", "invertibility", "log-det", "round trip", "summary", "test rows"),
        *("calibration", "arrays"),
    ]
    assert not [line for line in lines if not line.startswith(("OK  ", "unchanged  files "))]


def test_checks_of_another_model_or_of_other_units_fail(copy, monkeypatch):
    monkeypatch.setattr("nflow_cli.experiments.checked_run.OF_FLOWS", {})
    edit_weights(copy, lambda weights: [w + 0.1 for w in weights])
    record = json.loads((copy / "run.json").read_text())["data"]
    record["given_units"][0][0]["centre"] += 1
    edit_json(copy / "run.json", data=record)
    failed = {f.name for f in check_run(str(copy)) if f.outcome == Outcome.FAIL}
    assert failed >= {"checksum", "data", "summary", "calibration", "arrays"}


@pytest.fixture(scope="module")
def checked(home):
    """Return the run as its checks see it, what they compute again done once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home[0])
        run = RunDirectory.open("run")
        experiment = experiments.of(run.read_config())
        yield experiment.checked(run, experiment.load(run))


def outcome(checked, check, **edited):
    """Return what a check ends in of a run with ``edited`` facts in place of its own."""
    run = type(checked)(checked.directory, checked.trained, checked.experiment)
    run.__dict__.update({"judged": checked.judged, "data": checked.data, **edited})
    return check(run)[0]


@pytest.mark.parametrize("calibration", [None, [], "x", {}, {"coverage": "x"}, {"coverage": [1]}])
def test_a_calibration_that_is_none_fails(checked, calibration):
    summary = {**checked.summary, "calibration": calibration}
    assert outcome(checked, typed_checks.check_calibration, summary=summary) == Outcome.FAIL


@pytest.mark.parametrize("key", ["distance", "band", "level", "pit_distance", "n", "n_effective"])
def test_an_edited_calibration_fails(checked, key):
    calibration = dict(checked.summary["calibration"])
    calibration[key] += 0.1
    summary = {**checked.summary, "calibration": calibration}
    assert outcome(checked, typed_checks.check_calibration, summary=summary) == Outcome.FAIL


@pytest.mark.parametrize("key", ["covered", "chance_high"])
def test_an_edited_coverage_fails(checked, key):
    regions = [dict(region) for region in checked.summary["calibration"]["coverage"]]
    regions[1][key] -= 0.2
    calibration = {**checked.summary["calibration"], "coverage": regions}
    summary = {**checked.summary, "calibration": calibration}
    assert outcome(checked, typed_checks.check_calibration, summary=summary) == Outcome.FAIL


@pytest.mark.parametrize(("key", "value"), [("gain", 9.0), ("noises", 32), ("discrete", [])])
def test_edited_scores_fail(checked, key, value):
    summary = {**checked.summary, key: value}
    assert outcome(checked, typed_checks.check_scores, summary=summary) == Outcome.FAIL


@pytest.mark.parametrize("key", ["rows", "samples", "condition_rows", "condition_draws", "pit"])
def test_edited_arrays_fail(checked, key):
    assert outcome(checked, typed_checks.check_arrays) == Outcome.OK
    arrays = {**checked.arrays, key: checked.arrays[key] * 0.5}
    assert outcome(checked, typed_checks.check_arrays, arrays=arrays) == Outcome.FAIL


@pytest.mark.parametrize(("column", "change"), [(2, 1.0), (3, -0.3), (7, -1.0)])
def test_edited_bins_fail(checked, column, change):
    bins = np.array([[3.0, -1.0, 1.0, 0.8, 0.1, 0.7, 1.0, 20.0]])
    edited = bins.copy()
    edited[0, column] += change
    scores, arrays = checked.judged
    judged = scores, {**arrays, "coverage_bins": bins}
    for received, expected in ((bins, Outcome.OK), (edited, Outcome.FAIL)):
        arrays = {**checked.arrays, "coverage_bins": received}
        got = outcome(checked, typed_checks.check_arrays, judged=judged, arrays=arrays)
        assert got == expected


@pytest.mark.slow
@pytest.mark.usefixtures("without_xla")
def test_a_run_that_keeps_no_rows_has_none(at_home, tmp_path):
    write_table("few.csv", {k: v for k, v in some_table().items() if k in ("x", "g, h")})
    words = ["fit", "few.csv", "--given", "g\\, h", *SHORT, "--set", "evaluate.keep_rows=false"]
    done = at_home(*words, "--output", tmp_path / "run")
    assert done.exit_code == 0, done.output
    rows = np.concatenate([some_table()["x"], some_table()["g, h"]])
    for name, array in arrays_of(RunDirectory(tmp_path / "run")).items():
        assert not np.isin(array, rows).any(), name
    assert succeed(at_home, "check", tmp_path / "run").count("OK  ") > 10
    assert "conditions.png" not in {path.name for path in (tmp_path / "run" / "plots").iterdir()}


def test_where_no_rows_are_kept_the_ends_of_bins_are_no_values_of_rows(density, checked):
    data, rng = checked.data, np.random.default_rng(1)
    rows = np.tile(data.test, (6, 1))
    rows[:, 5] = rng.standard_normal(len(rows))  # what is given
    weights = replace(data, test=rows, weights=data.weights._replace(test=np.ones(len(rows))))
    for keep_rows in (True, False):
        scores, arrays = calibrated(density, weights, 0, keep_rows)
        bins = arrays["coverage_bins"]
        ends = bins[bins[:, 0] == 5, 1:3]
        assert len(ends) == 5 and np.isin(ends, rows[:, 5]).all() == keep_rows
        assert np.isin(ends, rows[:, 5]).any() == keep_rows
        np.testing.assert_allclose(ends, np.round(ends, 2), atol=1 if keep_rows else 1e-9)
        assert [scores["calibration"]["worst_bin"][end] for end in ("low", "high")] in bins[
            :, 1:3
        ].tolist()


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_to_the_same_bits(at_home, tmp_path):
    words = ["fit", "mine.csv", *ROLES, *SHORT, "--output"]
    assert at_home(*words, tmp_path / "whole").exit_code == 0
    with killed_after(2):
        assert isinstance(at_home(*words, tmp_path / "run").exception, KilledError)
    assert len(read_rows(tmp_path / "run" / "metrics.csv")) == 2
    done = at_home("resume", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert_same_run(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("change", [{"weight": 2.0}, {"place": PLACES[0]}, {"n": 3}])
def test_other_rows_or_weights_are_not_those_of_the_run(
    at_home, copy, tmp_path, monkeypatch, change
):
    monkeypatch.chdir(tmp_path)
    table = {name: column.copy() for name, column in some_table().items()}
    for name, value in change.items():
        table[name][:2] = value
    write_table("mine.csv", table)
    edit_json(
        copy / "run.json",
        data={**json.loads((copy / "run.json").read_text())["data"], "path": "gone"},
    )
    assert "of this run; expected" in refusal(at_home, "resume", copy, "--steps", 50)


class Frame:
    """A DataFrame of some make: all that is known of it is how Arrow takes its columns."""

    def __init__(self, columns):
        self.columns = columns

    def __arrow_c_stream__(self, requested_schema=None):
        return pa.table(self.columns).__arrow_c_stream__(requested_schema)


def encoded(table, density):
    """Return a table as an array in the order of a density's columns."""
    levels = density.roles.levels
    return np.column_stack(
        [
            [levels[name].index(value) for value in table[name]] if name in levels else table[name]
            for name in density.columns
        ]
    ).astype(float)


def test_a_density_takes_arrays_mappings_and_frames_alike(density):
    assert density.columns == ["n", "x", "price", "colour", "size", "g, h", "place"]
    table = {k: v for k, v in some_table(30, seed=3).items() if k != "weight"}
    rows = encoded(table, density)
    log_q, z = density.log_prob(rows), density.latent(rows)
    assert np.isfinite(log_q).all() and z.shape == (30, 3)
    frame = pa.table(table)
    coded = frame.set_column(1, "colour", frame["colour"].combine_chunks().dictionary_encode())
    for other in (table, Frame(table), coded):
        np.testing.assert_array_equal(density.log_prob(other), log_q)
        np.testing.assert_array_equal(density.latent(other), z)
    assert density.log_prob(rows[:0]).shape == (0,) and density.latent(rows[:0]).shape == (0, 3)
    with pytest.raises(DataError, match="no column 'size'"):
        density.log_prob({name: column for name, column in table.items() if name != "size"})


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        *[("colour", value, -np.inf) for value in (-1, 2, 0.5)],
        *[("place", value, -np.inf) for value in (-1, 2)],
        *[("n", 2.5, -np.inf), ("price", 0.25, -np.inf), ("price", -0.1, -np.inf)],
        *[(name, np.nan, np.nan) for name in ("n", "x", "colour", "g, h", "place")],
        *[("g, h", value, np.nan) for value in (np.inf, -np.inf)],
    ],
)
def test_a_value_that_no_row_can_have_has_no_density(density, column, value, expected):
    row = encoded(some_table(1), density)
    row[0, density.columns.index(column)] = value
    np.testing.assert_array_equal(density.log_prob(row), [expected])
    assert np.isnan(density.latent(row)).all()


def test_draws_are_tables_in_the_columns_of_the_users(density):
    given = {"place": PLACES, "g, h": [-1.0, 1.0]}
    drawn = density.sample_table(50, seed=2, given=given)
    assert drawn.column_names == COLUMNS
    assert drawn["place"].to_pylist() == 50 * PLACES[:1] + 50 * PLACES[1:]
    assert set(drawn["colour"].to_pylist()) == {"red", "blue"}
    assert pa.types.is_integer(drawn.schema.field("n").type)
    prices = drawn["price"].to_numpy()
    np.testing.assert_array_equal(prices, np.round(prices, 1))
    assert prices.min() >= 0
    rows = density.sample(50, seed=2, given=given)
    np.testing.assert_array_equal(encoded(drawn.to_pydict(), density), rows)
    np.testing.assert_allclose(drawn["log_q"].to_numpy(), density.log_prob(rows), atol=1e-4)
    np.testing.assert_allclose(density.log_prob(drawn), density.log_prob(rows), atol=1e-4)


def test_more_rows_than_memory_holds_are_refused_before_one_is_drawn(density):
    for draw in (density.sample, density.sample_table):
        with pytest.raises(DataError, match="expected a number of samples that fit in memory"):
            draw(10**15, given={"place": PLACES, "g, h": [-1.0, 1.0]})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "expected values of the given columns: g, h, place"),
        ({"place": PLACES[0]}, "no column 'g, h'"),
        ({"place": "Mars", "g, h": 0.0}, "expected a level that training rows have"),
        ({"place": PLACES[0], "g, h": np.inf}, "expected a finite number, received 'inf'"),
        ({"place": PLACES[0], "g, h": "x"}, "expected a number"),
        ({"place": [*PLACES, "a"], "g, h": [1.0, 2.0]}, "of one length"),
    ],
)
def test_conditions_that_are_none_are_one_line(density, given, words):
    with pytest.raises(DataError) as refused:
        density.sample(2, given=given)
    assert words in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["drawn.csv", "drawn.parquet"])
def test_draws_at_values_are_written_with_their_text(at_home, density, name):
    words = ["sample", "run", "-n", 20, "--seed", 3, "-o", name]
    value = 'g\\, h=0.5,place=north\\, "upper"'
    assert succeed(at_home, *words, "--given", value) == f"{name}\n"
    if name.endswith(".csv"):
        rows = read_rows(name)
        assert all(row["n"].lstrip("-").isdigit() for row in rows)
    else:
        rows = parquet.read_table(name).to_pylist()
    assert {tuple(row) for row in rows} == {tuple(COLUMNS)}
    table = {column: [row[column] for row in rows] for column in COLUMNS}
    assert set(table["place"]) == {PLACES[0]}
    expected = density.sample(20, seed=3, given={"g, h": 0.5, "place": PLACES[0]})
    np.testing.assert_array_equal(encoded(table, density), expected)


def test_draws_are_made_at_each_row_of_a_table(at_home, density):
    table = some_table(5, seed=4)
    write_table("at.csv", {name: table[name] for name in ("x", "place", "g, h")})
    succeed(at_home, "sample", "run", "-n", 3, "--given", "at.csv", "-o", "drawn.csv")
    rows = read_rows("drawn.csv")
    assert [row["place"] for row in rows] == np.repeat(table["place"], 3).tolist()
    assert [float(row["g, h"]) for row in rows] == np.repeat(table["g, h"], 3).tolist()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("g\\, h=1", "--given: expected a value of place too"),
        (
            "g\\, h=1,place=e's",
            "--given: column 'place': expected a level that training rows have "
            '(\'north, "upper"\', "é\'s"), received "e\'s" (did you mean "é\'s"?)',
        ),
        ("g\\, h=a,place=é's", "--given: g, h: expected a finite number. Received: 'a'"),
        ("g\\, h=nan,place=é's", "--given: g, h: expected a finite number. Received: 'nan'"),
        ("g\\, h=1,x=1,place=é's", "once, as NAME=VALUE, or a table. Received: 'x=1'"),
        ("g\\, h=1,g\\, h=1", "once, as NAME=VALUE, or a table. Received: 'g, h=1'"),
        ("nowhere.csv", "nowhere.csv: no such file"),
        ("mine.npy", "no column 'g, h'"),
        ("odd.csv", "odd.csv: line 3, column 'place': expected a level that training rows have"),
        ("gap.csv", "gap.csv: line 2, column 'g, h': expected a finite number, received ''"),
    ],
)
def test_values_that_are_not_given_are_one_line(at_home, given, words):
    np.save("mine.npy", np.ones((2, 2)))
    write_table("odd.csv", {"g, h": np.ones(2), "place": np.array([PLACES[0], "Mars"])})
    Path("gap.csv").write_text("place,\"g, h\"\né's,\né's,1\n", encoding="utf-8")
    assert words in refusal(at_home, "sample", "run", "-n", 2, "--given", given, "-o", "none.csv")
    assert not Path("none.csv").exists()


def test_missing_given_values_are_asked_for_by_an_example(at_home):
    done = at_home("sample", "run", "-n", 2, "-o", "none.csv")
    assert done.exit_code == 2
    given = """'g\\, h=0,place=north\\, "upper"'"""
    said = f"expected values of the given columns, such as --given {given}, or a table"
    assert done.stderr.splitlines()[-1] == f"Error: {said}"


def test_text_is_not_written_as_numbers(at_home):
    given = ["--given", "g\\, h=1,place=é's"]
    line = refusal(at_home, "sample", "run", "-n", 2, *given, "-o", "none.npy")
    assert line.startswith(
        "none.npy: an .npy holds numbers, and 'colour', 'size', 'place' are text"
    )
    assert not Path("none.npy").exists()


def new_rows():
    """Return rows to judge: two good ones, one that lacks a value, and four that cannot be."""
    table = {name: column[:7].astype(object) for name, column in some_table(seed=5).items()}
    table["g, h"][1], table["place"][2], table["colour"][3] = "", "Mars", "green"
    table["n"][4], table["price"][5] = 1.5, -0.1
    table["weight"][:] = [1, 1, 1, 1, 1, 1, 3]
    return table


@pytest.mark.parametrize("weighted", [True, False])
def test_rows_of_a_file_are_judged_in_a_stream(at_home, density, weighted):
    table = new_rows()
    if not weighted:
        del table["weight"]
    write_table("new.csv", table)
    good = {name: column[[0, 6]].tolist() for name, column in table.items()}
    log_q = density.log_prob(encoded(good, density))
    weights = np.array([1.0, 3.0]) if weighted else np.ones(2)
    scores = weighted_mean("m", log_q, weights)
    printed = succeed(at_home, "evaluate", "run", "--data", "new.csv")
    assert "log-likelihood -inf: q is 0 at 4 of 6 points" in printed
    figure = f"{scores['m']:.5f} ± {scores['m_standard_error']:.5f} nats, mean of the others"
    assert figure in printed and ("weighted by weight" in printed) == weighted
    assert "1 row lacks a value and has no log-density" in printed
    assert "lower bounds, by 16 noises a row, as these go in steps: n, price" in printed
    succeed(at_home, "evaluate", "run", "--data", "new.csv", "--latent", "-o", "scored.csv")
    rows = read_rows("scored.csv")
    latents = [f"latent_{i}" for i in (1, 2, 3)]
    assert list(rows[0]) == [*table, "log_q", *latents]
    assert [row["place"] for row in rows] == table["place"].tolist()
    assert [row["log_q"] for row in rows][1:6] == ["", "-inf", "-inf", "-inf", "-inf"]
    np.testing.assert_allclose([float(rows[i]["log_q"]) for i in (0, 6)], log_q, atol=1e-5)
    assert {row[name] for row in rows[1:6] for name in latents} == {""}


@pytest.mark.parametrize("written", [[], ["-o", "scored.csv"]])
def test_the_score_of_one_row_in_effect_has_no_standard_error(at_home, density, written):
    table = some_table(50, seed=6)
    table["weight"] = np.where(np.arange(50) == 7, 1e6, 1e-3)
    write_table("one.csv", table)
    printed = succeed(at_home, "evaluate", "run", "--data", "one.csv", *written)
    row = {name: column[[7]].tolist() for name, column in table.items()}
    figure = f"log-likelihood {density.log_prob(encoded(row, density))[0]:.3f}"
    assert printed[printed.index("log-likelihood") :].startswith(figure)
    of = "nats, mean of 50 points, standard error unknown, effective sample size 1.0"
    assert f"{of} [few rows" in printed and "±" not in printed
    assert np.isnan(weighted_mean("m", np.arange(50.0), table["weight"])["m_standard_error"])


@pytest.mark.parametrize("weight", ["-1", "inf", "x", "1e200"])
def test_a_weight_that_is_none_is_one_line(at_home, weight):
    table = new_rows()
    table["weight"][2] = weight
    write_table("new.csv", table)
    line = refusal(at_home, "evaluate", "run", "--data", "new.csv")
    assert line.startswith("new.csv: line 4, column 'weight': expected a ")


def test_evaluate_gives_the_scores_of_the_summary_again(at_home):
    summary = RunDirectory.open("run").read_json("summary.json")
    printed = succeed(at_home, "evaluate", "run")
    assert f"log-likelihood {summary['log_likelihood']:.5f} ± " in printed
    assert f"{summary['calibration']['distance']:.4f} of the rows " in printed
    assert "lower bounds, by 16 noises a row" in printed


def test_runs_are_compared(at_home, copy):
    printed = at_home("compare", "run", copy).stdout
    summary = RunDirectory.open("run").read_json("summary.json")
    assert f"{summary['log_likelihood']:.4f}" in printed and "mine.csv" in printed


@pytest.mark.slow
def test_a_sweep_trains_such_runs(at_home, home, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        f"command: fit\ndata: {{name: {home[0] / 'mine.csv'}, given: [x],\n"
        "  categorical: {size: null}}\n"
        "flow: {pattern: [planar], k: 2}\ntrain: {steps: null, epochs: 2, batch_size: 64}\n"
    )
    words = [
        "sweep",
        "--preset",
        tmp_path / "mine.yaml",
        "--set",
        "data.exclude=[n, price, weight]",
    ]
    done = at_home(*words, "--seeds", "1,2", "--workers", 1, "--output", tmp_path / "s")
    assert done.exit_code == 0, done.output
    scores = [
        RunDirectory(path.parent).read_json("summary.json")["log_likelihood"]
        for path in (tmp_path / "s").glob("*/summary.json")
    ]
    assert len(set(scores)) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("without_xla")
def test_the_same_is_fitted_from_python(tmp_path, home, density):
    table = {name: column for name, column in some_table().items()}
    settings = {
        "flow.pattern": [{"spline-coupling": {"hidden": [8], "bins": 4}}],
        "train.chunk": 10,
        "train.checkpoint_seconds": 0.0,
    }
    q = nflow_cli.fit(
        table,
        given=["place", "g, h"],
        categorical=["colour", "size", "place"],
        discrete={"n": 1, "price": 0.1},
        weights="weight",
        bounds={"price": (0, None)},
        k=1,
        steps=40,
        settings=settings,
        output=tmp_path / "run",
    )
    rows = encoded(some_table(20, seed=6), q)
    np.testing.assert_allclose(q.log_prob(rows), density.log_prob(rows), atol=1e-4)
    found = {f.name: f.outcome for f in check_run(str(q.path))}
    assert found["data"] == Outcome.UNKNOWN and Outcome.FAIL not in found.values()


MEANS, SHARE = np.array([0.0, 4.0]), 0.75  # of two populations, and that of the second by weight


@pytest.mark.slow
@pytest.mark.usefixtures("without_xla")
@pytest.mark.parametrize("category", [False, True])
def test_the_density_is_that_of_the_weighted_rows(tmp_path, category):
    rng, n = np.random.default_rng(0), 4_000
    second = rng.random(n) < 0.5
    table = {"x": MEANS[second.astype(int)] + rng.standard_normal(n), "w": np.where(second, 3, 1)}
    roles = {"categorical": ["which"]} if category else {}
    if category:
        table["which"] = np.where(second, "b", "a")
    settings = {"train.chunk": 50, "units.tails": "none", "train.batch_size": 256}
    q = nflow_cli.fit(
        table, weights="w", k=0, steps=200, settings=settings, output=tmp_path / "run", **roles
    )
    weights, parts = [1 - SHARE, SHARE], MEANS
    mean = weights @ parts
    variance = 1 + weights @ (parts - mean) ** 2
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    if category:  # the entropies of the shares, and of a Gaussian around each mean
        expected = weights @ np.log(weights) - 0.5 * np.log(2 * np.pi * np.e)
        shares = np.exp(
            q.log_prob(np.array([[x, c] for c in (0, 1) for x in np.linspace(-9, 15, 2001)]))
        )
        share = np.trapezoid(shares.reshape(2, -1), np.linspace(-9, 15, 2001), axis=1)
        np.testing.assert_allclose(share, weights, atol=0.03)
    else:
        expected = -0.5 * np.log(2 * np.pi * np.e * variance)
        x = q.sample(20_000, seed=1)[:, 0]
        np.testing.assert_allclose([x.mean(), x.var()], [mean, variance], rtol=0.05)
    for key in ("log_likelihood", "gaussian_log_likelihood"):
        assert abs(summary[key] - expected) < 4 * summary[f"{key}_standard_error"]
