"""The picture `calibration` of a fit to a table: coverage, PIT, and coverage by what is given."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nflow_cli.config.roles import Roles
from nflow_cli.evaluation.calibration import BINNED, CURVE, Bin
from nflow_cli.evaluation.conditions import place_text
from nflow_cli.plotting.columns import BAND, distance_text
from nflow_cli.plotting.frames import column_text
from nflow_cli.plotting.quantiles import SHADE
from nflow_cli.plotting.style import (
    BLUE,
    DPI,
    GREY,
    ORANGE,
    Arrays,
    Summary,
    drawing,
    fix_layout,
    name_lost,
)
from nflow_cli.plotting.target import title_figure

MOST_BINS = 16  # that are drawn


def calibration_figure(evaluation: Arrays, summary: Summary, roles: Roles) -> Figure:
    """Return the picture `calibration` of a fit to rows with these `roles`.

    From left to right, each beside what chance allows: the share of test rows in the regions of
    highest density of each level, less the level; the share of rows whose PIT in a column is at
    most so much, less that, a line for each column; and, where something is given, the coverage of
    the regions of 90 % in bins of that.

    `evaluation` holds `coverage` (101,), `pit` (101, D) and `coverage_bins` (b, 8), and `summary`
    gives `calibration`, both as :func:`~nflow_cli.evaluation.calibration.calibration` returns them;
    and `data` {`name`}, `flow`, `k`.
    """
    judged, rows = summary["calibration"], evaluation["coverage_bins"]
    bins = shown_bins(rows)
    with drawing():
        count = 1 + bool(roles.dim) + bool(bins)
        figure = Figure((4.3 * count, 4.2), DPI, layout="constrained")
        axes = figure.subplots(1, count, squeeze=False)[0]
        draw_coverage(axes[0], evaluation["coverage"], judged)
        if roles.dim:
            draw_pits(axes[1], evaluation["pit"], judged, roles)
        if bins:
            draw_bins(axes[-1], bins, roles, len(rows))
        thick = "thick: the column furthest from uniform" if roles.dim > 1 else ""
        text = f"calibration by {judged['n']:,} test rows"
        title_figure(figure, summary, text, thick, BAND)
        fix_layout(figure)
    return figure


def draw_coverage(ax: Axes, shares: np.ndarray, judged: Summary) -> None:
    """Draw how many rows the regions of each level cover (101,) more than they claim to."""
    draw_excess(ax, shares[:, None], judged["band"])
    ax.set(xlabel="level of the region", ylabel="share of test rows in it, less the level")
    ax.set_title(distance_text(judged["distance"], judged["band"]), fontsize=9)
    style: Any = {"ha": "center", "fontsize": 8, "color": "0.35", "transform": ax.transAxes}
    ax.text(0.5, 0.96, "more than claimed: underconfident", va="top", **style)
    ax.text(0.5, 0.04, "fewer than claimed: overconfident", va="bottom", **style)


def draw_pits(ax: Axes, shares: np.ndarray, judged: Summary, roles: Roles) -> None:
    """Draw the distribution of the PIT of each column (101, D), less the uniform one."""
    worst = judged["worst_column"]
    thick = list(roles.numbers).index(worst) if worst in roles.numbers else 0
    draw_excess(ax, shares, judged["pit_band"], thick)
    ax.set(xlabel="PIT: share of draws below the row", ylabel="share of test rows, less the PIT")
    text = distance_text(judged["pit_distance"], judged["pit_band"])
    name = f"{column_text(worst)}:\n" if text and roles.dim > 1 else ""
    ax.set_title(name + text, fontsize=9)


def draw_excess(ax: Axes, shares: np.ndarray, band: float | None, thick: int = 0) -> None:
    """Draw shares (101, m) of rows at each level from 0 to 1, less the level."""
    excess = shares - CURVE[:, None]
    reach = max(
        2.5 * (band or 0.0), 1.3 * np.max(np.abs(excess), initial=0.0, where=excess == excess)
    )
    ax.set(xlim=(0, 1), ylim=(-reach or -1.0, reach or 1.0))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    name_lost(ax, excess)
    if np.isfinite(excess).any():
        ax.axhspan(-(band or 0.0), band or 0.0, color=SHADE, linewidth=0)
        ax.axhline(0, color="k", linewidth=0.8, linestyle="--")
        ax.plot(CURVE, excess, color=GREY, lw=0.7)
        ax.plot(CURVE, excess[:, thick], color=ORANGE, lw=1.8)


def shown_bins(rows: np.ndarray) -> list[Bin]:
    """Return the bins (b, 8) of the columns with the worst ones, as many as there is room for."""
    bins = [Bin(*row) for row in rows.tolist()]
    columns = dict.fromkeys(b.column for b in sorted(bins, key=lambda b: -b.excess))
    shown: list[Bin] = []
    for column in columns:
        of_column = [b for b in bins if b.column == column]
        if len(shown) + len(of_column) <= MOST_BINS:
            shown += of_column
    return sorted(shown, key=lambda b: b.column)


def draw_bins(ax: Axes, bins: list[Bin], roles: Roles, count: int) -> None:
    """Draw the coverage of bins below each other, with standard errors, beside what chance does."""
    worst = max(bins, key=lambda b: b.excess)
    at = -np.arange(len(bins), dtype=float)
    low, high = (np.array([getattr(b, f"chance_{end}") for b in bins]) for end in ("low", "high"))
    ax.barh(at, high - low, 0.8, low, color=SHADE)
    ax.axvline(BINNED, color="k", linewidth=0.8, linestyle="--")
    for y, one in zip(at, bins):
        style: Any = {"color": ORANGE if one is worst else BLUE, "ms": 7 if one is worst else 5}
        ax.errorbar(one.covered, y, xerr=one.standard_error, fmt="o", lw=1.2, **style)
    ax.set_yticks(at, [bin_text(one, roles) for one in bins], size=8)
    ax.set_ylim(at[-1] - 0.7, 0.7)
    ax.set_xlabel("share of test rows in the regions of 90%")
    few = f"{len(bins)} of {count} bins; " if len(bins) < count else ""
    ax.set_title(f"{few}orange: the worst bin", fontsize=9)


def bin_text(one: Bin, roles: Roles) -> str:
    """Name a bin by its column and the values in it."""
    name = roles.columns[int(one.column)]
    levels = roles.given_categories.get(name)
    where = place_text(one.low, one.high, levels[int(one.low)] if levels else None)
    return f"{column_text(name)}: {column_text(where)}"
