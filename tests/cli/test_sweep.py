"""Sweeps as users type them: here, stopped and gone on with, and on a cluster of this machine."""

import json
import os
import shlex
import shutil
import signal
import subprocess

import pytest
from click.testing import CliRunner
from running import NFLOW, assert_same_run, run_nflow, typed_in_bash, wait_for

from nflow_cli.cli import main
from nflow_cli.config import presets
from nflow_cli.runs.directory import RunDirectory

SHORT = ["--set", "train.chunk=20", "--set", "evaluate.samples=1000"]
FAR = "{name: mixture, weights: [1], means: [[1.0e+30, 0]]}"
# One target makes every run diverge.
GRID = ["--preset", "multimodal-planar", *SHORT, "--set", "train.steps=40", "--set", "flow.k=0"]
GRID += ["--vary", f"target=multimodal,{FAR}", "--seeds", "5"]
GOOD = "k0,target=1,seed=5"
BAD = "k0,target=2,seed=5"


def status(folder, name):
    return RunDirectory(folder / name).read_json("run.json")["status"]


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swept")
    (folder / "queue.py").write_text("raise ImportError('of the user, not for the workers')\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ["sweep", *GRID, "--workers", "1", "--output", "s"]
        return folder / "s", CliRunner().invoke(main, words, prog_name="nflow")


def test_a_run_that_fails_stops_no_other_and_is_told_of(swept):
    folder, done = swept
    assert done.exit_code == 1 and "Traceback" not in done.stderr
    assert (status(folder, GOOD), status(folder, BAD)) == ("completed", "diverged")
    first, *progress, last = done.stderr.splitlines()
    assert first == "s: 0 of 2 done, 1 running, 0 failed"
    (told,) = [line for line in progress if line.startswith("failed: ")]
    assert told.startswith(f"failed: {BAD}  training diverged by update ")
    assert last == "nflow: error: s: 1 of 2 runs failed; each has a log.txt"
    ended = [line for line in progress if "; " in line and " of 2 done, " in line]
    assert len(ended) == 2 and ended[1].endswith("1 of 2 done, 0 running, 1 failed")
    good, bad = sorted(ended)
    assert good.startswith(f"{GOOD}: completed; 1 of 2 done, ")
    assert bad.startswith(f"{BAD}: failed: training diverged by update ")
    assert "nflow: error: training diverged" in (folder / BAD / "log.txt").read_text()
    header, *_, last = done.stdout.splitlines()
    assert (header.split()[:4], last) == (["target", "flow", "K", "seeds"], "s")
    names = {path.name for path in (folder / "plots").iterdir()}
    assert names == {"kl.png", "densities.png", "training.png"}


def test_a_run_of_a_sweep_is_a_run_like_any_other(swept):
    run = RunDirectory.open(str(swept[0] / GOOD))
    record = run.read_json("run.json")
    assert (record["seed"], record["argv"][0], record["resumed"]) == (5, "sweep", 0)
    assert (run.path / "plots" / "density.png").is_file()
    assert "KL(q || p)" in (run.path / "log.txt").read_text()


@pytest.mark.slow
def test_a_run_of_a_sweep_has_the_bits_of_one_alone(swept, tmp_path):
    run = RunDirectory(swept[0] / GOOD)
    done = run_nflow(tmp_path, "fit-2d", "--preset", run.path / "config.yaml", "--output", "alone")
    assert done.returncode == 0, done.stderr
    assert_same_run(tmp_path / "alone", run.path)


@pytest.mark.slow
def test_the_same_command_trains_only_what_has_not_ended(swept, tmp_path):
    folder = tmp_path / "s"
    shutil.copytree(swept[0], folder)
    shutil.rmtree(folder / BAD)
    (folder / BAD).mkdir()  # as if the command had been killed as soon as this
    (folder / BAD / "log.txt").touch()
    before = contents(folder)
    done = run_nflow(tmp_path, "sweep", *GRID, "--output", "s")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        1,
        "s: 1 of 2 done, 1 running, 0 failed",
    )
    after = contents(folder)
    good = [path for path in before if GOOD in path.parts]
    assert good and {path: after[path] for path in good} == {path: before[path] for path in good}


