"""Pictures of a fit to a table: `corner` or `density`, `training`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from nflow_cli.constants import DPI
from nflow_cli.plotting.plane import density_of, peak_of
from nflow_cli.plotting.style import (
    FURTHEST,
    LETTERS,
    ORANGE,
    SKY,
    Arrays,
    Frame,
    Summary,
    count_in,
    draw_key,
    drawing,
    frame_of,
    label_panel,
    name_scaled,
    note,
    number_text,
    plain,
    title_figure,
)
from nflow_cli.plotting.training import likelihood_figure, score_text

DOTS, DOTS_BESIDE = 24_000, 1_000  # of each colour in a corner and in one of its panels, at most


def table_figures(evaluation: Arrays, metrics: Arrays, summary: Summary) -> dict[str, Figure]:
    """Pictures of a fit to a table of D columns: `corner`, or `density` where D = 1 and nothing is
    given; `training`.

    Arrays, metrics and scores as in docs/scores.md, of other tables. Non-finite values are left out
    and counted.
    """
    drawers = {"corner": corner_figure} if len(summary["columns"]) > 1 else {}
    drawers |= {"density": density_figure} if "axis_1" in evaluation else {}
    with drawing():
        figures = {name: draw(evaluation, summary) for name, draw in drawers.items()}
        figures["training"] = likelihood_figure(metrics, summary)
    return figures


def density_figure(evaluation: Arrays, summary: Summary) -> Figure:
    """Draw a histogram of one column's test rows, and the exact density."""
    rows, lost = finite(evaluation["rows"], "test rows")
    axis, q = evaluation["axis_1"], density_of(evaluation["log_q"])
    frame = float(axis[0]), float(axis[-1])
    figure = Figure((7.0, 4.2), DPI, layout="constrained")
    ax = figure.subplots()
    tallest = draw_histogram(ax, rows[:, 0], frame, label=seen_text(rows, [frame], "test rows"))
    ax.plot(axis, q, color=ORANGE, lw=1.6, label="exact density q(x)")
    # A spike of q would leave the histogram flat.
    top = min(peak_of(q), 3 * tallest) if tallest else peak_of(q)
    if peak_of(q) > top:
        note(ax, f"peak of q: {number_text(peak_of(q))}", 0.93)
    label_panel(ax, plain(summary["columns"][0], LETTERS), "density")
    ax.set(xlim=frame, ylim=(0, 1.08 * max(top, tallest) or 1.0))
    # Below, where it hides nothing.
    ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    title_figure(figure, summary, score_text(summary, "log_likelihood", "log-likelihood"), lost)
    return figure


