"""Training picture of a fit by reverse KL."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nflow_cli.plotting.compare import draw_legend, scale_values
from nflow_cli.plotting.style import (
    BLUE,
    DPI,
    Arrays,
    Summary,
    draw_history,
    label_steps,
    marked,
    space_by_logarithm,
    title_figure,
    value_text,
)


def training_figure(metrics: Arrays, summary: Summary) -> Figure:
    """Draw KL (nats) against update, and beta below it where it was annealed.

    Thin: interval means; thick: running median; dashed: final KL. Without a KL the free energy.
    Non-finite rows get a cross. Shaded: updates of several restarts, where a row is of the best;
    and those before 0, of the first stage.
    """
    has_kl = summary.get("kl") is not None and summary.get("log_z") is not None
    update, beta = np.asarray(metrics["update"], float), np.asarray(metrics["beta"], float)
    values = np.asarray(metrics["kl" if has_kl else "loss"], float)
    annealed = bool(np.any(np.isfinite(beta) & (beta != 1)))
    figure = Figure((7.0, 4.4 if annealed else 3.6), DPI, layout="constrained")
    ratios = [4, 1] if annealed else [1]
    axes = figure.subplots(len(ratios), sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    shade_restarts(axes[0], summary)
    if update[0] < 0:
        axes[0].axvspan(update[0], 0, color="#E3EDF7", zorder=0, label="first stage: affine alone")
    draw_history(axes[0], update, values)
    if has_kl:
        evaluated = summary["kl"] if math.isfinite(summary["kl"]) else math.nan
        axes[0].axhline(evaluated, color="k", ls="--", label=f"evaluated {kl_text(summary)}")
        scale_values(axes[0], np.append(values, evaluated))
    axes[0].set_ylabel("KL (nats)" if has_kl else "free energy (nats)")
    draw_legend(figure, axes[0].get_legend_handles_labels()[0])
    if annealed:
        axes[1].plot(update, beta, color=BLUE, marker="o" if len(beta) == 1 else "")
        axes[1].set_ylabel("β")
    label_steps(axes, "update")
    if update[0] > 0 and len(update) > 1:
        space_by_logarithm(list(axes))
    title_figure(figure, summary)
    return figure


def shade_restarts(ax: Axes, summary: Summary) -> None:
    """Shade the updates with more than one restart."""
    updates = sorted(summary.get("restarts", {}).get("updates", []))
    if len(updates) > 1:
        label = "the best restart of each interval"
        ax.axvspan(0, updates[-2], color="#FBEADB", zorder=0, label=label)


def kl_text(summary: Summary) -> str:
    """KL (nats) with its standard error, as text."""
    kl = summary.get("kl")
    text = "" if kl is None else f"KL = {value_text(kl, summary.get('kl_standard_error'))}"
    return marked(text, summary, "kl")
