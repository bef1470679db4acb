"""Pictures of an estimate of log Z: `log-z`, `weights`, `training`."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nflow_cli.plotting.infer import weights_figure
from nflow_cli.plotting.style import (
    BLUE,
    DPI,
    ORANGE,
    Arrays,
    Summary,
    drawing,
    title_figure,
)
from nflow_cli.plotting.training import folds_figure


def evidence_figures(evaluation: Arrays, metrics: Arrays, summary: Summary) -> dict[str, Figure]:
    """Pictures of an estimate of log Z: `log-z`, `weights`, `training`.

    Arrays, metrics and scores as in docs/scores.md, of draws.
    """
    with drawing():
        return {
            "log-z": log_z_figure(summary),
            "weights": weights_figure(evaluation, {**summary, "ess": None}),
            "training": folds_figure(metrics, summary),
        }


def log_z_figure(summary: Summary) -> Figure:
    """Draw log Z of each chain, and that of all with its standard error."""
    figure = Figure((7.0, 3.4), DPI, layout="constrained")
    ax = figure.subplots()
    values = np.array([np.nan if v is None else v for v in summary["log_z_by_chain"]], float)
    ax.plot(np.arange(1, len(values) + 1), values, "o", color=BLUE, label="a chain")
    log_z, error = summary["log_z"], summary["log_z_standard_error"]
    if log_z is not None:
        ax.axhline(log_z, color=ORANGE, label="all draws")
    if log_z is not None and error is not None:
        ax.axhspan(log_z - error, log_z + error, color=ORANGE, alpha=0.2, lw=0)
    ax.set(xlabel="chain", ylabel="log Z (nats)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.ticklabel_format(axis="y", useOffset=False)
    ax.legend(frameon=False)
    title_figure(figure, summary, "log Z by the density that left a chain out")
    return figure
