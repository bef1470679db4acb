"""Several processes at once: folders of their own, or one lock."""

import errno
import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from nflow_cli.errors import RunDirectoryError
from nflow_cli.runs.directory import RunDirectory

ONE_SECOND = """
import sys, time
from nflow_cli.runs.directory import RunDirectory
time.strftime = lambda _: "20260102-030405"
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20):
    print(RunDirectory.create("same").path)
"""
HOLD = """
import sys
from nflow_cli.errors import RunDirectoryError
from nflow_cli.runs.directory import RunDirectory
run = RunDirectory.create("same", "run")
print("ready", flush=True)
sys.stdin.readline()
try:
    with run.locked():
        run.write_text("config.yaml", "mine")
        print("locked", flush=True)
        sys.stdin.readline()
except RunDirectoryError as error:
    print(error, flush=True)
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def refused(run):
    with pytest.raises(RunDirectoryError) as caught:
        run.locked().__enter__()
    return str(caught.value) == f"{run.path}: another nflow is writing this run"


@pytest.fixture
def run(tmp_path):
    return RunDirectory.create("any", str(tmp_path / "run"))


@pytest.fixture
def together(tmp_path):
    """Return a function that starts a script in several processes, all ready to go on."""
    started = []

    def start(script, count):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        for _ in range(count):
            started.append(subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, **pipes))
        for process in started:
            assert process.stdout.readline() == "ready\n"
        return started

    yield start
    for process in started:
        process.kill()
        process.communicate()


def go_on(process):
    process.stdin.write("\n")
    process.stdin.flush()


def test_processes_that_start_in_the_same_second_get_folders_of_their_own(tmp_path, together):
    processes = together(ONE_SECOND, 2)
    for process in processes:
        go_on(process)
    paths = [path for process in processes for path in process.communicate()[0].splitlines()]
    assert len(set(paths)) == len(paths) == 40
    assert {Path(path).name for path in paths} == set(names(tmp_path / "outputs"))


def test_one_of_two_processes_gets_the_same_folder_and_its_lock_goes_with_it(tmp_path, together):
    processes = together(HOLD, 2)  # both of them found it empty
    for process in processes:
        go_on(process)
    lines = [process.stdout.readline() for process in processes]
    assert sorted(lines) == ["locked\n", "run: another nflow is writing this run\n"]
    holder, run = processes[lines.index("locked\n")], RunDirectory(tmp_path / "run")
    assert refused(run)
    holder.kill()
    holder.wait()
    assert names(run.path) == [".lock", "config.yaml"]
    with run.locked():
        run.write_text("config.yaml", "ours")
    assert names(run.path) == ["config.yaml"]


def test_a_lock_is_let_go_whatever_ends_the_block(run):
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), run.locked():
            assert names(run.path) == [".lock"]
            assert RunDirectory.create("any", str(run.path)).path == run.path  # empty but for it
            assert refused(run)
            raise KeyboardInterrupt
        assert names(run.path) == []


def test_a_lock_file_that_its_last_holder_removed_is_not_a_lock(run, monkeypatch):
    flock = fcntl.flock

    def late(file, how):
        (run.path / ".lock").unlink()
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    assert refused(run)


def test_where_there_are_no_locks_a_run_goes_without(run, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with run.locked():
        pass
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with run.locked():
        pass


def test_a_second_training_in_a_folder_is_refused_before_it_writes(invoke, run):
    with run.locked():
        result = invoke("fit-2d", "--output", run.path)
        assert names(run.path) == [".lock"]
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"nflow: error: {run.path}: another nflow is writing this run\n"
