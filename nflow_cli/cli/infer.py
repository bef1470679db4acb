"""``nflow infer``: fit a log-density of one's own in D dimensions."""

from typing import Any

import click

from nflow_cli import registry
from nflow_cli.backend import Machine
from nflow_cli.cli import completion
from nflow_cli.cli.fit import intervals, names_of
from nflow_cli.cli.options import THE_PRESETS, Command, common_options, flow_options

KEYS = {  # what each option sets in a preset
    "names": "density.names",
    "bounds": "density.bounds",
    "base": "base.name",
    "flow": "flow.pattern",
    "k": "flow.k",
    "steps": "train.steps",
    "batch_size": "train.batch_size",
    "learning_rate": "train.learning_rate",
    "anneal": "train.annealing.updates",
    "restarts": "train.restarts",
    "halving": "train.halving",
    "compile": "train.compile",
    "seed": "seed",
}


@click.command("infer", cls=Command)
@click.argument(
    "density",
    metavar="[FILE.py:FUNCTION|NAME]",
    required=False,
    shell_complete=completion.names_or_files(list(registry.DENSITIES)),
)
@click.option("--dim", type=click.IntRange(1, 1_000), help="D, of the points.")
@click.option("--names", metavar="NAME,…", callback=names_of, help="Of the D coordinates.")
@click.option(
    "--bounds",
    metavar="NAME=LOW:HIGH,…",
    multiple=True,
    callback=intervals,
    help="A coordinate lies between these, such as scale=0: or share=0:1.",
)
@click.option(
    "--base",
    type=click.Choice(["standard-normal", "student-t"]),
    help=f"What the flows start from; student-t has heavy tails. {THE_PRESETS}",
)
@flow_options
@click.option("--steps", type=click.IntRange(1, 10**9), help=f"Updates. {THE_PRESETS}")
@click.option(
    "--anneal",
    type=click.IntRange(0, 10**9),
    help=f"Updates in which p^β rises to p: finds modes that lie apart. {THE_PRESETS}",
)
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
@click.option(
    "--compile/--no-compile",
    default=None,
    help=f"Compile the function with the training, which some operations do not let. {THE_PRESETS}",
)
@common_options("Samples per update.")
@click.pass_obj
def infer(
    argv: list[str],
    density: str | None,
    dim: int | None,
    preset: str | None,
    assignments: tuple[str, ...],
    output: str | None,
    machine: Machine,
    **options: Any,
) -> None:
    """Fit flows to a log-density by reverse KL, and judge draws by their importance weights.

    FILE.py:FUNCTION takes points (n, D) and returns log p (n,), up to a constant: in operations of
    Keras or TensorFlow, or with its gradient (n, D) as arrays of NumPy. The file is run; FILE.py
    alone names its function log_density. NAME is a built-in density: funnel, many-well, banana,
    eight-schools or gmm40. Without --preset, `infer`, or `infer-wide` for many coordinates. The
    last line printed is the run directory.
    """
    from nflow_cli import experiments
    from nflow_cli.backend import start_tensorflow
    from nflow_cli.cli.options import changes_of, resolve_config
    from nflow_cli.config import presets
    from nflow_cli.config.infer_schema import natural_preset, usual_dim
    from nflow_cli.config.naming import run_name
    from nflow_cli.experiments.run import begin

    if density is None and preset is None:
        raise click.UsageError("expected FILE.py:FUNCTION, a NAME, or --preset with one")
    user, named = _named(density, dim, machine)
    changes = [*named, *changes_of(options, KEYS)]
    path = presets.find_preset(preset or natural_preset(dim or usual_dim(density)))
    resolved = resolve_config("infer", path, assignments, changes)
    start_tensorflow(machine)
    if user is None:
        subject = experiments.of(resolved).data()
    else:
        from nflow_cli.experiments.infer.subject import user_subject

        subject = user_subject(resolved, user)
    begin(resolved, run_name(resolved, path), output, argv, machine, subject)


def _named(density: str | None, dim: int | None, machine: Machine) -> tuple[Any, list[Any]]:
    """Return the function that DENSITY names, if it is one, and what that and --dim change."""
    from nflow_cli.config.presets import Change

    size = [] if dim is None else [Change("--dim", "density.dim", dim)]
    if density is None:
        return None, size
    if density in registry.DENSITIES:
        return None, [Change("NAME", "density", {"name": density}), *size]
    if ".py" not in density:
        known = list(registry.DENSITIES)
        hint = registry.nearest(density, known)
        raise click.BadParameter(
            f"{density!r} is no density{hint}; known: {', '.join(known)}, or FILE.py:FUNCTION",
            param_hint="DENSITY",
        )
    if dim is None:
        raise click.UsageError("--dim: expected how many coordinates the points have")
    from nflow_cli.backend import start_tensorflow
    from nflow_cli.experiments.infer.user_code import load_function

    start_tensorflow(machine)  # before a file that imports it
    user = load_function(density)
    parts = {"name": user.name, "path": user.path, "sha256": user.sha256, "dim": dim}
    return user, [Change("FILE", "density", parts)]
