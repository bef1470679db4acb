"""Options shared by several commands; options of preset keys are generated from the schema."""

import functools
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from nflow_cli.arguments import MAX_SEED
from nflow_cli.backend.start import (
    CPU,
    DEVICE,
    GPU,
    MOST_THREADS,
    Machine,
    machine_of,
    start_tensorflow,
)
from nflow_cli.cli import completion
from nflow_cli.config import options as config_options
from nflow_cli.config.keys import LENGTHS
from nflow_cli.config.options import KeyOption, options_of
from nflow_cli.constants import DPI, RUN
from nflow_cli.deadline import MAX_MINUTES, Deadline, deadline_in
from nflow_cli.errors import ConfigError
from nflow_cli.registry import subject_hint


class Command(click.Command):
    """Command that refuses empty arguments, such as an unset shell variable."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse empty arguments."""
        rest = super().parse_args(ctx, args)
        for parameter in self.get_params(ctx):
            value = ctx.params.get(parameter.name or "")
            if value == "" or (isinstance(value, tuple) and "" in value):
                raise click.BadParameter("expected a value. Received: ''", ctx, parameter)
        return rest


class Number(click.FloatRange):
    """A number in a range; NaN, which passes every range of click, is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read a number."""
        number = math.nan
        with suppress(ValueError):
            number = float(value)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return super().convert(value, param, ctx)


class Whole(click.IntRange):
    """A whole number in a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read a whole number."""
        try:
            number = int(value)
        except ValueError:
            self.fail(f"{value!r} is not a whole number.", param, ctx)
        return super().convert(number, param, ctx)


