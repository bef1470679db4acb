"""Fits to tables from Python: the same as by the command."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from running import saved_weights
from short_runs import without_pictures

import nflow_cli
from nflow_cli.cli import main
from nflow_cli.errors import NflowError

X = np.random.default_rng(0).standard_normal((300, 3)) @ np.diag([2.0, 30.0, 1.0])
X[:, 2] = np.exp(X[:, 2] + X[:, 0] ** 2 / 4)
COLUMNS = {"a": X[:, 0], "b": X[:, 1], "price": X[:, 2]}
NARROW = [{"affine-coupling": {"hidden": [4]}}]  # as good as any where it does not matter
BOUNDS = {"price": (0, None)}


class Frame:
    """A DataFrame of some make: all that is known of it is how Arrow takes its columns."""

    def __init__(self, columns):
        self.columns = columns

    def __arrow_c_stream__(self, requested_schema=None):
        return pa.table(self.columns).__arrow_c_stream__(requested_schema)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "mine.csv"
    np.savetxt(path, X, fmt="%.17g", delimiter=",", header="a,b,price", comments="")
    return path


@pytest.fixture(scope="module")
def command(path):
    """Return the run of the command."""
    run = str(path.with_name("run"))
    words = ["fit", str(path), "--bounds", "price=0:", "--k", "2", "--steps", "60", "--seed", "4"]
    narrow = ["--set", f"flow.pattern={json.dumps(NARROW)}"]
    with without_pictures():
        done = CliRunner().invoke(main, [*words, *narrow, "--output", run])
    assert done.exit_code == 0, done.stderr
    return run


@pytest.mark.parametrize(
    "table",
    [pytest.param(COLUMNS, id="mapping", marks=pytest.mark.slow), Frame(COLUMNS)],
)
def test_rows_in_python_are_fitted_as_those_of_a_file(command, path, tmp_path, table):
    run = tmp_path / "run"
    with without_pictures():
        q = nflow_cli.fit(table, bounds=BOUNDS, flow=NARROW, k=2, steps=60, seed=4, output=run)
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
        with without_pictures():
            q = nflow_cli.fit(name, k=0, steps=5, settings=settings)
        record = json.loads((q.path / "run.json").read_text())
        assert (q.columns, record["data"]["name"]) == (columns, str(name))
        assert q.path.parent.name == "outputs" and np.isfinite(q.log_prob(q.sample(10))).all()


@pytest.mark.parametrize(
    ("table", "options", "words"),
    [
        (COLUMNS, {"columns": ["c"]}, "no column 'c'"),
        (COLUMNS, {"bounds": {"price": (2, 1)}}, "data.bounds: expected a lower bound below"),
        (COLUMNS, {"given": ["c"]}, "data.given: no column 'c'"),
        (COLUMNS, {"given": ["a"], "columns": ["a"]}, "data.given: expected no column of data.col"),
        (COLUMNS, {"k": 2, "categorical": ["a"]}, "leave out flow=[...] and k=..., or exclude=["),
        (
            COLUMNS,
            {"k": 2, "discrete": ["a"]},
            "data: expected no discrete beside flows, which take",
        ),
        (
            {**COLUMNS, "c": ["x", "y"] * (len(X) // 2)},
            {"k": 2},
            "column 'c': text; flows take plain",
        ),
        (COLUMNS, {"discrete": {"a": 0.5}}, "column 'a': expected multiples of 0.5, "),
        (COLUMNS, {"discrete": {"a": "1"}}, "data.discrete.a: expected a number"),
        (COLUMNS, {"weights": "a"}, "column 'a': expected finite weights of 0 or more, received"),
        (COLUMNS, {"k": -1}, "flow.k: expected"),
        (COLUMNS, {"settings": {"train.step": 3}}, "train.step: unknown key"),
        (COLUMNS, {"settings": {"a\udcff": 3}}, "a key: expected text that UTF-8 can encode"),
        (COLUMNS, {"preset": "multimodal-planar"}, "of `nflow fit-2d`, not of fit"),
        (COLUMNS, {"flow": ["plana"]}, "plana"),
        ({"a": X[:, 0], "b": X[:9, 1]}, {}, "of one length"),
        (np.array(["text"] * 20), {}, "numbers"),
        (X[:5], {}, "expected at least 10 rows, received 5"),
        ("nowhere.csv", {}, "nowhere.csv: no such"),
    ],
)
def test_what_is_wrong_is_one_line_before_a_run_is_made(
    tmp_path, monkeypatch, table, options, words
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NflowError) as refused:
        nflow_cli.fit(table, **options)
    assert words in str(refused.value) and "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())
