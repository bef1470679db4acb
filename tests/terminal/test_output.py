"""Results that do not arrive are told of; a log that cannot be written stops nothing."""

import os
import shlex
import shutil
import subprocess

import pytest
from running import NFLOW, QUICK

from nflow_cli.runs.directory import RunDirectory

FULL = "No space left on device"


def shell(folder, line):
    """Run a line of the shell, in which ``nflow`` is what a user types."""
    return subprocess.run(
        ["bash", "-c", line.replace("nflow", shlex.quote(str(NFLOW)), 1)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def trained(short_run, tmp_path):
    """Return a folder with a ``run`` in it."""
    shutil.copytree(short_run(), tmp_path / "run")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("--help >/dev/full", FULL),
        ("presets >&-", "Bad file descriptor"),
        ("compare run >/dev/full", FULL),
    ],
)
def test_a_stdout_that_takes_nothing_is_one_line(trained, line, reason):
    done = shell(trained, f"nflow {line}")
    assert (done.returncode, done.stderr) == (1, f"nflow: error: stdout: {reason}\n")


@pytest.mark.slow
def test_a_fit_whose_figures_do_not_arrive_is_saved_and_says_so(tmp_path):
    done = shell(tmp_path, f"nflow fit-2d {shlex.join(QUICK)} --output run >/dev/full")
    assert done.returncode == 1
    *progress, line = done.stderr.splitlines()
    known = ("training: ", "scoring: ", "preparing pictures", "drawing pictures")
    assert progress and all(text.startswith(known) for text in progress)
    assert line == f"nflow: error: stdout: {FULL}"
    run = RunDirectory.open(str(tmp_path / "run"))
    assert run.read_json("run.json")["status"] == "completed"
    assert run.read_json("summary.json")["steps"] == 40
    assert (run.path / "plots" / "density.png").exists()


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
def test_notes_that_do_not_arrive_stop_nothing(trained, redirection):
    done = shell(trained, f"nflow resume run {redirection}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "run\n", "")


@pytest.mark.slow
def test_tensorflow_starts_without_a_stderr(trained):
    done = shell(trained, "nflow check run 2>&-")
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("OK ")


@pytest.mark.slow
def test_a_fit_trains_where_its_progress_cannot_be_written(tmp_path):
    done = shell(tmp_path, f"nflow fit-2d {shlex.join(QUICK)} --output run 2>/dev/full")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "run"


def test_pictures_need_no_window(trained):
    done = shell(trained, "MPLBACKEND=Qt4Agg nflow plot run --only training")
    assert (done.returncode, len(done.stdout.splitlines()), done.stderr) == (0, 1, "")


def test_no_file_of_a_run_takes_the_place_of_a_closed_stream(tmp_path):
    done = shell(tmp_path, "nflow fit-2d --set target=u9 <&- >&- 2>&-")
    assert done.returncode == 1
    assert os.listdir(tmp_path) == []


def test_a_reader_that_has_enough_is_no_error(tmp_path):
    done = shell(tmp_path, "nflow presets | head -1")
    assert (done.returncode, len(done.stdout.splitlines()), done.stderr) == (0, 1, "")
