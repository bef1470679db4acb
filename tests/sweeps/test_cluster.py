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
    first, second = (pool.submit({}).result() for _ in range(2))
    assert first["status"] == "completed"
    assert first == second  # of one process
    assert first["pid"] != os.getpid()


def test_an_interruption_reaches_what_trains_and_no_other_run_begins(pool, tmp_path):
    begun = tmp_path / "begun"
    future = pool.submit({"seconds": 60, "begun": str(begun)})
    while not begun.exists():
        time.sleep(0.01)
    pool.interrupt(signal.SIGINT)
    assert future.result(timeout=10) == {"status": "interrupted"}
    assert pool.submit({}).result() == {"status": "interrupted"}


def test_each_sweep_has_processes_of_its_own_and_leaves_none(scheduler, pool):
    with cluster.cluster_pool(scheduler.scheduler_address) as other:
        theirs = other.submit({}).result()["pid"]
        assert pool.submit({}).result()["pid"] != theirs
    assert not is_alive(theirs)
    assert pool.submit({}).result()["status"] == "completed"


def test_a_worker_that_comes_later_trains_as_well_and_takes_its_process_with_it(scheduler, pool):
    scheduler.scale(2)
    while pool.slots() < 2:
        time.sleep(0.01)
    futures = [pool.submit({"seconds": 1, "number": number}) for number in range(2)]
    processes = {future.result()["pid"] for future in futures}
    assert len(processes) == 2
    scheduler.scale(1)
    deadline = time.monotonic() + 10
    while sum(map(is_alive, processes)) == 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sum(map(is_alive, processes)) == 1


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
