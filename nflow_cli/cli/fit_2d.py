"""``nflow fit-2d``: fit a flow stack to a 2-D density."""

import math
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from nflow_cli import registry


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


def _a_number(_: Any, __: Any, value: float | None) -> float | None:
    """Refuse NaN, which every range lets through."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("'nan' is not a number.")
    return value


@click.command("fit-2d")
@click.option("--preset", metavar="NAME|FILE", help="A preset by name, or a YAML file.")
@click.option(
    "--flow", metavar="NAME[,NAME]", callback=_pattern, help="Flows, cycled: planar,radial."
)
@click.option("--k", type=click.IntRange(0, 10_000), help="How many flows.")
@click.option(
    "--target",
    type=click.Choice([n for n in registry.TARGETS if n not in ("mixture", "ring")]),
    help="The density to fit.",
)
@click.option("--steps", type=click.IntRange(1, 10**9), help="Updates.")
@click.option("--batch-size", type=click.IntRange(1, 10**6), help="Samples per update.")
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, 1e6, min_open=True),
    callback=_a_number,
    help="Adam's learning rate.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Fixes the result bit for bit.")
@click.option(
    "--restarts",
    type=click.IntRange(1, 100),
    help="Train so many seeds at once, from --seed on, and keep the best.",
)
@click.option(
    "--halving/--no-halving", default=None, help="Drop the worse half of the restarts early."
)
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY.PATH=VALUE", help="Change a preset's key."
)
@click.option("--output", metavar="DIR", help="A new or empty folder for the run.")
def fit_2d(
    preset: str | None, assignments: tuple[str, ...], output: str | None, **options: Any
) -> None:
    """Fit a flow stack to a 2-D density by reverse KL.

    Without --preset, the flow, target and K asked for take the schedule of that target's own
    preset. The last line printed is the run directory.
    """
    from nflow_cli import config
    from nflow_cli.cli.draw import draw
    from nflow_cli.cli.options import resolve_config, start_tensorflow, stopped_by_signals
    from nflow_cli.run_dir import CONFIG, RunDirectory

    path = _natural_preset(options) if preset is None else config.find_preset(preset)
    resolved = resolve_config(
        "fit-2d",
        path,
        assignments,
        {
            "target": options["target"],
            "flow.pattern": options["flow"],
            "flow.k": options["k"],
            "train.steps": options["steps"],
            "train.batch_size": options["batch_size"],
            "train.learning_rate": options["learning_rate"],
            "train.restarts": options["restarts"],
            "train.halving": options["halving"],
            "seed": options["seed"],
        },
    )
    run = RunDirectory.create(path.stem, output)
    repeatable = run.write_text(CONFIG, config.dump(resolved))  # even if TensorFlow never starts
    with stopped_by_signals(shlex.join(["nflow", "fit-2d", "--preset", str(repeatable)])):
        start_tensorflow()
        from nflow_cli import fit2d

        summary = fit2d.run(resolved, run, sys.argv[1:])
        draw(run)
    click.echo(_table(summary))
    click.echo(run.path)


def _natural_preset(options: dict[str, Any]) -> Path:
    """Find the preset of the target asked for, or of the flow's natural target."""
    from nflow_cli import config

    pattern = options["flow"] or ["planar"]
    target = options["target"] or registry.NATURAL_TARGETS.get(pattern[0], "multimodal")
    path = config.nearest_preset(target, pattern, options["k"])
    assert path is not None, "every named target has a preset of its own"
    return path


def _table(summary: dict[str, Any]) -> str:
    """Lay out the main figures, one a line."""
    flow = f"{summary['flow']}, K = {summary['k']}, {summary['n_parameters']} parameters"
    kl = summary["kl"]
    rows = [
        ("target", summary["target"]),
        ("flow", flow),
        (
            "KL(q || p)",
            "unknown (log Z is)"
            if kl is None
            else f"{kl:.5f} ± {summary['kl_standard_error']:.5f} nats",
        ),
        ("free energy", f"{summary['free_energy']:.5f} nats"),
        ("ESS", f"{summary['ess']:.3f}"),
        ("mass of q", f"{summary['mass']:.5f}"),
        *_restarts(summary["restarts"]),
        (
            "training",
            f"{summary['steps']} updates in {summary['train_seconds']:.1f} s "
            f"({summary['steps_per_second']:,.0f} a second, after {summary['compile_seconds']:.1f}"
            " s of compiling)",
        ),
    ]
    return "\n".join(f"{name:<12} {value}" for name, value in rows)


def _restarts(restarts: dict[str, Any]) -> list[tuple[str, str]]:
    """Tell the KL of each restart, if there were several."""
    if restarts["count"] == 1:
        return []
    kls = ", ".join("not finite" if kl is None else f"{kl:.4f}" for kl in restarts["kl"])
    return [("restarts", f"KL {kls}; seed {restarts['seed']} is kept")]
