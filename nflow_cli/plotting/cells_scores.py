"""Picture `pit` of a whole table."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nflow_cli.evaluation.pit import Pit
from nflow_cli.plotting.cells import SIZE
from nflow_cli.plotting.style import (
    BLUE,
    DPI,
    GREY,
    ORANGE,
    add_title,
    drawing,
    name_lost,
    number_text,
    plain,
)

CURVE = np.linspace(0, 1, 201)
MOST_BARS = 16
SHADE = "0.88"


@drawing()
def pit_figure(
    values: np.ndarray, judged: Pit, subject: str, weights: np.ndarray | None = None
) -> Figure:
    """Draw the distribution of randomised PIT (n, D) less the uniform one, and its distances.

    One line a column; the worst is thick and named. Grey: simultaneous 99 % band of all columns
    (:func:`~nflow_cli.evaluation.pit.pit`), for the column with most rows. Right: the largest
    distances with bands.
    """
    names, worst = list(judged.columns), judged.worst_column
    w = np.ones(len(values)) if weights is None else weights
    excess = np.array([_shares(column, w) for column in values.T]) - CURVE
    count = min(len(names), 2)
    figure = Figure((5.0 + 4.5 * (count - 1), 4.2), DPI, layout="constrained")
    axes = figure.subplots(1, count, squeeze=False, width_ratios=(1.6, 1)[:count])[0]
    draw_excess(axes[0], excess, judged, names.index(worst) if worst else 0)
    thick = ""
    if count > 1:
        draw_distances(axes[1], judged)
        thick = f"thick: {worst[:40]}" if worst else ""
    p = judged.p_value
    text = "" if p is None else f"p = {number_text(p)}" if p >= 1e-4 else "p < 0.0001"
    add_title(figure, subject, "calibration by PIT", text, thick, "grey: 99% band of chance")
    return figure


def _shares(u: np.ndarray, weights: np.ndarray) -> np.ndarray:
    known = np.isfinite(u) & (weights > 0)
    order = np.argsort(u[known])
    sums = np.concatenate([[0.0], np.cumsum(weights[known][order])])
    if not known.any():
        return np.full(len(CURVE), np.nan)
    return sums[np.searchsorted(u[known][order], CURVE, side="right")] / sums[-1]


def draw_excess(ax: Axes, excess: np.ndarray, judged: Pit, thick: int) -> None:
    """Draw the empirical distribution of each column's PIT less the uniform one."""
    band = min((c.band for c in judged.columns.values() if c.band is not None), default=0.0)
    highest = np.max(np.abs(excess), initial=0.0, where=np.isfinite(excess))
    reach = max(1.6 * band, 1.2 * highest) or 1.0
    ax.set(xlim=(0, 1), ylim=(-reach, reach), xlabel="PIT: F(cell | cells before)")
    ax.set_ylabel("share of test rows, less the PIT")
    name_lost(ax, excess)
    if np.isfinite(excess).any():
        ax.axhspan(-band, band, color=SHADE, linewidth=0)
        ax.axhline(0, color="k", linewidth=0.8, linestyle="--")
        ax.plot(CURVE, excess.T, color=GREY, lw=0.7)
        ax.plot(CURVE, excess[thick], color=ORANGE, lw=1.8)


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
