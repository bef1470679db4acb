"""Picture `marginals` of a whole table."""

import math
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import NullLocator

from nflow_cli.config.kinds import ColumnKind
from nflow_cli.constants import DPI
from nflow_cli.evaluation.association import MISSING, differences, grouped
from nflow_cli.evaluation.estimates import rounded
from nflow_cli.plotting.cells import (
    SIZE,
    axis_frame,
    is_dated,
    is_spaced_by_powers,
    name_groups,
    note_empty,
    prepare_axis,
    prepare_shares,
    step_of,
    values_of,
)
from nflow_cli.plotting.style import (
    LETTERS,
    ORANGE,
    SKY,
    Frame,
    add_title,
    bin_count,
    draw_key,
    label_panel,
    padded,
    plain,
)

MOST_PANELS, MOST_LEVELS, MOST_SPIKES = 24, 12, 12
LOW, TALL = 1.3, 2.4  # inches, of a panel at least: of many and of one or two
MOST_BINS = 40
LEAST_SCALE = 0.05  # of an axis of shares, so that what is rare looks rare


def marginals_figure(
    kinds: Mapping[str, ColumnKind], rows: np.ndarray, draws: np.ndarray, subject: str
) -> Figure:
    """Draw each column of rows (n, C) and of draws (m, C), at most the 24 that differ most.

    Numbers are histograms with common bins, on a grid whole steps wide; atoms and missing cells are
    spikes on a right axis of shares; levels are bars.
    """
    order = np.argsort(-differences(kinds, rows, draws), kind="stable")[:MOST_PANELS]
    shown = sorted(order.tolist())
    names = list(kinds)
    figure, axes = panels([panel_height(kinds[names[j]]) for j in shown])
    for ax, j in zip(axes, shown, strict=True):
        name = plain(names[j], LETTERS)
        if kinds[names[j]].kind == "levels":
            draw_levels(ax, name, kinds[names[j]], rows[:, j], draws[:, j])
        else:
            draw_numbers(ax, name, kinds[names[j]], rows[:, j], draws[:, j])
    few = f"the {len(shown)} columns that differ most of {len(names)}"
    spikes = "spikes: shares of single values" if any(kinds[names[j]].atoms for j in shown) else ""
    add_title(figure, subject, few if len(shown) < len(names) else "", spikes)
    rest = [name for j, name in enumerate(names) if j not in shown]
    text = f"not shown: {', '.join(plain(name, LETTERS) for name in rest)}" if rest else ""
    above = textwrap.shorten(text, 140, placeholder=" …")
    draw_key(figure, f"{len(rows):,} test rows", f"{len(draws):,} draws", above)
    return figure


def panels(heights: list[float]) -> tuple[Figure, list[Axes]]:
    """Figure of panels with heights in inches."""
    count = len(heights)
    columns = count if count < 3 else 2 if count == 4 else 3 if count < 10 else 4
    heights = [max(height, TALL if count < 3 else LOW) for height in heights]
    lines = [max(heights[i : i + columns]) for i in range(0, count, columns)]
    size = (5.0, 8.0, 9.5, 11.0)[columns - 1], sum(lines) + 0.35 * len(lines) + 0.9
    figure = Figure(size, DPI, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.05))
    # Each has room for its own names, so that long ones do not part the columns of panels.
    parts: Any = figure.subfigures(len(lines), columns, squeeze=False, height_ratios=lines)
    return figure, [parts[divmod(i, columns)].subplots() for i in range(count)]


def panel_height(kind: ColumnKind) -> float:
    """Height of a column's panel in inches: level names need room."""
    count = len(kind.levels or ()) + kind.missing if kind.kind == "levels" else 0
    return 0.3 + 0.14 * min(count, MOST_LEVELS + 2)


def draw_levels(ax: Axes, name: str, kind: ColumnKind, rows: np.ndarray, draws: np.ndarray) -> None:
    """Draw shares of levels as bars, rows wide, draws narrow."""
    groups = grouped(kind, rows, draws, MOST_LEVELS)
    at = np.arange(len(groups.names))
    for codes, height, colour in ((groups.rows, 0.8, SKY), (groups.draws, 0.3, ORANGE)):
        shares = np.bincount(codes, minlength=len(at)) / max(len(codes), 1)
        ax.barh(at, shares, height, color=colour)
    name_groups(ax, groups, 16)
    ax.set_xlabel(name, size=SIZE)
    ax.set_title(" ", size=SIZE - 1, pad=3)
    prepare_shares(ax.xaxis)
    note_empty(ax, rows, draws)


