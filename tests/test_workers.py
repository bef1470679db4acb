"""What holds for worker processes whatever they train: here they only pretend to."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from nflow_cli import workers
from nflow_cli.errors import NflowError
from nflow_cli.workers import ENVIRONMENT, Workers

PRETENDER = """
import json, os, signal, sys, time

class Stop(Exception):
    pass

def stop(*_):
    raise Stop

signal.signal(signal.SIGINT, stop)
for line in sys.stdin:
    request = json.loads(line)
    if "exit" in request:
        os._exit(request["exit"])
    try:
        open(request["begun"], "w").close() if "begun" in request else None
        time.sleep(request.get("seconds", 0))
        threads = os.environ["OMP_NUM_THREADS"]
        answer = {"status": "completed", "pid": os.getpid(), "threads": threads}
    except Stop:
        answer = {"status": "interrupted"}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture(autouse=True)
def pretend(monkeypatch):
    monkeypatch.setattr(workers, "COMMAND", ("-c", PRETENDER))


@pytest.fixture
def several():
    several = Workers()
    yield several
    several.close()


def test_a_process_serves_one_run_after_the_other_on_one_thread(several):
    answers = [several.train({}) for _ in range(3)]
    assert {answer["status"] for answer in answers} == {"completed"}
    assert len({answer["pid"] for answer in answers}) == 1
    assert {answer["threads"] for answer in answers} == {ENVIRONMENT["OMP_NUM_THREADS"]} == {"1"}


def test_each_thread_has_a_process_of_its_own(several):
    with ThreadPoolExecutor(2) as executor:
        answers = list(executor.map(several.train, 2 * [{"seconds": 0.5}]))
    assert len({answer["pid"] for answer in answers}) == 2


def test_a_process_that_dies_fails_its_run_and_is_replaced(several):
    answer = several.train({"exit": 7})
    assert answer == {"status": "failed", "message": "its process died (exit code 7)"}
    assert several.train({})["status"] == "completed"


def test_a_process_is_replaced_before_it_takes_too_much_memory(several, monkeypatch):
    monkeypatch.setattr(workers, "RUNS_EACH", 2)
    first, second, third = (several.train({})["pid"] for _ in range(3))
    assert first == second != third


def test_an_interruption_reaches_those_that_train_and_no_other_run_begins(several, tmp_path):
    with ThreadPoolExecutor(1) as executor:
        begun = tmp_path / "begun"
        future = executor.submit(several.train, {"seconds": 60, "begun": str(begun)})
        while not begun.exists():
            time.sleep(0.01)
        several.interrupt(signal.SIGINT)
        assert future.result(timeout=10) == {"status": "interrupted"}
        assert several.train({}) == {"status": "interrupted"}


def test_a_closed_sweep_leaves_no_process_and_begins_no_run():
    assert workers.train("mine", {})["status"] == "completed"
    (process,) = (worker.process for worker in workers._workers["mine"]._workers.values())
    workers.interrupt("other", signal.SIGINT)
    assert workers.train("mine", {})["pid"] == process.pid
    for name in ("mine", "other", "never"):
        workers.close(name)
        assert workers.train(name, {}) == {"status": "interrupted"}
    assert process.poll() is not None


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


def test_a_local_pool_runs_as_many_as_it_has_slots():
    with workers.local_pool(3) as pool:
        assert pool.slots() == 3
        assert pool.executor.submit(workers.train, "here", {}).result()["status"] == "completed"
        pool.everywhere(workers.close, "here")


SLOW_TO_REFUSE = [pytest.param(address, marks=pytest.mark.slow) for address in ("x://y", "")]


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere", *SLOW_TO_REFUSE])
def test_a_scheduler_that_does_not_answer_is_one_line(address, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(workers, "CONNECT", 0.5)
    with (
        pytest.raises(NflowError, match=f"--scheduler {address}: ") as caught,
        workers.cluster_pool(address),
    ):
        pass
    assert len(str(caught.value).splitlines()) == 1


def test_without_dask_the_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(NflowError, match=r"nflow-cli\[cluster\]"), workers.cluster_pool("any"):
        pass
