"""A run that is killed at any moment, and resumed, ends as one that never was: bit for bit."""

import csv
import hashlib
import json
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from drawable_runs import written_unfinished
from running import NFLOW, assert_same_run, run_nflow
from short_runs import KINDS, edit_json, without_pictures
from short_runs import TABLE as TABLE_FILE

import nflow_cli
from nflow_cli.config import presets
from nflow_cli.config.presets import read_preset
from nflow_cli.errors import RunDirectoryError
from nflow_cli.experiments.run import Run
from nflow_cli.runs.checkpoints import Checkpoint, Checkpoints
from nflow_cli.runs.directory import RunDirectory

ALWAYS = ["--set", "train.checkpoint_seconds=0"]  # so that many kills fall into a write
SHORT = ["fit-2d", *ALWAYS, "--k", "3", "--seed", "3", "--steps", "1010"]
SHORT += ["--set", "train.chunk=20", "--set", "evaluate.samples=1000"]
MIXED = [*SHORT, "--flow", "planar,radial"]
FIT = [
    *(*MIXED, "--target", "u2", "--restarts", "2"),
    *("--set", "train.early_stopping={patience: 300, min_delta: 100.0, cool_down: 200}"),
]
POINTS = [
    *("fit", "spirals", "--flow", "planar,radial", "--k", "3"),
    *(*ALWAYS, "--set", "train.chunk=20", "--steps", "1010", "--seed", "3"),
    *("--set", "train.early_stopping={patience: 800, min_delta: 0.5}"),
]
TABLE = [
    *("fit", str(TABLE_FILE), "--bounds", "price=0:"),
    *("--set", "flow.pattern=[{spline-coupling: {hidden: [8]}}]", "--k", "2"),
    *(*ALWAYS, "--set", "train.chunk=20", "--steps", "1010", "--seed", "3"),
    *("--set", "train.early_stopping={patience: 500, min_delta: 0.5}"),
]
CELLS = [  # three networks, each with a weight decay and a best update of its own
    *("fit", str(TABLE_FILE.with_name("mixed.csv")), *ALWAYS, "--seed", "3"),
    *("--set", "train.early_stopping={patience: 200, min_delta: 0.02}"),
]
VAE = [
    *("train-vae", *ALWAYS, "--preset", "smoke", "--epochs", "12", "--set", "train.chunk=7"),
    *("--set", "evaluate.importance_samples=1", "--prior-flow", "affine-coupling"),
    *("--set", "train.early_stopping={patience: 50, images: 500}"),
]
INFER = {
    name: [
        *("infer", f"{Path(__file__).with_name('log_densities.py')}:{name}", "--dim", "2"),
        *(*ALWAYS, "--flow", "affine-coupling", "--k", "2", "--steps", "1010", "--seed", "3"),
        *("--set", "train.chunk=20", "--set", "train.first_stage=100"),
        *("--set", "evaluate.samples=1000"),
        *("--set", "train.early_stopping={patience: 200, min_delta: 9.0, cool_down: 300}"),
    ]
    for name in ("tensors", "arrays")
}


def resume_of(kind):
    """Return the command that a run of this kind goes on by."""
    function = ["--density", kind[1]] if kind[0] == "infer" else []
    return ["resume", "run", *function]


