"""Pictures of several runs: scores against K, training curves, and densities."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator

from nflow_cli.constants import DPI
from nflow_cli.plotting.plane import density_of, extent_of, peak_of
from nflow_cli.plotting.style import (
    COLOURS,
    SEQUENTIAL,
    add_colour_bar,
    add_title,
    draw_grid,
    drawing,
    label_panel,
    panel_grid,
    plain,
    scale_values,
)

MARKERS = "os^DvPX"  # of colours in turn, and others in a second turn
LINE_STYLES = ("-", "--", ":", "-.")  # of curves, one after the other where colours begin anew
MOST_IN_A_ROW = 7  # of densities in a picture
BAR_LABEL = "density /\nthe target's peak"
SEEDS_WIDE = 0.4  # of a doubling of K, with the dots of all seeds
TITLE_LETTERS = 18  # letters of a title of a panel
PANEL_INCHES = 1.35  # inches, of a density


class Series(NamedTuple):
    """Line of a panel: at each K the scores of all seeds, and warnings."""

    name: str
    k: Sequence[int]
    scores: Sequence[Sequence[float]]
    words: Sequence[str]


class Curve(NamedTuple):
    """Training curve: updates or epochs (n,), and scores (n,).

    ``name`` is shared by runs that differ only by seeds.
    """

    name: str
    steps: np.ndarray
    values: np.ndarray


class Density(NamedTuple):
    """Panel: title, axis (n,) of its square grid, log-densities (n, n) in nats."""

    title: str
    axis: np.ndarray
    log_density: np.ndarray


@drawing()
def spread_figure(panels: Mapping[str, Sequence[Series]], name: str, seeds: int) -> Figure:
    """Draw series of a score called `name` against K, a panel for each title.

    A dot is a fit; with several seeds, lines join the medians.
    """
    series_of_panels = [series for lines in panels.values() for series in lines]
    names = list(dict.fromkeys(series.name for series in series_of_panels))
    has_words = any(word for series in series_of_panels for word in series.words)
    figure, axes = titled_panels(list(panels), 4, 2.25, name, sharey=True)
    for ax, lines in zip(axes, panels.values(), strict=True):
        draw_series(ax, lines, names)
        ax.margins(y=0.15 if has_words else None)  # the words stand above their points
        ax.set_xlabel("K")
    scores = [scores for series in series_of_panels for scores in series.scores]
    scale_values(axes[0], np.concatenate(scores))
    draw_legend(figure, names)
    parts = [f"{name} against the number of flows"]
    if seeds > 1:
        parts += [f"a dot for each of up to {seeds} seeds", "lines through medians"]
    add_title(figure, *parts)
    return figure


def titled_panels(
    titles: Sequence[str], most: int, width: float, name: str, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """Figure of panels, at most so many in a row, of a width in inches and a common y."""
    columns = min(len(titles), most)
    rows = math.ceil(len(titles) / columns)
    size = (max(1.2 + width * columns, 5.0), 1.2 + 2.4 * rows)
    figure = Figure(size, DPI, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=sharey).ravel()
    for ax in axes[len(titles) :]:
        ax.remove()
    for ax, title in zip(axes, titles):
        ax.set_title(plain(title))
        ax.grid(color="0.9", linewidth=0.6)
    for ax in axes[::columns]:
        ax.set_ylabel(name)
    return figure, list(axes[: len(titles)])


def draw_series(ax: Axes, lines: Sequence[Series], names: Sequence[str]) -> None:
    """Draw lines; a name has one colour and marker in all panels."""
    ks = sorted({k for series in lines for k in series.k})
    for series in lines:
        turn, i = divmod(names.index(series.name), len(COLOURS))
        colour = COLOURS[i]
        medians = [np.median(scores) for scores in series.scores]
        ax.plot(series.k, medians, color=colour)
        places = [places_of(k, len(scores)) for k, scores in zip(series.k, series.scores)]
        ax.plot(
            np.concatenate(places),
            np.concatenate(series.scores),
            color=colour,
            label=plain(series.name),
            marker=MARKERS[(i + turn) % len(MARKERS)],
            markersize=5,
            ls="",
        )
        for k, median, word in zip(series.k, medians, series.words):
            side = "left"
            shift = (4, 4)
            if k == max(ks) > min(ks):  # below the last point, as falling lines come from above
                side = "right"
                shift = (-4, -10)
            ax.annotate(
                word,
                (k, median),
                shift,
                textcoords="offset points",
                ha=side,
                fontsize=7,
                color=colour,
                zorder=3,
                path_effects=[withStroke(linewidth=2, foreground="white")],
            )
    label_k(ax, ks)


def places_of(k: int, count: int) -> np.ndarray:
    """Places of the seeds of one K, beside each other on its axis."""
    middle = 1 + math.log2(k) if k else 0.0  # the axis is linear to 1, then in doublings
    places = middle + SEEDS_WIDE * (np.arange(count) - (count - 1) / 2) / count
    return np.where(places < 1, places, 2 ** (places - 1))


@drawing()
def courses_figure(
    panels: Mapping[str, Sequence[Curve]], value: str, step: str, note: str = ""
) -> Figure:
    """Draw training curves over logarithmic steps, a panel for each title.

    `value` and `step` name the axes. Curves of one name share a style.
    """
    names = list(dict.fromkeys(curve.name for curves in panels.values() for curve in curves))
    figure, axes = titled_panels(list(panels), 2, 3.6, value)
    for ax, curves in zip(axes, panels.values(), strict=True):
        for curve in curves:
            turn, i = divmod(names.index(curve.name), len(COLOURS))
            is_drawn = np.isfinite(curve.values) & (curve.steps > 0)
            ax.plot(
                curve.steps[is_drawn],
                curve.values[is_drawn],
                color=COLOURS[i],
                ls=LINE_STYLES[turn % len(LINE_STYLES)],
                lw=1.1,
                marker="o" if is_drawn.sum() == 1 else "",
                label=plain(curve.name),
            )
        scale_values(ax, np.concatenate([curve.values for curve in curves]))
        ax.set(xlabel=step, xscale="log")
        ax.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))  # else its labels overlap
    draw_legend(figure, names)
    add_title(figure, "training curves, a line for each run", note)
    return figure


def draw_legend(figure: Figure, names: Sequence[str]) -> None:
    """Draw the legend of names below the panels, which get no smaller; long ones are broken."""
    handles = {}
    for ax in reversed(figure.axes):  # those of the first panel stay
        for handle in ax.get_legend_handles_labels()[0]:
            handles[handle.get_label()] = handle
    letters = int(11 * figure.get_figwidth())
    texts = [textwrap.fill(plain(name), letters - 10) for name in names]
    columns = max(1, letters // (10 + max(len(text) for text in texts)))
    figure.legend(
        [handles[plain(name)] for name in names],
        texts,
        loc="outside lower center",
        frameon=False,
        ncols=columns,
    )
    lines = math.ceil("\n".join(texts).count("\n") / columns)
    figure.set_figheight(figure.get_figheight() + 0.2 * lines)


def label_k(ax: Axes, ks: Sequence[int]) -> None:
    """Scale K logarithmically, with 0 left of 1, and label its values."""
    ax.set_xscale("symlog", base=2, linthresh=1)
    ticks = ks
    if len(ks) > 8:
        ticks = [ks[round(i)] for i in np.linspace(0, len(ks) - 1, 8)]
    ax.set_xticks(ticks, [str(k) for k in ticks])
    ax.margins(x=0.1)
    if len(ks) == 1:
        ax.set_xlim(ks[0] / 2 or -1.0, 2 * ks[0] or 1.0)


@drawing()
def densities_figure(targets: Mapping[str, Sequence[Density]]) -> Figure:
    """Draw each target, first of its densities, beside its fits.

    A row's colour scale ends at the peak of its target; the bar marks fits above it.
    """
    rows = rows_of(targets)
    columns = max(len(densities) for _, densities in rows)
    axis = rows[0][1][0].axis
    width = 1.7 + PANEL_INCHES * columns
    figure, axes = panel_grid(len(rows) * columns, columns, extent_of(axis, axis), width, side=1.3)
    title_lines = sum(
        max(_wrapped(density.title).count("\n") for density in densities) for _, densities in rows
    )
    figure.set_figheight(0.6 + len(rows) * (PANEL_INCHES + 0.35) + 0.155 * title_lines)
    shown = []
    is_cut = False
    for i, (name, densities) in enumerate(rows):
        row = axes[i * columns : (i + 1) * columns]
        for ax in row[len(densities) :]:
            ax.remove()
        is_cut |= draw_row(row, densities)
        for j, ax in enumerate(row[: len(densities)]):
            is_lowest = i == len(rows) - 1 or j >= len(rows[i + 1][1])
            label_panel(ax, "z₁" if is_lowest else "", "" if j else f"{name}\nz₂")
            shown.append(ax)
    add_colour_bar(shown[0].images[0], shown, BAR_LABEL, "max" if is_cut else "neither")
    add_title(figure, "target and fits, the best over seeds")
    return figure


def rows_of(targets: Mapping[str, Sequence[Density]]) -> list[tuple[str, list[Density]]]:
    """Rows of panels: the name of a target, the target, and as many of its fits as there is room
    for.
    """
    rows = []
    for name, (target, *fits) in targets.items():
        for start in range(0, len(fits), MOST_IN_A_ROW - 1):
            rows.append((plain(name), [target, *fits[start : start + MOST_IN_A_ROW - 1]]))
    return rows


def draw_row(axes: Sequence[Axes], panels: Sequence[Density]) -> bool:
    """Draw a target and its fits; return whether a fit exceeds the target's peak."""
    densities = [density_of(panel.log_density) for panel in panels]
    peaks = [peak_of(density) for density in densities]
    target_peak = peaks[0] or 1.0
    for ax, panel, density in zip(axes, panels, densities):
        extent = extent_of(panel.axis, panel.axis)
        draw_grid(ax, density / target_peak, extent, SEQUENTIAL, Normalize(0.0, 1.0))
        ax.set_title(_wrapped(panel.title), fontsize=9)
    return max(peaks[1:], default=0.0) > target_peak


def _wrapped(title: str) -> str:
    return plain(title.replace("(", " ("), width=TITLE_LETTERS)
