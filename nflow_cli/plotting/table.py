"""Pictures of a fit to a table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from nflow_cli.config.kinds import ColumnKind
from nflow_cli.constants import DPI
from nflow_cli.evaluation.pit import LEVELS, Pit
from nflow_cli.plotting.cells import SIZE
from nflow_cli.plotting.cells_dependence import dependence_figures
from nflow_cli.plotting.cells_marginals import marginals_figure
from nflow_cli.plotting.plane import density_of, peak_of
from nflow_cli.plotting.style import (
    BLUE,
    FURTHEST,
    GREY,
    LETTERS,
    ORANGE,
    SKY,
    Arrays,
    Frame,
    Summary,
    add_title,
    bin_count,
    count_in,
    draw_key,
    drawing,
    frame_of,
    label_panel,
    name_lost,
    name_scaled,
    note,
    plain,
    title_figure,
)
from nflow_cli.plotting.training import likelihood_figure, score_text

MOST_DOTS = 24_000  # of each colour in a corner
MOST_PANEL_DOTS = 1_000  # of each colour in one of its panels
MOST_BARS = 16
MOST_BINS = 80
SHADE = "0.88"


@drawing()
def table_figures(evaluation: Arrays, metrics: Arrays, summary: Summary) -> dict[str, Figure]:
    """Pictures of a fit to a table of D columns: `corner`, or `density` where D = 1 and nothing is
    given; `training`.

    Arrays, metrics and scores as in docs/scores.md, of other tables. Non-finite values are left out
    and counted.
    """
    figures = {}
    if len(summary["columns"]) > 1:
        figures["corner"] = corner_figure(evaluation, summary)
    if "axis_1" in evaluation:
        figures["density"] = density_figure(evaluation, summary)
    figures["training"] = likelihood_figure(metrics, summary)
    return figures


def density_figure(evaluation: Arrays, summary: Summary) -> Figure:
    """Draw a histogram of one column's test rows, and the exact density."""
    rows, lost = finite(evaluation["rows"], "test rows")
    axis = evaluation["axis_1"]
    q = density_of(evaluation["log_q"])
    frame = (float(axis[0]), float(axis[-1]))
    figure = Figure((7.0, 4.2), DPI, layout="constrained")
    ax = figure.subplots()
    tallest = draw_histogram(ax, rows[:, 0], frame, label=count_text(rows, [frame], "test rows"))
    ax.plot(axis, q, color=ORANGE, lw=1.6, label="exact density q(x)")
    peak = peak_of(q)
    # A spike of q would leave the histogram flat.
    top = min(peak, 3 * tallest) if tallest else peak
    if peak > top:
        note(ax, f"peak of q: {peak:.3g}", 0.93)
    label_panel(ax, plain(summary["columns"][0], LETTERS), "density")
    ax.set(xlim=frame, ylim=(0, 1.08 * max(top, tallest) or 1.0))
    # Below, where it hides nothing.
    ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    title_figure(figure, summary, score_text(summary, "log_likelihood", "log-likelihood"), lost)
    return figure


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


@drawing()
def pit_figure(shares: np.ndarray, judged: Pit, subject: str) -> Figure:
    """Draw distributions of randomised PIT ``(201, D)`` less the uniform one, and their distances.

    One line a column; the worst is thick and named. Grey: simultaneous 99 % band of all columns
    (:func:`~nflow_cli.evaluation.pit.pit`), for the column with most rows. Right: the largest
    distances with bands.
    """
    names = list(judged.columns)
    worst = judged.worst_column
    excess = (shares - LEVELS[:, None]).T
    count = min(len(names), 2)
    figure = Figure((5.0 + 4.5 * (count - 1), 4.2), DPI, layout="constrained")
    axes = figure.subplots(1, count, squeeze=False, width_ratios=(1.6, 1)[:count])[0]
    draw_excess(axes[0], excess, judged, names.index(worst) if worst else 0)
    parts = [subject, "calibration by PIT"]
    p = judged.p_value
    if p is not None:
        parts.append(f"p = {p:.2g}" if p >= 1e-4 else "p < 0.0001")
    if count > 1:
        draw_distances(axes[1], judged)
        if worst:
            parts.append(f"thick: {worst[:40]}")
    add_title(figure, *parts, "grey: 99% band of chance")
    return figure


def draw_excess(ax: Axes, excess: np.ndarray, judged: Pit, thick: int) -> None:
    """Draw the empirical distribution of each column's PIT less the uniform one."""
    band = min((c.band for c in judged.columns.values() if c.band is not None), default=0.0)
    highest = np.max(np.abs(excess), initial=0.0, where=np.isfinite(excess))
    reach = max(1.6 * band, 1.2 * highest) or 1.0
    ax.set(xlim=(0, 1), ylim=(-reach, reach), xlabel="PIT")
    ax.set_ylabel("share of test rows, less the PIT")
    name_lost(ax, excess)
    if np.isfinite(excess).any():
        ax.axhspan(-band, band, color=SHADE, linewidth=0)
        ax.axhline(0, color="k", linewidth=0.8, linestyle="--")
        ax.plot(LEVELS, excess.T, color=GREY, lw=0.7)
        ax.plot(LEVELS, excess[thick], color=ORANGE, lw=1.8)


def draw_distances(ax: Axes, judged: Pit) -> None:
    """Draw the largest distances from uniform as bars, with their bands."""
    known = {name: c for name, c in judged.columns.items() if c.distance is not None}
    names = sorted(known, key=lambda name: -known[name].excess)[:MOST_BARS]
    columns = [known[name] for name in names]
    places = np.arange(len(names))
    colours = []
    for column in columns:
        colours.append(ORANGE if column.excess > 1 else BLUE)
    ax.barh(places, [column.band or 0.0 for column in columns], 0.9, color=SHADE)
    ax.barh(places, [column.distance or 0.0 for column in columns], 0.4, color=colours)
    ax.set_yticks(places, [plain(name, 20) for name in names], size=SIZE)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.set_xlabel("distance from uniform")
    if len(names) < len(known):
        ax.set_title(f"the largest {len(names)} of {len(judged.columns)}", fontsize=9)
    name_lost(ax, np.array([column.distance for column in known.values()], float))


@drawing()
def whole_table_figures(
    kinds: Mapping[str, ColumnKind],
    evaluation: Arrays,
    judged: Pit,
    subject: str,
    n_given: int = 0,
) -> dict[str, Figure]:
    """Pictures `marginals`, `dependence`, `pairs` and `pit` of a fit.

    A table of one column has no `dependence` and `pairs`.

    Args:
        kinds: Of the C columns in order, with all levels of training rows.
        evaluation: ``rows`` ``(n, C)`` and ``draws`` ``(m, C)``, given columns first; a cell is the
            index of a level, -1 for a new one, or a value (dates in days, times in seconds since
            1970), NaN if missing. ``pit`` ``(201, D)``: of its distributions.
        judged: PIT scores of the D modelled columns or their components.
        subject: Data and model, for the title.
        n_given: Number of given columns.
    """
    rows = evaluation["rows"]
    draws = evaluation["draws"]
    modelled = dict(list(kinds.items())[n_given:])
    return {
        "marginals": marginals_figure(modelled, rows[:, n_given:], draws[:, n_given:], subject),
        **dependence_figures(kinds, rows, draws, subject),
        "pit": pit_figure(evaluation["pit"], judged, subject),
    }
