"""``nflow evidence``: estimate log Z from draws of a posterior."""

from typing import Any

import click

from nflow_cli.backend.start import Machine
from nflow_cli.cli import completion
from nflow_cli.cli.options import Command, changes_of, key_options, run_options


@click.command("evidence", cls=Command, params=key_options("evidence"))
@click.argument(
    "draws",
    metavar="[DRAWS]...",
    nargs=-1,
    shell_complete=completion.files,
)
@run_options
@click.pass_obj
def evidence(
    argv: list[str],
    draws: tuple[str, ...],
    preset: str | None,
    assignments: tuple[str, ...],
    output: str | None,
    machine: Machine,
    **options: Any,
) -> None:
    """Estimate log Z, the evidence, from draws of a posterior and their log-density.

    DRAWS are the files of one or more chains: CSV, also as CmdStan writes it, Parquet, ArviZ's .nc,
    .npy or .npz. Four densities are fitted, each to the chains that it does not judge; log Z is the
    learned harmonic mean over the others. No code of the model is needed. The last line printed is
    the run directory.
    """
    from nflow_cli.config import overrides, preset_files, presets
    from nflow_cli.config.presets import Change
    from nflow_cli.experiments.evidence.data import load
    from nflow_cli.experiments.running import show, start

    if not draws and preset is None:
        raise click.UsageError("expected DRAWS, or --preset with some")
    named = []
    if draws:
        named = [
            Change("DRAWS", "data.name", draws[0]),
            Change("DRAWS", "data.others", list(draws[1:])),
        ]
    changes = [*map(presets.parse_assignment, assignments), *named]
    path = preset_files.find_preset(preset or "evidence")
    config = overrides.merged("evidence", path, [*changes, *changes_of("evidence", options)])
    show(start(config, path, output, load(config), machine=machine, argv=argv))
