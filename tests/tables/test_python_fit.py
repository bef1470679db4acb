"""Fits from Python: the same as by the command, with its arguments and in its words."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from running import saved_weights
from short_runs import without_pictures, without_programs
from whole_tables import Frame

import nflow_cli
from nflow_cli.cli import main
from nflow_cli.errors import ConfigError, NflowError
from nflow_cli.experiments.python_arguments import changes_of, in_python

X = np.random.default_rng(0).standard_normal((300, 3)) @ np.diag([2.0, 30.0, 1.0])
X[:, 2] = np.exp(X[:, 2] + X[:, 0] ** 2 / 4)
COLUMNS = {"a": X[:, 0], "b": X[:, 1], "price": X[:, 2]}
NARROW = [{"affine-coupling": {"hidden": [4]}}]  # as good as any where it does not matter
BOUNDS = {"price": (0, None)}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "mine.csv"
    np.savetxt(path, X, fmt="%.17g", delimiter=",", header="a,b,price", comments="")
    return path


@pytest.fixture(scope="module")
def command(path):
    """Return the run of the command."""
    run = str(path.with_name("run"))
    words = ["fit", str(path), "--bounds", "price=0:", "--k", "2", "--steps", "20", "--seed", "4"]
    narrow = ["--set", f"flow.pattern={json.dumps(NARROW)}"]
    with without_programs(), without_pictures():
        done = CliRunner().invoke(main, [*words, *narrow, "--output", run])
    assert done.exit_code == 0, done.stderr
    return run


@pytest.mark.parametrize(
    "table", [pytest.param(COLUMNS, id="mapping", marks=pytest.mark.slow), Frame(COLUMNS)]
)
def test_rows_in_python_are_fitted_as_those_of_a_file(command, path, tmp_path, table):
    run = tmp_path / "run"
    with without_programs(), without_pictures():
        q = nflow_cli.fit(table, bounds=BOUNDS, flow=NARROW, k=2, steps=20, seed=4, output=run)
    for got, expected in zip(saved_weights(run), saved_weights(Path(command)), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert json.loads((run / "summary.json").read_text())["best_update"] > 0
    assert q.columns == ["a", "b", "price"]
    np.testing.assert_array_equal(q.log_prob(X), nflow_cli.load(command).log_prob(X))
    shuffled = {"more": X[:, 0], **{name: COLUMNS[name] for name in ("price", "b", "a")}}
    for frame in (shuffled, Frame(shuffled), path, str(path)):
        np.testing.assert_array_equal(q.log_prob(frame), q.log_prob(X))
        np.testing.assert_array_equal(q.latent(frame), q.latent(X))
    drawn = q.sample_table(50, seed=1)
    assert drawn.column_names == ["a", "b", "price", "log_q"]
    x = np.stack([drawn[name].to_numpy() for name in q.columns], axis=1)
    np.testing.assert_array_equal(x, q.sample(50, seed=1))
    np.testing.assert_allclose(drawn["log_q"].to_numpy(), q.log_prob(x), atol=1e-4)
    with pytest.raises(NflowError, match="no column 'price'") as refused:
        q.log_prob({"a": X[:, 0], "b": X[:, 1]})
    assert "\n" not in str(refused.value)


def test_a_path_and_a_built_in_set_are_fitted_by_their_names(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    for name, columns in ((path, ["a"]), ("two-moons", ["x1", "x2"])):
        settings = {"data.size": 300} if name == "two-moons" else {"data.exclude": ["b", "price"]}
        settings["train.early_stopping"] = None  # null, as by --set
        with without_programs(), without_pictures():
            q = nflow_cli.fit(name, k=0, steps=5, settings=settings)
        assert "early_stopping: null" in (q.path / "config.yaml").read_text()
        record = json.loads((q.path / "run.json").read_text())
        assert (q.columns, record["data"]["name"]) == (columns, str(name))
        assert q.path.parent.name == "outputs" and np.isfinite(q.log_prob(q.sample(10))).all()


REFUSED = [  # a table, options, and what is named; more are tested with schemas, data and commands
    (COLUMNS, {"columns": ["c"]}, "'c'"),
    (COLUMNS, {"bounds": {"price": (2, 1)}}, "data.bounds"),
    (COLUMNS, {"k": 2, "categorical": ["a"]}, "leave out flow and k, or exclude a"),
    (COLUMNS, {"settings": {"train.step": 3}}, "train.step: unknown key"),
    (COLUMNS, {"settings": {"a\udcff": 3}}, "settings: expected numbers, text, lists and mapp"),
    ({"a": X[:, 0], "b": X[:9, 1]}, {}, "of one length"),
    (np.array(["text"] * 20), {}, "numbers"),
    ("nowhere.csv", {}, "nowhere.csv: no such"),
    *((COLUMNS, {name: "ab"}, f"{name}: expected a list") for name in ("columns", "categorical")),
    (COLUMNS, {"flow": "ab"}, "flow.pattern: expected a list"),
    (COLUMNS, {"exclude": 3}, "exclude: expected a list"),
    (COLUMNS, {"bounds": [("a", 0)]}, "bounds: expected a mapping"),
    (COLUMNS, {"bounds": {"a": 0}}, "data.bounds.a: expected a list"),
    (COLUMNS, {"colums": ["a"]}, "colums: no argument of fit (did you mean 'columns'?)"),
    (COLUMNS, {"settings": [3]}, "settings: expected a mapping"),
]


def test_numbers_beyond_single_precision_are_fitted_and_drawn_again(tmp_path):
    rng = np.random.default_rng(1)
    repeated = rng.choice([1e45, 2e45, 5e45], 200) * (1 + (rng.random(200) < 0.5))
    columns = {
        "x": rng.normal(0, 1e50, 200),
        "y": np.where(rng.random(200) < 0.3, X[:200, 0], repeated),
    }
    with without_programs(), without_pictures():
        q = nflow_cli.fit(columns, steps=4, output=tmp_path / "run")
    draws = nflow_cli.load(q.path).sample(2_000)
    assert np.isfinite(draws).all() and 5e49 < draws[:, 0].std() < 2e50


def test_what_is_wrong_is_one_line_before_a_run_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for table, options, named in REFUSED:
        with pytest.raises(NflowError) as refused:
            nflow_cli.fit(table, **options)
        assert named in str(refused.value) and "\n" not in str(refused.value)
    for options in ({"flow": "planar"}, {"bounds": 0}, {"settings": [3]}):
        with pytest.raises(ConfigError, match=f"{next(iter(options))}.*: expected a "):
            nflow_cli.infer("banana", **options)
    assert not list(tmp_path.iterdir())


def test_every_option_of_the_command_is_an_argument():
    options = {"max_rows": 50, "test": Path("t.csv"), "epochs": 1.5, "discrete": {"a": 0.5}}
    changes = {change.path: change.value for change in changes_of("fit", options)}
    assert changes.pop("data.test") == "t.csv"
    assert changes == {"data.max_rows": 50, "train.epochs": 1.5, "data.discrete": {"a": 0.5}}
    assert changes_of("infer", {"compile": False, "seed": None}) == [
        ("train.compile", "train.compile", False)
    ]


def test_an_array_of_names_as_the_index_of_a_data_frame_is_a_list():
    for columns in (np.array(["a", "b"]), ("a", "b")):
        (change,) = changes_of("fit", {"columns": columns})
        names = change.value
        assert names == ["a", "b"] and all(type(name) is str for name in names)


# What nflow says to Python, in Python's words.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("give its support by --bounds", "give its support by bounds"),
        ("try --anneal, --restarts or more", "try anneal, restarts or more"),
        ("--max-rows 500 fits; --no-halving", "max_rows 500 fits; halving=False"),
        ("or --set cells.width=32", "or cells.width=32"),
        *[(text, text) for text in ("`evaluate RUN --data FILE`", "a--k 3", "a - b")],
    ],
)
def test_options_are_written_as_arguments(text, expected):
    assert in_python(text) == expected


def test_a_table_is_refused_in_pythons_words():
    gaps = {**COLUMNS, "a": np.r_[np.nan, X[1:, 0]]}
    ages = {**COLUMNS, "age": np.arange(len(X)) % 20}
    for table, text in [
        (gaps, 'have missing values (a 1); missing="drop"'),
        (ages, 'without flow and k, takes all kinds of columns; exclude=["age"]'),
    ]:
        with pytest.raises(NflowError) as refused:
            nflow_cli.fit(table, flow=["planar"])
        assert text in str(refused.value) and "--" not in str(refused.value)


def test_a_log_density_is_refused_in_pythons_words():
    with pytest.raises(NflowError, match="has: dim D"):
        nflow_cli.infer(lambda x: x[:, 0])
    log_p = keras.ops.log
    with pytest.raises(NflowError, match="give its support by bounds"):
        nflow_cli.infer(lambda x: log_p(x[:, 0]) + 0 * x[:, 1], dim=2)
