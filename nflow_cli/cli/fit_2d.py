"""``nflow fit-2d``: fit a flow stack to a 2-D density or to points."""

from pathlib import Path
from typing import Any

import click

from nflow_cli import registry
from nflow_cli.cli.options import common_options


def _pattern(_: Any, __: Any, value: str | None) -> list[str] | None:
    """Split ``planar,radial`` and check each name."""
    if value is None:
        return None
    names = [name.strip() for name in value.split(",")]
    for name in names:
        if name not in registry.FLOWS:
            known = ", ".join(registry.FLOWS)
            hint = registry.nearest(name, list(registry.FLOWS))
            raise click.BadParameter(f"{name!r} is not a flow{hint}; known: {known}")
    return names


@click.command("fit-2d")
@click.option(
    "--flow", metavar="NAME[,NAME]", callback=_pattern, help="Flows, cycled: planar,radial."
)
@click.option("--k", type=click.IntRange(0, 10_000), help="How many flows.")
@click.option(
    "--target",
    type=click.Choice([n for n in registry.TARGETS if n not in ("mixture", "ring")]),
    help="The density to fit.",
)
@click.option(
    "--data",
    metavar="NAME|FILE",
    help=f"Points to fit instead: {', '.join(registry.POINT_SETS)}, or a .csv or .npy file.",
)
@click.option("--steps", type=click.IntRange(1, 10**9), help="Updates.")
@click.option(
    "--restarts",
    type=click.IntRange(1, 100),
    help="Train so many seeds at once, from --seed on, and keep the best.",
)
@click.option(
    "--halving/--no-halving", default=None, help="Drop the worse half of the restarts early."
)
@common_options("Samples per update.")
def fit_2d(
    preset: str | None, assignments: tuple[str, ...], output: str | None, **options: Any
) -> None:
    """Fit a flow stack to a 2-D density by reverse KL, or to points by maximum likelihood.

    Without --preset, the flow, target and K asked for take the schedule of that target's own
    preset, and with --data that of a preset for points. The last line printed is the run
    directory.
    """
    from nflow_cli import config
    from nflow_cli.cli.carry_out import begin
    from nflow_cli.cli.options import resolve_config
    from nflow_cli.run_data import load_data

    points, target = options["data"], options["target"]
    if points is not None and target is not None:
        raise click.UsageError("--data and --target: one of the two is fitted; give one")
    path = _natural_preset(options) if preset is None else config.find_preset(preset)
    resolved = resolve_config(
        "fit-2d",
        path,
        assignments,
        {
            "data": points,
            "target": target,
            "flow.pattern": options["flow"],
            "flow.k": options["k"],
            "train.steps": options["steps"],
            "train.batch_size": options["batch_size"],
            "train.learning_rate": options["learning_rate"],
            "train.restarts": options["restarts"],
            "train.halving": options["halving"],
            "seed": options["seed"],
        },
        replaced=("target",) if points is not None else ("data",) if target else (),
    )
    begin(resolved, path.stem, output, load_data(resolved))


def _natural_preset(options: dict[str, Any]) -> Path:
    """Find the preset of the target asked for, or of the flow's natural target, or for points."""
    from nflow_cli import config

    pattern = options["flow"] or ["planar"]
    target = options["target"] or registry.NATURAL_TARGETS.get(pattern[0], "multimodal")
    if options["data"] is not None:
        target = None
    path = config.nearest_preset(target, pattern, options["k"])
    assert path is not None, "every named target has a preset of its own, and points have"
    return path