def test_a_damaged_run_is_told_of_and_a_finished_sweep_starts_nothing(swept, tmp_path, invoke):
    folder = tmp_path / "s"
    shutil.copytree(swept[0], folder)
    shutil.rmtree(folder / BAD)
    grid = ["sweep", *(text.replace(f",{FAR}", "") for text in GRID), "--output", folder]
    resolved = presets.read_preset(folder / "sweep.yaml")
    resolved["vary"]["target"] = resolved["vary"]["target"][:1]
    run = (folder / GOOD).rename(folder / GOOD.replace("target=1", "target=multimodal"))
    (folder / "sweep.yaml").write_text(json.dumps(resolved))
    result = invoke(*grid)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1] == str(folder)
    resolved["seeds"], words = [5, 6], [*grid, "--seeds", "5,6"]
    (folder / "sweep.yaml").write_text(json.dumps(resolved))
    other = folder / run.name.replace("seed=5", "seed=6")
    shutil.copytree(run, other)
    written = (run / "config.yaml").read_text().replace("\nseed: 5\n", "\nseed: 6\n")
    (other / "config.yaml").write_text(written)
    damaged = other / "run.json"
    damaged.write_text("{")
    result = invoke(*words)
    assert result.exit_code == 1
    assert f"{damaged}: damaged" in result.stderr.splitlines()[0]
    # The figures of the others come all the same.
    assert result.stdout.splitlines()[-1] == str(folder) and run.name in result.stdout
    assert result.stderr.splitlines()[-1].endswith("1 of 2 runs failed; each has a log.txt")


def test_options_change_a_sweep_and_a_grid_names_its_own_folder(invoke, tmp_path):
    (tmp_path / "mine.yaml").write_text("command: sweep\npresets: [u1-planar-k2]\nseeds: '0:9'\n")
    lock = RunDirectory.at(str(tmp_path / "outputs" / "mine"))
    with lock.locked():
        result = invoke("sweep", "mine.yaml", "--seeds", "1,2")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "nflow: error: outputs/mine: another nflow is writing this sweep\n"


BEGUN = ["--preset", "multimodal-planar", "--set", "flow.k=2", *SHORT, "--seeds", "0:3"]
BEGUN += ["--set", "train.checkpoint_seconds=0", "--workers", "2"]


def rows_of(folder):
    """Return a function that says whether some run of a sweep has begun to train."""
    return lambda: any(p.stat().st_size > 200 for p in folder.glob("*/metrics.csv"))


