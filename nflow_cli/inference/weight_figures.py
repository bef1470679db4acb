"""Pictures of weighted draws: of a fit to a log-density, and of an estimate of log Z."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nflow_cli.constants import DPI
from nflow_cli.plotting.corner import corner_figure
from nflow_cli.plotting.plane import fit_figures
from nflow_cli.plotting.style import (
    BLUE,
    LETTERS,
    ORANGE,
    Arrays,
    Summary,
    drawing,
    name_lost,
    plain,
    title_figure,
)
from nflow_cli.plotting.training_figures import folds_figure, reverse_kl_figure

SMALLEST_DRAWN = 1e-300  # part of the largest weight
SMALLEST_TAIL = 2  # largest over smallest weight, below which none is far from the others
LOG_AXIS_FROM = 10  # largest over smallest weight: below a decade powers of ten are hard to read


@drawing()
def evidence_figures(evaluation: Arrays, metrics: Arrays, summary: Summary) -> dict[str, Figure]:
    """Pictures of an estimate of log Z: `log-z`, `ratios`, `training`.

    Arrays, metrics and scores as in docs/scores.md, of draws.
    """
    return {
        "log-z": log_z_figure(summary),
        "ratios": weights_figure(evaluation, {**summary, "ess": None}, "ratio"),
        "training": folds_figure(metrics, summary),
    }


def log_z_figure(summary: Summary) -> Figure:
    """Draw log Z of each chain, and that of all with its standard error."""
    figure = Figure((7.0, 3.4), DPI, layout="constrained")
    ax = figure.subplots()
    values = np.array(summary["log_z_by_chain"], float)  # None becomes NaN
    ax.plot(np.arange(1, len(values) + 1), values, "o", color=BLUE, label="a chain")
    log_z = summary["log_z"]
    error = summary["log_z_standard_error"]
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


@drawing()
def infer_figures(evaluation: Arrays, metrics: Arrays, summary: Summary) -> dict[str, Figure]:
    """Pictures of a fit to a log-density: `corner`, `weights`, `training`; in the plane also
    `density`, `difference` and, of one flow stack, `deformation`.

    Arrays, metrics and scores as in docs/scores.md, of a log-density.
    """
    noun = "exact samples" if summary["has_exact_samples"] else "resampled draws"
    columns = summary["columns"]
    names = (plain(columns[0], LETTERS), plain(columns[-1], LETTERS))
    return {
        **fit_figures(evaluation, summary, names),
        "corner": corner_figure(evaluation, summary, noun, _weights_text(summary)),
        "weights": weights_figure(evaluation, summary),
        "training": reverse_kl_figure(metrics, summary),
    }


def _weights_text(summary: Summary) -> str:
    """Shape of the tail of the weights, and effective sample size, where known."""
    parts = []
    if summary["pareto_k"] is not None:
        parts.append(f"k-hat = {summary['pareto_k']:z.2f}")
    if summary["ess"] is not None:
        parts.append(f"ESS = {summary['ess']:.1%}")
    return ", ".join(parts)


def weights_figure(evaluation: Arrays, summary: Summary, noun: str = "weight") -> Figure:
    """Draw the number of draws above each of the largest weights, and the fitted tail, of slope
    -1/k on log-log axes; of weights within a factor of two of each other there is none.
    """
    figure = Figure((7.0, 4.2), DPI, layout="constrained")
    ax = figure.subplots()
    tail = np.exp(np.asarray(evaluation["tail"], float))
    smooth = np.exp(np.asarray(evaluation["smooth_tail"], float))
    n_larger = np.arange(len(tail), 0, -1) - 0.5
    is_drawn = np.isfinite(tail) & (tail > SMALLEST_DRAWN)
    name_lost(ax, tail[is_drawn])
    names = [f"the {len(tail):,} largest {noun}s", _weights_text(summary)]
    if is_drawn.any():
        drawn = tail[is_drawn]
        spread = float(drawn.max() / drawn.min())
        ax.plot(drawn, n_larger[is_drawn], "o", color=BLUE, ms=3, mew=0, label=f"{noun}s")
        if spread < SMALLEST_TAIL and is_drawn.all():
            names.append(f"within a factor of {spread:.2f}: no tail")
        else:
            is_fitted = np.isfinite(smooth) & (smooth > SMALLEST_DRAWN)
            fitted = smooth[is_fitted]
            ax.plot(fitted, n_larger[is_fitted], color=ORANGE, lw=1.6, label="fitted tail")
        ax.set(xscale="log" if spread > LOG_AXIS_FROM else "linear", yscale="log")
        ax.legend(frameon=False)
    ax.set(xlabel=f"{noun} / maximum", ylabel=f"draws of larger {noun}")
    ax.grid(color="0.9", linewidth=0.6)
    title_figure(figure, summary, *names)
    return figure
