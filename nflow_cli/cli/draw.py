"""Draw a run's pictures into its folder: what training ends with and `plot` repeats."""

from pathlib import Path

from nflow_cli.caveats import caveats_of
from nflow_cli.errors import NflowError, RunDirectoryError
from nflow_cli.run_dir import RUN, SUMMARY, RunDirectory


def draw(run: RunDirectory, format: str = "png") -> list[Path]:
    """Draw every picture of ``run`` from the arrays it saved; return their paths.

    Raises:
        RunDirectoryError: A file is missing or damaged, does not fit the others, or cannot be
            written.
    """
    from nflow_cli import plotting

    summary = run.read_json(SUMMARY)
    summary["caveats"] = caveats_of(run.read_config(), summary)
    parts = (run.read_evaluation(), run.read_metrics(), summary)
    if run.read_json(RUN).get("command") == "train-vae":
        drawn = plotting.vae_figures
    else:
        on_points = "log_likelihood" in summary
        drawn = plotting.points_figures if on_points else plotting.fit2d_figures
    try:
        figures = drawn(*parts)
        return [
            run.write_plot(name, format, lambda file, f=fig: plotting.save_figure(f, file, format))
            for name, fig in figures.items()
        ]
    except NflowError:
        raise
    except Exception as error:  # numbers that are no run's can fail anywhere in a picture
        raise RunDirectoryError(
            f"{run.path}: damaged: the files of the run do not fit together ({error!r:.200})"
        ) from error
