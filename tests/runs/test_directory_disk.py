"""What a run directory holds after a file operation has failed: whole files, old or new."""

import errno
import os
import shutil
import subprocess
from unittest.mock import Mock

import numpy as np
import pytest
from faults import Disk

from nflow_cli.errors import RunDirectoryError
from nflow_cli.runs.directory import RunDirectory

OLD = {"kl": 1.0, "text": 10_000 * "old"}
NEW = {"kl": 2.0, "text": 10_000 * "new"}
ROW = {"update": 20, "loss": 0.5}
FULL = "No space left on device"


def write_row(run):
    with run.metrics_writer() as add:
        add(ROW)


def hold(run):
    with run.locked():
        pass


WRITERS = {
    "config.yaml": lambda run: run.write_text("config.yaml", "new"),
    "run.json": lambda run: run.write_json("run.json", NEW),
    "summary.json": lambda run: run.write_json("summary.json", NEW),
    "evaluation.npz": lambda run: run.write_arrays("evaluation.npz", {"a": np.arange(10_000.0)}),
    "plots/density.png": lambda run: run.write("plots/density.png", lambda f: f.write(b"new")),
    "metrics.csv": write_row,
    ".lock": hold,
}


@pytest.fixture
def run(tmp_path):
    """Return a run that holds an old version of every file."""
    run = RunDirectory.create("any", str(tmp_path / "run"))
    for name in WRITERS.keys() - {".lock"}:
        run.write(name, lambda file: file.write(b"old"))
    run.write_text("metrics.csv", "update,loss\r\n10,1.5\r\n")
    return run


def contents(run):
    files = [path for path in run.path.rglob("*") if path.is_file()]
    return {path.relative_to(run.path).as_posix(): path.read_bytes() for path in files}


def injected(act, check, run, tmp_path, monkeypatch):
    """Let the first operation of ``act`` fail, then the second, ...; return how many there are."""
    kept = tmp_path / "kept"
    shutil.copytree(run.path, kept)
    for turn in range(1, 100):
        with monkeypatch.context() as patch:
            disk = Disk(patch, turn)
            error = None
            try:
                act(run)
            except RunDirectoryError as caught:
                error = caught
        if not disk.failed:
            assert error is None
            return turn - 1
        check(error, disk.done[turn - 1])
        shutil.rmtree(run.path)
        shutil.copytree(kept, run.path)
    raise AssertionError("there is no end to its file operations")


@pytest.mark.parametrize("name", WRITERS)
def test_whatever_fails_a_file_is_old_or_new_and_nothing_else_is_left(
    name, run, tmp_path, monkeypatch
):
    old, line = contents(run), f"{run.path / name}: {FULL}"
    WRITERS[name](run)
    new = contents(run)
    for file, content in old.items():
        (run.path / file).write_bytes(content)

    def check(error, operation):
        if error is None:
            assert operation == "mkdir"  # of plots/, which is there
        else:
            assert str(error) == line, operation
        assert contents(run) in ((old, new) if error else (new,)), operation

    failed = injected(WRITERS[name], check, run, tmp_path, monkeypatch)
    assert failed >= (2 if name in ("metrics.csv", ".lock") else 8)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_is_written_to_nonetheless(number, run, monkeypatch):
    monkeypatch.setattr(os, "fsync", Mock(side_effect=OSError(number, os.strerror(number))))
    run.write_text("config.yaml", "new")
    assert contents(run)["config.yaml"] == b"new"


def test_a_file_that_cannot_be_read_is_named(run, tmp_path, monkeypatch):
    run.write_json("summary.json", OLD)
    run.write_arrays("evaluation.npz", {"a": np.arange(10.0)})
    readers = {
        "summary.json": lambda run: run.read_json("summary.json"),
        "evaluation.npz": lambda run: run.read_arrays("evaluation.npz", {"a": "n"}),
        "metrics.csv": lambda run: run.read_metrics(),
    }
    for name, read in readers.items():

        def check(error, operation, name=name):
            if operation != "close":
                assert str(error) == f"{run.path / name}: {FULL}"

        assert injected(read, check, run, tmp_path / name, monkeypatch) >= 2


# Where a folder is missing, Python makes those above it and tries again.
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.ENOENT])
@pytest.mark.parametrize("output", ["new/folder", None])
def test_a_run_whose_folder_cannot_be_made_is_explained(output, number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for turn in (1, 2):
        with monkeypatch.context() as patch:
            Disk(patch, turn, number)
            try:
                assert RunDirectory.create("any", output).path.is_dir()
            except RunDirectoryError as error:
                assert str(error) == f"{output or 'outputs'}: {os.strerror(number)}"


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of a few pages."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "nflow-test", folder]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, timeout=30)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"no file system can be mounted: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True, timeout=30)


def test_a_real_disk_that_fills_up_keeps_every_file_whole(small_disk):
    run = RunDirectory.create("any", str(small_disk / "run"))
    run.write_text("summary.json", "old")
    with run.metrics_writer() as add, pytest.raises(RunDirectoryError) as full:
        for update in range(10**5):
            add({"update": update, "loss": 0.5})
    assert str(full.value) == f"{run.path / 'metrics.csv'}: No space left on device"
    rows = len(run.read_metrics()["update"])  # none of them half written
    assert rows > 1000
    for write, name in [
        (lambda: run.write_text("summary.json", 100_000 * "new"), "summary.json"),
        (lambda: run.write_arrays("evaluation.npz", {"a": np.zeros(10**5)}), "evaluation.npz"),
        (lambda: run.write("plots/density.png", lambda f: f.write(bytes(10**6))), "density.png"),
    ]:
        with pytest.raises(RunDirectoryError, match=rf"{name}: No space left on device$"):
            write()
    assert contents(run).keys() == {"summary.json", "metrics.csv"}
    assert (run.path / "summary.json").read_text() == "old"


def test_where_a_run_cannot_begin_it_can_begin_again(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    for turn in range(1, 100):
        run = RunDirectory.create("any", str(folder))
        with monkeypatch.context() as patch:
            disk = Disk(patch, turn)
            try:
                with run.locked(), run.recorded({}, "seed: 0\n"):
                    pass
            except RunDirectoryError:
                pass
        if not disk.failed:
            break
        left = {path.name for path in folder.iterdir()}
        assert left == set() or {"config.yaml", "run.json"} <= left
        shutil.rmtree(folder)
    assert turn > 10
