"""What a command leaves is tested here; how a picture is laid out, in ``tests/plotting``."""

import csv
import json
import subprocess
import sys

import pytest
from running import wait_for
from short_runs import without_layout, workers_in_process


@pytest.fixture(scope="module", autouse=True)
def panels_anywhere():
    with without_layout():
        yield


@pytest.fixture
def without_flow_checks(monkeypatch):
    """Leave out what the flows of a run are checked for in themselves."""
    monkeypatch.setattr("nflow_cli.experiments.flow_checks.OF_FLOWS", {})


@pytest.fixture
def write():
    """Return a function that writes rows, mappings of one form, as a CSV file."""

    def written(path, rows):
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)

    return written


@pytest.fixture
def in_process():
    with workers_in_process():
        yield


@pytest.fixture
def cluster(tmp_path):
    """Return a function that starts a scheduler and workers here; it returns them."""
    pytest.importorskip("distributed")
    processes, file = [], tmp_path / "scheduler.json"

    def start(kind, *args):
        command = [sys.executable, "-W", "ignore", "-m", f"distributed.cli.dask_{kind}", *args]
        command += ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
        folder = tmp_path / f"dask-{len(processes)}"
        folder.mkdir()
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
        processes.append(subprocess.Popen(command, **quiet))
        return processes[-1]

    def cluster(count):
        start("scheduler", "--port", "0")
        wait_for(file.is_file)
        address = json.loads(file.read_text())["address"]
        return address, [start("worker", "--nthreads", "1", "--no-nanny") for _ in range(count)]

    yield cluster
    for process in reversed(processes):
        process.terminate()
        process.wait(timeout=30)
