"""Whenever a signal comes, the command says so and exits 128 and its number, or it was done."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from running import NFLOW, QUICK, run_nflow, typed_in_bash

from nflow_cli.errors import Interrupted
from nflow_cli.terminal.signals import DeferredSignals, RaisedSignals, interruption_line

LOST = "Exception ignored"  # what Python says of an exception in a finalizer


@pytest.fixture
def raised(monkeypatch):
    """Raise signals, that of a closed terminal even where the tests themselves outlast it."""
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    monkeypatch.setattr("nflow_cli.terminal.signals.NUMBERS", numbers)
    signals = RaisedSignals()
    before = [signal.getsignal(number) for number in numbers], sys.unraisablehook
    signals.start()
    yield signals
    signals.stop()
    assert ([signal.getsignal(number) for number in numbers], sys.unraisablehook) == before


class Stopped:
    """Gets a signal while it is finalized."""

    def __init__(self, number):
        self.number = number

    def __del__(self):
        os.kill(os.getpid(), self.number)
        for _ in range(1000):
            pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_falls_into_a_finalizer_is_not_lost(raised, capfd, number):
    stopped = Stopped(number)
    with pytest.raises(Interrupted) as caught:
        del stopped
        time.sleep(10)
    assert caught.value.number == number
    assert capfd.readouterr().err == ""


def test_another_exception_of_a_finalizer_is_told_as_before(raised):
    told = []

    class Wrong:
        def __del__(self):
            raise ValueError("of a library")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raised, "_hook", told.append)
        Wrong()
    assert [str(unraisable.exc_value) for unraisable in told] == ["of a library"]


def test_the_command_to_run_again_is_what_was_typed():
    typed = [b"fit", b"t.csv", b"--output", b"caf\xe9"]
    line = interruption_line(Interrupted(signal.SIGINT), list(map(os.fsdecode, typed)))
    assert typed_in_bash(line.removeprefix("nflow: interrupted; to run it again: ")) == typed


def test_when_it_is_over_no_signal_raises(raised):
    raised.over = True
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.01)


def test_a_first_signal_is_held_back_and_acted_on_once_at_the_end(raised):
    with pytest.raises(Interrupted), DeferredSignals() as held:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        assert held.received == signal.SIGTERM
    with pytest.raises(Interrupted) as caught, DeferredSignals() as held:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        assert held.received
        raise Interrupted(signal.SIGINT)
    assert caught.value.number == signal.SIGINT
    with DeferredSignals():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        raised.over = True


# Runs `nflow presets NAME` in forked processes, with a signal at the n-th line of Python each;
# prints how each ended.
MOMENTS = """
import json, os, random, signal, sys
from nflow_cli.cli import main
import nflow_cli.config.presets  # once, not in every process

def run(moment, out):
    os.dup2(out, 1), os.dup2(out, 2)
    left = moment

    def count(frame, *_):
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGTERM)
        return count

    def begin(frame, *_):  # with the first line of the command itself
        if frame.f_code is type(main).main.__code__:
            sys.settrace(count)
            return count(frame)

    sys.settrace(begin)
    main()

sys.argv = ["nflow", "presets", "smoke"]
rng, results = random.Random(0), []
for moment in sorted(rng.sample(range(1, 8_000), int(os.environ["MOMENTS"]))):
    out = os.open("out", os.O_CREAT | os.O_TRUNC | os.O_RDWR)
    if not (child := os.fork()):
        run(moment, out)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    results.append((moment, code, open("out").read()))
print(json.dumps(results))
"""


@pytest.mark.parametrize("count", [30, pytest.param(4_000, marks=pytest.mark.slow)])
def test_at_any_line_of_python_a_signal_ends_the_command_or_it_was_done(tmp_path, count):
    done = subprocess.run(
        [sys.executable, "-c", MOMENTS],
        cwd=tmp_path,
        env={**os.environ, "MOMENTS": str(count)},
        capture_output=True,
        text=True,
        check=True,
    )
    results = json.loads(done.stdout)
    line = "nflow: interrupted; to run it again: nflow presets smoke\n"
    for moment, code, text in results:
        assert code in (0, 143), (moment, code, text)
        assert text.count("interrupted") == (code == 143), (moment, text)
        assert text.endswith(line) or code == 0, (moment, text)
        assert "Traceback" not in text and LOST not in text, (moment, text)
    assert 143 in {code for _, code, _ in results}  # the last moments may not be among a few


# Gets a signal in the middle of a command.
MIDDLE = """
import os, signal, sys
from nflow_cli.cli import main
from pathlib import Path

def glob(*_, before=Path.glob):
    os.kill(os.getpid(), signal.SIGHUP)
    return before(*_)

Path.glob = glob
sys.argv = ["nflow", "presets", "smoke"]
main()
"""


@pytest.mark.parametrize(
    ("prefix", "code"), [([], 129), (["nohup"], 0)], ids=["terminal closed", "nohup"]
)
def test_a_closed_terminal_ends_what_is_not_to_outlast_it(prefix, code):
    command = [*prefix, sys.executable, "-c", MIDDLE]
    quiet = {"capture_output": True, "text": True, "timeout": 60}
    done = subprocess.run(
        command, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL), **quiet
    )
    line = "nflow: interrupted; to run it again: nflow presets smoke"
    assert (done.returncode, line in done.stderr) == (code, code == 129)
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_fit_that_gets_a_signal_at_any_moment_goes_on_or_was_done(tmp_path, number):
    rng, codes = random.Random(number), []
    started = time.monotonic()
    assert run_nflow(tmp_path, "fit-2d", *QUICK, "--output", "whole").returncode == 0
    whole = time.monotonic() - started
    for turn in range(20):
        process = subprocess.Popen(
            [NFLOW, "fit-2d", *QUICK, "--output", f"run-{turn}"],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        config = tmp_path / f"run-{turn}" / "config.yaml"
        while not config.exists():
            time.sleep(0.001)
        time.sleep(rng.uniform(0, whole))
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        codes.append(process.returncode)
        assert process.returncode in (0, 128 + number), errors
        assert "Traceback" not in errors and LOST not in errors
        if process.returncode:
            assert errors.splitlines()[-1].startswith("nflow: interrupted; to "), errors
            assert _finish(tmp_path, f"run-{turn}") == 0
        record = json.loads((config.parent / "run.json").read_text())
        assert record["status"] == "completed"
    print(codes)


def _finish(folder: Path, run: str) -> int:
    """Go on with a run, or begin it again where it had not begun."""
    begun = (folder / run / "run.json").exists()
    again = ["resume", run] if begun else ["fit-2d", *QUICK, "--output", run]
    return run_nflow(folder, *again).returncode
