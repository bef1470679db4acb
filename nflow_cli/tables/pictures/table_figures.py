"""Pictures of a fit to a table."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.constants import DPI
from nflow_cli.plotting.corner import corner_figure, count_text, draw_histogram, finite
from nflow_cli.plotting.plane import density_of, peak_of
from nflow_cli.plotting.style import (
    BLUE,
    GREY,
    LETTERS,
    ORANGE,
    Arrays,
    Summary,
    add_title,
    drawing,
    label_panel,
    name_lost,
    note,
    plain,
    title_figure,
)
from nflow_cli.plotting.training_figures import likelihood_figure, score_text
from nflow_cli.tables.pictures.cell_axes import SIZE
from nflow_cli.tables.pictures.cells_dependence import dependence_figures
from nflow_cli.tables.pictures.cells_marginals import marginals_figure
from nflow_cli.tables.scores.pit import LEVELS, Pit

MOST_BARS = 16
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


@drawing()
def pit_figure(shares: np.ndarray, judged: Pit, subject: str) -> Figure:
    """Draw distributions of randomised PIT ``(201, D)`` less the uniform one, and their distances.

    One line a column; the worst is thick and named. Grey: simultaneous 99 % band of all columns
    (:func:`~nflow_cli.tables.scores.pit.pit`), for the column with most rows. Right: the largest
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
