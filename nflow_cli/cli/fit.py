"""``nflow fit``: fit a density to the columns of a table."""

import math
import re
from collections.abc import Sequence
from typing import Any

import click

from nflow_cli import registry
from nflow_cli.backend import Machine
from nflow_cli.cli import completion
from nflow_cli.cli.options import THE_PRESETS, Command, common_options, flow_options

KEYS = {  # what each option sets in a preset
    "bounds": "data.bounds",
    "columns": "data.columns",
    "exclude": "data.exclude",
    "given": "data.given",
    "categorical": "data.categorical",
    "discrete": "data.discrete",
    "weights": "data.weights",
    "missing": "data.missing",
    "max_rows": "data.max_rows",
    "test": "data.test",
    "split": "data.split",
    "group": "data.group",
    "flow": "flow.pattern",
    "k": "flow.k",
    "steps": "train.steps",
    "epochs": "train.epochs",
    "batch_size": "train.batch_size",
    "learning_rate": "train.learning_rate",
    "ensemble": "train.ensemble",
    "seed": "seed",
}

_BETWEEN = re.compile("(=[^=:,]*:[^=:,]*),")  # two intervals


def names_of(_: Any, __: Any, value: str | None) -> list[str] | None:
    """Split ``a,b``; a backslash keeps a comma in a name."""
    if value is None:
        return None
    names = [name.replace("\0", ",").strip() for name in value.replace("\\,", "\0").split(",")]
    if not all(names):
        raise click.BadParameter(f"{value!r}: expected names with a comma between them")
    return names


def _unsettled(context: Any, option: Any, value: str | None) -> dict[str, None] | None:
    """Split ``a,b`` as the names of categories, whose levels the rows decide."""
    names = names_of(context, option, value)
    return None if names is None else dict.fromkeys(names)


def _steps(context: Any, option: Any, values: tuple[str, ...]) -> dict[str, float] | None:
    """Read ``NAME`` or ``NAME:STEP``, with a comma between several; a step is 1 if none is said."""
    steps: dict[str, float] = {}
    for text in [text for value in values for text in names_of(context, option, value) or ()]:
        name, _, step = text.rpartition(":") if ":" in text else (text, ":", "1")
        size = _end(step)
        if not name or size is None or not 0 < size < math.inf:
            raise click.BadParameter(f"{text!r}: expected NAME or NAME:STEP, such as price:0.01")
        if name in steps:
            raise click.BadParameter(f"{name!r} has a step already")
        steps[name] = size
    return steps or None


def intervals(_: Any, __: Any, values: tuple[str, ...]) -> dict[str, list[float | None]] | None:
    """Read each ``NAME=LOW:HIGH``, one of whose ends may be left out, with a comma between several.

    A comma in a name needs no backslash, as one stands behind an interval alone; it may have it.
    """
    bounds: dict[str, list[float | None]] = {}
    for text in [text for value in values for text in _BETWEEN.sub("\\1\0", value).split("\0")]:
        name, equals, interval = text.replace("\\,", ",").strip().rpartition("=")
        low, colon, high = interval.partition(":")
        ends = [_end(low), _end(high)]
        if not (name and equals and colon) or any(map(_is_nan, ends)):
            raise click.BadParameter(
                f"{text!r}: expected NAME=LOW:HIGH, such as price=0: or share=0:1"
            )
        if name in bounds:
            raise click.BadParameter(f"{name!r} has bounds already")
        bounds[name] = ends
    return bounds or None


def _end(text: str) -> float | None:
    """Read an end of an interval; ``None`` where there is none, NaN where it is no number."""
    try:
        return float(text) if text.strip() else None
    except ValueError:
        return math.nan


def _is_nan(end: float | None) -> bool:
    return end is not None and math.isnan(end)


