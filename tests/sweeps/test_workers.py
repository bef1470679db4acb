"""Processes that do the runs of a sweep, here or on a Dask cluster: they only pretend to train."""

import json
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pretender
import pytest

from nflow_cli.errors import NflowError
from nflow_cli.sweeps import workers
from nflow_cli.sweeps.workers import ENVIRONMENT, Workers


@pytest.fixture(autouse=True)
def pretend(monkeypatch):
    monkeypatch.setattr(workers, "COMMAND", pretender.COMMAND)


@pytest.fixture
def several():
    several = Workers()
    yield several
    several.close()


@pytest.fixture(scope="module")
def scheduler():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(processes=False, silence_logs=50, **options) as started:
        yield started


@pytest.fixture(params=["here", "on a cluster"])
def another_pool(request):
    """Return a function that makes a pool of one process at once."""
    if request.param == "here":
        return lambda: workers.local_pool(1)
    address = request.getfixturevalue("scheduler").scheduler_address
    from nflow_cli.sweeps.cluster import cluster_pool

    return lambda: cluster_pool(address)


@pytest.fixture
def pool(another_pool):
    with another_pool() as pool:
        yield pool


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


def facts_of(pool, folder, *requests):
    """Return what processes of a pool, all asked at once, found of themselves."""
    notes = [folder / str(number) for number in range(len(requests))]
    asked = [pool.submit({"begun": str(n), **request}) for n, request in zip(notes, requests)]
    assert [future.result() for future in asked] == [{"status": "completed"}] * len(asked)
    return [json.loads(note.read_text()) for note in notes]


def test_a_pool_has_a_process_for_each_run_and_leaves_none(another_pool, tmp_path):
    with another_pool() as pool:
        assert pool.slots() == 1
        processes = {facts["pid"] for facts in facts_of(pool, tmp_path, {}, {})}
    assert len(processes - {os.getpid()}) == 2 and not any(map(is_alive, processes))


def test_an_interruption_reaches_what_trains_and_no_other_run_begins(pool, tmp_path):
    begun = tmp_path / "begun"
    future = pool.submit({"seconds": 60, "begun": str(begun)})
    wait_for(begun.exists)
    pool.interrupt(signal.SIGINT)
    assert future.result(timeout=10) == {"status": "interrupted"}
    assert pool.submit({}).result() == {"status": "interrupted"}


def test_a_sweep_that_ends_ends_its_own_processes_alone(another_pool, pool, tmp_path):
    begun = tmp_path / "begun"
    with another_pool() as other:
        other.interrupt(signal.SIGINT)
        assert other.submit({}).result() == {"status": "interrupted"}
        future = pool.submit({"seconds": 1, "begun": str(begun)})
        wait_for(begun.exists)
    assert future.result()["status"] == "completed"


def test_a_worker_that_comes_later_trains_as_well_and_takes_its_process_with_it(
    scheduler, tmp_path, monkeypatch
):
    from nflow_cli.sweeps.cluster import cluster_pool

    monkeypatch.setattr(workers, "END_SECONDS", 0.1)
    with cluster_pool(scheduler.scheduler_address) as pool:
        scheduler.scale(2)
        wait_for(lambda: pool.slots() == 2)
        notes = [tmp_path / str(number) for number in range(2)]
        for note in notes:
            pool.submit({"seconds": 60, "begun": str(note)})
        wait_for(lambda: all(note.is_file() and note.read_text() for note in notes))
        processes = [json.loads(note.read_text())["pid"] for note in notes]
        assert all(map(is_alive, processes))
        scheduler.scale(1)
        wait_for(lambda: sum(map(is_alive, processes)) == 1)
        pool.interrupt(signal.SIGINT)
        wait_for(lambda: not any(map(is_alive, processes)))


SLOW_TO_REFUSE = [pytest.param(address, marks=pytest.mark.slow) for address in ("x://y", "")]


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere", *SLOW_TO_REFUSE])
def test_a_scheduler_that_does_not_answer_is_one_line(address, monkeypatch):
    pytest.importorskip("distributed")
    from nflow_cli.sweeps import cluster

    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)
    with (
        pytest.raises(NflowError, match=f"--scheduler {address}: ") as caught,
        cluster.cluster_pool(address),
    ):
        pass
    assert len(str(caught.value).splitlines()) == 1


def test_without_dask_the_line_says_what_to_install(invoke, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "nflow_cli.sweeps.cluster", raising=False)
    result = invoke("sweep", "--preset", "u1-planar-k2", "--scheduler", "any")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "pip install '.[cluster]'" in result.stderr.splitlines()[-1]


def test_a_process_has_one_thread_and_fails_alone_where_it_dies(pool, tmp_path):
    answer = pool.submit({"exit": 7}).result()
    assert answer == {"status": "died", "message": "its process died (exit code 7)"}
    assert facts_of(pool, tmp_path, {})[0]["threads"] == "1"
    assert ENVIRONMENT["OMP_NUM_THREADS"] == "1"


def test_processes_at_the_same_time_have_gpus_of_their_own_or_share_them(tmp_path):
    with workers.local_pool(2, ["4", "GPU-7"]) as pool:
        for _ in range(2):
            both = facts_of(pool, tmp_path, *[{"seconds": 0.5}] * 2)
            assert {facts["gpu"] for facts in both} == {"4", "GPU-7"}
    with workers.local_pool(3, ["4"]) as pool:
        assert {facts["gpu"] for facts in facts_of(pool, tmp_path, {}, {}, {})} == {"4"}


def test_once_closed_no_process_is_left_and_no_run_begins(several, tmp_path):
    with ThreadPoolExecutor(1) as executor:
        begun = tmp_path / "begun"
        executor.submit(several.train, {"seconds": 60, "begun": str(begun)})
        wait_for(begun.exists)
        (process,) = several._processes
        process.send_signal(signal.SIGINT)  # the pretender takes no end of stdin for one
        several.close()
    assert process.poll() is not None
    assert several.train({}) == {"status": "interrupted"}


def test_a_process_that_does_not_end_is_killed(several, monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "END_SECONDS", 0.1)
    with ThreadPoolExecutor(1) as executor:
        begun = tmp_path / "begun"
        future = executor.submit(several.train, {"seconds": 60, "begun": str(begun)})
        wait_for(begun.exists)
        several.close()
        assert future.result(timeout=10) == {"status": "interrupted"}
