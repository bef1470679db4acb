"""Pictures of a fit to a log-density: `corner`, `weights`, `training`."""

import math

import numpy as np
from matplotlib.figure import Figure

from nflow_cli.plotting.columns import corner_figure
from nflow_cli.plotting.style import (
    BLUE,
    DPI,
    ORANGE,
    Arrays,
    Summary,
    drawing,
    number_text,
    title_figure,
)
from nflow_cli.plotting.training import reverse_kl_figure

LEAST = 1e-300  # of a part of the largest weight that is drawn


def infer_figures(evaluation: Arrays, metrics: Arrays, summary: Summary) -> dict[str, Figure]:
    """Pictures of a fit to a log-density: `corner`, `weights`, `training`.

    Arrays, metrics and scores as in docs/scores.md, of a log-density.
    """
    with drawing():
        return {
            "corner": corner_figure(evaluation, summary, _rows_text(summary), _score(summary)),
            "weights": weights_figure(evaluation, summary),
            "training": reverse_kl_figure(metrics, summary),
        }


def _rows_text(summary: Summary) -> str:
    return "exact samples" if summary["has_exact_samples"] else "resampled draws"


def _score(summary: Summary) -> str:
    k, ess = summary["pareto_k"], summary["ess"]
    texts = ["" if k is None else f"k-hat = {k:.2f}", "" if ess is None else f"ESS = {ess:.1%}"]
    return ", ".join(filter(None, texts))


def weights_figure(evaluation: Arrays, summary: Summary) -> Figure:
    """Draw the number of samples above each of the largest weights, and the fitted tail, of slope
    -1/k on log-log axes.
    """
    figure = Figure((7.0, 4.2), DPI, layout="constrained")
    ax = figure.subplots()
    tail, smooth = (np.exp(np.asarray(evaluation[name], float)) for name in ("tail", "smooth_tail"))
    above = np.arange(len(tail), 0, -1) - 0.5
    good = np.isfinite(tail) & (tail > LEAST)
    if good.any():
        ax.plot(tail[good], above[good], "o", color=BLUE, ms=3, mew=0, label="weights")
        fitted = np.isfinite(smooth) & (smooth > LEAST)
        ax.plot(smooth[fitted], above[fitted], color=ORANGE, lw=1.6, label=_fitted_text(summary))
        ax.set(xscale="log", yscale="log")
        ax.legend(frameon=False)
    else:
        ax.text(0.5, 0.5, "not finite", ha="center", va="center", transform=ax.transAxes)
    ax.set(xlabel="weight / maximum", ylabel="samples of larger weight")
    ax.grid(color="0.9", linewidth=0.6)
    title_figure(figure, summary, f"the {len(tail):,} largest weights", _score(summary))
    return figure


def _fitted_text(summary: Summary) -> str:
    k = summary["pareto_k"]
    if k is None or not math.isfinite(k):
        return "fitted tail"
    sign = "\N{MINUS SIGN}" if k < 0 else ""
    return f"fitted tail, k-hat = {sign}{number_text(abs(k))}"