def stopped(folder, words):
    """Stop a sweep when its runs have begun to train; return the names of those."""
    process = subprocess.Popen(
        [NFLOW, *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for(rows_of(folder / "s"))
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out) == (130, "")
    assert errors.splitlines()[-1].startswith("nflow: interrupted; to go on: nflow sweep --preset")
    assert "Traceback" not in errors
    begun = [path.parent.name for path in (folder / "s").glob("*/run.json")]
    assert begun and {status(folder / "s", name) for name in begun} == {"interrupted"}
    return begun


@pytest.mark.slow
def test_the_same_command_goes_on_after_ctrl_c(tmp_path):
    words = ["sweep", *BEGUN, "--set", "train.steps=6000", "--output", "s"]
    begun = stopped(tmp_path, words)
    done = run_nflow(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert {status(tmp_path / "s", p.parent.name) for p in (tmp_path / "s").glob("*/run.json")} == {
        "completed"
    }
    resumed = [RunDirectory(tmp_path / "s" / n).read_json("run.json")["resumed"] for n in begun]
    assert set(resumed) == {1}
    run = tmp_path / "s" / begun[0]
    alone = run_nflow(tmp_path, "fit-2d", "--preset", run / "config.yaml", "--output", "alone")
    assert alone.returncode == 0, alone.stderr
    assert_same_run(tmp_path / "alone", run)


@pytest.mark.slow
def test_a_cluster_makes_the_bits_of_this_machine(swept, cluster, tmp_path):
    address, _ = cluster(1)
    done = run_nflow(tmp_path, "sweep", *GRID, "--output", "s", "--scheduler", address)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1] == "nflow: error: s: 1 of 2 runs failed; each has a log.txt"
    assert_same_run(tmp_path / "s" / GOOD, swept[0] / GOOD)


@pytest.mark.slow
def test_a_worker_of_the_cluster_that_is_killed_loses_nothing(cluster, tmp_path):
    address, workers = cluster(2)
    finite = [*BEGUN, "--set", "train.steps=6000"]
    words = [w for w in finite if w not in ("--workers", "2")]
    process = subprocess.Popen(
        [NFLOW, "sweep", *words, "--output", "s", "--scheduler", address],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(rows_of(tmp_path / "s"))
        os.kill(workers[0].pid, signal.SIGKILL)
        _, errors = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    here = run_nflow(tmp_path, "sweep", *finite, "--output", "here")
    assert here.returncode == 0, here.stderr
    names = [path.parent.name for path in (tmp_path / "here").glob("*/run.json")]
    assert len(names) == 3
    for name in names:
        assert_same_run(tmp_path / "s" / name, tmp_path / "here" / name)
    records = [RunDirectory(tmp_path / "s" / n).read_json("run.json") for n in names]
    assert any(record["resumed"] for record in records)


@pytest.mark.slow
def test_a_sweep_of_vaes(tmp_path):
    words = ["sweep", "--preset", "smoke", "--vary", "flow.k=0,2", "--set", "train.epochs=1"]
    done = run_nflow(tmp_path, *words, "--set", "evaluate.importance_samples=2", "--output", "s")
    assert done.returncode == 0, done.stderr
    assert "−ELBO" in done.stdout
    assert {path.stem for path in (tmp_path / "s" / "plots").iterdir()} == {
        *("negative_elbo", "negative_log_likelihood", "training")
    }
    for k in (0, 2):
        run = tmp_path / "s" / f"mnist-sample-planar-radial,flow.k={k}"
        preset = run / "config.yaml"
        alone = run_nflow(tmp_path, "train-vae", "--preset", preset, "--output", f"alone-{k}")
        assert alone.returncode == 0, alone.stderr
        assert_same_run(tmp_path / f"alone-{k}", run)


# The runs one by one: as `xargs`, GNU parallel or a queue starts them.
ONE_BY_ONE = ["sweep", "--preset", "multimodal-planar", "--set", "flow.k=2", "--seeds", "0:2"]
ONE_BY_ONE += ["--set", "train.chunk=20", "--set", "evaluate.samples=1000", "--output", "the runs"]
QUICK = [*ONE_BY_ONE, "--set", "train.steps=40"]
LONG = [*ONE_BY_ONE, "--set", "train.steps=6000", "--set", "train.checkpoint_seconds=0"]
NAMES = ["multimodal-planar-k2,seed=0", "multimodal-planar-k2,seed=1"]


def test_a_command_a_run_as_a_shell_reads_it_and_no_run_begins(invoke, tmp_path):
    result = invoke(*QUICK, "--commands")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [shlex.split(line) for line in result.stdout.splitlines()]
    assert lines == [["nflow", *QUICK, "--only", name] for name in NAMES]
    names = {path.name for path in (tmp_path / "the runs").iterdir()}
    assert names == {"presets.json", "sweep.yaml"}


@pytest.mark.parametrize("name", [b"caf\xe9", b"new\nline"])
def test_commands_name_a_folder_that_no_line_can_show(invoke, tmp_path, name):
    result = invoke(*QUICK[:-3], os.fsdecode(name), *QUICK[-2:], "--commands")
    lines = result.stdout.splitlines()
    assert (result.exit_code, len(lines)) == (0, 2)
    for line in lines:
        assert typed_in_bash(line)[-5] == name
    assert os.listdir(os.fsencode(tmp_path)) == [name]


def test_a_run_that_another_process_trains_is_taken(invoke, tmp_path):
    path = tmp_path / "the runs" / NAMES[1]
    path.mkdir(parents=True)
    assert invoke(*QUICK, "--commands").exit_code == 1  # the folder holds no sweep
    shutil.rmtree(path.parent)
    assert invoke(*QUICK, "--commands").exit_code == 0
    with RunDirectory.at(str(path)).locked():
        result = invoke(*QUICK, "--only", NAMES[1])
    assert (result.exit_code, result.stdout) == (4, "")
    path = f"the runs/{NAMES[1]}"
    assert result.stderr == f"nflow: error: {path}: another nflow is writing this run\n"


@pytest.mark.slow
def test_xargs_trains_them_and_the_sweep_finds_them_done(tmp_path):
    bin_folder = {"PATH": f"{NFLOW.parent}:{os.environ['PATH']}"}
    for words in (QUICK, QUICK):  # the second time each is finished already
        listed = run_nflow(tmp_path, *words, "--commands")
        done = subprocess.run(
            ["xargs", "-P", "2", "-d", "\n", "-I{}", "sh", "-c", "{}"],
            input=listed.stdout,
            cwd=tmp_path,
            env={**os.environ, **bin_folder},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("the runs/multimodal-planar-k2") == 2
    assert done.stderr.count(": finished already") == 2
    ended = run_nflow(tmp_path, *QUICK)
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, "the runs")
    assert "done," not in ended.stderr  # nothing was trained
    straight = run_nflow(tmp_path, *QUICK[:-3], "other", *QUICK[-2:])
    assert straight.returncode == 0, straight.stderr
    for name in NAMES:
        assert_same_run(tmp_path / "the runs" / name, tmp_path / "other" / name)


@pytest.mark.slow
def test_one_that_is_killed_costs_its_run_alone_and_is_gone_on_with(tmp_path):
    words = [*LONG, "--only", NAMES[0]]
    process = subprocess.Popen(
        [NFLOW, *words], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    run = RunDirectory(tmp_path / "the runs" / NAMES[0])
    try:
        wait_for(rows_of(run.path.parent))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    other = run_nflow(tmp_path, *LONG, "--only", NAMES[1])
    assert other.returncode == 0, other.stderr
    assert run.read_json("run.json")["status"] == "running"
    again = run_nflow(tmp_path, *words)
    assert again.returncode == 0, again.stderr
    record = run.read_json("run.json")
    assert (record["status"], record["resumed"]) == ("completed", 1)
    done = run_nflow(tmp_path, *LONG)
    assert done.returncode == 0, done.stderr
    assert [line.split()[3] for line in done.stdout.splitlines()[1:2]] == ["2"]  # seeds
