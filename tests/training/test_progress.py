import re
import sys
import time
from types import SimpleNamespace

import pytest
from terminals import COLUMNS, terminal_of

from nflow_cli.terminal.output import silenced
from nflow_cli.terminal.progress import phase, progress_bar
from nflow_cli.training.observers import ProgressReport, nats_text


def test_80_columns_hold_the_bar_the_eta_and_the_figure(monkeypatch):
    for note in (
        "KL 0.01234 nats",
        "log-likelihood -17.385, validation -17.421 nats",
        "epoch 12, −ELBO 191.86 nats, validation 192.41",
    ):
        for steps in (400, 40_000, 1_000_000):
            last = terminal_of(monkeypatch)
            clock = SimpleNamespace(updates=[0])
            report = ProgressReport(steps, clock, lambda logs, note=note: note)
            report.begin()
            for batch in range(4):
                clock.updates.append((batch + 1) * steps // 4)
                report.after({})
            report.close()
            assert len(last()) <= COLUMNS
            assert re.fullmatch(rf"━+ {steps:,}/{steps:,} 0:00:00 {re.escape(note)}", last())
    counts = "120 of 240 done, 12 running, 0 failed, about 12 min left"  # of a sweep
    with progress_bar("{task.fields[counts]}") as bar:
        bar.add_task("", total=1.0, completed=0.5, counts=counts)
    assert re.fullmatch(rf"[━╸╺]+ {counts}", last())


def test_progress_is_plain_lines_where_there_is_no_terminal(capsys):
    clock = SimpleNamespace(updates=[0])
    asides = iter(["", ", best 0.4000 at 100"])
    report = ProgressReport(
        1000, clock, lambda logs: f"free energy {logs['kl']:.4f} nats", lambda: next(asides)
    )
    report.begin()
    for update in (50, 100, 150, 1000):
        clock.updates.append(update)
        report.after({"kl": 0.5})
    report.close()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "training: 100/1,000 updates, free energy 0.5000 nats",
        "training: 1,000/1,000 updates, free energy 0.5000 nats, best 0.4000 at 100",
    ]


def lines_of(capsys, times, steps, chunks, monkeypatch):
    """Return the plain lines of a training of chunks of 100 updates that end at these times."""
    times = iter(times)
    watch = SimpleNamespace(monotonic=lambda: float(next(times)))
    monkeypatch.setattr("nflow_cli.training.observers.time", watch)  # other threads have their own
    clock = SimpleNamespace(updates=[0])
    report = ProgressReport(steps, clock, lambda logs: "KL 0.5 nats")
    report.close()  # as one that never began may be
    report.bar = SimpleNamespace(disable=True, update=lambda *_, **__: None)
    report.task, report.shown_tenth = 0, None
    for chunk in range(chunks):
        clock.updates.append(100 * (chunk + 1))
        report.after({})
    return capsys.readouterr().err.splitlines()


def test_plain_lines_tell_how_long_it_takes_by_the_pace_after_the_chunk_that_compiles(
    monkeypatch, capsys
):
    """Ten chunks, of which the first compiles for 1,000 s."""
    for seconds, left in (
        (0.1, ["", "", ""]),
        (20.0, [", about 3 min left", ", about 60 s left", ""]),
    ):
        times = [1000.0 + seconds * chunk for chunk in range(10)]
        lines = lines_of(capsys, times, 1000, 10, monkeypatch)
        ends = {n: f"training: {n:,}/1,000 updates, KL 0.5 nats" for n in (200, 700, 1000)}
        found = {n: line for line in lines for n in ends if line.startswith(ends[n])}
        assert [found[n].removeprefix(ends[n]) for n in ends] == left


def test_the_first_plain_line_comes_within_ten_seconds_of_training(monkeypatch, capsys):
    first, second = lines_of(capsys, range(100), 100_000, 100, monkeypatch)
    assert first == "training: 1,100/100,000 updates, KL 0.5 nats, about 16 min left"
    assert second.startswith("training: 10,000/100,000")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "< 0.00001"),
        (-3e-6, "< 0.00001"),
        (0.000014, "0.00001"),
        (-0.000136, "-0.00014"),
        (0.0012345, "0.00123"),
        (0.012345, "0.01235"),
        (1.69304, "1.693"),
        (-17.38471, "-17.385"),
        (103.20545, "103.205"),
        (217592.1, "217,592.100"),
        (-99999878.407, "-99,999,878.407"),
        (683968888832.0, "6.840e+11"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
    ],
)
def test_a_figure_has_digits_that_say_something(value, text):
    assert nats_text(value) == text


def test_nothing_is_printed_where_it_is_silenced(monkeypatch):
    terminal_of(monkeypatch)
    monkeypatch.setattr("nflow_cli.terminal.progress.QUIET_SECONDS", 0.01)
    report = ProgressReport(10, SimpleNamespace(updates=[0, 10]), lambda logs: "KL")
    report.model = SimpleNamespace(stop_training=True)
    with silenced(), phase("sleeping"):
        report.begin()
        report.after({})
        report.end()
        report.close()
        time.sleep(0.1)
    assert sys.stderr.getvalue() == ""
