"""Phases that are named once they last, and bars where stderr is a terminal."""

import io
import re
import sys
import time

from terminals import Terminal, terminal_of

from nflow_cli.terminal.progress import phase, progress_bar


def test_a_long_phase_prints_tenths_and_the_time_left(monkeypatch, capsys):
    now = iter([0.0, 1.0, 30.0, 31.0, 60.0, 100.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    with phase("predicting: 100 rows", 100) as advance:
        for count in (1, 29, 5, 25, 40):
            advance(count)
    printed = [line for line in capsys.readouterr().err.splitlines() if "%" in line]
    assert printed == [
        "predicting: 100 rows: 30 %, about 70 s left",
        "predicting: 100 rows: 60 %, about 40 s left",
    ]


def test_a_phase_is_named_where_it_lasts_and_not_where_it_is_over_soon(monkeypatch, capsys):
    with phase("scoring: 3 draws"):
        pass
    monkeypatch.setattr("nflow_cli.terminal.progress.QUIET_SECONDS", 0.01)
    with phase("drawing pictures"):
        time.sleep(0.5)
    assert capsys.readouterr().err == "drawing pictures\n"


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
