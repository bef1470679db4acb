"""``nflow infer``: fit a user-supplied or built-in log-density in D dimensions."""

from collections.abc import Mapping
from typing import Any

import click

from nflow_cli import registry
from nflow_cli.backend.start import Machine, start_tensorflow
from nflow_cli.cli import completion
from nflow_cli.cli.options import (
    Command,
    changes_of,
    expect_one_length,
    key_options,
    minutes_option,
    run_options,
)


@click.command("infer", cls=Command, params=key_options("infer"))
@click.argument(
    "density",
    metavar="[FILE.py:FUNCTION|NAME]",
    required=False,
    shell_complete=completion.names_or_files(list(registry.DENSITIES)),
)
@click.option(
    "--start",
    metavar="FILE",
    help="Table of points, with the coordinates as columns, at which the search for modes starts "
    "too.",
    shell_complete=completion.files,
)
@run_options
@minutes_option
@click.pass_obj
def infer(
    argv: list[str],
    density: str | None,
    start: str | None,
    preset: str | None,
    assignments: tuple[str, ...],
    output: str | None,
    machine: Machine,
    due: float | None,
    **options: Any,
) -> None:
    """Fit flows to a log-density by reverse KL, and judge draws by their importance weights.

    FILE.py:FUNCTION takes points (n, D) and returns log p (n,), up to a constant: in operations of
    Keras or TensorFlow, or with its gradient (n, D) as arrays of NumPy. It may be a model of PyMC
    or NumPyro, which has coordinates and bounds itself; a function `data` of the file returns the
    data of a NumPyro model. The file is executed; FILE.py alone uses its function log_density.
    NAME is a built-in density: funnel, many-well, banana, eight-schools or gmm40. Without --preset,
    `infer`, or `infer-wide` for many coordinates. The last line printed is the run directory.
    """
    from nflow_cli.config import overrides, preset_files, presets
    from nflow_cli.config.infer_schema import natural_preset, usual_dim
    from nflow_cli.data.columns import numbers_of
    from nflow_cli.data.table_files import open_table
    from nflow_cli.experiments import running

    if density is None and preset is None:
        raise click.UsageError("expected FILE.py:FUNCTION, a NAME, or --preset with one")
    user, named = _named(density, options, machine)
    dim = options["dim"] or (named[0].value.get("dim") if named else None)
    said = [*map(presets.parse_assignment, assignments), *named, *changes_of("infer", options)]
    expect_one_length(due, said)
    path = preset_files.find_preset(preset or natural_preset(dim or usual_dim(density)))
    resolved = overrides.merged("infer", path, said)
    if start is not None:
        points = numbers_of(open_table(start), resolved.density.columns).tolist()
        said.append(presets.Change("--start", "train.starts", points))
        resolved = overrides.merged("infer", path, said)
    start_tensorflow(machine)
    from nflow_cli.experiments.reverse_kl.data import load
    from nflow_cli.experiments.reverse_kl.trial import user_subject

    subject = load(resolved) if user is None else user_subject(resolved, user)
    running.show(
        running.start(resolved, path, output, subject, machine=machine, argv=argv, due=due)
    )


def _named(
    density: str | None, options: Mapping[str, Any], machine: Machine
) -> tuple[Any, list[Any]]:
    from nflow_cli.config.presets import Change

    if density is None:
        return None, []
    if density in registry.DENSITIES:
        return None, [Change("NAME", "density", {"name": density})]
    if ".py" not in density:
        known = list(registry.DENSITIES)
        hint = registry.nearest(density, known)
        raise click.BadParameter(
            f"{density!r} is not a density{hint}; known: {', '.join(known)}, or FILE.py:FUNCTION",
            param_hint="DENSITY",
        )
    from nflow_cli.experiments.reverse_kl.user_code import load_function

    start_tensorflow(machine)  # before a file that imports it
    user = load_function(density)
    user.expect_free(options)
    if user.coordinates is None and options["dim"] is None:
        raise click.UsageError("--dim: expected the number of coordinates")
    return user, [Change("FILE", "density", user.density)]
