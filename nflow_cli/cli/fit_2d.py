"""``nflow fit-2d``: fit a flow stack to a 2-D density or to points."""

from pathlib import Path
from typing import Any

import click

from nflow_cli import registry
from nflow_cli.backend import Machine
from nflow_cli.cli import completion
from nflow_cli.cli.options import THE_PRESETS, Command, common_options, flow_options
from nflow_cli.layout import tell
from nflow_cli.text import command_line

KEYS = {  # what each option sets in a preset
    "data": "data",
    "target": "target",
    "flow": "flow.pattern",
    "k": "flow.k",
    "steps": "train.steps",
    "batch_size": "train.batch_size",
    "learning_rate": "train.learning_rate",
    "restarts": "train.restarts",
    "halving": "train.halving",
    "seed": "seed",
}


@click.command("fit-2d", cls=Command)
@flow_options
@click.option(
    "--target",
    type=click.Choice(
        [n for n in registry.TARGETS if n not in ("mixture", "ring")], case_sensitive=False
    ),
    help="The density to fit. Default: the preset's, or the flow's natural one.",
)
@click.option(
    "--data",
    metavar="NAME|FILE",
    help="Points to fit instead, a built-in set or a file: `nflow fit` takes its place.",
    shell_complete=completion.names_or_files(list(registry.POINT_SETS)),
)
@click.option("--steps", type=click.IntRange(1, 10**9), help=f"Updates. {THE_PRESETS}")
@click.option(
    "--restarts",
    type=click.IntRange(1, 100),
    help=f"Train so many seeds at once, from --seed on, and keep the best. {THE_PRESETS}",
)
@click.option(
    "--halving/--no-halving",
    default=None,
    help=f"Drop the worse half of the restarts early. {THE_PRESETS}",
)
@common_options("Samples per update.")
@click.pass_obj
def fit_2d(
    argv: list[str],
    preset: str | None,
    assignments: tuple[str, ...],
    output: str | None,
    machine: Machine,
    **options: Any,
) -> None:
    """Fit a flow stack to a 2-D density by reverse KL, or to points by maximum likelihood.

    Without --preset, the flow, target and K asked for take the rest from the nearest preset of that
    target (K = 8 where none is asked for), or with --data of a preset for points (K = 32). The last
    line printed is the run directory.
    """
    from nflow_cli import experiments
    from nflow_cli.cli.options import changes_of, resolve_config
    from nflow_cli.config import presets
    from nflow_cli.config.naming import run_name
    from nflow_cli.experiments.run import begin

    points, target = options["data"], options["target"]
    if points is not None and target is not None:
        raise click.UsageError("--data and --target: one of the two is fitted; give one")
    path = _natural_preset(options) if preset is None else presets.find_preset(preset)
    keys = {**KEYS, "data": "data.name"} if points in registry.POINT_SETS else KEYS
    changes = changes_of(options, keys)
    for name, other in (("data", "target"), ("target", "data")):
        if options[name] is not None:  # it takes the place of the other
            changes.insert(0, presets.Change(f"--{name}", other, None))
    resolved = resolve_config("fit-2d", path, assignments, changes)
    data = experiments.of(resolved).data()
    if points is not None:
        now = command_line(["nflow", "fit", points])
        tell(f"--data goes on working for now; `{now}` takes its place")
    begin(resolved, run_name(resolved, path), output, argv, machine, data)


def _natural_preset(options: dict[str, Any]) -> Path:
    """Find the preset of the target asked for, or of the flow's natural target, or for points."""
    from nflow_cli.config import presets

    pattern = options["flow"] or ["planar"]
    target = options["target"] or registry.NATURAL_TARGETS.get(pattern[0], "multimodal")
    if options["data"] is not None:
        target = None
    return presets.nearest_preset(target, pattern, options["k"])