class Choice(click.Choice):
    """One of some names, in capitals or not."""

    def __init__(self, names: Sequence[str]):
        super().__init__(names, case_sensitive=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Find a name; of another, the nearest one or the command that it is of is said."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            hint = subject_hint(value, [*map(str, self.choices)])
            self.fail(f"{error.message.removesuffix('.')}{hint}.", param, ctx)


class Output(click.Path):
    """A file to be written, whose name has one of some endings."""

    def __init__(self, *endings: str, allow_dash: bool = False):
        super().__init__(dir_okay=False, readable=False, allow_dash=allow_dash)
        self.endings = endings

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse another ending, and a folder."""
        if not value.lower().endswith(self.endings) and not (self.allow_dash and value == "-"):
            *some, last = self.endings
            expected = f"{', '.join(some)} or {last}"
            self.fail(f"{value!r}: expected a name that ends in {expected}", param, ctx)
        return super().convert(value, param, ctx)


FILE = click.Path(readable=False)  # unreadable files are reported where they are read
FOLDER = click.Path(file_okay=False, readable=False)
TABLE = Output(".csv", ".parquet", allow_dash=True)
PROBABILITY = Number(0, 1, min_open=True, max_open=True)
run_argument = click.argument("run_dir", metavar="RUN_DIR", shell_complete=completion.runs)
seeds = Whole(0, MAX_SEED)
picture_formats = click.Choice(["png", "svg", "pdf"])
dpi_option = click.option(
    "--dpi",
    type=Whole(30, 600),
    default=DPI,
    show_default=True,
    help="Dots per inch, also of images inside .svg and .pdf.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def _items(_: Any, option: click.Parameter, texts: tuple[str, ...]) -> Any:
    try:
        return config_options.items_of(str(option.metavar), texts)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from None


def key_options(command: str) -> list[click.Parameter]:
    """Options that set preset keys."""
    return [_option_of(option) for option in options_of(command).values()]


def _option_of(option: KeyOption) -> click.Option:
    flags, field, form = option.flags, option.field, option.form
    more: dict[str, Any] = {}
    if form in config_options.LISTS:
        more = {"multiple": True, "callback": _items}
        if form == config_options.PATTERN:
            more["shell_complete"] = completion.flows
    elif "enum" in field:
        more = {"type": Choice(field["enum"])}
    elif field["type"] == "boolean":
        flags = [f"{flag}/--no-{flag.removeprefix('--')}" for flag in flags]
        more = {"default": None}
    elif field["type"] in ("integer", "number"):
        kind = Whole if field["type"] == "integer" else Number
        low, high, above = map(field.get, ("minimum", "maximum", "exclusiveMinimum"))
        more = {"type": kind(above if low is None else low, high, min_open=above is not None)}
    elif config_options.FILE in form:
        more = {"shell_complete": completion.names_or_files(field.get("examples", ()))}
    about = {"help": option.about, "show_default": "preset", "metavar": form or None}
    return click.Option(flags, **about, **more)


def table_option(text: str, form: str = "FILE") -> Any:
    """Decorator for ``--data``, a table."""
    return click.option("--data", required=True, metavar=form, help=text, type=FILE)


def refuse(*rules: tuple[Any, str]) -> None:
    """Usage error with the message of the first condition that holds."""
    for is_so, words in rules:
        if is_so:
            raise click.UsageError(words)


def expect_replaceable(
    option: str, outputs: Iterable[str | Path], run: Any = None, inputs: Iterable[str | None] = ()
) -> None:
    """Refuse outputs in place of inputs, of the data of ``run``, or of a file of any run, all of
    which would be lost.

    ``outputs``: files, or a folder to be filled.
    """
    from nflow_cli.experiments.recorded_data import sources_of

    kept: dict[Any, str] = {}
    if run is not None:
        kept |= {_identity(path): f"a file of the run {run.path}" for path in run.path.rglob("*")}
        kept |= {_identity(path): f"the data of the run {run.path}" for path in sources_of(run)}
    kept |= {_identity(path): f"the input {path}" for path in inputs if path is not None}
    for path in outputs:
        if (found := _identity(path)) is None or str(path) == "-":
            continue
        if what := kept.get(found) or _run_around(Path(path)):
            raise click.UsageError(
                f"{option}: expected a path that may be replaced. Received: {path}, {what}"
            )


def _identity(path: str | Path) -> tuple[int, int] | None:
    """Device and number of a file, by any of its names; ``None`` if there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _run_around(path: Path) -> str | None:
    """The run, if any, whose folder, or a file of it, a path is, or links to."""
    from nflow_cli.runs.directory import CHECKPOINTS, PLOTS

    for place in (Path(os.path.abspath(path)), path.resolve()):
        folders = [place, place.parent]
        folders += [folder.parent for folder in folders if folder.name in (PLOTS, CHECKPOINTS)]
        for folder in folders:
            if (folder / RUN).is_file():
                return f"of the run {folder}"
    return None


def written_option(content: str, is_folder: bool = False) -> Any:
    """Decorator for ``-o``, a table to be written; or a folder of many, which is not checked."""
    text = f"A .csv or .parquet file for {content}; -: CSV on standard output."
    return click.option(
        "-o",
        "--output",
        required=True,
        metavar="FILE|DIR" if is_folder else "FILE",
        help=text + (" Of many files, a folder." if is_folder else ""),
        type=FILE if is_folder else TABLE,
    )


def cells_run(run_dir: str) -> Any:
    """Open a finished run of a density of cells."""
    from nflow_cli.experiments.run import Run

    run = Run.open(run_dir)
    if run.config.kind != "table" or run.config.is_of_flows:
        raise click.UsageError("expected a run of `nflow fit` by cells, without --flow and --k")
    run.expect_trained()
    return run


density_option = click.option(
    "--density",
    metavar="FILE.py:FUNCTION",
    help="Log-density of an infer or evidence run; its file is executed.",
    type=FILE,
)


def device_name(_: Any, __: Any, value: str | None) -> str | None:
    """Read ``cpu``, ``gpu`` or ``gpu:N``."""
    if value is not None and value != GPU and not DEVICE.fullmatch(value):
        raise click.BadParameter(f"{value!r}: expected cpu, gpu or gpu:N, such as gpu:1")
    return value


def _threads(_: Any, __: Any, value: str | None) -> int | None:
    if value is None or value.lower() == "auto":
        return None
    if not (value.isdecimal() and 1 <= int(value) <= MOST_THREADS):
        raise click.BadParameter(f"{value!r}: expected auto, or 1 to {MOST_THREADS:,}")
    return int(value)


FIRST = "gpu is the first GPU"


def named_device(text: str, usual: str | None = None) -> Callable[[Any], Any]:
    """Decorator for ``--device``."""
    form: Any = {"metavar": "cpu|gpu|gpu:N", "default": usual, "callback": device_name}
    return click.option("--device", help=f"Device to compute on; {text}.", **form)


def threads_option(usual: str) -> Callable[[Any], Any]:
    """Decorator for ``--threads``."""
    text = f"CPU threads. Default: auto, {usual}."
    return click.option("--threads", metavar="N|auto", callback=_threads, help=text)


BY_SIZE = "by the size of the model"  # how many threads


def device_option(command: Any) -> Any:
    """Add ``--device``; the command receives ``machine``."""

    @functools.wraps(command)
    def with_machine(*args: Any, device: str, threads: int | None = None, **options: Any) -> Any:
        return command(*args, machine=machine_of(device).of(threads), **options)

    return named_device(f"{FIRST}. Default: {CPU}", CPU)(with_machine)


def data_of_run(run: Any, density: str | None, machine: Machine) -> Any:
    """Data of a run, or the function of ``--density``."""
    if density is None:
        return run.data
    if run.config.kind != "reverse_kl":
        raise click.UsageError("--density: expected a run of `nflow infer`")
    start_tensorflow(machine)  # before a density, which is in operations of it
    from nflow_cli.experiments.reverse_kl.trial import subject_again

    return subject_again(run.config, density)


def preset_option(text: str) -> Any:
    """Decorator for ``--preset``."""
    complete = completion.presets
    return click.option("--preset", metavar="NAME|FILE", help=text, shell_complete=complete)


def output_option(text: str) -> Any:
    """Decorator for ``--output``, a folder."""
    return click.option("--output", metavar="DIR", help=text, type=FOLDER)


def assignments_option(text: str) -> Any:
    """Decorator for ``--set``."""
    return click.option("--set", "assignments", multiple=True, metavar="KEY.PATH=VALUE", help=text)


def run_options(command: Any) -> Any:
    """Add the options of all training commands."""
    for add in (
        threads_option(BY_SIZE),
        device_option,
        output_option("A new or empty folder for the run."),
        assignments_option("Set a key of the preset."),
        preset_option("A preset by name, or a YAML file."),
    ):
        command = add(command)
    return command


# The command receives a ``deadline``.
minutes_option = click.option(
    "--minutes",
    "deadline",
    type=Number(0, MAX_MINUTES, min_open=True),
    callback=lambda _, __, minutes: deadline_in(minutes),
    help="Train for as many updates, or epochs, as the whole command can make in M minutes.",
    metavar="M",
)


def expect_one_length(deadline: Deadline | None, changes: Iterable[Any]) -> None:
    """Refuse ``--minutes`` beside changes of the length of a training."""
    for change in changes:
        if deadline is not None and change.path in LENGTHS:
            raise click.UsageError(f"--minutes and {change.source}: expected one of the two")


def changes_of(command: str, options: Mapping[str, Any]) -> list[Any]:
    """Preset changes of a command's options."""
    from nflow_cli.config.presets import Change

    return [
        Change(option.flags[0], option.key, value)
        for name, option in options_of(command).items()
        if (value := options[name]) is not None
    ]