@click.command("fit", cls=Command)
@click.argument(
    "table",
    metavar="[TABLE]",
    required=False,
    shell_complete=completion.names_or_files(list(registry.POINT_SETS)),
)
@click.option("--columns", metavar="NAME,…", callback=names_of, help="Only these columns.")
@click.option("--exclude", metavar="NAME,…", callback=names_of, help="All but these columns.")
@click.option(
    "--given",
    metavar="NAME,…",
    callback=names_of,
    help="Known of a row: the density is that of the other columns given these.",
)
@click.option(
    "--categorical",
    metavar="NAME,…",
    callback=_unsettled,
    help="Numbers that only tell rows apart, taken as levels; for flows, text too.",
)
@click.option(
    "--discrete",
    metavar="NAME[:STEP],…",
    multiple=True,
    callback=_steps,
    help="Whole numbers, or multiples of a step, such as price:0.01.",
)
@click.option("--weights", metavar="NAME", help="How much each row counts, 0 or more.")
@click.option(
    "--bounds",
    metavar="NAME=LOW:HIGH,…",
    multiple=True,
    callback=intervals,
    help="A column lies between these, such as price=0: or share=0:1.",
)
@click.option(
    "--missing",
    type=click.Choice(["model", "drop", "refuse"]),
    help="Rows that lack a value: gaps are modelled, unless there are flows. Default: the "
    "preset's.",
)
@click.option("--max-rows", type=click.IntRange(10, 10**7), help="So many rows, drawn at random.")
@click.option(
    "--test",
    metavar="FILE",
    help="Test rows; else a tenth of the rows are held out.",
    shell_complete=completion.files,
)
@click.option("--split", metavar="NAME", help="A column that says train, validation or test.")
@click.option("--group", metavar="NAME", help="Rows that are equal here stay together.")
@flow_options
@click.option("--steps", type=click.IntRange(1, 10**9), help=f"Updates. {THE_PRESETS}")
@click.option(
    "--epochs",
    type=click.FloatRange(0, 10**6, min_open=True),
    help="Passes over the training rows, in place of --steps.",
)
@click.option(
    "--ensemble",
    type=click.IntRange(1, 100),
    help="Networks that are trained side by side; the density is their mixture.",
)
@common_options("Rows per update.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print what each column is taken for, and all that is wrong; train nothing.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a dry run as one JSON object.")
@click.pass_obj
def fit(
    argv: list[str],
    table: str | None,
    preset: str | None,
    assignments: tuple[str, ...],
    output: str | None,
    machine: Machine,
    bounds: dict[str, list[float | None]] | None,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Fit a density to the columns of a table by maximum likelihood.

    TABLE is a .csv, .tsv, .parquet, .npy or .npz file, - for standard input, or a built-in set of
    points. It is fitted whole, by the preset `cells`: numbers, text, dates and gaps. With --flow or
    --k a stack of flows is fitted to its columns of numbers instead: without --preset by `table`,
    `table-conditional` with --given, `table-small` for few rows, `table-wide` for many columns, or
    `table-planar` for planar, radial and sylvester flows. The last line printed is the run
    directory.
    """
    from nflow_cli import experiments
    from nflow_cli.cli.options import changes_of, resolve_config
    from nflow_cli.config import presets
    from nflow_cli.config.naming import run_name
    from nflow_cli.config.table_schema import natural_preset
    from nflow_cli.experiments.run import begin

    if options["steps"] is not None and options["epochs"] is not None:
        raise click.UsageError("--steps and --epochs: one of the two says how long; give one")
    if table is None and preset is None:
        raise click.UsageError("expected TABLE, or --preset with one")
    if as_json and not dry_run:
        raise click.UsageError("--json: expected --dry-run with it")
    changes = [*_of_table(table, assignments), *changes_of({**options, "bounds": bounds}, KEYS)]
    for name, other in (("steps", "epochs"), ("epochs", "steps")):
        if options[name] is not None:  # it takes the place of the other
            changes.insert(0, presets.Change(f"--{name}", f"train.{other}", None))
    asked = [*map(presets.parse_assignment, assignments), *changes]
    flow = options["flow"] or ([] if presets.asks_for_flows(asked) else None)
    path = presets.find_preset(preset or natural_preset(flow))
    resolved = resolve_config("fit", path, assignments, changes)
    found = _dry_run(resolved) if dry_run else None
    data = experiments.of(resolved).data() if found is None else found.data
    if preset is None and flow is not None and data is not None:
        is_conditional = bool(resolved.data.given)
        name = natural_preset(flow, len(data.train), data.dim, is_conditional)
        if (natural := presets.find_preset(name)) != path:
            path, resolved = natural, resolve_config("fit", natural, assignments, changes)
    if found is None:
        begin(resolved, run_name(resolved, path), output, argv, machine, data)
    else:
        _say(found, resolved, argv, as_json)


def _dry_run(config: Any) -> Any:
    from nflow_cli.experiments.table.dry_run import dry_run

    return dry_run(config)


def _say(found: Any, config: Any, argv: list[str], as_json: bool) -> None:
    """Print a dry run, and end as the fit would."""
    from nflow_cli.experiments.run import settled
    from nflow_cli.experiments.table.dry_run import command_of, lines_of, record_of
    from nflow_cli.runs.json_text import json_text

    command = command_of(found, config.data, argv)
    if found.data is not None:
        config = settled(config, found.data)
    if as_json:
        click.echo(json_text(record_of(found, config, command)))
    else:
        click.echo("\n".join(lines_of(found, config, command)))
    if found.faults:
        raise SystemExit(1)


def _of_table(table: str | None, assignments: Sequence[str]) -> list[Any]:
    """Return what TABLE changes: the name, and no size that a preset gives a built-in set."""
    from nflow_cli.config.presets import Change, parse_assignment

    if table is None:
        return []
    is_sized = any(parse_assignment(text).path == "data.size" for text in assignments)
    is_set = table in registry.POINT_SETS
    size = [] if is_set or is_sized else [Change("TABLE", "data.size", None)]
    return [Change("TABLE", "data.name", table), *size]
