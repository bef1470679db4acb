"""``nflow fit`` as a user types it, and what is done with such a run afterwards."""

import csv
import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from pyarrow import parquet
from running import arrays_of, read_rows, succeed
from short_runs import edit_json, edit_weights, without_pictures, without_programs

import nflow_cli
from nflow_cli.cli import main
from nflow_cli.evaluation.estimates import with_error
from nflow_cli.experiments.comparison import Outcome
from nflow_cli.experiments.run_checks import check_run
from nflow_cli.runs.directory import RunDirectory

BOUNDS = ["--bounds", "price=0:", "--bounds", "share=0:1"]
NARROW = ["--set", "flow.pattern=[{affine-coupling: {hidden: [8]}}]"]
SHORT = [*NARROW, "--k", 2, "--steps", 4, "--set", "train.chunk=2"]
NONE = ["--k", 0, "--steps", 2]  # flows, where what matters is the rows
PLANAR = ["--flow", "planar", "--k", 1, "--steps", 4]  # where any flow will do
COLUMNS = ["level", "price", "share"]
TEXT = (".json", ".yaml", ".csv")
STAGES = (
    *("reading ", "finding the kinds ", "fitting the units ", "building ", "preparing batches "),
    *("starting TensorFlow", "compiling", "scoring: ", "preparing pictures", "drawing pictures"),
)  # of a slow machine alone
PICTURES = ["corner", "pit", "training"]


def some_rows(n=300, seed=0):
    """Return rows of ``COLUMNS``, of which a price is positive and a share is in 0-1."""
    x = np.random.default_rng(seed).standard_normal((n, 3))
    x[:, 2] += 0.5 * x[:, 0]
    return np.stack([100 + 5 * x[:, 0], np.exp(x[:, 1]), 1 / (1 + np.exp(-x[:, 2]))], axis=1)