def draw_numbers(
    ax: Axes, name: str, kind: ColumnKind, rows: np.ndarray, draws: np.ndarray
) -> None:
    """Draw histograms of values, atoms as spikes, and missing cells."""
    x, y = (values_of(kind, cells) for cells in (rows, draws))
    by_powers = is_spaced_by_powers(kind, x, y)
    atoms, smooth, masses = without_atoms(kind, x, y)
    frame = axis_frame(kind, x, y, by_powers)
    edges = edges_of(kind, smooth, frame, by_powers)
    if edges[1] - edges[0] < 1.5 * step_of(kind):  # an atom is a bar like others
        atoms, smooth = atoms[:0], [x, y]
    label_panel(ax, name, "")
    prepare_axis(ax.xaxis, kind, name, frame, by_powers)
    counts = [np.histogram(values, edges)[0] for values in smooth]
    if step := step_of(kind):  # a bin with atoms has fewer values than others
        size = round((edges[1] - edges[0]) / step)
        others = np.maximum(size - np.histogram(atoms, edges)[0], 1)
        counts = [n * size / others for n in counts]
    heights = [n / max(len(cells), 1) for n, cells in zip(counts, (rows, draws), strict=True)]
    ax.stairs(heights[0], edges, color=SKY, fill=True)
    if len(y):
        ax.stairs(heights[1], edges, color=ORANGE, lw=1.2)
    ax.set_ylim(0, 1.08 * max(h.max() for h in heights) or 1.0)
    beyond = [v[(v < frame[0]) | (v > frame[1])] for v in (x, y)]
    # From the panel's left edge: what is centred may begin beyond the picture's.
    ax.set_title(beyond_text(kind, *beyond), size=SIZE - 1, color="0.35", pad=3, loc="left")
    gaps = [float(np.isnan(cells).mean()) if len(cells) else 0.0 for cells in (rows, draws)]
    draw_masses(ax, atoms, [m * (1 - gap) for m, gap in zip(masses, gaps, strict=True)], gaps)
    note_empty(ax, x, y)


def without_atoms(
    kind: ColumnKind, rows: np.ndarray, draws: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Most frequent atoms (A,); other values and atom shares (A,) of rows and draws."""
    atoms = values_of(kind, np.array(kind.atoms))
    near = step_of(kind) / 4 or (values_of(kind, np.array([kind.resolution or 0.0]))[0] / 4)
    at = [np.abs(x[:, None] - atoms) <= near for x in (rows, draws)]
    shares = [found.sum(axis=0) / max(len(found), 1) for found in at]
    most = np.sort(np.argsort(-np.maximum(*shares), kind="stable")[:MOST_SPIKES])
    smooth = [x[~found[:, most].any(axis=1)] for x, found in zip((rows, draws), at, strict=True)]
    return atoms[most], smooth, [share[most] for share in shares]


def beyond_text(kind: ColumnKind, rows: np.ndarray, draws: np.ndarray) -> str:
    """Numbers of values (n,) of rows and (m,) of draws outside the frame, and their range below; a
    space if there are none.
    """
    named = {"rows": rows, "draws": draws}
    parts = [f"{len(values):,} of the {name}" for name, values in named.items() if len(values)]
    if not parts:
        return " "
    values = np.concatenate([rows, draws])
    ends = " to ".join(dict.fromkeys(end_text(kind, end) for end in (values.min(), values.max())))
    return f"outside: {', '.join(parts)},\n{ends}"


def end_text(kind: ColumnKind, value: float) -> str:
    """Value on the scale of an axis as text, a number in two digits."""
    if is_dated(kind):
        return str(np.datetime64(int(value), "D"))
    return rounded(value, abs(value) or 1.0).replace("-", "−")


def edges_of(
    kind: ColumnKind, parts: list[np.ndarray], frame: Frame, by_powers: bool
) -> np.ndarray:
    """Edges of bins of the values in a frame.

    On a grid whole steps, centred on its values if one step wide.
    """
    low, high = np.log10(frame) if by_powers else frame
    values = np.concatenate(parts)
    x = np.log10(values) if by_powers else values
    x = x[(x >= low) & (x <= high)]
    low, high = (float(x.min()), float(x.max())) if len(x) else (low, high)
    fewest = min((len(part) for part in parts if len(part)), default=0)
    count = bin_count(x, (low, high), fewest, MOST_BINS)
    step = 0.0 if by_powers else step_of(kind)
    if kind.lattice and step:
        start = values_of(kind, np.array([kind.lattice.offset]))[0] - step / 2
        width = step * max(1, round((high - low) / count / step))
        low = start + step * math.floor((low - start) / step + 1e-6)
        return low + width * np.arange(math.floor((high - low) / width + 1e-6) + 2)
    if high - low < 1e-9 * max(abs(high), abs(low)) or high == low:
        low, high = padded((low, high))
    edges = np.linspace(low, high, count + 1)
    return 10**edges if by_powers else edges


def draw_masses(ax: Axes, atoms: np.ndarray, shares: list[np.ndarray], gaps: list[float]) -> None:
    """Draw the shares of atoms (A,) as spikes, and missing cells as bars beside the panel; pairs
    are rows, draws.
    """
    top = max(LEAST_SCALE, 1.12 * max(*gaps, *(s.max(initial=0) for s in shares)))
    axis = None
    if len(atoms):
        axis = ax.twinx()
        axis.vlines(atoms, 0, shares[0], color="white", lw=5.5)  # else lost before the histogram
        for share, width, size, colour in ((shares[0], 3.5, 5.5, SKY), (shares[1], 1.2, 3, ORANGE)):
            axis.vlines(atoms, 0, share, color=colour, lw=width)
            axis.plot(atoms, share, "o", color=colour, ms=size, mec="white", mew=0.5)
        axis.set_ylim(0, top)
        axis.yaxis.set_major_locator(NullLocator())
    if any(gaps):
        axis = ax.inset_axes((1.08, 0, 0.13, 1))
        axis.bar([0], gaps[0], 0.8, color=SKY)
        axis.bar([0], gaps[1], 0.3, color=ORANGE)
        axis.set(xlim=(-0.6, 0.6), ylim=(0, top))
        axis.set_xticks([0], [MISSING], size=SIZE - 1, style="italic")
        axis.yaxis.tick_right()
    if axis:
        prepare_shares(axis.yaxis)
