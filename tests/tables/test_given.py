"""Runs of flows on tables with given columns and weights, from end to end."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from checks import failures, outcomes
from click.testing import CliRunner
from pyarrow import parquet
from running import arrays_of, assert_same_run, read_rows, succeed
from short_runs import KilledError, edit_json, edit_weights, killed_after, without_programs
from whole_tables import Frame

import nflow_cli
from nflow_cli.cli import main
from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.errors import DataError
from nflow_cli.evaluation.estimates import with_error
from nflow_cli.evaluation.tallies import Moments
from nflow_cli.experiments.comparison import Outcome
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.tables.loaded_tables import range_ends

ROLES = ["--given", "rank,g\\, h", "--weights", "weight", "--bounds", "price=0:"]
NARROW = ["--set", "flow.pattern=[{affine-coupling: {hidden: [8]}}]"]
SHORT = [*NARROW, "--k", 1, "--steps", 8, "--set", "train.chunk=2"]
SHORT += ["--set", "train.checkpoint_seconds=0"]
COLUMNS = ["x", "price", "g, h", "rank", "log_q"]  # of what is drawn


def some_table(n=240, seed=0):
    rng = np.random.default_rng(seed)
    g, rank = rng.standard_normal(n), rng.integers(0, 4, n)
    return {
        "weight": rng.choice([0.5, 1.0, 3.0], n),
        "g, h": g,
        "x": g + 2 * rank + rng.standard_normal(n),
        "rank": rank,
        "price": rng.exponential(1.0 + rank, n),
    }


def write_table(path, table):
    rows = zip(*(column.tolist() for column in table.values()))
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([list(table), *rows])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a folder with a table and a run on it, and how that ended."""
    folder = tmp_path_factory.mktemp("given")
    write_table(folder / "mine.csv", some_table())
    with pytest.MonkeyPatch.context() as patch, without_programs():
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


def test_a_run_tells_its_scores_and_what_is_given(home, density, monkeypatch):
    folder, done = home
    summary = RunDirectory(folder / "run").read_json("summary.json")
    assert (summary["columns"], summary["given"]) == (["x", "price"], ["g, h", "rank"])
    gain = summary["log_likelihood"] - summary["baseline_log_likelihood"]
    assert summary["gain"] == pytest.approx(gain, abs=1e-9)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("log-likelihood")]
    mean, error = summary["log_likelihood"], summary["log_likelihood_standard_error"]
    assert line.startswith(f"log-likelihood {with_error(mean, error)} ")
    assert line.endswith(f", effective sample size {summary['n_effective']:.1f}")
    assert done.stderr.splitlines()[0].startswith("weighted by weight: effective sample size ")
    assert "linear regression: log-likelihood" in done.stderr
    monkeypatch.chdir(folder)
    assert repr(density) == done.stdout.rstrip("\n")


def test_the_log_density_of_each_test_row_is_kept_with_its_weight(home):
    run = RunDirectory(home[0] / "run")
    arrays, summary = arrays_of(run), run.read_json("summary.json")
    mean = np.average(arrays["test_log_q"], weights=arrays["test_weights"])
    assert mean == pytest.approx(summary["log_likelihood"], abs=1e-12)
    assert {path.stem for path in (run.path / "plots").iterdir()} == {"corner", "pit", "training"}


def test_every_check_of_a_sound_run_passes(at_home):
    done = at_home("check", "run")
    lines = done.stdout.splitlines()
    assert done.exit_code == 0
    assert [line[11:25].strip() for line in lines][-6:] == [
        *("data", "invertibility", "log-det", "round trip", "summary", "arrays")
    ]
    assert not [line for line in lines if not line.startswith(("OK  ", "unchanged  files "))]


def test_checks_of_another_model_or_of_other_units_fail(copy, monkeypatch):
    monkeypatch.setattr("nflow_cli.experiments.flow_checks.OF_FLOWS", {})
    edit_weights(copy, lambda weights: [w + 0.1 for w in weights])
    record = json.loads((copy / "run.json").read_text())["data"]
    record["units"]["rank"][0]["centre"] += 1
    edit_json(copy / "run.json", data=record)
    assert set(failures(copy)) >= {"checksum", "data", "summary", "arrays"}


