"""Every kind of run has all parts, with the names and arguments that ``run`` says."""

import inspect
from importlib import import_module
from pathlib import Path

import pytest
from trees import matching

from nflow_cli.experiments import run

FOLDER = Path(run.__file__).parent
KINDS = [path.parent.name for path in matching(FOLDER, "*/report.py")]
PARTS = {p.__name__.lower(): p for p in vars(run).values() if getattr(p, "_is_protocol", False)}
OPTIONAL = {"trial", "sampled"}  # of kinds with --minutes, and of tables


def fits(function, expected):
    """Return whether a function takes the arguments of a protocol's, and none beside them."""
    said = list(inspect.signature(function).parameters.values())
    count = len(inspect.signature(expected).parameters) - 1  # without self
    return len(said) >= count and all(one.default is not one.empty for one in said[count:])


@pytest.mark.parametrize("name", sorted(PARTS.keys() - {"protocol", "rundata"}))
@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_has_a_part_as_the_others_have_it(kind, name):
    found = import_module(f"nflow_cli.experiments.{kind}.{name}")
    expected = PARTS[name]
    assert not [one for one in expected.__annotations__ if not hasattr(found, one)]
    functions = {key: f for key, f in vars(expected).items() if inspect.isfunction(f)}
    named = [key for key in functions if not key.startswith("_") and key not in OPTIONAL]
    assert not [key for key in named if not fits(getattr(found, key), functions[key])]
