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

DOTS, DOTS_BESIDE = 24_000, 1_000  # of each colour in a corner and in one of its panels, at most
MOST_BARS, MOST_BINS = 16, 80
SHADE = "0.88"


@drawing()
def table_figures(evaluation: Arrays, metrics: Arrays, summary: Summary) -> dict[str, Figure]:
    """Pictures of a fit to a table of D columns: `corner`, or `density` where D = 1 and nothing is
    given; `training`.

    Arrays, metrics and scores as in docs/scores.md, of other tables. Non-finite values are left out
    and counted.
    """
    drawers = {"corner": corner_figure} if len(summary["columns"]) > 1 else {}
    drawers |= {"density": density_figure} if "axis_1" in evaluation else {}
    figures = {name: draw(evaluation, summary) for name, draw in drawers.items()}
    return {**figures, "training": likelihood_figure(metrics, summary)}


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
        note(ax, f"peak of q: {peak_of(q):.3g}", 0.93)
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
    dots = {colour: x for colour, x in ((SKY, rows), (ORANGE, draws)) if len(x)}
    most = min([DOTS // len(axes), DOTS_BESIDE, *map(len, dots.values())])
    for (i, j), ax in axes.items():
        if i == j:
            draw_histogram(ax, rows[:, i], frames[i])
            draw_histogram(ax, draws[:, i], frames[i], is_line=True)
            continue
        if dots:
            # A row, a draw, a row, …: drawn one after the other, draws would hide the rows.
            x, y = np.stack([points[:most, [j, i]] for points in dots.values()], 1).reshape(-1, 2).T
            size = 4.0 if len(shown) < 6 else 2.0
            ax.scatter(x, y, size, [*dots] * most, linewidths=0, rasterized=True)
    texts = seen_text(rows, frames, what), seen_text(draws, frames, "draws")
    draw_key(figure, *texts)
    some = f"{most:,} of each as dots" if most < max(len(rows), len(draws)) else ""
    score = score_text(summary, "log_likelihood", "log-likelihood") if score is None else score
    count = len(summary["columns"])
    few = f"the {len(shown)} most dependent of {count:,} columns" if len(shown) < count else ""
    title_figure(figure, summary, score, few, some, lost_rows, lost_draws)
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
    counts, edges = np.histogram(inside, bin_count(inside, frame, len(inside), MOST_BINS), frame)
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


@drawing()
def pit_figure(shares: np.ndarray, judged: Pit, subject: str) -> Figure:
    """Draw distributions of randomised PIT ``(201, D)`` less the uniform one, and their distances.

    One line a column; the worst is thick and named. Grey: simultaneous 99 % band of all columns
    (:func:`~nflow_cli.evaluation.pit.pit`), for the column with most rows. Right: the largest
    distances with bands.
    """
    names, worst = list(judged.columns), judged.worst_column
    excess = (shares - LEVELS[:, None]).T
    count = min(len(names), 2)
    figure = Figure((5.0 + 4.5 * (count - 1), 4.2), DPI, layout="constrained")
    axes = figure.subplots(1, count, squeeze=False, width_ratios=(1.6, 1)[:count])[0]
    draw_excess(axes[0], excess, judged, names.index(worst) if worst else 0)
    thick = ""
    if count > 1:
        draw_distances(axes[1], judged)
        thick = f"thick: {worst[:40]}" if worst else ""
    p = judged.p_value
    text = "" if p is None else f"p = {p:.2g}" if p >= 1e-4 else "p < 0.0001"
    add_title(figure, subject, "calibration by PIT", text, thick, "grey: 99% band of chance")
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
    shown = sorted(known, key=lambda name: -known[name].excess)[:MOST_BARS]
    at = np.arange(len(shown))
    ax.barh(at, [known[name].band or 0.0 for name in shown], 0.9, color=SHADE)
    colours = [ORANGE if known[name].excess > 1 else BLUE for name in shown]
    ax.barh(at, [known[name].distance or 0.0 for name in shown], 0.4, color=colours)
    ax.set_yticks(at, [plain(name, 20) for name in shown], size=SIZE)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.set_xlabel("distance from uniform")
    few = f"the largest {len(shown)} of {len(judged.columns)}" if len(shown) < len(known) else ""
    ax.set_title(few, fontsize=9)
    name_lost(ax, np.array([c.distance for c in known.values()], float))


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
    rows, draws = evaluation["rows"], evaluation["draws"]
    own = dict(list(kinds.items())[n_given:])
    return {
        "marginals": marginals_figure(own, rows[:, n_given:], draws[:, n_given:], subject),
        **dependence_figures(kinds, rows, draws, subject),
        "pit": pit_figure(evaluation["pit"], judged, subject),
    }
