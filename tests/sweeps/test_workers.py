"""What holds for worker processes whatever they train: here they only pretend to."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pretender
import pytest

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


def test_each_run_has_a_process_of_its_own_on_one_thread(several):
    answers = [several.train({}) for _ in range(3)]
    assert {answer["status"] for answer in answers} == {"completed"}
    assert len({answer["pid"] for answer in answers}) == 3
    assert {answer["threads"] for answer in answers} == {ENVIRONMENT["OMP_NUM_THREADS"]} == {"1"}


def test_processes_at_the_same_time_have_gpus_of_their_own():
    with workers.local_pool(2, ["4", "GPU-7"]) as pool:
        for _ in range(2):
            asked = [pool.submit({"seconds": 0.5}) for _ in range(2)]
            assert {future.result()["gpu"] for future in asked} == {"4", "GPU-7"}


def test_more_processes_than_gpus_share_them():
    with workers.local_pool(3, ["4"]) as pool:
        assert {pool.submit({}).result()["gpu"] for _ in range(3)} == {"4"}


def test_a_process_that_dies_fails_its_run_alone(several):
    answer = several.train({"exit": 7})
    assert answer == {"status": "died", "message": "its process died (exit code 7)"}
    assert several.train({})["status"] == "completed"


def test_an_interruption_reaches_those_that_train_and_no_other_run_begins(several, tmp_path):
    with ThreadPoolExecutor(1) as executor:
        begun = tmp_path / "begun"
        future = executor.submit(several.train, {"seconds": 60, "begun": str(begun)})
        while not begun.exists():
            time.sleep(0.01)
        several.interrupt(signal.SIGINT)
        assert future.result(timeout=10) == {"status": "interrupted"}
        assert several.train({}) == {"status": "interrupted"}


def test_once_closed_no_process_is_left_and_no_run_begins(several, tmp_path):
    with ThreadPoolExecutor(1) as executor:
        begun = tmp_path / "begun"
        executor.submit(several.train, {"seconds": 60, "begun": str(begun)})
        while not begun.exists():
            time.sleep(0.01)
        (process,) = several._processes
        process.send_signal(signal.SIGINT)  # the pretender takes no end of stdin for one
        several.close()
    assert process.poll() is not None
    assert several.train({}) == {"status": "interrupted"}


def test_an_interruption_is_no_matter_of_another_sweep(several):
    other = Workers()
    assert several.train({})["status"] == "completed"
    other.interrupt(signal.SIGINT)
    assert other.train({}) == {"status": "interrupted"}
    assert several.train({})["status"] == "completed"


def test_a_process_that_does_not_end_is_killed(several, monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "PATIENCE", 0.1)
    begun = tmp_path / "begun"
    request = {"seconds": 60, "begun": str(begun)}
    thread = threading.Thread(target=several.train, args=(request,))
    thread.start()
    while not begun.exists():
        time.sleep(0.01)
    several.close()
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_a_local_pool_runs_as_many_as_it_has_slots_and_leaves_no_process():
    with workers.local_pool(3) as pool:
        assert pool.slots() == 3
        answer = pool.submit({}).result()
        assert answer["status"] == "completed"
    with pytest.raises(ProcessLookupError):
        os.kill(answer["pid"], 0)


def test_an_interrupted_local_pool_begins_no_run():
    with workers.local_pool(1) as pool:
        pool.interrupt(signal.SIGINT)
        assert pool.submit({}).result() == {"status": "interrupted"}