def corner_figure(
    evaluation: Arrays, summary: Summary, what: str = "test rows", score: str | None = None
) -> Figure:
    """Draw rows and draws: each pair of columns, and histograms.

    `score` is in the title, by default the log-likelihood.
    """
    shown = evaluation["columns_shown"]
    rows, lost_rows = finite(evaluation["rows"][:, shown], what)
    draws, lost_draws = finite(evaluation["samples"][:, shown], "draws")
    frames = [frame_of(x, y) for x, y in zip(rows.T, draws.T, strict=True)]
    figure, axes = corner_panels([summary["columns"][i] for i in shown], frames)
    lengths = [len(points) for points in (rows, draws) if len(points)]
    most = min([DOTS // len(axes), DOTS_BESIDE, *lengths])
    for (i, j), ax in axes.items():
        if i == j:
            draw_histogram(ax, rows[:, i], frames[i])
            draw_histogram(ax, draws[:, i], frames[i], is_line=True)
            continue
        style: Any = {"markeredgewidth": 0, "rasterized": True}
        size = 2.6 if len(shown) < 6 else 1.8
        ax.plot(*rows[:most, [j, i]].T, "o", color=SKY, markersize=size, **style)
        ax.plot(*draws[:most, [j, i]].T, "o", color=ORANGE, markersize=0.45 * size, **style)
    texts = seen_text(rows, frames, what), seen_text(draws, frames, "draws")
    draw_key(figure, *texts)
    dots = f"{most:,} of each as dots" if most < max(len(rows), len(draws)) else ""
    score = score_text(summary, "log_likelihood", "log-likelihood") if score is None else score
    parts = score, shown_text(shown, summary), dots, lost_rows, lost_draws
    title_figure(figure, summary, *parts)
    return figure


def corner_panels(
    names: Sequence[str], frames: Sequence[Frame]
) -> tuple[Figure, dict[tuple[int, int], Axes]]:
    """Figure and its lower triangle of panels, by row and column."""
    count = len(names)
    width = min(10.0, 2.0 + 1.5 * count)
    size = 9.0 if count < 6 else 8.0 if count < 9 else 6.5
    letters = int((width - 1) / count * 72 / (0.75 * size))
    layout = ConstrainedLayoutEngine(w_pad=0.04, h_pad=0.04, wspace=0, hspace=0)
    figure = Figure((width, width), DPI, layout=layout)
    grid = figure.add_gridspec(count, count)
    axes = {(i, j): figure.add_subplot(grid[i, j]) for i in range(count) for j in range(i + 1)}
    for (i, j), ax in axes.items():
        ax.set_xlim(frames[j])
        if i > j:
            ax.set_ylim(frames[i])
        label_panel(ax, "", "")
        ax.tick_params(labelsize=size, length=2.5, pad=2)
        if i == count - 1:
            name_axis(ax.xaxis, plain(names[j], LETTERS, letters), size)
        if j == 0 < i:
            name_axis(ax.yaxis, plain(names[i], LETTERS, letters), size)
    return figure, axes


def name_axis(axis: Axis, name: str, size: float) -> None:
    """Set ticks and a name, in points."""
    axis.set_major_locator(MaxNLocator(3, prune="both"))
    formatter = ScalarFormatter()
    formatter.set_powerlimits((-2, 3))  # numbers are short
    axis.set_major_formatter(formatter)
    name_scaled(axis, name, size)


def draw_histogram(
    ax: Axes, values: np.ndarray, frame: Frame, is_line: bool = False, label: str = ""
) -> float:
    """Draw a histogram of values (n,), normalised over all of them; return its peak."""
    inside = values[(values >= frame[0]) & (values <= frame[1])]
    if not len(inside):
        return 0.0
    # Freedman & Diaconis' rule.
    step = 2 * np.subtract(*np.quantile(inside, [0.75, 0.25])) / len(inside) ** (1 / 3)
    bins = int(np.clip((frame[1] - frame[0]) / step if step > 0 else 80, 8, 80))
    counts, edges = np.histogram(inside, bins, frame)
    heights = counts / len(values) / (edges[1] - edges[0])
    style: Any = {"color": ORANGE, "lw": 1.3} if is_line else {"color": SKY, "fill": True}
    ax.stairs(heights, edges, label=label, **style)
    return float(heights.max())


def finite(points: np.ndarray, what: str) -> tuple[np.ndarray, str]:
    """Finite points (n, m) in float64, and a note on the others."""
    good = np.isfinite(points).all(axis=1)
    lost = len(points) - int(good.sum())
    text = f"not finite: {lost:,} of {len(points):,} {what}" if lost else ""
    return np.clip(points[good].astype(np.float64), -FURTHEST, FURTHEST), text


def seen_text(points: np.ndarray, frames: Sequence[Frame], what: str) -> str:
    """Number of points (n, m), and of those within all frames, if not all."""
    seen = count_in(frames, points)
    whole = seen == len(points)
    return f"{seen:,} {what}" if whole else f"{seen:,} of {len(points):,} {what} in the frame"


def shown_text(shown: np.ndarray, summary: Summary) -> str:
    """Names of columns shown, if not all."""
    count = len(summary["columns"])
    return f"the {len(shown)} most dependent of {count:,} columns" if len(shown) < count else ""