@pytest.mark.slow
def test_a_run_that_keeps_no_rows_has_none(at_home, tmp_path):
    write_table("few.csv", {k: v for k, v in some_table().items() if k in ("x", "g, h")})
    words = ["fit", "few.csv", "--given", "g\\, h", *SHORT, "--set", "evaluate.keep_rows=false"]
    done = at_home(*words, "--output", tmp_path / "run")
    assert done.exit_code == 0, done.output
    rows = np.concatenate([some_table()["x"], some_table()["g, h"]])
    for name, array in arrays_of(RunDirectory(tmp_path / "run")).items():
        assert not np.isin(array, rows).any(), name
    assert succeed(at_home, "check", tmp_path / "run").count("OK  ") > 10


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


def test_other_rows_or_weights_are_not_those_of_the_run(at_home, copy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = {**json.loads((copy / "run.json").read_text())["data"], "path": "gone"}
    edit_json(copy / "run.json", data=data)
    for name, value in (("weight", 2.0), ("rank", 7), ("x", 3.25)):
        table = {name: column.copy() for name, column in some_table().items()}
        table[name][:2] = value
        write_table("mine.csv", table)
        assert "of this run; expected" in refusal(at_home, "resume", copy, "--steps", 50)


def as_rows(table, density):
    return np.column_stack([np.asarray(table[name], float) for name in density.columns])


def test_a_density_takes_arrays_mappings_and_frames_alike(density):
    assert density.columns == ["g, h", "rank", "x", "price"]
    table = {k: v for k, v in some_table(30, seed=3).items() if k != "weight"}
    rows = as_rows(table, density).round(6)
    table = dict(zip(density.columns, rows.T))
    log_q, z = density.log_prob(rows), density.latent(rows)
    assert np.isfinite(log_q).all() and z.shape == (30, 2)
    for other in (table, Frame(table)):
        np.testing.assert_array_equal(density.rows(other), rows)
        np.testing.assert_array_equal(density.log_prob(other), log_q)
        np.testing.assert_array_equal(density.latent(other), z)
    assert density.log_prob(rows[:0]).shape == (0,) and density.latent(rows[:0]).shape == (0, 2)
    with pytest.raises(DataError, match="no column 'rank'"):
        density.log_prob({name: column for name, column in table.items() if name != "rank"})


def test_a_value_that_no_row_can_have_has_no_density(density):
    for column, value, expected in [
        ("price", -0.1, -np.inf),
        *[(name, np.nan, np.nan) for name in ("x", "g, h", "rank")],
        *[("g, h", value, np.nan) for value in (np.inf, -np.inf)],
    ]:
        row = as_rows(some_table(1), density)
        row[0, density.columns.index(column)] = value
        np.testing.assert_array_equal(density.log_prob(row), [expected])


def test_draws_are_tables_in_the_columns_of_the_users(density):
    given = {"rank": [0, 3], "g, h": [-1.0, 1.0]}
    drawn = density.sample_table(50, seed=2, given=given)
    assert drawn.column_names == COLUMNS
    assert drawn["rank"].to_pylist() == 50 * [0.0] + 50 * [3.0]
    assert drawn["price"].to_numpy().min() > 0
    rows = density.sample(50, seed=2, given=given)
    np.testing.assert_array_equal(as_rows(drawn.to_pydict(), density), rows)
    np.testing.assert_allclose(drawn["log_q"].to_numpy(), density.log_prob(rows), atol=1e-4)


def test_conditions_that_are_none_and_too_many_rows_are_one_line(density):
    for given, named in [
        (None, "g, h, rank"),
        ({"rank": 1}, "'g, h'"),
        ({"rank": 1, "g, h": np.inf}, "inf"),
        ({"rank": 1, "g, h": np.nan}, "column 'g, h'"),
        ({"rank": 1, "g, h": "x"}, "'x'"),
        ({"rank": [1, 2, 3], "g, h": [1.0, 2.0]}, "of one length"),
    ]:
        with pytest.raises(DataError) as refused:
            density.sample(2, given=given)
        assert named in str(refused.value) and "\n" not in str(refused.value)
    for draw in (density.sample, density.sample_table):
        with pytest.raises(DataError, match="that fit in memory"):
            draw(10**15, given={"rank": 1, "g, h": [-1.0]})


def test_draws_at_values_are_written(at_home, density):
    expected = density.sample(20, seed=3, given={"g, h": 0.5, "rank": 2})
    for name in ("drawn.csv", "drawn.parquet", "drawn.npy"):
        words = ["sample", "run", "-n", 20, "--seed", 3, "-o", name]
        assert succeed(at_home, *words, "--given", "g\\, h=0.5,rank=2") == f"{name}\n"
        if name.endswith(".npy"):
            rows = [dict(zip(COLUMNS, row)) for row in np.load(name)]
        elif name.endswith(".csv"):
            rows = read_rows(name)
        else:
            rows = parquet.read_table(name).to_pylist()
        assert {tuple(row) for row in rows} == {tuple(COLUMNS)}
        table = {column: [float(row[column]) for row in rows] for column in COLUMNS}
        np.testing.assert_array_equal(as_rows(table, density), expected)


def test_draws_are_made_at_each_row_of_a_table(at_home):
    table = some_table(5, seed=4)
    write_table("at.csv", {name: table[name] for name in ("x", "rank", "g, h")})
    succeed(at_home, "sample", "run", "-n", 3, "--given", "at.csv", "-o", "drawn.csv")
    rows = read_rows("drawn.csv")
    assert [float(row["rank"]) for row in rows] == np.repeat(table["rank"], 3).tolist()
    given = np.repeat(table["g, h"], 3)
    np.testing.assert_allclose([float(row["g, h"]) for row in rows], given, rtol=1e-11)


def test_values_that_are_not_given_are_one_line(at_home):
    np.save("mine.npy", np.ones((2, 2)))
    Path("gap.csv").write_text('rank,"g, h"\n1,\n2,1\n', encoding="utf-8")
    for given, named in [
        ("g\\, h=1", "rank"),
        ("g\\, h=a,rank=1", "Received: 'a'"),
        ("g\\, h=nan,rank=1", "Received: 'nan'"),
        ("g\\, h=1,x=1,rank=1", "Received: 'x=1'"),
        ("g\\, h=1,g\\, h=1", "Received: 'g, h=1'"),
        ("nowhere.csv", "nowhere.csv: no such file"),
        ("mine.npy", "'g, h'"),
        ("gap.csv", "gap.csv: line 2: column 'g, h'"),
    ]:
        line = refusal(at_home, "sample", "run", "-n", 2, "--given", given, "-o", "none.csv")
        assert named in line and not Path("none.csv").exists()
    done = at_home("sample", "run", "-n", 2, "-o", "none.csv")
    said = "expected values of the given columns, such as --given 'g\\, h=0,rank=0', or a table"
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (2, f"Error: {said}")


def new_rows():
    """Return rows to judge: two good ones, one that lacks a value, and one out of bounds."""
    table = {name: column[:4].astype(object) for name, column in some_table(seed=5).items()}
    table["g, h"][1], table["price"][2] = "", -0.1
    table["weight"][:] = [1, 1, 1, 3]
    return table


@pytest.mark.parametrize("weighted", [True, False])
def test_rows_of_a_file_are_judged(at_home, density, weighted):
    table = new_rows()
    if not weighted:
        del table["weight"]
    write_table("new.csv", table)
    good = {name: column[[0, 3]].astype(float) for name, column in table.items()}
    log_q = density.log_prob(as_rows(good, density))
    weights = np.array([1.0, 3.0]) if weighted else np.ones(2)
    scores = Moments.of(log_q, weights).scores("m")
    printed = succeed(at_home, "evaluate", "run", "--data", "new.csv")
    assert "impossible     1 rows have a value of density 0" in printed
    figure = f"{with_error(scores['m'], scores['m_standard_error'])} nats a row"
    assert figure in printed and ("weighted by weight" in printed) == weighted
    assert "left out       1 rows that lack a value, and have no log-density" in printed
    succeed(at_home, "evaluate", "run", "--data", "new.csv", "--latent", "-o", "scored.csv")
    rows = read_rows("scored.csv")
    latents = [f"latent_{i}" for i in (1, 2)]
    assert list(rows[0]) == [*table, "log_q", *latents]
    assert [row["log_q"] for row in rows][1:3] == ["", "-inf"]
    np.testing.assert_allclose([float(rows[i]["log_q"]) for i in (0, 3)], log_q, atol=1e-5)
    assert {row[name] for row in rows[1:3] for name in latents} == {""}


def test_the_score_of_one_row_in_effect_has_no_standard_error(at_home, density):
    table = some_table(50, seed=6)
    table["weight"] = np.where(np.arange(50) == 7, 1e6, 1e-3)
    write_table("one.csv", table)
    row = {name: column[[7]] for name, column in table.items()}
    for written in ([], ["-o", "scored.csv"]):
        printed = succeed(at_home, "evaluate", "run", "--data", "one.csv", *written)
        figure = float(printed.split("log-likelihood ")[1].split(" nats")[0])
        assert figure == pytest.approx(density.log_prob(as_rows(row, density))[0], abs=1e-4)
        of = "nats a row, standard error unknown, effective sample size 1.0"
        assert f"{of} [few rows" in printed and "±" not in printed


def test_a_weight_that_is_none_is_one_line(at_home):
    for weight in ("-1", "inf", "x"):
        table = new_rows()
        table["weight"][2] = weight
        write_table("new.csv", table)
        line = refusal(at_home, "evaluate", "run", "--data", "new.csv")
        assert line.startswith("new.csv: line ") and "column 'weight'" in line


@pytest.mark.slow
def test_the_same_is_fitted_from_python(tmp_path, home, density):
    settings = {
        "flow.pattern": [{"affine-coupling": {"hidden": [8]}}],
        "train.chunk": 2,
        "train.checkpoint_seconds": 0.0,
    }
    q = nflow_cli.fit(
        some_table(),
        given=["rank", "g, h"],
        weights="weight",
        bounds={"price": (0, None)},
        k=1,
        steps=8,
        settings=settings,
        output=tmp_path / "run",
    )
    rows = as_rows(some_table(20, seed=6), q)
    np.testing.assert_allclose(q.log_prob(rows), density.log_prob(rows), atol=1e-4)
    found = outcomes(q.path)
    assert found["data"] == Outcome.UNKNOWN and Outcome.FAIL not in found.values()


MEANS, SHARE = np.array([0.0, 4.0]), 0.75  # of two populations, and that of the second by weight


@pytest.mark.slow
def test_the_density_is_that_of_the_weighted_rows(tmp_path):
    rng, n = np.random.default_rng(0), 4_000
    second = rng.random(n) < 0.5
    table = {"x": MEANS[second.astype(int)] + rng.standard_normal(n), "w": np.where(second, 3, 1)}
    settings = {"train.chunk": 50, "units.tails": "none", "train.batch_size": 256}
    q = nflow_cli.fit(
        table, weights="w", k=0, steps=200, settings=settings, output=tmp_path / "run"
    )
    weights = np.array([1 - SHARE, SHARE])
    mean = weights @ MEANS
    variance = 1 + weights @ (MEANS - mean) ** 2
    expected = -0.5 * np.log(2 * np.pi * np.e * variance)
    x = q.sample(20_000, seed=1)[:, 0]
    np.testing.assert_allclose([x.mean(), x.var()], [mean, variance], rtol=0.05)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    for key in ("log_likelihood", "baseline_log_likelihood"):
        assert abs(summary[key] - expected) < 4 * summary[f"{key}_standard_error"]


def test_a_range_of_times_is_distinguished_from_a_time():
    kind = ColumnKind(kind="number", type="time")
    for text, ends in [
        ("2024-01-01:2024-02-01", ["2024-01-01", "2024-02-01"]),
        ("2024-01-01 06:00:2024-01-01 18:30:05", ["2024-01-01 06:00", "2024-01-01 18:30:05"]),
        ("2024-01-01T06:00Z:", ["2024-01-01T06:00Z", ""]),
        (":2024-01-01 06:00:00.5+02:00", ["", "2024-01-01 06:00:00.5+02:00"]),
        ("2024-01-01 06:00", []),
        ("2024-01-01", []),
    ]:
        assert list(range_ends(text, kind)) == ends
