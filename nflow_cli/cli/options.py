"""Options shared by several commands; options of preset keys are generated from the schema."""

import functools
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

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
from nflow_cli.config import schema_options as config_options
from nflow_cli.config.keys import LENGTHS
from nflow_cli.config.schema_options import Items, KeyOption, options_of
from nflow_cli.constants import DPI, RUN
from nflow_cli.deadline import MAX_MINUTES, Deadline, deadline_in
from nflow_cli.errors import ConfigError
from nflow_cli.registry import subject_hint

if TYPE_CHECKING:  # which load schemas
    from nflow_cli.config.presets import Change
    from nflow_cli.experiments.run import Run

_Command = TypeVar("_Command", bound=Callable[..., Any] | click.Command)


class Decorator(Protocol):
    """Decorator of a command, or of its function."""

    def __call__(self, command: _Command, /) -> _Command:
        """Command with an option more."""
        ...


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

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read a number."""
        number = math.nan
        with suppress(ValueError):
            number = float(value)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return super().convert(number, param, ctx)


class Whole(click.IntRange):
    """A whole number in a range."""

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
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

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Find a name; of another, the nearest one or the command that it is of is said."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            hint = subject_hint(value, [str(choice) for choice in self.choices])
            self.fail(f"{error.message.removesuffix('.')}{hint}.", param, ctx)


class Output(click.Path):
    """A file to be written, whose name has one of some endings."""

    def __init__(self, *endings: str, allow_dash: bool = False):
        super().__init__(dir_okay=False, readable=False, allow_dash=allow_dash)
        self.endings = endings

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """Refuse another ending, and a folder."""
        is_stdout = self.allow_dash and value == "-"
        if not is_stdout and not value.lower().endswith(self.endings):
            expected = f"{', '.join(self.endings[:-1])} or {self.endings[-1]}"
            self.fail(f"{value!r}: expected a name that ends in {expected}", param, ctx)
        return super().convert(value, param, ctx)


FileNumber = tuple[int, int]  # device and inode
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


def _parsed_items(_: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> Items:
    """Items of the texts of an option, a list or a mapping, by its form, which help shows as its
    metavar; a callback of click.
    """
    try:
        return config_options.items_of(str(option.metavar), texts)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from None


def key_options(command: str) -> list[click.Parameter]:
    """Options that set preset keys."""
    return [_click_option(option) for option in options_of(command).values()]


def _click_option(option: KeyOption) -> click.Option:
    """Option of click for one that sets a key: a list, a choice, a flag, a number, or text."""
    flags = option.flags
    settings: dict[str, Any] = {}
    if option.form in config_options.LISTS or option.form in config_options.MAPPINGS:
        settings = {"multiple": True, "callback": _parsed_items}
        if option.form == config_options.PATTERN:
            settings["shell_complete"] = completion.flows
    elif "enum" in option.field:
        settings = {"type": Choice(option.field["enum"])}
    elif option.field["type"] == "boolean":
        flags = [f"{flag}/--no-{flag.removeprefix('--')}" for flag in flags]
        settings = {"default": None}
    elif option.field["type"] in ("integer", "number"):
        settings = {"type": _number_type(option.field)}
    elif config_options.FILE in option.form:
        settings = {"shell_complete": completion.names_or_files(option.field.get("examples", ()))}
    return click.Option(
        flags, help=option.about, show_default="preset", metavar=option.form or None, **settings
    )


def _number_type(field: Mapping[str, Any]) -> Whole | Number:
    """Type of an option whose key is a number, by the range in the JSON schema of the key."""
    numbers = Whole if field["type"] == "integer" else Number
    is_open = "exclusiveMinimum" in field
    least = field["exclusiveMinimum"] if is_open else field.get("minimum")
    return numbers(least, field.get("maximum"), min_open=is_open)


def table_option(text: str, form: str = "FILE") -> Decorator:
    """Decorator for ``--data``, a table."""
    return click.option("--data", required=True, metavar=form, help=text, type=FILE)


def refuse(*rules: tuple[object, str]) -> None:
    """Raise a usage error with the message of the first condition that holds; rules are pairs of a
    condition and its message.
    """
    for condition, message in rules:
        if condition:
            raise click.UsageError(message)


def expect_replaceable(
    option: str,
    outputs: Iterable[str | Path],
    run: "Run | None" = None,
    inputs: Iterable[str | None] = (),
) -> None:
    """Refuse outputs in place of inputs, of the data of ``run``, or of a file of any run, all of
    which would be lost.

    ``outputs``: files, or a folder to be filled.
    """
    from nflow_cli.experiments.recorded_data import sources_of

    protected: dict[FileNumber | None, str] = {}  # what each file is, in words
    if run is not None:
        protected |= {
            _file_number(path): f"a file of the run {run.path}" for path in run.path.rglob("*")
        }
        protected |= {
            _file_number(path): f"the data of the run {run.path}" for path in sources_of(run)
        }
    protected |= {_file_number(path): f"the input {path}" for path in inputs if path is not None}
    for path in outputs:
        file_number = _file_number(path)
        if file_number is None or str(path) == "-":
            continue
        role = protected.get(file_number) or _run_of_path(Path(path))
        if role:
            raise click.UsageError(
                f"{option}: expected a path that may be replaced. Received: {path}, {role}"
            )


def _file_number(path: str | Path) -> FileNumber | None:
    """Device and inode of a file, equal for all its names; None if there is no file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _run_of_path(path: Path) -> str | None:
    """Words for the run whose folder, or a file of it, a path is or links to; None if there is no
    such run.
    """
    from nflow_cli.runs.directory import CHECKPOINTS, PLOTS

    for place in (Path(os.path.abspath(path)), path.resolve()):
        folders = [place, place.parent]
        folders += [folder.parent for folder in folders if folder.name in (PLOTS, CHECKPOINTS)]
        for folder in folders:
            if (folder / RUN).is_file():
                return f"of the run {folder}"
    return None


