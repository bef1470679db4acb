"""Options that set a key of a preset: what the schema says of it, and repeated lists."""

import inspect

import click
import pytest

import nflow_cli
from nflow_cli.cli import main
from nflow_cli.cli.options import changes_of
from nflow_cli.config.key_options import options_of
from nflow_cli.config.schema import SCHEMAS, CellsConfig

MODELS = {name: [model] for name, model in SCHEMAS.items()}
MODELS["fit"].append(CellsConfig)
COMMANDS = ("evidence", "fit", "fit-2d", "infer", "train-vae")
OPTIONS = [(command, name) for command in COMMANDS for name in options_of(command)]


def field_at(model, key):
    """Return the field at a dotted key of a schema's models; ``None`` where it has none."""
    *above, last = key.split(".")
    models = [model]
    for name in above:
        fields = [m.model_fields[name].annotation for m in models if name in m.model_fields]
        parts = [part for f in fields for part in [f, *getattr(f, "__args__", ())]]
        models = [part for part in parts if hasattr(part, "model_fields")]
    return next((m.model_fields[last] for m in models if last in m.model_fields), None)


def option_of(command, name):
    (option,) = [o for o in main.commands[command].params if o.name == name]
    return option


@pytest.mark.parametrize(("command", "name"), OPTIONS)
def test_the_help_of_an_option_is_the_description_of_its_key(command, name):
    key = options_of(command)[name].key
    fields = [field for model in MODELS[command] if (field := field_at(model, key))]
    assert fields
    for field in fields:
        about, _, of_null = field.description.partition(" Null: ")
        assert option_of(command, name).help == about and about.endswith(".")
        assert not of_null or of_null.endswith((".", "…"))


@pytest.mark.parametrize(("command", "name"), OPTIONS)
def test_help_says_that_the_preset_holds_without_an_option(command, name):
    option = option_of(command, name)
    assert "[default: (preset)" in option.get_help_record(click.Context(main.commands[command]))[1]


@pytest.mark.parametrize(
    ("function", "command"), [(nflow_cli.fit, "fit"), (nflow_cli.infer, "infer")]
)
def test_every_option_is_a_keyword_in_python(function, command):
    assert set(options_of(command)) <= set(inspect.signature(function).parameters)
    about = " ".join(inspect.getdoc(function).split())
    assert all(f"{name}: {one.about}" in about for name, one in options_of(command).items())


def given(line):
    """Return what a command line changes, by key."""
    command, *words = line.split()
    options = main.commands[command].make_context(command, words, resilient_parsing=False).params
    return {change.path: change.value for change in changes_of(command, options)}


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("fit t.csv --columns a,b --columns c", "data.columns", ["a", "b", "c"]),
        ("fit t.csv --discrete a,b:0.5 --discrete c", "data.discrete", {"a": 1, "b": 0.5, "c": 1}),
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
