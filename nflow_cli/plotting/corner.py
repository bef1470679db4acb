"""Corner plots: rows beside draws, each pair of columns and each column alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from nflow_cli.constants import DPI
from nflow_cli.plotting.style import (
    FURTHEST,
    LETTERS,
    ORANGE,
    SKY,
    Arrays,
    Frame,
    Summary,
    bin_count,
    count_in,
    draw_key,
    frame_of,
    label_panel,
    name_scaled,
    plain,
    title_figure,
)
from nflow_cli.plotting.training_figures import score_text

MOST_DOTS = 24_000  # of each colour in a corner
MOST_PANEL_DOTS = 1_000  # of each colour in one of its panels
MOST_BINS = 80


def corner_figure(
    evaluation: Arrays, summary: Summary, noun: str = "test rows", score: str | None = None
) -> Figure:
    """Draw rows and draws: each pair of columns, and histograms.

    `noun` names the rows; `score` is in the title, by default the log-likelihood.
    """
    columns = evaluation["columns_shown"]
    rows, lost_rows = finite(evaluation["rows"][:, columns], noun)
    draws, lost_draws = finite(evaluation["samples"][:, columns], "draws")
    frames = [frame_of(x, y) for x, y in zip(rows.T, draws.T, strict=True)]
    figure, axes = corner_panels([summary["columns"][i] for i in columns], frames)
    clouds = {colour: x for colour, x in ((SKY, rows), (ORANGE, draws)) if len(x)}
    counts = [len(points) for points in clouds.values()]
    n_dots = min(MOST_DOTS // len(axes), MOST_PANEL_DOTS, *counts)
    for (i, j), ax in axes.items():
        if i == j:
            draw_histogram(ax, rows[:, i], frames[i])
            draw_histogram(ax, draws[:, i], frames[i], is_line=True)
        elif clouds:
            # A row, a draw, a row, …: drawn one after the other, draws would hide the rows.
            pairs = [points[:n_dots, [j, i]] for points in clouds.values()]
            x, y = np.stack(pairs, 1).reshape(-1, 2).T
            size = 4.0 if len(columns) < 6 else 2.0
            ax.scatter(x, y, size, list(clouds) * n_dots, linewidths=0, rasterized=True)
    draw_key(figure, count_text(rows, frames, noun), count_text(draws, frames, "draws"))
    if score is None:
        score = score_text(summary, "log_likelihood", "log-likelihood")
    parts = [score]
    count = len(summary["columns"])
    if len(columns) < count:
        parts.append(f"the {len(columns)} most dependent of {count:,} columns")
    if n_dots < max(len(rows), len(draws)):
        parts.append(f"{n_dots:,} of each as dots")
    title_figure(figure, summary, *parts, lost_rows, lost_draws)
    return figure


def corner_panels(
    names: Sequence[str], frames: Sequence[Frame]
) -> tuple[Figure, dict[tuple[int, int], Axes]]:
    """Figure and its lower triangle of panels, by row and column."""
    count = len(names)
    width = min(10.0, 2.0 + 1.5 * count)
    size = 6.5
    if count < 6:
        size = 9.0
    elif count < 9:
        size = 8.0
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
    bins = bin_count(inside, frame, len(inside), MOST_BINS)
    counts, edges = np.histogram(inside, bins, frame)
    heights = counts / len(values) / (edges[1] - edges[0])
    style: Any = {"color": ORANGE, "lw": 1.3} if is_line else {"color": SKY, "fill": True}
    ax.stairs(heights, edges, label=label, **style)
    return float(heights.max())


def finite(points: np.ndarray, noun: str) -> tuple[np.ndarray, str]:
    """Finite points (n, m) in float64, and a note on the others."""
    is_finite = np.isfinite(points).all(axis=1)
    lost = len(points) - int(is_finite.sum())
    text = f"not finite: {lost:,} of {len(points):,} {noun}" if lost else ""
    return np.clip(points[is_finite].astype(np.float64), -FURTHEST, FURTHEST), text


def count_text(points: np.ndarray, frames: Sequence[Frame], noun: str) -> str:
    """Number of points (n, m), and of those within all frames, if not all."""
    within = count_in(frames, points)
    if within == len(points):
        return f"{within:,} {noun}"
    return f"{within:,} of {len(points):,} {noun} in the frame"
