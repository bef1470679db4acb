"""Shell completion of presets, flows and runs; loads nothing heavy.

The shell itself completes the names of files and folders, of parameters that are paths.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from glob import escape, glob
from os.path import dirname

from click import Context, Parameter
from click.shell_completion import CompletionItem

from nflow_cli import registry
from nflow_cli.config.schema_options import shipped_presets
from nflow_cli.constants import RUN, SWEEP

Items = list["CompletionItem[str]"]  # a class without parameters in click 8.2
OUTPUTS = "outputs/"  # default folder of runs
MOST_FOLDERS = 200
# A shell inserts completions unquoted: no untrusted names with special characters.
PLAIN = re.compile(r"[\w.,=+@%/-]+")


def names_or_files(names: Sequence[str]) -> Callable[[Context, Parameter, str], Items]:
    """Completer of names or files."""

    def complete(_: Context, __: Parameter, incomplete: str) -> Items:
        known = [CompletionItem(name) for name in names if name.startswith(incomplete)]
        return [CompletionItem(incomplete, type="file"), *known]

    return complete


def presets(context: Context, parameter: Parameter, incomplete: str) -> Items:
    """Presets of the command, with descriptions, or files."""
    command = context.command.name
    items = [CompletionItem(incomplete, type="file")]
    for name, path in shipped_presets().items():
        text = path.read_text(encoding="utf-8")
        preset_command = _value(text, "command")
        if command == "sweep":  # SWEEP, or --preset to vary
            fits = (preset_command == "sweep") == (parameter.name == "sweep")
        else:
            fits = command in ("presets", preset_command)
        if fits and name.startswith(incomplete):
            items.append(CompletionItem(name, help=_value(text, "description")))
    return items


def _value(preset: str, key: str) -> str:
    """Text at a key of a shipped preset, by a regular expression: YAML is slower."""
    match = re.search(rf"^{key}: *(.*?) *(#.*)?$", preset, re.MULTILINE)
    return match[1] if match else ""


def flows(_: Context, __: Parameter, incomplete: str) -> Items:
    """The last flow of a comma-separated list."""
    before, comma, last = incomplete.rpartition(",")
    names = (name for name in registry.FLOWS if name.startswith(last))
    return [CompletionItem(f"{before}{comma}{name}") for name in names]


def folders_with(names: Sequence[str], _: Context, __: Parameter, incomplete: str) -> Items:
    """Folders with a file of one of these names, the newest first, or another folder."""
    head = incomplete[: incomplete.rfind("/") + 1]
    places = (head,) if head else ("", OUTPUTS)
    paths: list[str] = []
    for place in places:
        folders = {dirname(file) for name in names for file in glob(f"{escape(place)}*/{name}")}
        paths += sorted(folders, reverse=True)  # the names of runs begin with a date
    begun = [path for path in paths if path.startswith(incomplete) and PLAIN.fullmatch(path)]
    return [CompletionItem(incomplete, type="dir"), *map(CompletionItem, begun[:MOST_FOLDERS])]


runs = partial(folders_with, (RUN,))
runs_and_sweeps = partial(folders_with, (RUN, SWEEP))
