"""``nflow plot``: redraw the pictures of a run, and draw single flows or an animation."""

import click

from nflow_cli.backend.start import start_tensorflow
from nflow_cli.cli.options import Command, dpi_option, picture_formats, run_argument
from nflow_cli.text import printable


@click.command(cls=Command)
@run_argument
@click.option(
    "--format",
    "format_",
    type=picture_formats,
    default="png",
    show_default=True,
    help="File format of the pictures.",
)
@dpi_option
@click.option("--only", multiple=True, metavar="NAME", help="A picture to draw; repeatable.")
@click.option(
    "--flow-at",
    "flows",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="K",
    help="Draw the K-th flow of a 2-D density; repeatable.",
)
@click.option(
    "--animate",
    is_flag=True,
    help="Animate the base through all flows of a 2-D density, as .gif and .webp.",
)
def plot(
    run_dir: str,
    format_: str,
    dpi: int,
    only: tuple[str, ...],
    flows: tuple[int, ...],
    animate: bool,
) -> None:
    """Redraw the pictures of a run from its saved arrays.

    All of them, unless --only, --flow-at or --animate choose some; the last two need the model, and
    a density in two dimensions. Prints the path of each picture.
    """
    from nflow_cli.experiments import pictures
    from nflow_cli.experiments.run import Run

    run, paths = Run.open(run_dir), []
    run.expect_trained()
    with run.directory.locked():
        if only or not (flows or animate):
            paths += pictures.draw(run, format_, dpi, only)
        if flows or animate:
            start_tensorflow()
            from nflow_cli.experiments import flow_pictures

            paths += flow_pictures.draw_flows(run, flows, format_, dpi) if flows else []
            paths += flow_pictures.animate(run) if animate else []
    for path in paths:
        click.echo(printable(path))
