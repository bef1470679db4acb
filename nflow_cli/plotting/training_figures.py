"""Pictures `training`: scores against updates or epochs."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from nflow_cli.constants import DPI
from nflow_cli.evaluation.estimates import with_error
from nflow_cli.plotting.style import (
    BLUE,
    COLOURS,
    ORANGE,
    Arrays,
    Summary,
    add_title,
    drawing,
    marked,
    scale_values,
    title_of,
)

INTERVAL_MEAN = "interval mean"
MEAN_COLOUR = "0.78"  # grey
LEGEND_LETTERS = 40  # of a line of a legend beside its panel
WIDE_LEGEND_LETTERS = 100  # of a line of a legend below its panel
KEY_LETTERS = 6  # as wide as the sample of a line beside its label
Spans = dict[str, tuple[float, float, str]]  # first and last step, and colour, by label


class Panel(NamedTuple):
    """Panel of a score in nats: curves (n,) and horizontal lines at levels, by label.

    ``name``: of its axis. ``by_powers``: on a logarithmic axis where values span decades; else a
    steep beginning is cut off.
    """

    name: str
    curves: Arrays
    levels: Mapping[str, float]
    by_powers: bool = False


def training_figure(
    metrics: Arrays,
    step: str,
    panels: Sequence[Panel],
    spans: Spans,
    title: Sequence[str],
) -> Figure:
    """Draw scores against the column ``step`` of the metrics, a panel each, with shaded spans of
    steps; ``title``: its parts.

    Rows without a finite score get a cross.
    """
    figure = Figure((9.2, 2.9 + len(panels)), DPI, layout="constrained")
    heights = [1] * len(panels)
    heights[0] = 2
    axes = figure.subplots(len(panels), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for ax, panel in zip(axes, panels, strict=True):
        prefix = "" if ax is axes[0] else "_"  # begins a label that the legend leaves out
        for label, (low, high, colour) in spans.items():
            ax.axvspan(low, high, color=colour, alpha=0.12, lw=0, zorder=0, label=prefix + label)
        draw_scores(ax, metrics[step], panel, prefix)
        draw_legend(ax, is_alone=len(panels) == 1)
        ax.grid(color="0.9", linewidth=0.6)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        ax.set(xlabel=step, ylabel=panel.name)
        ax.label_outer()
    figure.align_ylabels(axes)
    add_title(figure, *title)
    return figure


def draw_scores(ax: Axes, steps: np.ndarray, panel: Panel, prefix: str) -> None:
    """Draw curves and levels, horizontal lines, of a panel over steps (n,), with crosses at steps
    where no curve is finite; ``prefix`` begins the curves' labels.
    """
    colours = iter(COLOURS)
    marker = "o" if len(steps) < 40 else ""  # more dots would run together
    for label, values in panel.curves.items():
        if label == INTERVAL_MEAN:
            colour = MEAN_COLOUR
            width = 2.8  # so that a median that follows it does not hide it
        else:
            colour = next(colours)
            width = 1.3
        ax.plot(steps, values, label=prefix + label, color=colour, lw=width, marker=marker, ms=3)
    for (label, level), line in zip(panel.levels.items(), ("--", ":", "-.")):
        ax.axhline(level, color="k", ls=line, lw=1.4, label=label)
    curves = np.array(list(panel.curves.values()), float)
    levels = list(panel.levels.values())
    lost_steps = steps[~np.isfinite(curves).any(axis=0)]
    if len(lost_steps):
        label = f"not finite ({len(lost_steps)} of {len(steps)} rows)"
        transform = ax.get_xaxis_transform()  # heights are parts of the panel
        ax.plot(
            lost_steps, 0 * lost_steps + 0.03, "x", color=ORANGE, label=label, transform=transform
        )
    if panel.by_powers:
        scale_values(ax, np.append(curves, levels))
    else:
        zoom_on_later(ax, curves, levels)


def draw_legend(ax: Axes, is_alone: bool) -> None:
    """Draw the legend of a panel: below the figure if it is its only one, else beside the panel."""
    handles, labels = ax.get_legend_handles_labels()
    if is_alone:
        widths = [len(label) + KEY_LETTERS for label in labels]
        columns = (
            len(labels)
            if sum(widths) <= WIDE_LEGEND_LETTERS
            else max(1, WIDE_LEGEND_LETTERS // max(widths))
        )
        ax.figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
        return
    texts = [textwrap.fill(label, LEGEND_LETTERS) for label in labels]
    ax.legend(handles, texts, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)


def smoothed(values: np.ndarray) -> dict[str, np.ndarray]:
    """Interval means (n,) by label, and their running median if five or more are finite."""
    finite = np.isfinite(values)
    means = values[finite]
    if len(means) < 5:
        return {INTERVAL_MEAN: values}
    widest = max(1, len(means) // 20)  # half of a tenth of the rows
    # Half widths grow from the start, where a loss falls too fast for a lopsided window.
    halves = np.minimum(np.arange(len(means)), widest)
    median = np.full(len(values), np.nan)
    median[finite] = [np.median(means[i - half : i + half + 1]) for i, half in enumerate(halves)]
    return {INTERVAL_MEAN: values, f"running median of {2 * widest + 1}": median}


def zoom_on_later(ax: Axes, curves: np.ndarray, levels: Sequence[float]) -> None:
    """Cut the first tenth of curves (C, n) off the scale, of eight rows or more, if the rest spans
    less than a third of all values; a label says which are off.
    """
    count = curves.shape[1]
    early = math.ceil(count / 10) if count >= 8 else 0
    values = _finite_values(np.append(curves, levels))
    later = _finite_values(np.append(curves[:, early:], levels))
    if not len(later) or np.ptp(values) <= 3 * np.ptp(later):
        return
    room = 0.2 * np.ptp(later) or 1.0  # for where a curve comes from
    ax.set_ylim(later.min() - room, later.max() + room)
    ends = f"{values.min():.4g} to {values.max():.4g}"
    ax.plot([], [], " ", label=f"off the scale: the start, {ends} nats")


def _finite_values(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


def reverse_kl_figure(metrics: Arrays, summary: Summary) -> Figure:
    """Draw the KL against updates; without a KL the free energy.

    Shaded: updates of several restarts, where a row is of the best; those before 0, of the first
    stage; those with beta < 1.
    """
    updates = metrics["update"]
    spans = annealing(metrics, "update")
    restart_updates = sorted(summary.get("restarts", {}).get("updates", []))
    if len(restart_updates) > 1:  # to the last update of the second longest
        spans["the best restart of each interval"] = (0.0, restart_updates[-2], ORANGE)
    if updates[0] < 0:
        spans["first stage: affine alone"] = (updates[0], 0.0, BLUE)
    if summary.get("kl") is not None and summary.get("log_z") is not None:
        levels = {f"evaluated {score_text(summary, 'kl', 'KL')}": summary["kl"]}
        panel = Panel("KL (nats)", smoothed(metrics["kl"]), levels, by_powers=True)
    else:
        panel = Panel("free energy (nats)", smoothed(metrics["loss"]), {})
    figure = training_figure(metrics, "update", [panel], spans, title_of(summary))
    if updates[0] > 0 and len(updates) > 1:
        figure.axes[0].set_xscale("log")
    return figure


@drawing()
def likelihood_figure(metrics: Arrays, summary: Summary, *title: str) -> Figure:
    """Draw the log-likelihood of training batches and of the validation rows against updates,
    beside those of the test rows and of baselines.

    ``title``: parts of the title, by default of a fit by flows.
    """
    best = f"validation; best: update {summary['best_update']:,}"
    curves = {**smoothed(-metrics["loss"]), best: -metrics["validation_loss"]}
    names = {"test set": "log_likelihood"}
    if "baseline" in summary:
        names[summary["baseline"]] = "baseline_log_likelihood"
    levels = {
        f"{name}: {score_text(summary, key)}": summary[key]
        for name, key in names.items()
        if summary.get(key) is not None
    }
    panel = Panel("log-likelihood (nats a row)", curves, levels)
    return training_figure(metrics, "update", [panel], {}, title or title_of(summary))


def folds_figure(metrics: Arrays, summary: Summary) -> Figure:
    """Draw the validation losses of the folds against updates."""
    names = [name for name in metrics if "validation_loss_" in name]
    folds = {f"fold {i}": metrics[name] for i, name in enumerate(names, start=1)}
    panel = Panel("validation loss (nats)", folds or {"all folds": metrics["validation_loss"]}, {})
    return training_figure(metrics, "update", [panel], {}, title_of(summary))


def annealing(metrics: Arrays, step: str, around: float = 0.0) -> Spans:
    """Span of the steps with beta < 1, if there are some, ``around`` more at both ends."""
    steps = metrics[step][metrics["beta"] < 1]
    if not len(steps):
        return {}
    return {"annealing, β < 1": (steps.min() - around, steps.max() + around, "k")}


def score_text(summary: Summary, key: str, name: str = "") -> str:
    """Score (nats) with its standard error and warning labels; "" where not finite or known."""
    value = summary.get(key)
    error = summary.get(f"{key}_standard_error")
    if value is None:
        return ""
    estimate = with_error(value, error) if error else f"{value:.3g}"
    text = f"{name} = {estimate} nats" if name else f"{estimate} nats"
    return marked(text, summary, key)
