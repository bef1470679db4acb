"""Draw a run's pictures into its folder: what training ends with and `plot` repeats."""

from pathlib import Path

from nflow_cli.errors import RunDirectoryError
from nflow_cli.run_dir import RUN, SUMMARY, RunDirectory


def draw(run: RunDirectory, format: str = "png") -> list[Path]:
    """Draw every picture of ``run`` from the arrays it saved; return their paths."""
    from nflow_cli import plotting

    parts = (run.read_evaluation(), run.read_metrics(), run.read_json(SUMMARY))
    vae = run.read_json(RUN).get("command") == "train-vae"
    try:
        figures = (plotting.vae_figures if vae else plotting.fit2d_figures)(*parts)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise RunDirectoryError(
            f"{run.path}: damaged: the files of the run do not fit together ({error!r})"
        ) from error
    return [
        run.write_plot(name, format, lambda file, f=figure: plotting.save_figure(f, file, format))
        for name, figure in figures.items()
    ]
