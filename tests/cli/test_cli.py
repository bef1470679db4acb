import os
import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
import yaml
from reports import read_report
from running import NFLOW, QUICK, assert_same_run, run_where_keras_is_set_up_otherwise
from short_runs import without_pictures

from nflow_cli import __version__
from nflow_cli.cli import main
from nflow_cli.config import preset_files, presets
from nflow_cli.config.key_options import options_of
from nflow_cli.runs.directory import RunDirectory

ROOT = Path(__file__).parents[2]
COMMANDS = list(main.commands)

# In this process a command trains on the backend that Keras was imported with.


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    return folder, run_where_keras_is_set_up_otherwise(folder, "fit-2d", *QUICK)


@pytest.fixture
def finished_run(first_run):
    """Return the run directory of a short training that ended well."""
    folder, done = first_run
    return folder / done.stdout.splitlines()[-1]


@pytest.mark.parametrize("args", [(), *((name,) for name in COMMANDS)])
def test_every_command_and_every_option_has_help(invoke, args):
    result = invoke(*args, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: {' '.join(('nflow', *args))}")
    command = main.commands[args[0]] if args else main
    assert command.help
    for option in command.params:
        assert option.param_type_name == "argument" or option.help, option.name


def test_the_first_help_has_an_example_a_line(invoke):
    lines = invoke("--help").stdout.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  nflow ")] == 12 * ["nflow"]


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        (
            "config.yaml",
            "k: 2",
            "k: 4",
            "config.yaml: differs from the config of its checkpoints",
        ),
        (
            "run.json",
            '"resumed": 0',
            '"resumed": "x"',
            "run.json: damaged: resumed: expected a num",
        ),
    ],
)
def test_a_run_goes_on_by_its_own_config_alone(
    invoke, tmp_path, finished_run, name, old, new, expected
):
    shutil.copytree(finished_run, tmp_path / "run")
    record = tmp_path / "run" / "run.json"
    record.write_text(record.read_text().replace('"completed"', '"interrupted"'))
    text = (tmp_path / "run" / name).read_text()
    assert old in text
    (tmp_path / "run" / name).write_text(text.replace(old, new))
    result = invoke("resume", "run")
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert expected in line


def test_the_version_is_printed(invoke):
    assert invoke("--version").stdout == f"nflow, version {__version__}\n"


def test_the_readme_and_the_docs_name_every_command_and_every_option():
    """But those of keys, which the pages list where they are built."""
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md")]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    options = {
        name
        for command in main.commands.values()
        for option in command.params
        for name in option.opts
        if name.startswith("--") and option.name not in options_of(command.name)
    }
    wanted = {f"nflow {name}" for name in COMMANDS} | options
    assert not {word for word in wanted if not re.search(rf"{re.escape(word)}\b", text)}


def test_presets_lists_each_with_its_description_and_prints_one(invoke):
    lines = invoke("presets").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(preset_files.shipped_presets())
    for line in lines:
        data = presets.read_preset(preset_files.shipped_presets()[line.split()[0]])
        assert line.split()[1] == data["command"]
        assert line.endswith(f" {data['description']}") and line.endswith(".")
    printed = invoke("presets", "multimodal-planar").stdout
    assert printed == preset_files.shipped_presets()["multimodal-planar"].read_text(
        encoding="utf-8"
    )


def test_a_run_writes_all_its_files_and_prints_its_folder_last(first_run, finished_run):
    assert finished_run.parent == first_run[0] / "outputs"
    assert finished_run.name.endswith("-multimodal-planar-k2")
    run = RunDirectory.open(str(finished_run))
    assert {path.name for path in finished_run.iterdir()} == {
        *("config.yaml", "run.json", "metrics.csv", "summary.json", "model.keras"),
        *("evaluation.npz", "plots", "report.html", "checkpoints"),
    }
    pictures = {path.name for path in (finished_run / "plots").iterdir()}
    assert pictures >= {f"{n}.png" for n in ("density", "difference", "deformation", "training")}
    assert read_report(finished_run).pictures.keys() == {
        name.removesuffix(".png") for name in pictures
    }
    assert list(run.read_metrics()["update"]) == [10, 20, 40]
    record = run.read_json("run.json")
    assert (record["status"], record["command"]) == ("completed", "fit-2d")
    assert record["argv"] == ["fit-2d", *QUICK]
    assert set(run.read_json("summary.json")) >= {
        *("flow", "k", "target", "seed", "steps", "kl", "kl_standard_error", "ess"),
        *("free_energy", "log_z", "log_z_source", "mass", "n_parameters"),
        *("compile_seconds", "train_seconds", "steps_per_second"),
    }


