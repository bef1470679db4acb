"""What is printed fits a terminal of 80 columns, and is a row a line elsewhere."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from types import SimpleNamespace

import pytest
from running import NFLOW
from written_runs import write_run, write_vae

from nflow_cli.terminal import output

COLUMNS = 80


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    stdout = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr(output, "sys", SimpleNamespace(stdout=stdout))


def in_terminal(folder, *args):
    """Run ``nflow`` in a terminal of 80 columns; return the lines that it prints."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    with subprocess.Popen([NFLOW, *map(str, args)], cwd=folder, env=env, **streams) as process:
        os.close(theirs)
        printed = b""
        try:
            while some := os.read(ours, 65536):
                printed += some
        except OSError:  # Linux says so where the other end is closed
            pass
    os.close(ours)
    assert process.returncode == 0, printed.decode()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed.decode()).splitlines()


def words_of(lines):
    return [word for line in lines for word in line.split()]


def test_a_text_goes_on_below_its_beginning_and_a_path_is_not_broken(terminal):
    text = " ".join(f"word{n}" for n in range(40))
    lines = output.hanging("name         ", text).split("\n")
    assert len(lines) > 1 and all(len(line) <= COLUMNS for line in lines)
    assert lines[0].startswith("name         word0 ")
    assert all(line.startswith(13 * " " + "word") for line in lines[1:])
    assert words_of(lines) == ["name", *text.split()]
    path = "/".join(["folder"] * 30)
    assert path in output.hanging("name ", f"a long text before {path}").split()
    assert output.table(["a", "b"], [["x", "y"]], keys=1) == "a  b\nx  y"  # what fits: one part


def test_what_is_no_terminal_has_lines_of_any_length():
    assert output.hanging("name ", 99 * "word ") == "name " + 99 * "word "
    header, *rows = output.table(["a", "b"], [["x", 200 * "y"], ["z", ""]], keys=1).split("\n")
    assert (header, rows) == ("a  b", ["x  " + 200 * "y", "z"])


ROWS = [
    ["mnist-sample (stochastic)", "planar,radial", str(k), *(f"{k}.{n}" for n in range(30))]
    for k in (2, 80)
]


def test_a_table_that_is_too_wide_is_printed_in_parts(terminal):
    header = ["data", "flow", "K", *(f"figure {n}" for n in range(30))]
    parts = [part.split("\n") for part in output.table(header, ROWS, keys=3).split("\n\n")]
    shown = []
    for part in parts:
        assert len(part) == 3 and all(len(line) <= COLUMNS for line in part)
        names, first, second = (re.split("  +", line) for line in part)
        assert names[:4] == ["#", "data", "flow", "K"]
        assert first[:4] == ["1", *ROWS[0][:3]] and second[:4] == ["2", *ROWS[1][:3]]
        shown += zip(names[4:], first[4:], second[4:], strict=True)
    assert shown == list(zip(header[3:], ROWS[0][3:], ROWS[1][3:], strict=True))


def test_a_cell_that_is_too_long_loses_its_middle(terminal):
    keys = ["/".join(["folder"] * 20) + f"/{n}.csv" for n in range(2)]
    rows = [[key, "planar", "8", 100 * "x" + str(n)] for n, key in enumerate(keys)]
    lines = output.table(["data", "flow", "K", "best run"], rows, keys=3).split("\n")
    assert all(len(line) <= COLUMNS for line in lines)
    for n, line in enumerate(lines[1:]):
        number, data, flow, k, run = re.split("  +", line)
        assert (number, flow, k) == (str(n + 1), "planar", "8")
        assert re.fullmatch(rf"folder/\S+…\S+/{n}\.csv", data) and re.fullmatch(rf"x+…x+{n}", run)


def test_no_terminal_is_too_narrow(terminal, monkeypatch):
    header = ["data", "flow", "K", *map(str, range(30))]
    for columns in (1, 10, 30):
        monkeypatch.setenv("COLUMNS", str(columns))
        text = output.table(header, ROWS, keys=3)
        assert all(cell in text.split() for cell in ROWS[0][3:])
        words = ["name", "a", "text", "of", "words"]
        assert output.hanging("name ", "a text of words").split() == words


def test_the_presets_fit_a_terminal_and_no_word_is_broken(tmp_path, invoke):
    lines = in_terminal(tmp_path, "presets")
    assert max(map(len, lines)) <= COLUMNS
    assert words_of(lines) == invoke("presets").stdout.split()


def test_a_comparison_fits_a_terminal(tmp_path, invoke):
    for k in (2, 8):
        for seed in (0, 10):
            name = f"u1,flow.k={k},train.learning_rate={k},seed={seed}"
            settings = {"train__learning_rate": float(k), "train__restarts": 20}
            write_run(tmp_path / "runs" / name, flow__k=k, seed=seed, **settings)
    write_vae(tmp_path / "runs" / "vae")
    runs = sorted((tmp_path / "runs").iterdir())
    lines = in_terminal(tmp_path, "compare", *runs)
    assert max(map(len, lines)) <= COLUMNS
    assert set(invoke("compare", *runs).output.split()) <= set(words_of(lines))
