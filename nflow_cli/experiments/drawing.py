"""Draw a run's pictures into its folder: what training ends with and `plot` repeats."""

from pathlib import Path

from nflow_cli import experiments
from nflow_cli.runs.directory import RunDirectory


def draw(run: RunDirectory, format: str = "png") -> list[Path]:
    """Draw every picture of ``run`` from the arrays it saved; return their paths.

    Raises:
        NflowError: A file is missing or damaged, does not fit the others, or cannot be written.
    """
    from nflow_cli import plotting
    from nflow_cli.experiments.picture_data import read_picture_data

    experiment = experiments.of(run.read_config())
    pictures = experiment.draw(*read_picture_data(run, experiment))
    return [
        run.write_plot(name, format, lambda file, f=fig: plotting.save_figure(f, file, format))
        for name, fig in pictures.items()
    ]
