"""Text from a stranger's files appears on the terminal and does nothing else to it."""

import json
import os
import re

import numpy as np
import pytest
from click.testing import CliRunner
from running import typed_in_bash
from short_runs import edit_json, without_pictures, without_programs

from nflow_cli.cli import main
from nflow_cli.errors import NflowError, one_line
from nflow_cli.text import command_line, printable

HOSTILE = "a\nnflow: error: forged\r\x1b[2J\x9b31m\u202egnp\u2028b\x7f.csv"
SHOWN = r"a\nnflow: error: forged\r\x1b[2J\x9b31m\u202egnp\u2028b\x7f.csv"
UNSHOWN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e]")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("points.csv, β ± 1 – 中文 😀 שלום می\u200cخواهم", None),
        (r"C:\new\table.csv", None),
        (HOSTILE, SHOWN),
        ("\x00\t\x0b\x1f", r"\x00\t\x0b\x1f"),
        ("\u2066\u2069\u061c\u200e", r"\u2066\u2069\u061c\u200e"),
        ("caf\udce9", r"caf\udce9"),
    ],
)
def test_only_what_does_something_to_a_terminal_is_escaped(text, shown):
    assert printable(text) == (text if shown is None else shown)
    assert printable(printable(text)) == printable(text)


@pytest.mark.parametrize(
    "word",
    [
        *("", "~", "a b", "it's", "$(true)`true`;\\", "café 中文"),
        *("new\nline", HOSTILE, r"C:\new's" + "\x7f", "\u2028"),
        *(os.fsdecode(b"caf\xe9"), os.fsdecode(b"\xe9e9 'x'\\")),  # names that are not UTF-8
    ],
)
def test_a_command_line_names_the_same_bytes_when_it_is_pasted(word):
    line = command_line(["nflow", "resume", word])
    assert printable(line) == line
    assert typed_in_bash(line) == [b"resume", os.fsencode(word)]


def test_an_error_is_one_line_whatever_it_is_about():
    assert one_line(NflowError(f"{HOSTILE}: damaged")) == (
        r"a nflow: error: forged \x1b[2J\x9b31m\u202egnp b\x7f.csv: damaged"
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a run on points in a file of a hostile name."""
    folder = tmp_path_factory.mktemp("hostile")
    points = folder / HOSTILE
    np.savetxt(points, np.random.default_rng(0).normal(size=(200, 2)), delimiter=",")
    settings = ["--k", "0", "--steps", "4", "--set", "train.chunk=2"]
    command = ["fit", points, *settings, "--output", folder / "run"]
    with without_pictures(), without_programs():
        done = CliRunner().invoke(main, list(map(str, command)))
    assert done.exit_code == 0, done.stderr
    assert_shown(done)
    return folder / "run"


def assert_shown(done):
    """Check that a command printed the name of the points, and none of what is in it."""
    printed = done.stdout + done.stderr
    assert not UNSHOWN.search(printed)
    assert not any(line.startswith("nflow: error: forged") for line in printed.splitlines())
    assert SHOWN in printed


@pytest.fixture
def copy(run, tmp_path):
    """Return a copy of the run, to be edited."""
    for path in run.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_data_that_are_no_longer_there(invoke, copy):
    data = json.loads((copy / "run.json").read_text())["data"]
    data |= {"path": "nowhere", "name": f"nowhere/{HOSTILE}"}
    edit_json(copy / "run.json", data=data, status="interrupted")
    for command in ("evaluate", "resume"):
        done = invoke(command, copy)
        assert done.exit_code == 1 and len(done.stderr.splitlines()) == 1
        assert not UNSHOWN.search(done.stderr) and "forged" in done.stderr


@pytest.mark.filterwarnings("error")
def test_commands_and_pictures_show_it(invoke, run):
    for command in ("compare", "evaluate"):
        assert_shown(invoke(command, run))
    done = invoke("plot", run, "--format", "svg")
    assert done.exit_code == 0, done.stderr
    assert not UNSHOWN.search(done.stdout)


def test_a_preset_is_printed(invoke, tmp_path):
    text = f"# {HOSTILE[2:]}\r\ncommand: fit-2d\n"
    (tmp_path / "mine.yaml").write_bytes(text.encode())
    assert invoke("presets", "mine.yaml").stdout == f"# {SHOWN[3:]}\ncommand: fit-2d\n"


def test_a_number_that_no_float_holds_is_one_line(invoke, copy):
    both = ("compare", "plot")
    for name, commands in (("run.json", (*both, "resume", "evaluate")), ("summary.json", both)):
        text = (copy / name).read_text()
        (copy / name).write_text(re.sub(r'(": )-?\d[^,\s]*', rf"\g<1>1{400 * '0'}", text, count=1))
        expected = f"{copy / name}: damaged: expected numbers of at most 300 digits"
        for command in commands:
            done = invoke(command, copy)
            assert (done.exit_code, done.stderr) == (1, f"nflow: error: {expected}\n"), name
        (copy / name).write_text(text)