def written_option(content: str, is_folder: bool = False) -> Decorator:
    """Decorator for ``-o``, a table to be written; or a folder of many, which is not checked."""
    text = f"A .csv or .parquet file for {content}; -: CSV on standard output."
    if not is_folder:
        return click.option("-o", "--output", required=True, metavar="FILE", help=text, type=TABLE)
    text += " Of many files, a folder."
    return click.option("-o", "--output", required=True, metavar="FILE|DIR", help=text, type=FILE)


def cells_run(run_dir: str) -> "Run":
    """Open a finished run of a density of cells."""
    from nflow_cli.experiments.run import Run

    run = Run.open(run_dir)
    if run.config.kind != "cells":
        raise click.UsageError("expected a run of `nflow fit` by cells, without --flow and --k")
    run.expect_trained()
    return run


density_option = click.option(
    "--density",
    metavar="FILE.py:FUNCTION",
    help="Log-density of an infer or evidence run; its file is executed.",
    type=FILE,
)


def device_name(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Check ``cpu``, ``gpu`` or ``gpu:N``; a callback of click."""
    if value is not None and value != GPU and not DEVICE.fullmatch(value):
        raise click.BadParameter(f"{value!r}: expected cpu, gpu or gpu:N, such as gpu:1")
    return value


def _thread_count(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """Read a number of threads, None of ``auto``; a callback of click."""
    if value is None or value.lower() == "auto":
        return None
    if not (value.isdecimal() and 1 <= int(value) <= MOST_THREADS):
        raise click.BadParameter(f"{value!r}: expected auto, or 1 to {MOST_THREADS:,}")
    return int(value)


FIRST_GPU = "gpu is the first GPU"  # in the help of --device


def named_device(text: str, default: str | None = None) -> Decorator:
    """Decorator for ``--device``."""
    return click.option(
        "--device",
        help=f"Device to compute on; {text}.",
        metavar="cpu|gpu|gpu:N",
        default=default,
        callback=device_name,
    )


def threads_option(default: str) -> Decorator:
    """Decorator for ``--threads``; ``default`` says what their number is by."""
    text = f"CPU threads. Default: auto, {default}."
    return click.option("--threads", metavar="N|auto", callback=_thread_count, help=text)


THREADS_BY_SIZE = "by the size of the model"  # the default number, in words


def device_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--device``; the command receives ``machine``."""

    @functools.wraps(command)
    def with_machine(*args: Any, device: str, threads: int | None = None, **options: Any) -> None:
        command(*args, machine=machine_of(device).of(threads), **options)

    return named_device(f"{FIRST_GPU}. Default: {CPU}", CPU)(with_machine)


def data_of_run(run: "Run", density: str | None, machine: Machine) -> Any:
    """Data of a run; of a run of `nflow infer`, with the text ``density`` of ``--density``, in
    place of them the function to approximate, as that text names it.
    """
    if density is None:
        return run.data
    if run.config.command not in ("fit-2d", "infer"):
        raise click.UsageError("--density: expected a run of `nflow infer`")
    start_tensorflow(machine)  # before a density, which is in operations of it
    from nflow_cli.inference.trial import subject_again

    return subject_again(run.config, density)


def preset_option(text: str) -> Decorator:
    """Decorator for ``--preset``."""
    complete = completion.presets
    return click.option("--preset", metavar="NAME|FILE", help=text, shell_complete=complete)


def output_option(text: str) -> Decorator:
    """Decorator for ``--output``, a folder."""
    return click.option("--output", metavar="DIR", help=text, type=FOLDER)


def assignments_option(text: str) -> Decorator:
    """Decorator for ``--set``."""
    return click.option("--set", "assignments", multiple=True, metavar="KEY.PATH=VALUE", help=text)


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of all training commands."""
    command = threads_option(THREADS_BY_SIZE)(command)
    command = device_option(command)
    command = output_option("A new or empty folder for the run.")(command)
    command = assignments_option("Set a key of the preset.")(command)
    return preset_option("A preset by name, or a YAML file.")(command)


# The command receives a ``deadline``.
minutes_option = click.option(
    "--minutes",
    "deadline",
    type=Number(0, MAX_MINUTES, min_open=True),
    callback=lambda _, __, minutes: deadline_in(minutes),
    help="Train for as many updates, or epochs, as the whole command can make in M minutes.",
    metavar="M",
)


def expect_one_length(deadline: Deadline | None, changes: Iterable["Change"]) -> None:
    """Refuse ``--minutes``, a ``deadline``, beside changes of the length of a training."""
    for change in changes:
        if deadline is not None and change.path in LENGTHS:
            raise click.UsageError(f"--minutes and {change.source}: expected one of the two")


def changes_of(command: str, options: Mapping[str, object]) -> list["Change"]:
    """Changes of a preset by the options of a command, as click has them, that are set."""
    from nflow_cli.config.presets import Change

    return [
        Change(option.flags[0], option.key, options[name])
        for name, option in options_of(command).items()
        if options[name] is not None
    ]
