"""``nflow sample``: draw samples from a trained run into a file."""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from nflow_cli.backend.start import Machine, start_tensorflow
from nflow_cli.cli.options import (
    FILE,
    Command,
    Output,
    Whole,
    data_of_run,
    density_option,
    device_option,
    expect_replaceable,
    refuse,
    run_argument,
    seeds,
)
from nflow_cli.terminal.output import tell
from nflow_cli.text import command_line, printable


@click.command(cls=Command)
@run_argument
@click.option(
    "-n",
    "n",
    type=Whole(1, 10**8),
    default=10_000,
    show_default=True,
    help="Number of points or images.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    help="A .csv or .npy file for points, also .parquet for a table and .nc (ArviZ) for an infer "
    "run; a .npy file for images.",
    type=Output(".csv", ".npy", ".parquet", ".nc"),
)
@click.option(
    "--given",
    metavar="FILE|NAME=VALUE,…",
    help="Of a table: conditions, with -n draws each; a table of some columns, or values and "
    "ranges a=1,b=2:3.",
    type=FILE,
)
@click.option(
    "--seed",
    type=seeds,
    default=0,
    show_default=True,
    help="Seed of the samples.",
)
@click.option("--resample", is_flag=True, help="Of an infer run: resample by importance weights.")
@density_option
@device_option
def sample(
    run_dir: str,
    n: int,
    output: str,
    given: str | None,
    seed: int,
    resample: bool,
    density: str | None,
    machine: Machine,
) -> None:
    """Draw samples from a trained run into a file.

    Points of a fit-2d run have the columns z1, z2 and log_q, the exact log-density in nats; those
    of an infer run its coordinates and log_q, with --resample the coordinates alone; a .nc file is
    ArviZ's InferenceData with log_q and, of a built-in density or with --density, log_prob. Rows of
    a `fit` run have the columns of its table and log_q; --given sets some of them, for a run by
    cells any. Images of a train-vae run are the means of their pixels, float32 (n, 28, 28) in 0-1,
    with a picture of the first ones beside the file. Prints the paths of the written files.
    """
    from nflow_cli.experiments.run import Run

    run = Run.open(run_dir)
    path = Path(output)
    report = run.kind.report
    if path.suffix.lower() not in report.FORMATS:
        endings = " or ".join(report.FORMATS)
        raise click.BadParameter(
            f"{output!r}: samples of a {run.config.command} run are written as {endings}"
        )
    outputs = [path, *(path.with_suffix(ending) for ending in report.BESIDE)]
    expect_replaceable("-o", outputs, run, [given])
    _check_source(run.config, given, resample, density, path)
    run.expect_trained()
    if run.config.is_of_flows:
        start_tensorflow(machine)
    if resample or density:
        from nflow_cli.inference.reverse_kl_loading import write_beside_density

        target = data_of_run(run, density, machine).target
        paths, note = write_beside_density(run.trained, target, n, path, seed, resample)
        if note:
            tell(note)
    else:
        paths = run.kind.loading.write_samples(run.trained, n, path, seed, given)
    if click.get_current_context().get_parameter_source("n") is ParameterSource.DEFAULT:
        draws = "draws" if given is None else "draws at each condition"
        tell(f"{n:,} {draws}; -n sets their number")
    for path in paths:
        click.echo(printable(path))


def _check_source(
    config: Any, given: str | None, resample: bool, density: str | None, path: Path
) -> None:
    is_table = config.command == "fit"
    example = config.data.given_example if is_table else ""
    words = command_line(["--given", example])
    refuse(
        (
            example and given is None,
            f"expected values of the given columns, such as {words}, or a table",
        ),
        (
            given is not None and not example and config.is_of_flows,
            "--given: expected none for a density without given columns",
        ),
        (
            density is not None and not resample and path.suffix.lower() != ".nc",
            "--density: expected --resample or a .nc file, which need it",
        ),
        (
            resample and config.command not in ("fit-2d", "infer"),
            "--resample: expected a run of `nflow infer` or `nflow fit-2d`",
        ),
    )
