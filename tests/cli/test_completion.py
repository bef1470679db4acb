"""What a shell completes, by Click and in shells that are there."""

import os
import shutil
import subprocess

import pytest
from click.shell_completion import BashComplete
from running import NFLOW

from nflow_cli import registry
from nflow_cli.cli import main
from nflow_cli.config import preset_files, presets

COMMANDS = {"evidence", "fit-2d", "fit", "infer", "train-vae"}
PRESETS = {name: presets.read_preset(path) for name, path in preset_files.shipped_presets().items()}


def completed(*words):
    """Return what the last of some words is completed to, and what is left to the shell."""
    items = BashComplete(main, {}, "nflow", "_NFLOW_COMPLETE").get_completions(
        list(words[:-1]), words[-1]
    )
    plain = [item.value for item in items if item.type == "plain"]
    return plain, {item.type for item in items} - {"plain"}


@pytest.mark.parametrize(
    ("words", "commands"),
    [
        (["presets"], None),
        (["sweep"], {"sweep"}),
        (["sweep", "--preset"], COMMANDS),
        *(([name, "--preset"], {name}) for name in sorted(COMMANDS)),
    ],
)
def test_presets_are_those_that_the_command_takes(words, commands):
    expected = [n for n, data in PRESETS.items() if commands is None or data["command"] in commands]
    assert sorted(completed(*words, "")[0]) == sorted(expected)
    assert completed(*words, "")[1] == {"file"}
    first = expected[0]
    assert completed(*words, first)[0] == sorted(n for n in expected if n.startswith(first))


def test_names_are_completed(tmp_path):
    assert completed("fit-2d", "--flow", "") == (list(registry.FLOWS), set())
    assert completed("train-vae", "--prior-flow", "planar,spline-c") == (
        ["planar,spline-coupling"],
        set(),
    )
    assert completed("fit-2d", "--target", "u")[0] == ["u1", "u2", "u3", "u4"]
    assert completed("fit", "two") == (["two-moons"], {"file"})
    assert completed("infer", "eight") == (["eight-schools"], {"file"})
    assert "resume" in completed("res")[0]


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Go to a folder with two runs, a sweep, and folders that are neither."""
    for name in ("outputs/2025-a", "outputs/2026-b", "outputs/mine/k=2", "mine"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "run.json").touch()
    (tmp_path / "outputs/mine/sweep.yaml").touch()
    (tmp_path / "outputs/2024").mkdir()
    (tmp_path / "outputs/$(date)").mkdir()
    (tmp_path / "outputs/$(date)/run.json").touch()
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize("command", ["check", "evaluate", "plot", "predict", "resume", "sample"])
def test_folders_of_runs_come_first(command):
    last_first = ["outputs/2026-b", "outputs/2025-a"]
    assert completed(command, "") == (["mine", *last_first], {"dir"})
    assert completed(command, "outputs/2") == (last_first, {"dir"})
    assert completed(command, "outputs/mine/") == (["outputs/mine/k=2"], {"dir"})
    assert completed(command, "nowhere/") == ([], {"dir"})


@pytest.mark.usefixtures("runs")
def test_sweeps_are_compared():
    for words in (["compare"], ["compare", "mine"]):
        assert completed(*words, "outputs/m")[0] == ["outputs/mine"]


def in_shell(shell, script):
    environment = {**os.environ, "PATH": f"{NFLOW.parent}{os.pathsep}{os.environ['PATH']}"}
    command = [shell, "--norc", "-c", script] if shell == "bash" else [shell, "-f", "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    return done.stdout.splitlines()


BASH = """
eval "$(_NFLOW_COMPLETE=bash_source nflow)"
complete -p nflow
COMP_WORDS=(nflow fit-2d --preset u1-planar-k); COMP_CWORD=3
_nflow_completion nflow 2>/dev/null  # compopt is for a key that was pressed
printf '%s\\n' "${COMPREPLY[@]}"
"""
# What zsh has only while a key is pressed says what it is told to offer.
ZSH = """
compdef() { print -r -- "$@" }
_path_files() { : }
_describe() { print -rl -- "${(@)${(P)3}%%:*}" }
eval "$(_NFLOW_COMPLETE=zsh_source nflow)"
words=(nflow fit-2d --preset u1-planar-k); CURRENT=4
_nflow_completion
"""


@pytest.mark.parametrize(("shell", "script"), [("bash", BASH), ("zsh", ZSH)])
def test_a_shell_completes(shell, script):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    registered, *offered = in_shell(shell, script)
    assert "_nflow_completion" in registered and registered.endswith("nflow")
    assert set(offered) == {name for name in PRESETS if name.startswith("u1-planar-k")}


def test_the_script_for_fish_is_there():
    done = subprocess.run(
        [NFLOW],
        env={**os.environ, "_NFLOW_COMPLETE": "fish_source"},
        capture_output=True,
        text=True,
    )
    assert "complete --no-files --command nflow" in done.stdout
