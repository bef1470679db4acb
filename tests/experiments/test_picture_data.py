"""A summary and metrics that no picture can be drawn from are one line that names the file."""

import json
import math

import numpy as np
import pytest
from drawable_runs import ARRAYS, CONFIGS, HEADERS, RESTARTS, SUMMARIES, metrics

from nflow_cli.errors import NflowError
from nflow_cli.experiments.run import MOST_ROWS, Run, kind_of
from nflow_cli.runs.directory import RunDirectory

MNIST = SUMMARIES["train-vae"]["data"] | {"n_test": "many"}


@pytest.fixture
def read(tmp_path):
    """Return a function that writes the files of a run with changes, and reads them."""
    run = RunDirectory.create("any", str(tmp_path / "run"))

    def read(kind, changes=None, rows=None):
        summary = SUMMARIES[kind] | (changes or {})
        known = {key: value for key, value in summary.items() if value is not KeyError}
        (run.path / "summary.json").write_text(json.dumps(known))
        run.write_arrays("evaluation.npz", ARRAYS[kind])
        run.write_text("metrics.csv", metrics(kind) if rows is None else rows)
        run.write_text("config.yaml", CONFIGS[kind])
        return drawable(Run(run))

    return read


def drawable(run):
    """Return the curves and the summary that pictures are drawn from."""
    assert run.arrays is not None
    return run.curves(kind_of(run.config).report.CURVES), run.facts


def complaint(read, *args):
    with pytest.raises(NflowError) as caught:
        read(*args)
    line = str(caught.value)
    assert "\n" not in line
    return line


DAMAGED = {  # by the kind of run: a key, what stands there, and what is said of it
    "fit-2d": [
        *(
            ("kl", value, f"kl: expected a number. Received: {value!r}")
            for value in ("low", [1], True)
        ),
        ("kl_standard_error", -1.0, "kl_standard_error: expected a number not less"),
        ("flow", None, "flow: expected text. Received: None"),
        ("flow", KeyError, "flow: missing"),
        ("k", -1, "k: expected a number not less than 0"),
        ("k", 1.5, "k: expected a whole number"),
        ("k", 10**15, "k: expected a number not greater than"),
        ("target", None, "target: expected text"),
        ("restarts", [], "restarts: expected a mapping"),
        ("restarts", RESTARTS | {"updates": [[]]}, "restarts.updates.0: expected"),
        ("restarts", RESTARTS | {"kl": []}, "restarts: expected one KL"),
        ("another", 1, "another: unknown key"),
    ],
    "points": [
        ("data", "two-moons", "data: expected a mapping"),
        ("data", {"sha256": "0"}, "data.name: missing"),
        ("data", {"name": 5000 * "a", "sha256": "0"}, "data.name: expected text of at most 4096"),
        ("best_update", None, "best_update: expected a whole number"),
        ("log_likelihood", KeyError, "log_likelihood: missing"),
    ],
    "fit": [
        ("baseline", KeyError, "baseline: missing"),
        ("columns", "abc", "columns: expected a list"),
        ("columns", 1_001 * ["a"], "columns: expected"),
        ("columns", [5_000 * "a"], "columns.0: expected text of at most 4096"),
        ("pit", "none", "pit: expected a mapping"),
        ("pit", {"n": 1}, "pit.columns: missing"),
    ],
    "train-vae": [
        ("negative_elbo", KeyError, "negative_elbo: missing"),
        ("latent_dim", "2", "latent_dim: expected a whole number"),
        ("data", MNIST, "data.n_test: expected"),
        ("amortized", 1, "amortized: expected"),
    ],
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_summary_that_lacks_a_figure_is_one_line(read, tmp_path, kind):
    for key, value, expected in DAMAGED[kind]:
        line = complaint(read, kind, {key: value})
        assert line.startswith(f"{tmp_path / 'run' / 'summary.json'}: damaged: {expected}")


@pytest.mark.parametrize("kind", HEADERS)
def test_metrics_without_a_column_are_one_line(read, tmp_path, kind):
    for column in HEADERS[kind].split(","):
        line = complaint(read, kind, None, metrics(kind).replace(column, "other"))
        expected = f"damaged: expected a column {column}"
        assert line == f"{tmp_path / 'run' / 'metrics.csv'}: {expected}"


def test_steps_rise(read):
    for steps in ([1, 1], [2, 1], [1, math.nan], [1, math.inf], [1, 1e300]):
        rows = "".join(f"{step},1,1,1\n" for step in steps)
        line = complaint(read, "fit-2d", None, f"update,loss,kl,beta\n{rows}")
        assert line.endswith("metrics.csv: damaged: update: expected increasing numbers")


def test_few_rows_are_drawn_as_they_are_and_the_means_of_many(read):
    n = 3 * MOST_ROWS + 1
    rows = "".join(f"{i},{i},{1e300 if i == 2 else 0.5},1\n" for i in range(1, n + 1))
    drawn = read("fit-2d", None, f"update,loss,kl,beta\n{rows}")[0]
    assert len(drawn["update"]) <= MOST_ROWS and drawn["update"][-1] == n
    np.testing.assert_allclose(drawn["loss"][:-1], drawn["update"][:-1] - 1.5)
    assert np.isnan(drawn["kl"][0]) and (drawn["kl"][1:] == 0.5).all()
    drawn = read("fit-2d")[0]
    assert list(drawn["update"]) == list(range(1, 21))
    np.testing.assert_array_equal(drawn["loss"], drawn["update"] / 20)
    # A figure that was not finite is not finite again.
    for value in (None, math.nan, math.inf, 1e300):
        assert read("fit-2d", {"kl": value})[1]["kl"] is None
