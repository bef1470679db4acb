"""Options: their help, the keys that they set, and what a shell completes."""

import inspect
import os
import re
import shlex
import shutil
import subprocess

import click
import pytest
from click.shell_completion import BashComplete
from documents import DOCUMENTS
from running import NFLOW

import nflow_cli
from nflow_cli import cli, registry
from nflow_cli.cli import main
from nflow_cli.cli.options import changes_of
from nflow_cli.config import presets
from nflow_cli.config.schema import preset_schemas, run_schemas
from nflow_cli.config.schema_options import options_of
from nflow_cli.config.table import CellsConfig

MODELS = {name: [model] for name, model in preset_schemas().items()}
MODELS["fit"].append(CellsConfig)
COMMANDS = sorted(run_schemas())
PRESETS = {name: presets.read_preset(path) for name, path in presets.shipped_presets().items()}


def field_at(model, key):
    """Return the field at a dotted key of a schema's models; ``None`` where it has none."""
    *above, last = key.split(".")
    models = [model]
    for name in above:
        fields = [m.model_fields[name].annotation for m in models if name in m.model_fields]
        parts = [part for f in fields for part in [f, *getattr(f, "__args__", ())]]
        models = [part for part in parts if hasattr(part, "model_fields")]
    return next((m.model_fields[last] for m in models if last in m.model_fields), None)


def test_every_command_and_every_option_has_help_that_fits_a_terminal(invoke, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for args in [(), *((name,) for name in cli.COMMANDS)]:
        result = invoke(*args, "--help")
        assert result.exit_code == 0
        lines = result.stdout.splitlines()
        assert lines[0].startswith(f"Usage: {' '.join(('nflow', *args))}")
        assert max(map(len, lines)) <= 80
        command = main.get_command(None, args[0]) if args else main
        assert command.help
        for option in command.params:
            assert option.param_type_name == "argument" or option.help, option.name


def test_the_first_help_has_an_example_a_line_and_the_version_is_printed(invoke):
    lines = invoke("--help").stdout.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  nflow ")] == 13 * ["nflow"]
    assert invoke("--version").stdout == f"nflow, version {nflow_cli.__version__}\n"


def test_the_readme_and_the_docs_name_every_command_and_every_option():
    """But those of keys, which the pages list where they are built."""
    text = "".join(DOCUMENTS.values())
    options = {
        name
        for command in cli.COMMANDS
        for option in main.get_command(None, command).params
        for name in option.opts
        if name.startswith("--") and option.name not in options_of(command)
    }
    wanted = {f"nflow {name}" for name in cli.COMMANDS} | options
    assert not {word for word in wanted if not re.search(rf"{re.escape(word)}\b", text)}


def test_presets_lists_each_with_its_description_and_prints_one(invoke):
    lines = invoke("presets").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [*PRESETS]
    for line, data in zip(lines, PRESETS.values()):
        assert line.split()[1] == data["command"]
        assert line.endswith(f" {data['description']}") and line.endswith(".")
    text = presets.shipped_presets()["multimodal-planar"].read_text(encoding="utf-8")
    assert invoke("presets", "multimodal-planar").stdout == text


def test_the_help_of_an_option_is_the_description_of_its_key():
    for command in COMMANDS:
        for name, known in options_of(command).items():
            fields = [f for model in MODELS[command] if (f := field_at(model, known.key))]
            entry = main.get_command(None, command)
            (option,) = [o for o in entry.params if o.name == name]
            assert fields, (command, name)
            for field in fields:
                about, _, of_null = field.description.partition(" Null: ")
                assert option.help == about and about.endswith("."), (command, name)
                assert not of_null or of_null.endswith((".", "…"))
            about = option.get_help_record(click.Context(entry))[1]
            assert "[default: (preset)" in about, (command, name)


@pytest.mark.parametrize(
    ("function", "command"), [(nflow_cli.fit, "fit"), (nflow_cli.infer, "infer")]
)
def test_every_option_is_a_keyword_in_python(function, command):
    assert set(options_of(command)) <= set(inspect.signature(function).parameters)
    about = " ".join(inspect.getdoc(function).split())
    assert all(f"{name}: {one.about}" in about for name, one in options_of(command).items())


def given(line):
    """Return what a command line changes, by key."""
    command, *words = shlex.split(line)
    options = main.get_command(None, command).make_context(command, words).params
    return {change.path: change.value for change in changes_of(command, options)}


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("fit t.csv --columns a,b --columns c", "data.columns", ["a", "b", "c"]),
        ("fit t.csv --discrete a,b:0.5 --discrete c", "data.discrete", {"a": 1, "b": 0.5, "c": 1}),
        (
            "fit t.csv --ordered 'size=small,very large' --ordered 'a\\,b=<=1,>1'",
            "data.ordered",
            {"size": ["small", "very large"], "a,b": ["<=1", ">1"]},
        ),
        ("fit t.csv --discrete time:utc:2,c:0.25", "data.discrete", {"time:utc": 2, "c": 0.25}),
        ("fit t.csv --categorical 'name\\, or not'", "data.categorical", ["name, or not"]),
        ("fit t.csv --na -999,n.b. --na age=-1", "data.na", ["-999", "n.b.", "age=-1"]),
        ("fit t.csv --given a,b", "data.given", ["a", "b"]),
        (
            "fit t.csv --date 'a=%b %d, %Y,b c=%H:%M' --date d=%d.%m.%y",
            "data.date",
            {"a": "%b %d, %Y", "b c": "%H:%M", "d": "%d.%m.%y"},
        ),
        ("fit t.csv --weights w", "data.weights", "w"),
        ("fit t.csv --bounds a=0:,b=:1 --bounds c=:", "data.bounds", "a=0: b=:1 c=:"),
        ("infer funnel --bounds a=0:,b=:1 --bounds c=:", "density.bounds", "a=0: b=:1 c=:"),
        ("infer f.py --names a,b --names c", "density.names", ["a", "b", "c"]),
        ("fit-2d --flow planar,radial --flow affine", "flow.pattern", "planar radial affine"),
        ("fit-2d --target U1", "target", "u1"),
        ("train-vae --flows 16", "flow.k", 16),
        ("train-vae --k 16", "flow.k", 16),
        ("train-vae --no-fallback", "data.fallback", False),
        ("infer funnel --no-compile", "train.compile", False),
        ("fit-2d --anneal 0.5", "train.annealing.share", 0.5),
    ],
)
def test_lists_take_commas_and_repetition_and_others_one_value(line, key, value):
    ends = {"a=0:": ("a", [0, None]), "b=:1": ("b", [None, 1]), "c=:": ("c", [None, None])}
    if isinstance(value, str) and " " in value:
        words = value.split()
        value = dict(ends[word] for word in words) if words[0] in ends else words
    assert given(line) == {key: value}


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
        (["sweep", "--preset"], set(COMMANDS)),
        *(([name, "--preset"], {name}) for name in COMMANDS),
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