def assert_ended_like(path, straight):
    assert_same_run(path, straight)
    assert json.loads((path / "run.json").read_text())["status"] == "completed"


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Return runs that were never stopped, and the lines of the metrics of each."""
    folder, runs = tmp_path_factory.mktemp("straight"), {}

    def get(kind):
        if kind not in runs:
            path = folder / f"{kind[0]}-{len(runs)}"
            done = run_nflow(folder, *kind, "--output", path.name)
            assert done.returncode == 0, done.stderr
            runs[kind] = path, rows_in(path / "metrics.csv")
        return runs[kind]

    return get


@pytest.fixture
def finished(short_run, tmp_path):
    """Return a copy of a run of 20 updates."""
    return shutil.copytree(short_run(), tmp_path / "finished")


def rows_in(metrics):
    return metrics.read_bytes().count(b"\n") if metrics.is_file() else 0


def killed(folder, command, rows, rng):
    """Start ``command`` and kill -9 it; return whether it was still running.

    A kill falls up to 50 ms after some row of ``metrics.csv``, any of them, and after the last row
    up to 3 s: training, its checkpoints, the evaluation and the pictures all have their share.
    """
    metrics = folder / "run" / "metrics.csv"
    row = rng.randint(rows_in(metrics), rows)
    process = subprocess.Popen(
        [NFLOW, *command], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while rows_in(metrics) < min(row + 1, rows) and process.poll() is None:
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.05 if row < rows else 3.0))
    process.kill()
    return process.wait() != 0


def resumed(folder, kind):
    done = run_nflow(folder, *resume_of(kind))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "run"
    assert "Traceback" not in done.stderr


def killed_and_resumed(folder, kind, rows, kills, rng):
    """Kill a run ``kills`` times, resuming it after each; return how many hit it running."""
    folder.mkdir()
    command, hit = [*kind, "--output", "run"], 0
    while hit < kills and killed(folder, command, rows, rng):
        hit += 1
        command = resume_of(kind)
    resumed(folder, kind)
    return hit


KILLED = {
    **{"fit-2d": FIT, "points": POINTS, "fit": TABLE, "cells": CELLS, "train-vae": VAE},
    **{f"infer-{name}": command for name, command in INFER.items()},
}
KILLS = {"fit-2d": 50, **{f"infer-{name}": 10 for name in INFER}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "kills"),
    [(tuple(command), KILLS.get(name, 20)) for name, command in KILLED.items()],
    ids=list(KILLED),
)
def test_a_run_killed_at_random_moments_ends_with_the_same_bits(tmp_path, straight, kind, kills):
    run, rows = straight(kind)
    rng, survived = random.Random(1), 0
    while survived < kills:
        folder = tmp_path / f"after-{survived}-{rng.random()}"
        survived += killed_and_resumed(folder, kind, rows, min(5, kills - survived), rng)
        assert_ended_like(folder / "run", run)
    print(f"{survived} kills survived")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_a_kill_after_it_loses_nothing_either(tmp_path, straight, number, code):
    kind = tuple(SHORT)
    process = subprocess.Popen(
        [NFLOW, *kind, "--output", "run"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = tmp_path / "run" / "metrics.csv"
    while not (metrics.is_file() and metrics.stat().st_size > 200):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert errors.splitlines()[-1] == "nflow: interrupted; to go on: nflow resume run"
    assert "Traceback" not in errors
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "interrupted"
    run, rows = straight(kind)
    killed(tmp_path, resume_of(kind), rows, random.Random(number))
    resumed(tmp_path, kind)
    assert_ended_like(tmp_path / "run", run)


def test_a_finished_run_says_so(finished, invoke):
    before = {path.name: path.read_bytes() for path in finished.iterdir() if path.is_file()}
    done = invoke("resume", finished)
    assert done.exit_code == 0
    assert "finished already" in done.stderr
    assert done.stdout.splitlines() == [str(finished)]
    assert before == {path.name: path.read_bytes() for path in finished.iterdir() if path.is_file()}


def test_more_steps_extend_a_finished_run_and_say_what_that_is(finished, invoke):
    config = finished / "config.yaml"
    text = config.read_text().replace("description: ''", "description: Of four updates.")
    config.write_text(text)
    assert read_preset(config)["description"]
    with without_pictures():
        done = invoke("resume", finished, "--steps", "9")
    assert done.exit_code == 0, done.stderr
    assert "schedule" in done.stderr
    written = read_preset(config)
    assert (written["train"]["steps"], written["description"]) == (9, "")
    assert json.loads((finished / "summary.json").read_text())["steps"] == 9
    rows = list(csv.DictReader((finished / "metrics.csv").read_text().splitlines()))
    assert [int(row["update"]) for row in rows] == [2, 4, 6, 8, 9]
    assert float(rows[-1]["learning_rate"]) == pytest.approx(0, abs=1e-8)
    assert float(rows[2]["learning_rate"]) > 1e-3


STOPS = ["--k", "0", "--steps", "900", "--set", "train.chunk=20"]


@pytest.mark.parametrize(
    ("fit", "keys", "made", "more"),
    [
        pytest.param("fit-2d --set evaluate.grid=100", ", cool_down: 60", 180, 360, id="target"),
        pytest.param("fit two-moons", "", 120, 240, id="points", marks=pytest.mark.slow),
    ],  # a target has two windows of 60; both cool down in three chunks
)
def test_a_run_that_stopped_early_says_so_and_goes_on_when_extended(
    tmp_path, invoke, fit, keys, made, more
):
    never_better = ["--set", f"train.early_stopping={{patience: 60, min_delta: 99.0{keys}}}"]
    with without_pictures():
        done = invoke(*fit.split(), *STOPS, *never_better, "--output", "run")
    assert done.exit_code == 0, done.stderr
    assert f"training: stopped early at {made}/900 updates" in done.stderr
    assert f"stopped early after {made} of 900 updates in " in done.stdout
    with without_pictures():
        done = invoke("resume", "run", "--steps", "1000")
    assert done.exit_code == 0, done.stderr
    assert f"stopped early after {more} of 1,000 updates in " in done.stdout
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] == more


def with_checkpoints(folder, run, change):
    """Copy a run that goes on from checkpoints in which ``change(arrays, state)`` was made."""
    copy = shutil.copytree(run, folder / "copy", dirs_exist_ok=True)
    manifest = json.loads((copy / "checkpoints" / "manifest.json").read_text())
    for name in manifest:
        path = copy / "checkpoints" / name
        with np.load(path) as file:
            arrays = dict(file)
        state = {**json.loads(arrays["state"].tobytes()), "finished": False}
        change(arrays, state)
        arrays["state"] = np.frombuffer(json.dumps(state).encode(), "u1")
        np.savez(path, **arrays)
        manifest[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (copy / "checkpoints" / "manifest.json").write_text(json.dumps(manifest))
    record = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps({**record, "status": "interrupted"}))
    return copy


def assert_damaged(invoke, run, words):
    done = invoke("resume", run)
    start = f"nflow: error: {run / 'checkpoints'}: damaged: "
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith(start) and words in done.stderr


def states():
    """Return what a checkpoint of a run of 20 updates may be changed to, and what is named."""

    def of_state(path, value):
        def change(_, state):
            *above, key = path.split(".")
            for name in above:
                state = state[name]
            state.pop(key)
            if value is not None:
                state[key] = value

        return change

    def of_array(array):
        return lambda arrays, _: arrays.update({"variable/1": array})

    def of_counts(arrays, _):
        counts = [name for name, array in arrays.items() if array.dtype == np.int64]
        arrays.update(dict.fromkeys(counts, np.array(-5)))

    for array in (np.zeros((2**10, 2**10)), np.zeros((2, 2), np.uint8), np.zeros((2, 2))):
        yield of_array(array), "a checkpoint of another model"
    yield of_counts, "-5 updates, of which it counts 4"
    for path, value, named in (
        ("finished", None, "training: finished"),
        ("Clock", None, "Clock: updates"),
        ("Clock", [], "Clock: updates"),
        ("Clock.updates", [], "Clock: updates"),
        ("Clock.updates", [0, 5], "Clock: expected the updates before and after each"),
        ("Clock.seconds", ["a"], "Clock: seconds.0"),
        ("Clock.cold", [10**6], "Clock: expected the updates before and after each"),
        ("MetricsLog.rows", -1, "MetricsLog: rows"),
        ("MetricsLog.rows", 1.5, "MetricsLog: rows"),
        ("MetricsLog.chunks", [[1]], "MetricsLog: chunks.0"),
        ("Restarts.alive", [99], "Restarts: alive"),
        ("Restarts.alive", [0] * 2, "Restarts: alive"),
        ("Restarts.kl", [], "Restarts: kl, updates"),
        ("Restarts.updates", ["a"], "Restarts: updates.0"),
    ):
        yield of_state(path, value), f"the state of {named}"


def test_a_checkpoint_that_no_training_has_is_one_line(tmp_path, invoke, finished):
    for change, named in states():
        assert_damaged(invoke, with_checkpoints(tmp_path, finished, change), named)


def test_best_weights_of_another_model_are_one_line(tmp_path, invoke, short_run):
    run, best = short_run(**KINDS["points"]), "ValidationLog/best_weights/0"
    copy = with_checkpoints(tmp_path, run, lambda arrays, _: arrays.update({best: np.zeros(9)}))
    assert_damaged(invoke, copy, "a checkpoint of another model")


@pytest.mark.parametrize(
    ("name", "old", "new", "named"),
    [
        ("config.yaml", "k: 2", "k: 4", "config.yaml: differs from the config of its checkpoints"),
        ("run.json", '"resumed": 0', '"resumed": "x"', "run.json: damaged: resumed"),
    ],
)
def test_a_run_goes_on_by_its_own_config_alone(invoke, finished, name, old, new, named):
    edit_json(finished / "run.json", status="interrupted")
    text = (finished / name).read_text()
    assert old in text
    (finished / name).write_text(text.replace(old, new))
    assert named in line_of(invoke("resume", finished))


def line_of(result):
    """Return the line of a command that failed."""
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    return line.removeprefix("nflow: error: ")


def test_a_run_goes_on_where_it_was_trained_unless_another_device_is_named(invoke, finished):
    edit_json(finished / "run.json", status="interrupted", machines=[{"device": "gpu:900"}])
    result = invoke("resume", finished)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("nflow: error: --device gpu:900: expected a GPU that TensorFlow sees")
    assert line.endswith("; the run's own; --device cpu continues without it")
    assert json.loads((finished / "run.json").read_text())["status"] == "interrupted"


FAR = {
    "fit-2d": "after 20 of 20,000 updates",
    "fit": "after 20 of 4,000 updates",
    "train-vae": "after 20 of 100 epochs",
}


def way_on(words):
    return f"to go on: nflow resume {words}; to end it there: nflow resume {words} --finish"


@pytest.fixture
def unloaded(monkeypatch):
    """Let nobody start TensorFlow, which takes seconds."""
    for command in ("evaluate", "runs", "sample"):
        place = f"nflow_cli.cli.{command}.start_tensorflow"
        monkeypatch.setattr(place, lambda *_: pytest.fail("TensorFlow"))


@pytest.mark.usefixtures("unloaded")
def test_an_interrupted_run_names_at_once_how_to_go_on(invoke, tmp_path):
    for kind, far in FAR.items():
        written_unfinished(tmp_path / kind, kind)
        told = f"{kind}: interrupted {far}, so it has no model yet; {way_on(kind)}"
        for words in (["sample", kind, "-o", "x.npy"], ["evaluate", kind], ["plot", kind]):
            assert line_of(invoke(*words)) == told
        with pytest.raises(RunDirectoryError) as caught:
            nflow_cli.load(kind)
        assert str(caught.value) == told


def test_the_check_of_an_interrupted_run_names_how_to_go_on(invoke, tmp_path):
    written_unfinished(tmp_path / "run", "fit")
    result = invoke("check", "run")
    assert result.exit_code == 1 and result.stderr == "nflow: error: run: 1 of 1 checks failed\n"
    words = " ".join(result.stdout.split())
    assert words.startswith("FAIL model run: interrupted after 20 of 4,000 updates")
    assert words.endswith(way_on("run"))


@pytest.mark.usefixtures("unloaded")
def test_a_function_is_named_again_in_the_way_on_of_an_infer_run(invoke, tmp_path):
    written_unfinished(tmp_path / "run", "fit-2d")
    density = {"name": "log_p", "path": "my models/m.py", "sha256": "0" * 64, "dim": 3}
    config = presets.validate({"command": "infer", "density": density}, "test")
    (tmp_path / "run" / "config.yaml").write_text(presets.dump(config))
    (tmp_path / "run" / "metrics.csv").unlink()
    line = line_of(invoke("sample", "run", "-o", "x.csv"))
    assert line.startswith("run: interrupted after 0 of 6,000 updates")
    assert line.endswith(way_on("run --density 'my models/m.py:log_p'"))


@pytest.mark.usefixtures("unloaded")
def test_a_run_in_training_and_one_that_diverged_have_no_way_on_by_resume(invoke, tmp_path):
    run = written_unfinished(tmp_path / "run", "fit-2d")
    with run.locked():
        line = line_of(invoke("evaluate", "run"))
    assert line.startswith("run: still in training after 20 of 20,000 updates")
    edit_json(run.path / "run.json", status="diverged")
    line = line_of(invoke("evaluate", "run"))
    assert line.startswith("run: diverged after 20 of 20,000 updates")
    assert line.endswith("train again with a smaller train.learning_rate")


@pytest.mark.parametrize(
    "kind", ["target", "cells", pytest.param("images", marks=pytest.mark.slow)]
)
def test_a_training_that_is_ended_is_one_of_its_length(invoke, short_run, tmp_path, kind):
    """As if it had been stopped half way: what it ends as is the run that was to go no further."""
    run = short_run(**KINDS[kind])
    copy = RunDirectory(shutil.copytree(run, tmp_path / "copy"))
    for name in ("model.keras", "weights.npz", "summary.json", "evaluation.npz"):
        (copy.path / name).unlink(missing_ok=True)
    edit_json(copy.path / "run.json", status="interrupted")
    config = Run(copy).config
    copy.write_text("config.yaml", presets.dump(config.of_length(2 * config.length)))
    store = Checkpoints(copy)
    saved = store.load()
    state = {**saved.state, "finished": False, "steps": 2 * saved.state["steps"]}
    store.save(10**9, Checkpoint(saved.arrays, state))
    with without_pictures():
        result = invoke("resume", copy.path, "--finish")
    assert result.exit_code == 0, result.output
    assert Run(copy).config == config
    assert_same_run(copy.path, run)
    assert invoke("resume", copy.path, "--finish").stderr.endswith("finished already\n")


def test_a_run_without_a_checkpoint_cannot_be_ended(invoke, tmp_path):
    written_unfinished(tmp_path / "run", "fit")
    assert line_of(invoke("resume", "run", "--finish")).startswith("run: expected a checkpoint")
