"""Picture `marginals` of a whole table."""

import math
import textwrap
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import NullLocator

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.constants import DPI
from nflow_cli.evaluation.association import MISSING, differences, grouped
from nflow_cli.evaluation.estimates import rounded
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
from nflow_cli.tables.pictures.cell_axes import (
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

MOST_PANELS = 24
MOST_LEVELS = 12
MOST_SPIKES = 12
LEAST_HEIGHT = 1.3  # inches, of a panel of many
LEAST_HEIGHT_OF_TWO = 2.4  # inches, of a panel of one or two
MOST_BINS = 40
LEAST_SCALE = 0.05  # of an axis of shares, so that what is rare looks rare


def marginals_figure(
    kinds: Mapping[str, ColumnKind],
    rows: np.ndarray,
    draws: np.ndarray,
    subject: str,
    noun: str = "test rows",
) -> Figure:
    """Draw each column of rows (n, C) and of draws (m, C), at most the 24 that differ most.

    Numbers are histograms with common bins, on a grid whole steps wide; atoms and missing cells are
    spikes on a right axis of shares; levels are bars. ``noun``: what the rows are called.
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
    parts = [subject]
    left_out = ""
    if len(shown) < len(names):
        parts.append(f"the {len(shown)} columns that differ most of {len(names)}")
        others = [plain(name, LETTERS) for j, name in enumerate(names) if j not in shown]
        left_out = textwrap.shorten(f"not shown: {', '.join(others)}", 140, placeholder=" …")
    if any(kinds[names[j]].atoms for j in shown):
        parts.append("spikes: shares of single values")
    add_title(figure, *parts)
    draw_key(figure, f"{len(rows):,} {noun}", f"{len(draws):,} draws", left_out)
    return figure


def panels(heights: list[float]) -> tuple[Figure, list[Axes]]:
    """Figure of panels with heights in inches."""
    count = len(heights)
    columns = column_count(count)
    least = LEAST_HEIGHT_OF_TWO if count < 3 else LEAST_HEIGHT
    lines = [max(least, *heights[i : i + columns]) for i in range(0, count, columns)]
    width = (5.0, 8.0, 9.5, 11.0)[columns - 1]
    size = (width, sum(lines) + 0.35 * len(lines) + 0.9)
    figure = Figure(size, DPI, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.05))
    # Each has room for its own names, so that long ones do not part the columns of panels.
    parts = figure.subfigures(len(lines), columns, squeeze=False, height_ratios=lines)
    return figure, [parts[divmod(i, columns)].subplots() for i in range(count)]


def column_count(count: int) -> int:
    """Panels in a row of a figure of some panels."""
    if count < 3:
        return count
    if count == 4:
        return 2
    return 3 if count < 10 else 4


def panel_height(kind: ColumnKind) -> float:
    """Height of a column's panel in inches: level names need room."""
    names = 0
    if kind.kind == "levels":
        names = len(kind.levels or ()) + kind.missing
    return 0.3 + 0.14 * min(names, MOST_LEVELS + 2)


def draw_levels(ax: Axes, name: str, kind: ColumnKind, rows: np.ndarray, draws: np.ndarray) -> None:
    """Draw shares of levels as bars, rows wide, draws narrow."""
    groups = grouped(kind, rows, draws, MOST_LEVELS)
    places = np.arange(len(groups.names))
    for codes, height, colour in ((groups.rows, 0.8, SKY), (groups.draws, 0.3, ORANGE)):
        shares = np.bincount(codes, minlength=len(places)) / max(len(codes), 1)
        ax.barh(places, shares, height, color=colour)
    name_groups(ax, groups, 16)
    ax.set_xlabel(name, size=SIZE)
    ax.set_title(" ", size=SIZE - 1, pad=3)
    prepare_shares(ax.xaxis)
    note_empty(ax, rows, draws)


def draw_numbers(
    ax: Axes, name: str, kind: ColumnKind, rows: np.ndarray, draws: np.ndarray
) -> None:
    """Draw histograms of values, atoms as spikes, and missing cells."""
    values = values_of(kind, rows)
    drawn = values_of(kind, draws)
    by_powers = is_spaced_by_powers(kind, values, drawn)
    atoms, smooth, atom_shares = without_atoms(kind, values, drawn)
    frame = axis_frame(kind, values, drawn, by_powers)
    edges = edges_of(kind, smooth, frame, by_powers)
    if edges[1] - edges[0] < 1.5 * step_of(kind):  # an atom is a bar like others
        atoms = atoms[:0]
        smooth = [values, drawn]
    label_panel(ax, name, "")
    prepare_axis(ax.xaxis, kind, name, frame, by_powers)
    heights = bin_shares(kind, smooth[0], len(rows), atoms, edges)
    drawn_heights = bin_shares(kind, smooth[1], len(draws), atoms, edges)
    ax.stairs(heights, edges, color=SKY, fill=True)
    if len(drawn):
        ax.stairs(drawn_heights, edges, color=ORANGE, lw=1.2)
    ax.set_ylim(0, 1.08 * max(heights.max(), drawn_heights.max()) or 1.0)
    text = beyond_text(kind, beyond(values, frame), beyond(drawn, frame))
    # From the panel's left edge: what is centred may begin beyond the picture's.
    ax.set_title(text, size=SIZE - 1, color="0.35", pad=3, loc="left")
    gaps = [missing_share(rows), missing_share(draws)]
    masses = [shares * (1 - gap) for shares, gap in zip(atom_shares, gaps, strict=True)]
    draw_masses(ax, atoms, masses, gaps)
    note_empty(ax, values, drawn)


def bin_shares(
    kind: ColumnKind, values: np.ndarray, n_cells: int, atoms: np.ndarray, edges: np.ndarray
) -> np.ndarray:
    """Share of the cells in each bin; a bin with atoms has fewer grid values, and counts more."""
    counts = np.histogram(values, edges)[0]
    step = step_of(kind)
    if step:
        size = round((edges[1] - edges[0]) / step)
        n_values = np.maximum(size - np.histogram(atoms, edges)[0], 1)
        counts = counts * size / n_values
    return counts / max(n_cells, 1)


def beyond(values: np.ndarray, frame: Frame) -> np.ndarray:
    """Values outside a frame."""
    return values[(values < frame[0]) | (values > frame[1])]


def missing_share(cells: np.ndarray) -> float:
    """Share of missing cells (n,); 0 of none."""
    return float(np.isnan(cells).mean()) if len(cells) else 0.0


def without_atoms(
    kind: ColumnKind, rows: np.ndarray, draws: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Most frequent atoms (A,); other values and atom shares (A,) of rows and draws."""
    atoms = values_of(kind, np.array(kind.atoms))
    tolerance = step_of(kind) / 4
    if not tolerance:
        tolerance = values_of(kind, np.array([kind.resolution or 0.0]))[0] / 4
    is_atom = [np.abs(values[:, None] - atoms) <= tolerance for values in (rows, draws)]
    shares = [matches.sum(axis=0) / max(len(matches), 1) for matches in is_atom]
    frequent = np.sort(np.argsort(-np.maximum(*shares), kind="stable")[:MOST_SPIKES])
    smooth = [
        values[~matches[:, frequent].any(axis=1)]
        for values, matches in zip((rows, draws), is_atom, strict=True)
    ]
    return atoms[frequent], smooth, [share[frequent] for share in shares]


def beyond_text(kind: ColumnKind, rows: np.ndarray, draws: np.ndarray) -> str:
    """Numbers of values (n,) of rows and (m,) of draws outside the frame, and their range below; a
    space if there are none.
    """
    counts = []
    if len(rows):
        counts.append(f"{len(rows):,} of the rows")
    if len(draws):
        counts.append(f"{len(draws):,} of the draws")
    if not counts:
        return " "
    values = np.concatenate([rows, draws])
    ends = dict.fromkeys([end_text(kind, values.min()), end_text(kind, values.max())])
    return f"outside: {', '.join(counts)},\n{' to '.join(ends)}"


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
    values = np.concatenate(parts)
    low, high = frame
    if by_powers:
        values = np.log10(values)
        low, high = np.log10(frame)
    values = values[(values >= low) & (values <= high)]
    if len(values):
        low = float(values.min())
        high = float(values.max())
    fewest = min((len(part) for part in parts if len(part)), default=0)
    count = bin_count(values, (low, high), fewest, MOST_BINS)
    step = step_of(kind)
    if kind.lattice and step and not by_powers:
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
    largest = max(*gaps, *(share.max(initial=0) for share in shares))
    top = max(LEAST_SCALE, 1.12 * largest)
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