def test_the_config_of_a_run_holds_what_was_asked_for(finished_run):
    written = yaml.safe_load((finished_run / "config.yaml").read_text())
    assert (written["flow"]["k"], written["train"]["steps"], written["seed"]) == (2, 40, 0)
    assert (written["train"]["chunk"], written["evaluate"]["samples"]) == (20, 1000)


def test_stderr_is_progress_alone_even_where_keras_is_set_up_otherwise(first_run):
    lines = first_run[1].stderr.splitlines()
    assert lines
    known = r"training: [\d,]+/40 updates, KL |scoring: 1,000 draws$|(preparing|drawing) pictures$"
    assert not [line for line in lines if not re.match(known, line)]


def test_the_config_of_a_run_repeats_it_bit_for_bit(invoke, tmp_path, finished_run):
    again = tmp_path / "again"
    with without_pictures():
        result = invoke("fit-2d", "--preset", finished_run / "config.yaml", "--output", again)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1] == str(again)
    assert (again / "config.yaml").read_bytes() == (finished_run / "config.yaml").read_bytes()
    assert_same_run(again, finished_run)


def test_report_writes_the_page_again(invoke, finished_run):
    (finished_run / "report.html").unlink()
    result = invoke("report", finished_run)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{finished_run / 'report.html'}\n"
    kl = RunDirectory(finished_run).read_json("summary.json")["kl"]
    assert f"{kl:.5f} ± " in read_report(finished_run).text


def test_restarts_are_asked_for_by_option_and_told_of(invoke, tmp_path):
    options = ["--restarts", 2, "--no-halving", "--seed", 5, "--output", tmp_path / "run"]
    with without_pictures():
        result = invoke("fit-2d", *QUICK, *options)
    assert result.exit_code == 0, result.stderr
    run = RunDirectory(tmp_path / "run")
    written = yaml.safe_load((run.path / "config.yaml").read_text())["train"]
    assert (written["restarts"], written["halving"]) == (2, False)
    told = run.read_json("summary.json")["restarts"]
    assert (told["count"], told["updates"]) == (2, [40, 40])
    kls = ", ".join(f"{kl:.4f}" for kl in told["kl"])
    assert f"restarts     KL {kls}; seed {5 + told['best']} is kept" in result.stdout


def test_a_run_that_diverges_exits_3_and_says_what_to_try(invoke, tmp_path):
    far = "target={name: mixture, weights: [1], means: [[1.0e+30, 0]]}"
    result = invoke("fit-2d", *QUICK, "--k", 0, "--set", far, "--output", tmp_path / "run")
    assert (result.exit_code, result.stdout) == (3, "")
    line = result.stderr.splitlines()[-1]
    assert line.startswith("nflow: error: training diverged by update ")
    assert "check the target" in line
    assert "learning_rate" in line
    assert RunDirectory(tmp_path / "run").read_json("run.json")["status"] == "diverged"


ENDLESS = ["--k", "2", "--steps", "1000000000", "--set", "train.chunk=20", "--output", "run"]


def wait_for(path):
    for _ in range(600):
        if path.exists() and path.stat().st_size:
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} was never written")


def interrupted(tmp_path, once):
    """Start a run as a user does, send SIGINT once a file of it is there; return its stderr."""
    run = subprocess.Popen(
        [NFLOW, "fit-2d", *ENDLESS], cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        wait_for(tmp_path / "run" / once)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=30)
    finally:
        run.kill()
    assert (run.returncode, out) == (130, b"")
    return err.decode()


@pytest.mark.slow
def test_ctrl_c_exits_130_and_says_how_to_go_on(tmp_path):
    line = interrupted(tmp_path, once="metrics.csv").splitlines()[-1]
    assert line == "nflow: interrupted; to go on: nflow resume run"
    run = RunDirectory.open(str(tmp_path / "run"))
    assert run.read_json("run.json")["status"] == "interrupted"
    assert len(run.read_metrics()["update"])


def test_ctrl_c_while_tensorflow_starts_leaves_the_config_that_the_line_names(tmp_path):
    lines = interrupted(tmp_path, once="run.json").splitlines()
    assert lines == ["nflow: interrupted; to go on: nflow resume run"]
    presets.validate(presets.read_preset(tmp_path / "run" / "config.yaml"), "written")


def test_sigterm_exits_143_and_gives_the_handlers_back(invoke, tmp_path):
    before = signal.getsignal(signal.SIGTERM)

    def stop():
        wait_for(tmp_path / "run" / "metrics.csv")
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    result = invoke("fit-2d", *ENDLESS)
    thread.join()
    assert result.exit_code == 143
    assert "to go on: nflow resume run" in result.stderr
    assert RunDirectory(tmp_path / "run").read_json("run.json")["status"] == "interrupted"
    assert signal.getsignal(signal.SIGTERM) is before