def write_rows(path, x):
    """Write rows beside a column that numbers them and one of text that names them."""
    with open(path, "w", newline="") as file:
        rows = [[i, f"Rome, {i}", *row] for i, row in enumerate(x.tolist())]
        csv.writer(file).writerows([["id", "city", *COLUMNS], *rows])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a folder with a table and a run on it, and how that ended."""
    folder = tmp_path_factory.mktemp("home")
    write_rows(folder / "mine.csv", some_rows())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder, fitted(*BOUNDS, *SHORT, "--output", "run")


def fitted(*options, data="mine.csv", **invoked):
    """Fit a few updates, which take less time than to compile them; return how that ended."""
    words = [str(word) for word in ("fit", data, *options)]
    with without_programs():
        done = CliRunner().invoke(main, words, **invoked)
    assert done.exit_code == 0, done.stderr
    return done


def summary_of(run):
    return RunDirectory(Path(run)).read_json("summary.json")


def held_out_lines(summary):
    """Return what is printed of the scores by the test rows."""
    figures = {"log_likelihood": "a test row", "baseline_log_likelihood": "a test row"}
    return [
        f"{with_error(summary[key], summary[f'{key}_standard_error'])} nats{end}"
        for key, end in [*((key, f" {end}") for key, end in figures.items()), ("gain", ", paired")]
    ]


def test_the_table_tells_the_gain_over_a_gaussian_and_the_pit_of_latents(home):
    folder, done = home
    summary = summary_of(folder / "run")
    assert "mine.csv: 240 train, 30 validation, 30 test rows" in done.stdout
    assert all(line in done.stdout for line in held_out_lines(summary))
    difference = summary["log_likelihood"] - summary["baseline_log_likelihood"]
    assert summary["gain"] == pytest.approx(difference, abs=1e-9)
    assert list(summary["pit"]["columns"]) == [*COLUMNS, "|z|²"]
    shown = re.search(r"KS distance ([\d.]+) \(worst column (.*)\); 99 % band", done.stdout)
    assert shown and f"{summary['pit']['columns'][shown[2]]['distance']:.4f}" == shown[1]
    assert done.stdout.splitlines()[-1] == "run"


def test_what_is_left_out_and_the_gaussian_that_is_to_be_beaten_come_first(home):
    ids, left_out, gaussian, *progress = home[1].stderr.splitlines()
    assert ids == "left out, row number: id"
    assert left_out == "left out, text, mostly unique: city"
    known = re.fullmatch(r"Gaussian: log-likelihood (-?[\d.]+) nats a validation row", gaussian)
    # Couplings begin as the identity, so that training begins with the Gaussian.
    start = RunDirectory(home[0] / "run").read_metrics()["validation_loss"][0]
    assert known and float(known[1]) == pytest.approx(-start, abs=0.01)
    assert progress and all(line.startswith(("training: ", *STAGES)) for line in progress)


def test_a_run_has_its_files_its_pictures_and_the_record_of_its_data(home):
    run = home[0] / "run"
    assert {path.name for path in run.iterdir()} == {
        *("config.yaml", "run.json", "metrics.csv", "summary.json", "model.keras"),
        *("evaluation.npz", "plots", "report.html", "checkpoints"),
    }
    assert sorted(path.stem for path in (run / "plots").iterdir()) == PICTURES
    record = RunDirectory(run).read_json("run.json")["data"]
    assert (record["name"], record["columns"]) == ("mine.csv", COLUMNS)
    assert record["path"] == str(home[0] / "mine.csv")
    digest = hashlib.sha256(some_rows().astype("<f8").tobytes()).hexdigest()
    assert record["sha256"] == digest
    maps = [[one["name"] for one in record["units"][name]] for name in COLUMNS]
    assert [chain[0] for chain in maps] == ["scale", "log", "logit"]
    written = yaml.safe_load((run / "config.yaml").read_text())
    kinds = {name: kind["kind"] for name, kind in written["data"]["kinds"].items()}
    assert kinds == {"id": "left out", "city": "left out", **dict.fromkeys(COLUMNS, "number")}
    assert written["data"]["bounds"] == {"price": [0, None], "share": [0, 1]}
    assert (written["train"]["steps"], written["train"]["epochs"]) == (4, None)
    assert written["train"]["weight_decay"] == 2.0  # for a few rows


def test_every_check_of_a_sound_run_passes(at_home):
    lines = succeed(at_home, "check", "run").splitlines()
    assert [line[11:25].strip() for line in lines] == [
        *("model", "status", "files", "record", "training", "weights", "checksum", "warnings"),
        *("data", "invertibility", "log-det", "round trip", "summary", "arrays"),
    ]
    assert not [line for line in lines if not line.startswith(("OK  ", "unchanged  files "))]


@pytest.mark.usefixtures("without_flow_checks")
def test_checks_of_a_broken_run_fail(copy):
    edit_weights(copy, lambda weights: [w + 0.1 for w in weights])
    summary = summary_of(copy)
    summary["pit"]["columns"]["|z|²"]["distance"] = 0.9
    edit_json(copy / "summary.json", columns=COLUMNS[::-1], n_test=31, pit=summary["pit"])
    found = {f.name: f.detail for f in check_run(str(copy)) if f.outcome == Outcome.FAIL}
    assert set(found) >= {"files", "checksum", "data", "summary", "arrays"}
    assert "n_test: expected 30, received 31" in found["data"]


@pytest.mark.parametrize("name", ["drawn.csv", "drawn.parquet", "drawn.npy"])
def test_draws_are_in_the_columns_of_the_table_and_within_their_bounds(at_home, name):
    assert succeed(at_home, "sample", "run", "-n", 500, "--seed", 3, "-o", name) == f"{name}\n"
    if name.endswith(".npy"):
        array = np.load(name)
    elif name.endswith(".parquet"):
        table = parquet.read_table(name)
        assert table.column_names == [*COLUMNS, "log_q"]
        array = np.stack([column.to_numpy() for column in table.columns], axis=1)
    else:
        rows = read_rows(name)
        assert list(rows[0]) == [*COLUMNS, "log_q"]
        array = np.array([[float(value) for value in row.values()] for row in rows])
    assert (array.dtype, array.shape) == (np.float64, (500, 4))
    q = nflow_cli.load("run")
    np.testing.assert_array_equal(array[:, :3], q.sample(500, seed=3))
    np.testing.assert_allclose(array[:, 3], q.log_prob(array[:, :3]), atol=1e-4)
    _, price, share, _ = array.T
    assert price.min() > 0 and share.min() > 0 and share.max() < 1


def test_evaluate_gives_the_scores_of_the_summary_again(at_home):
    printed = succeed(at_home, "evaluate", "run")
    assert all(line in printed for line in held_out_lines(summary_of("run")))
    assert "PIT            KS distance " in printed


NEW = [  # in another order, beside other columns
    ["note", "share", "price", "level"],
    ["fine", "0.5", "1.5", "101.25"],
    ["lacks a price", "0.5", "", "100.0"],
    ["below its bound", "0.5", "-1.0", "100.0"],
    ["é, on a bound", "1.0", "1.0", "100.0"],
    ["far", "0.25", "20.0", "160.0"],
]


@pytest.mark.parametrize(
    ("output", "latent"), [("scores.csv", True), ("scores.parquet", False), ("z.parquet", True)]
)
def test_evaluate_writes_each_row_with_its_log_density(at_home, home, output, latent):
    with open("new.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(NEW)
    words = ["evaluate", "run", "--data", "new.csv", "-o", output, *(["--latent"] * latent)]
    printed = succeed(at_home, *words)
    assert printed.splitlines()[-1] == output
    assert "impossible     2 rows have a value of density 0" in printed
    assert "left out       1 rows that lack a value, and have no log-density" in printed
    added = ["log_q", *(f"latent_{i}" for i in (1, 2, 3) if latent)]
    if output.endswith(".csv"):
        rows = read_rows(output)
        numbers = [[float(row[name] or "nan") for name in added] for row in rows]
    else:
        rows = parquet.read_table(output).to_pylist()
        numbers = [[np.nan if row[name] is None else row[name] for name in added] for row in rows]
    assert [list(row) for row in rows] == len(rows) * [[*NEW[0], *added]]
    assert [row["note"] for row in rows] == [row[0] for row in NEW[1:]]
    q, x = nflow_cli.load("run"), np.array([[101.25, 1.5, 0.5], [160, 20, 0.25]])
    log_q, *latents = np.transpose(numbers)
    np.testing.assert_allclose(log_q[[0, 4]], q.log_prob(x), atol=1e-5)
    assert np.isnan(log_q[1]) and (log_q[[2, 3]] == -np.inf).all()
    if latent:
        z = np.transpose(latents)
        np.testing.assert_allclose(z[[0, 4]], q.latent(x), atol=1e-5)
        assert np.isnan(z[[1, 2, 3]]).all()


def test_evaluate_says_whose_rows_are_no_test_or_have_no_likelihood(at_home):
    Path("none.csv").write_text("level,price,share\n1,,2\n3,,4\n")
    for output in ([], ["-o", "scored.csv"]):
        printed = succeed(at_home, "evaluate", "run", "--data", "mine.csv", *output)
        assert " a row [trained on]\n" in printed and "not held out" in printed
        printed = succeed(at_home, "evaluate", "run", "--data", "none.csv", *output)
        assert "log-likelihood unknown: no row has a known cell" in printed


def test_columns_that_are_called_as_latents_have_no_latents_written(at_home, tmp_path):
    x = some_rows()
    np.savez("latents.npz", latent_1=x[:, 0], b=x[:, 1])
    with without_pictures():
        fitted(*NONE, "--output", tmp_path / "run", data="latents.npz")
    words = ["evaluate", tmp_path / "run", "--data", "latents.npz", "-o", tmp_path / "s.csv"]
    succeed(at_home, *words)
    np.testing.assert_array_equal(
        [float(row["latent_1"]) for row in read_rows(tmp_path / "s.csv")], x[:, 0]
    )
    result = at_home(*words, "--latent")
    assert result.exit_code == 1 and "column 'latent_1' of the run" in result.stderr


def test_the_latents_of_an_ensemble_are_refused_before_its_weights_are_read(at_home, copy):
    config = copy / "config.yaml"
    config.write_text(config.read_text().replace("ensemble: 1", "ensemble: 2"))
    (copy / "model.keras").unlink()
    result = at_home("evaluate", copy, "--data", "mine.csv", "-o", "scored.csv", "--latent")
    assert result.exit_code == 2
    assert "--latent: expected one density. Received: an ensemble of 2" in result.stderr


@pytest.mark.usefixtures("without_flow_checks")
def test_more_steps_extend_a_finished_run(at_home, copy):
    with without_pictures(), without_programs():
        done = at_home("resume", copy, "--steps", 7)
    assert done.exit_code == 0, done.stderr
    rows = read_rows(copy / "metrics.csv")
    assert [int(row["update"]) for row in rows] == [0, 2, 4, 6, 7]
    assert summary_of(copy)["steps"] == 7
    found = [f.name for f in check_run(str(copy)) if f.outcome == Outcome.FAIL]
    assert found == []


def test_test_rows_of_their_own_are_found_from_any_folder_or_named(at_home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_rows("mine.csv", some_rows())
    write_rows("held.csv", some_rows(40, seed=7))
    with without_pictures():
        done = fitted(*BOUNDS, "--test", "held.csv", *NONE, "--output", "tested")
    assert "270 train, 30 validation, 40 test rows" in done.stdout
    log_q = nflow_cli.load("tested").log_prob(some_rows(40, seed=7))
    figure = with_error(log_q.mean(), log_q.std(ddof=1) / np.sqrt(40))
    assert f"log-likelihood {figure} " in succeed(at_home, "evaluate", "tested")
    Path("elsewhere").mkdir()
    with monkeypatch.context() as elsewhere:
        elsewhere.chdir("elsewhere")
        printed = succeed(at_home, "evaluate", "../tested")
    assert f"log-likelihood {figure} " in printed
    write_rows("held.csv", some_rows(40, seed=8))
    another = at_home("evaluate", "tested")
    Path("held.csv").unlink()
    gone = at_home("evaluate", "tested")
    told = {"not the test rows of this run": another, "held.csv: no such table": gone}
    for words, result in told.items():
        assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
        assert words in result.stderr


def test_a_table_may_come_by_standard_input(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = (home[0] / "mine.csv").read_bytes()
    with without_pictures():
        fitted(*BOUNDS, *NONE, "--output", "piped", data="-", input=content)
    piped, run = (RunDirectory(folder) for folder in (tmp_path / "piped", home[0] / "run"))
    records = [one.read_json("run.json")["data"] for one in (piped, run)]
    assert [record.pop("name") for record in records] == ["-", "mine.csv"]
    for record in records:
        record.pop("path", None)
    assert records[0] == records[1]  # the SHA-256 of the rows and their units among them
    again = CliRunner().invoke(main, ["evaluate", "piped"], input=content)
    assert again.exit_code == 0, again.stderr
    nothing = CliRunner().invoke(main, ["evaluate", "piped"])
    assert (nothing.exit_code, len(nothing.stderr.splitlines())) == (1, 1)
    assert "standard input: empty" in nothing.stderr


@pytest.mark.usefixtures("without_flow_checks")
@pytest.mark.parametrize(
    ("columns", "pictures", "arrays"),
    [
        (
            "price",
            ["density", "pit", "training"],
            {"axis_1", "log_q", "rows", "test_log_q"},
        ),
        ("level,price", ["deformation", "density", "pit", "training"], {"axis_2", "test_points"}),
    ],
)
def test_one_column_or_two_have_pictures_of_their_density(
    at_home, tmp_path, columns, pictures, arrays
):
    run = tmp_path / "run"
    done = fitted("--columns", columns, "--bounds", "price=0:", *PLANAR, "--output", run)
    assert sorted(path.stem for path in (run / "plots").iterdir()) == pictures
    assert arrays <= arrays_of(RunDirectory(run)).keys()
    assert ("mass " in done.stdout) == (columns == "level,price")
    assert [f.name for f in check_run(str(run)) if f.outcome == Outcome.FAIL] == []


@pytest.mark.usefixtures("without_flow_checks")
@pytest.mark.parametrize(
    ("columns", "pictures"),
    [
        pytest.param("level,share", 4, marks=pytest.mark.slow),
        ("level,price,share", 3),
    ],
)
def test_a_run_that_is_to_keep_no_row_keeps_none_and_is_drawn(at_home, tmp_path, columns, pictures):
    run, names = tmp_path / "run", columns.split(",")
    keep_none = ["--set", "evaluate.keep_rows=false"]
    fitted("--columns", columns, *PLANAR, *keep_none, "--output", run)
    assert len(list((run / "plots").iterdir())) == pictures
    assert [f.name for f in check_run(str(run)) if f.outcome == Outcome.FAIL] == []
    arrays = arrays_of(RunDirectory(run))
    assert "test_log_q" not in arrays
    shown = [len(arrays[name]) for name in ("rows", "test_points") if name in arrays]
    assert shown and not any(shown)
    values = some_rows()[:, [COLUMNS.index(name) for name in names]].ravel()
    assert not [name for name, array in arrays.items() if np.isin(values, array).any()]
    text = "".join(path.read_text() for path in run.iterdir() if path.suffix in TEXT)
    assert not [value for value in values.tolist() if repr(value) in text]
