"""Phases that are named once they last, and bars where stderr is a terminal."""

import io
import itertools
import re
import sys
import time

from terminals import Terminal, terminal_of

from nflow_cli.terminal.output import tell
from nflow_cli.terminal.progress import Phase, phase, progress_bar, seconds_shown, shown


def test_a_line_is_printed_each_time_the_seconds_double_and_in_a_terminal_each_second(monkeypatch):
    monkeypatch.setattr("nflow_cli.terminal.progress.QUIET_SECONDS", 2.0)
    assert [*itertools.islice(seconds_shown(False), 6)] == [2, 10, 20, 40, 80, 160]
    assert [*itertools.islice(seconds_shown(True), 3)] == [2, 3, 4]


def test_a_long_phase_tells_its_seconds_or_the_time_left(monkeypatch):
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    unknown, counted = Phase("building the model", 0), Phase("predicting: 100 rows", 100)
    assert (str(unknown), str(counted)) == ("building the model", "predicting: 100 rows")
    now = 130.0
    counted.advance(30)
    assert str(unknown) == "building the model: 30 s"
    assert str(counted) == "predicting: 100 rows: 30 %, about 70 s left"
    counted.advance(70)
    assert str(counted) == "predicting: 100 rows: 30 s"


def test_a_phase_is_named_where_it_lasts_and_not_where_it_is_over_soon(monkeypatch, capsys):
    with phase("scoring: 3 draws"):
        pass
    monkeypatch.setattr("nflow_cli.terminal.progress.QUIET_SECONDS", 0.01)
    with phase("drawing pictures"):
        time.sleep(0.5)
    assert capsys.readouterr().err == "drawing pictures\n"


def test_phases_of_python_calls_are_hidden_but_in_a_terminal_or_where_asked_for(
    monkeypatch, capsys
):
    monkeypatch.setattr("nflow_cli.terminal.progress.QUIET_SECONDS", 0.01)
    for verbose, expected in ((None, ""), (False, ""), (True, "predicting\n")):
        with shown(verbose), phase("predicting"):
            time.sleep(0.2)
        assert capsys.readouterr().err == expected
    terminal_of(monkeypatch)
    with shown(None), phase("predicting"):
        time.sleep(0.2)
    assert "predicting" in sys.stderr.getvalue()


def test_the_innermost_phase_alone_is_named(monkeypatch, capsys):
    monkeypatch.setattr("nflow_cli.terminal.progress.QUIET_SECONDS", 0.1)
    with phase("building the model"), phase("fitting a map"):
        time.sleep(0.3)
    assert capsys.readouterr().err == "fitting a map\n"


def test_a_terminal_has_one_line_that_a_note_replaces_and_the_end_removes(monkeypatch):
    monkeypatch.setattr("nflow_cli.terminal.progress.QUIET_SECONDS", 0.1)
    terminal_of(monkeypatch)
    with phase("scoring: 3 draws"):
        time.sleep(0.4)
        tell("a note")
    assert sys.stderr.getvalue() == "\r\x1b[Kscoring: 3 draws\r\x1b[Ka note\n"


def printed(monkeypatch, stream, **environment):
    """Return what a bar of a sweep writes to stderr, and whether it is shown."""
    terminal_of(monkeypatch)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar("{task.fields[counts]}") as bar:
        bar.add_task("", total=1.0, completed=0.5, counts="1 of 2 done")
    return stream.getvalue(), not bar.disable


def test_a_terminal_has_colours_unless_no_color_is_set(monkeypatch):
    colour = re.compile(r"\x1b\[[\d;]*(3[0-7]|38;[\d;]*|9[0-7])m")
    text, is_shown = printed(monkeypatch, Terminal())
    assert is_shown and colour.search(text)
    text, is_shown = printed(monkeypatch, Terminal(), NO_COLOR="1")
    assert is_shown and "1 of 2 done" in text and not colour.search(text)


def test_what_is_no_terminal_and_a_dumb_one_have_no_bar_but_lines(monkeypatch):
    for environment in ({}, {"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}):
        assert printed(monkeypatch, io.StringIO(), **environment) == ("", False)
    assert printed(monkeypatch, Terminal(), TERM="dumb") == ("", False)
