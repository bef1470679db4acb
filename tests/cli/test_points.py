"""``nflow fit-2d --data`` as a user types it, and what is done with such a run afterwards."""

import re
import shutil

import keras
import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from running import assert_same_run, succeed
from short_runs import edit_json, edit_weights, without_xla

import nflow_cli
from nflow_cli import layout
from nflow_cli.cli import main
from nflow_cli.config import presets
from nflow_cli.data.point_files import read_points
from nflow_cli.data.points import load_point_data
from nflow_cli.errors import NflowError
from nflow_cli.evaluation.flow_checks import Outcome
from nflow_cli.experiments.check import check_run
from nflow_cli.experiments.table import fit as table_fit
from nflow_cli.registry import POINT_SETS
from nflow_cli.runs.directory import RunDirectory

pytestmark = [
    pytest.mark.skipif(
        keras.config.backend() != "tensorflow", reason="the commands run on TensorFlow"
    ),
    pytest.mark.usefixtures("without_xla"),
]
SHORT = ["--k", "2", "--steps", "40", "--set", "train.chunk=20", "--set", "evaluate.samples=4000"]


def some_points(n=300, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 2)) @ [[2.0, 30.0], [0.0, 40.0]] + 100


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a folder with a file of points and a run on it, and how that ended."""
    folder = tmp_path_factory.mktemp("home")
    np.savetxt(folder / "mine.csv", some_points(), delimiter=",", header="a,b", comments="")
    with without_xla(), pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ["fit-2d", "--data", "mine.csv", *SHORT, "--output", "run"]
        done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.stderr
    return folder, done


def test_the_table_tells_the_log_likelihood_beside_a_gaussians(home):
    folder, done = home
    summary = RunDirectory(folder / "run").read_json("summary.json")
    assert "mine.csv: 240 train, 30 validation, 30 test points" in done.stdout
    for key in ("log_likelihood", "gaussian_log_likelihood"):
        text = f"{summary[key]:.5f} ± {summary[f'{key}_standard_error']:.5f} nats a test point"
        assert text in done.stdout
    assert "KL" not in done.stdout
    assert done.stdout.splitlines()[-1] == "run"
    line = r"training: [\d,]+/40 updates, log-likelihood |scoring: |(preparing|drawing) pictures$"
    note, *progress = done.stderr.splitlines()
    assert note == "--data goes on working for now; `nflow fit mine.csv` takes its place"
    assert progress and all(re.match(line, x) for x in progress)


def test_python_shows_the_table_that_the_command_printed(at_home, home):
    assert repr(nflow_cli.load("run")) == home[1].stdout.rstrip("\n")


def test_a_run_has_its_files_its_pictures_and_the_checksum_of_its_data(home):
    run = home[0] / "run"
    assert {path.name for path in run.iterdir()} == {
        *("config.yaml", "run.json", "metrics.csv", "summary.json", "model.keras"),
        *("evaluation.npz", "plots", "report.html", "checkpoints"),
    }
    pictures = sorted(path.name for path in (run / "plots").iterdir())
    assert pictures == ["deformation.png", "density.png", "training.png"]
    record = RunDirectory(run).read_json("run.json")["data"]
    assert set(record) == {"name", "path", "sha256", "mean", "scale"}
    assert (record["name"], len(record["sha256"])) == ("mine.csv", 64)
    written = yaml.safe_load((run / "config.yaml").read_text())
    assert (written["data"], written["target"]) == ({"name": "mine.csv", "size": None}, None)


@pytest.mark.slow
def test_the_config_of_a_run_repeats_it_bit_for_bit(at_home, home):
    result = at_home("fit-2d", "--preset", "run/config.yaml", "--output", "again")
    assert result.exit_code == 0, result.stderr
    assert_same_run(home[0] / "again", home[0] / "run")


def test_plot_draws_a_run_again(at_home):
    printed = succeed(at_home, "plot", "run", "--format", "svg").splitlines()
    assert printed == [f"run/plots/{name}.svg" for name in ("density", "deformation", "training")]


def test_evaluate_gives_the_summary_again_or_judges_other_points(at_home, home):
    summary = RunDirectory(home[0] / "run").read_json("summary.json")
    printed = succeed(at_home, "evaluate", "run")
    mean, error = summary["log_likelihood"], summary["log_likelihood_standard_error"]
    assert f"{mean:.5f} ± {error:.5f} nats a test point" in printed
    other = some_points(50, seed=1)
    np.save("other.npy", other)
    log_q = nflow_cli.load("run").log_prob(other)
    error = log_q.std(ddof=1) / np.sqrt(50)
    expected = f"{log_q.mean():.5f} ± {error:.5f} nats, mean of 50 points"
    assert expected in succeed(at_home, "evaluate", "run", "--data", "other.npy")


def test_evaluate_says_that_few_points_give_an_uncertain_error(at_home):
    np.save("three.npy", some_points(3, seed=2))
    printed = succeed(at_home, "evaluate", "run", "--data", "three.npy")
    assert "nats, mean of 3 points [few rows]" in printed
    assert "95 % is ± 4.3 standard errors, by Student's t with 2 degrees of freedom" in printed


def test_evaluate_says_that_its_points_are_those_of_the_run(at_home):
    printed = succeed(at_home, "evaluate", "run", "--data", "mine.csv")
    assert "mean of 300 points [trained on]" in printed and "not held out" in printed
    np.save("fewer.npy", some_points()[1:])
    for args in ([], ["--data", "fewer.npy"]):
        assert "trained on" not in succeed(at_home, "evaluate", "run", *args)


@pytest.mark.parametrize("option", ["--samples", "--seed"])
def test_evaluate_takes_no_samples_where_points_judge(at_home, option):
    result = at_home("evaluate", "run", option, 500)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("Error: a fit to points is judged by points")


def test_what_sample_writes_comes_back_exactly_and_can_be_fitted(at_home):
    for name in ("drawn.csv", "drawn.npy"):
        assert succeed(at_home, "sample", "run", "-n", 500, "-o", name) == f"{name}\n"
    q = nflow_cli.load("run")
    array = np.load("drawn.npy")
    assert (array.dtype, array.shape) == (np.float64, (500, 3))
    np.testing.assert_array_equal(array[:, :2], q.sample(500))
    np.testing.assert_allclose(array[:, 2], q.log_prob(array[:, :2]), atol=1e-3)
    np.testing.assert_array_equal(read_points("drawn.csv"), array[:, :2])
    assert load_point_data("drawn.csv", 0).sizes["n_train"] == 400
    result = at_home("fit-2d", "--data", "drawn.npy", *SHORT, "--output", "refused")
    assert result.exit_code == 1
    assert "received 3: '1', '2', '3'; `nflow fit TABLE` takes" in result.stderr


def test_every_check_of_a_sound_run_passes(at_home):
    lines = succeed(at_home, "check", "run").splitlines()
    assert [line[11:25].strip() for line in lines] == [
        *("model", "status", "files", "record", "training", "weights", "checksum", "caveats"),
        *("data", "invertibility", "log-det", "round trip", "mass", "summary"),
        *("test rows", "arrays"),
    ]
    assert not [line for line in lines if not line.startswith(("OK  ", "unchanged  files "))]


def failures(run):
    found = check_run(str(run))
    return {finding.name: finding.detail for finding in found if finding.outcome == Outcome.FAIL}


def test_checks_of_a_broken_run_fail(at_home, tmp_path, monkeypatch):
    monkeypatch.setattr("nflow_cli.experiments.checked_run.OF_FLOWS", {})
    broken = shutil.copytree("run", tmp_path / "broken")
    edit_weights(broken, lambda weights: [w + 0.5 for w in weights])
    assert set(failures(broken)) >= {"checksum", "summary"}
    broken = shutil.copytree("run", tmp_path / "other")
    edit_json(broken / "summary.json", log_likelihood=-1.0, n_test=31)
    assert set(failures(broken)) >= {"data", "summary"}
    record = RunDirectory(broken).read_json("run.json")
    edit_json(broken / "run.json", data={**record["data"], "mean": [0.0, 0.0]})
    assert "run.json: units: expected {'mean'" in failures(broken)["data"]
    edit_json(broken / "run.json", data={**record["data"], "scale": [0.0, 1.0]})
    assert "expected the units of the data" in failures(broken)["model"]


def test_data_that_are_gone_or_others_are_named(at_home, home, tmp_path, monkeypatch):
    shutil.copytree("run", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    record = RunDirectory(tmp_path / "run").read_json("run.json")["data"]
    moved = {**record, "path": str(tmp_path / "gone.csv")}
    for command in ("evaluate", "resume"):
        edit_json(tmp_path / "run" / "run.json", status="interrupted", data=moved)
        result = at_home(command, "run")
        assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
        assert "mine.csv: no such points" in result.stderr
    np.savetxt("mine.csv", some_points(seed=3), delimiter=",")
    for command in ("evaluate", "resume"):
        result = at_home(command, "run")
        assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
        assert "mine.csv: not the data of this run" in result.stderr
    assert "data" in failures(tmp_path / "run")
    np.save("fresh.npy", some_points(40, seed=4))
    assert "40 points" in succeed(at_home, "evaluate", "run", "--data", "fresh.npy")


def test_a_preset_of_a_target_is_turned_to_points_by_the_option_and_back(invoke, monkeypatch):
    taken = []
    monkeypatch.setattr("nflow_cli.experiments.run.carry_out", lambda *args: taken.append(args[0]))
    np.savetxt("a.csv", some_points(), delimiter=",")
    words = ["--preset", "multimodal-planar", "--set", "target=u1", "--data", "a.csv"]
    assert invoke("fit-2d", *words).exit_code == 0
    words = ["--preset", "points-planar-k32", "--set", "data=a.csv", "--target", "u2"]
    assert invoke("fit-2d", *words).exit_code == 0
    turned, back = taken
    assert (turned.data.name, turned.target) == ("a.csv", None)
    assert (back.data, back.target.name) == (None, "u2")


@pytest.mark.parametrize(
    ("line", "code", "expected"),
    [
        ("--data two-moons --target u1", 2, "--data and --target: one of the two is fitted"),
        ("--data two-moon", 1, "two-moon: no such points (did you mean 'two-moons'?); expected"),
        ("--data ''", 2, "expected a value. Received: ''"),
        ("--data nowhere.csv", 1, "nowhere.csv: no such points; expected"),
        ("--data .", 1, ".: no such points"),
        ("--data text.csv", 1, "text.csv: line 2, column 'x': expected a number"),
        ("--data one.csv", 1, "one.csv: expected two columns of numbers"),
        ("--data three.csv", 1, "three.csv: expected two columns of numbers, or"),
        ("--data nan.csv", 1, "nan.csv: line 3: expected two finite numbers"),
        ("--data few.csv", 1, "few.csv: expected at least 10 points, received 2"),
        ("--data flat.csv", 1, "flat.csv: expected points that fill the plane; column 2 is const"),
        ("--data line.csv", 1, "line.csv: expected points that fill the plane; all are on one"),
        ("--data two-moons --restarts 2", 1, "train: expected restarts 1 beside data, not 2"),
        ("--data two-moons --preset u4-planar-k32", 1, "updates 0 beside data, not 20000"),
        ("--data two-moons --set base=uniform-box", 1, "base: expected standard-normal beside"),
        ("--set data=two-moons", 1, "target: expected null beside data"),
        ("--data two-moons --set data.nam=3 --set data.name=x --preset p.yaml", 1, "no preset"),
        ("--preset points-planar-k32 --set data.rows=3", 1, "data.rows: unknown key; known: name"),
        ("--preset points-planar-k32 --set data=3", 1, "data: expected a mapping. Received: 3"),
        ("--preset points-planar-k32 --set data.name=''", 1, "data.name: expected text"),
        ("--preset smoke --data two-moons", 1, "error: smoke: a preset of `nflow train-vae`, not"),
    ],
)
def test_bad_points_and_options_are_one_line_before_anything_is_made(
    invoke, tmp_path, line, code, expected
):
    rows = {
        "text.csv": "x,y\none,two\n",
        "one.csv": "1\n2\n3\n",
        "three.csv": "1,2,3\n4,5,6\n",
        "nan.csv": "x,y\n1,2\nnan,3\n",
        "few.csv": "1,2\n3,4\n",
        "flat.csv": "".join(f"{i},7\n" for i in range(20)),
        "line.csv": "".join(f"{i},{2 * i + 1}\n" for i in range(20)),
    }
    for name, text in rows.items():
        (tmp_path / name).write_text(text)
    result = invoke("fit-2d", *(word.strip("'") for word in line.split()))
    assert (result.exit_code, result.stdout) == (code, "")
    assert expected in result.stderr.splitlines()[-1]
    assert code == 2 or len(result.stderr.splitlines()) == 1
    assert "Traceback" not in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(rows)


def test_points_take_a_preset_for_points():
    assert presets.nearest_preset(None, ["planar"], 32).stem == "points-planar-k32"
    assert presets.nearest_preset(None, ["planar", "radial"], 8).stem == "points-mixed-k32"
    assert presets.nearest_preset(None, ["radial"], 8).stem == "points-mixed-k32"


@pytest.mark.parametrize(("name", "size"), [("rings", 500_000), ("rows.csv", None)])
def test_a_set_that_is_asked_for_has_as_many_points_as_that_of_the_preset(
    invoke, monkeypatch, name, size
):
    asked = []

    def load(*arguments):
        asked.append(arguments)
        raise NflowError("stopped")

    monkeypatch.setattr("nflow_cli.data.points.load_point_data", load)
    assert invoke("fit-2d", "--preset", "points-spline-coupling", "--data", name).exit_code == 1
    assert asked == [(name, 0, size)]


@pytest.mark.slow
@pytest.mark.parametrize("name", POINT_SETS)
def test_a_built_in_set_needs_no_file(invoke, tmp_path, name):
    options = ["--flow", "planar,radial", "--steps", 2, "--set", "evaluate.samples=1000"]
    result = invoke("fit-2d", "--data", name, "--k", 1, *options, "--output", "run")
    assert result.exit_code == 0, result.stderr
    summary = RunDirectory(tmp_path / "run").read_json("summary.json")
    assert (summary["n_train"], summary["data"]["name"]) == (40_000, name)


def test_data_that_no_density_fits_is_told_before_training_in_lines_that_fit(
    invoke, tmp_path, monkeypatch
):
    rooms = np.random.default_rng(0).integers(1, 9, (300, 2))
    np.savetxt(tmp_path / "rooms.csv", rooms, delimiter=",", fmt="%d")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(layout, "terminal_width", lambda stream: 80)

    def stop(*_):
        raise NflowError("stopped")

    monkeypatch.setattr(table_fit, "run", stop)
    _, *lines = invoke("fit-2d", "--data", "rooms.csv", *SHORT).stderr.splitlines()
    assert lines[0].startswith("caveat: column 1 is ") and lines[-1] == "nflow: error: stopped"
    assert len(lines) > 2 and max(map(len, lines)) <= 80
