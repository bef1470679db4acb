"""``nflow sample``: draw from what a run trained, into a file."""

from pathlib import Path
from typing import Any

import click

from nflow_cli.cli.options import Command
from nflow_cli.text import printable

SHOWN = 64


@click.command(cls=Command)
@click.argument("run_dir", metavar="RUN_DIR")
@click.option(
    "-n",
    "n",
    type=click.IntRange(1, 10**8),
    default=10_000,
    show_default=True,
    help="How many points, or images.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    help="A .csv or .npy file for points, a .npy file for images.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Fixes the samples.",
)
def sample(run_dir: str, n: int, output: str, seed: int) -> None:
    """Draw from what a run trained, into a file.

    Points of a fit-2d run have the columns z1, z2 and log_q, the exact log-density in nats. Images
    of a train-vae run are the means of their pixels, float32 (n, 28, 28) in 0-1, with a picture of
    the first ones beside the file. Prints the paths of what it wrote.
    """
    path = Path(output)
    if path.suffix.lower() not in (".csv", ".npy"):
        raise click.BadParameter(f"{output!r}: expected a name that ends in .csv or .npy")
    if path.is_dir():
        raise click.BadParameter(f"{output!r} is a folder; expected the name of a file")
    from nflow_cli.backend import start_tensorflow
    from nflow_cli.run_dir import RunDirectory

    RunDirectory.open(run_dir)  # a wrong name is told before TensorFlow starts
    start_tensorflow()
    from nflow_cli.trained import TrainedVAE, load

    trained = load(run_dir)
    write = _write_images if isinstance(trained, TrainedVAE) else _write_points
    write(trained, n, path, seed)


def _write_points(trained: Any, n: int, path: Path, seed: int) -> None:
    import numpy as np

    from nflow_cli.writing import write_csv, write_file, write_npy

    rows = (np.column_stack([z, log_q]) for _, z, log_q in trained.batches(n, seed))
    if path.suffix.lower() == ".csv":
        columns = [*(f"z{i + 1}" for i in range(trained.dim)), "log_q"]
        write_file(path, lambda file: write_csv(file, columns, rows))
    else:
        shape = (n, trained.dim + 1)
        write_file(path, lambda file: write_npy(file, shape, rows, trained.dtype))
    click.echo(printable(path))


def _write_images(trained: Any, n: int, path: Path, seed: int) -> None:
    from nflow_cli import plotting
    from nflow_cli.writing import write_file, write_npy

    if path.suffix.lower() != ".npy":
        raise click.BadParameter(f"{str(path)!r}: images of a VAE are written as .npy")
    images = (part for _, part in trained.batches(n, seed))
    write_file(path, lambda file: write_npy(file, (n, 28, 28), images))
    click.echo(printable(path))
    shown = trained.sample(min(n, SHOWN), seed)
    picture = path.with_suffix(".png")
    what = f"decoded means of {len(shown)} draws from the prior"
    figure = plotting.images_figure(shown, trained.path.resolve().name, what)
    write_file(picture, lambda file: plotting.save_figure(figure, file, "png"))
    click.echo(printable(picture))
