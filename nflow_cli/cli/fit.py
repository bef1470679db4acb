"""``nflow fit``: fit a density to the columns of a table."""

from collections.abc import Sequence
from typing import Any

import click

from nflow_cli import registry
from nflow_cli.backend.start import Machine
from nflow_cli.cli import completion
from nflow_cli.cli.options import (
    Command,
    changes_of,
    expect_one_length,
    key_options,
    minutes_option,
    run_options,
)
from nflow_cli.runs.json_text import json_text


@click.command("fit", cls=Command, params=key_options("fit"))
@click.argument(
    "table",
    metavar="[TABLE]",
    required=False,
    shell_complete=completion.names_or_files(list(registry.POINT_SETS)),
)
@run_options
@minutes_option
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the kind of each column and all errors; train nothing.",
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
    due: float | None,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Fit a density to the columns of a table by maximum likelihood.

    TABLE is a .csv, .tsv, .parquet, .npy, .npz or .nc file, - for standard input, or a built-in set
    of points. It is fitted whole, by the preset `cells`: numbers, text, dates and gaps. With --flow
    or --k a stack of flows is fitted instead to a table of plain numbers: without --preset by
    `flows`, or `flows-planar` for planar, radial and sylvester flows. The last line printed is the
    run directory.
    """
    from nflow_cli.config import overrides, preset_files, presets
    from nflow_cli.config.flow_sizes import in_place_of_other, natural_preset
    from nflow_cli.experiments.running import show, start
    from nflow_cli.experiments.table.data import load

    if options["steps"] is not None and options["epochs"] is not None:
        raise click.UsageError("--steps and --epochs: expected one of the two")
    if table is None and preset is None:
        raise click.UsageError("expected TABLE, or --preset with one")
    if as_json and not dry_run:
        raise click.UsageError("--json: expected --dry-run with it")
    assigned, said = [*map(presets.parse_assignment, assignments)], changes_of("fit", options)
    changes = [*assigned, *in_place_of_other(said), *_of_table(table, assigned), *said]
    expect_one_length(due, changes)
    path = preset_files.find_preset(preset or natural_preset(options["flow"], changes))
    resolved = overrides.merged("fit", path, changes)
    if dry_run:
        _dry_run(resolved, argv, as_json)
    else:
        how = {"machine": machine, "argv": argv, "due": due}
        show(start(resolved, path, output, load(resolved), **how))


def _dry_run(config: Any, argv: list[str], as_json: bool) -> None:
    from nflow_cli.experiments.running import settled
    from nflow_cli.experiments.table.dry_run import command_of, dry_run, lines_of, record_of

    found = dry_run(config)
    command = command_of(found, config.data, argv)
    if found.data is not None:
        config = settled(config, found.data)
    if as_json:
        click.echo(json_text(record_of(found, config, command)))
    else:
        click.echo("\n".join(lines_of(found, config, command)))
    if found.faults:
        raise SystemExit(1)


def _of_table(table: str | None, assigned: Sequence[Any]) -> list[Any]:
    from nflow_cli.config.presets import Change

    if table is None:
        return []
    is_sized = any(change.path == "data.size" for change in assigned)
    is_set = table in registry.POINT_SETS
    size = [] if is_set or is_sized else [Change("TABLE", "data.size", None)]
    return [Change("TABLE", "data.name", table), *size]
