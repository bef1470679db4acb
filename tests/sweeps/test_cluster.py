"""Worker processes on the workers of a Dask scheduler: of this process, and only pretending."""

import os
import signal
import sys
import time

import pretender
import pytest

from nflow_cli.errors import NflowError
from nflow_cli.sweeps import workers

distributed = pytest.importorskip("distributed")
cluster = pytest.importorskip("nflow_cli.sweeps.cluster")


def is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def scheduler():
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(processes=False, silence_logs=50, **options) as started:
        yield started


@pytest.fixture
def pool(scheduler, monkeypatch):
    monkeypatch.setattr(workers, "COMMAND", pretender.COMMAND)
    with cluster.cluster_pool(scheduler.scheduler_address) as pool:
        yield pool


def test_a_task_is_trained_by_a_process_of_its_worker(pool):
    assert pool.slots() == 1
    answer = pool.submit({}).result()
    assert answer["status"] == "completed"
    assert answer["pid"] != os.getpid()


def test_an_interruption_reaches_what_trains_and_no_other_run_begins(pool, tmp_path):
    begun = tmp_path / "begun"
    future = pool.submit({"seconds": 60, "begun": str(begun)})
    wait_for(begun.exists)
    pool.interrupt(signal.SIGINT)
    assert future.result(timeout=10) == {"status": "interrupted"}
    assert pool.submit({}).result() == {"status": "interrupted"}


def test_a_sweep_that_ends_ends_its_own_processes_alone(scheduler, pool, tmp_path):
    begun = tmp_path / "begun"
    with cluster.cluster_pool(scheduler.scheduler_address) as other:
        other.interrupt(signal.SIGINT)
        assert other.submit({}).result() == {"status": "interrupted"}
        future = pool.submit({"seconds": 1, "begun": str(begun)})
        wait_for(begun.exists)
    assert future.result()["status"] == "completed"


def test_a_worker_that_comes_later_trains_as_well_and_takes_its_process_with_it(
    scheduler, pool, tmp_path, monkeypatch
):
    monkeypatch.setattr(workers, "PATIENCE", 0.1)
    scheduler.scale(2)
    wait_for(lambda: pool.slots() == 2)
    notes = [tmp_path / str(number) for number in range(2)]
    for note in notes:
        pool.submit({"seconds": 60, "begun": str(note)})
    wait_for(lambda: all(note.is_file() and note.read_text() for note in notes))
    processes = [int(note.read_text()) for note in notes]
    assert all(map(is_alive, processes))
    scheduler.scale(1)
    wait_for(lambda: sum(map(is_alive, processes)) == 1)
    pool.interrupt(signal.SIGINT)
    wait_for(lambda: not any(map(is_alive, processes)))


SLOW_TO_REFUSE = [pytest.param(address, marks=pytest.mark.slow) for address in ("x://y", "")]


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere", *SLOW_TO_REFUSE])
def test_a_scheduler_that_does_not_answer_is_one_line(address, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT", 0.5)
    with (
        pytest.raises(NflowError, match=f"--scheduler {address}: ") as caught,
        cluster.cluster_pool(address),
    ):
        pass
    assert len(str(caught.value).splitlines()) == 1


def test_without_dask_the_line_says_what_to_install(invoke, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "nflow_cli.sweeps.cluster")
    result = invoke("sweep", "--preset", "u1-planar-k2", "--scheduler", "any")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "pip install '.[cluster]'" in result.stderr.splitlines()[-1]
