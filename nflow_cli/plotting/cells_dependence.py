"""Pictures `dependence` and `pairs` of a whole table."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axis import Axis
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from nflow_cli.config.kinds import ColumnKind
from nflow_cli.constants import DPI
from nflow_cli.evaluation.association import (
    Associations,
    Groups,
    associations,
    grouped,
    pairs_to_show,
)
from nflow_cli.plotting.cells import (
    SIZE,
    axis_frame,
    draw_matrix,
    is_spaced_by_powers,
    name_groups,
    note_empty,
    prepare_axis,
    step_of,
    values_of,
)
from nflow_cli.plotting.style import (
    LETTERS,
    ORANGE,
    SKY,
    add_colour_bar,
    add_title,
    draw_key,
    note,
    plain,
)

MOST_COLUMNS, COMPARED = 24, 100  # in the matrix, and among which these are the most dependent
MOST_PAIRS, MOST_LEVELS, DOTS = 6, 8, 1_000
GOLDEN = (5**0.5 - 1) / 2
SIDES = "rows", "draws"


class Side(NamedTuple):
    """Column of a pair: kind, name, and cells in rows (n,) and draws (m,)."""

    kind: ColumnKind
    name: str
    cells: tuple[np.ndarray, np.ndarray]


def dependence_figures(
    kinds: Mapping[str, ColumnKind], rows: np.ndarray, draws: np.ndarray, subject: str
) -> dict[str, Figure]:
    """`dependence` and `pairs` of rows (n, C) and draws (m, C), of the first 100 columns.

    Empty for one column, and without rows.
    """
    kinds = dict(list(kinds.items())[:COMPARED])
    if len(kinds) < 2 or not len(rows) + len(draws):
        return {}
    rows, draws = rows[:, :COMPARED], draws[:, :COMPARED]
    found = associations(kinds, rows, draws)
    return {
        "dependence": matrix_figure(list(kinds), found, subject),
        "pairs": pairs_figure(kinds, rows, draws, found, subject),
    }


def matrix_figure(names: list[str], found: Associations, subject: str) -> Figure:
    """Draw the associations of at most 24 columns, rows beside draws."""
    strongest = [np.max(matrix - np.eye(len(names)), axis=1) for matrix in found]
    shown = np.sort(np.argsort(-np.maximum(*strongest), kind="stable")[:MOST_COLUMNS])
    size = 4.2 + 0.08 * len(shown)
    figure = Figure((2 * size + 1, size + 0.7), DPI, layout="constrained")
    axes = list(figure.subplots(1, 2))
    for ax, matrix, title in zip(axes, found, ("test rows", "draws"), strict=True):
        texts = [plain(names[i], 20) for i in shown]
        image = draw_matrix(ax, matrix[np.ix_(shown, shown)], Normalize(0, 1), "{:.2f}")
        ax.set_xticks(range(len(shown)), texts, size=SIZE, rotation=90)
        ax.set_yticks(range(len(shown)), texts if ax is axes[0] else [], size=SIZE)
        ax.set_title(title)
    add_colour_bar(image, axes, "association: 0 none, 1 complete", "neither")
    few = f"the {len(shown)} most dependent of {len(names)} columns"
    add_title(figure, subject, "association of columns", few if len(shown) < len(names) else "")
    return figure


def pairs_figure(
    kinds: Mapping[str, ColumnKind],
    rows: np.ndarray,
    draws: np.ndarray,
    found: Associations,
    subject: str,
) -> Figure:
    """Draw six pairs of columns: the most associated, and those that differ most.

    Two numeric columns are dots, two categorical ones shares, mixed ones boxes.
    """
    names, pairs = list(kinds), pairs_to_show(found, MOST_PAIRS)
    columns = min(2, len(pairs))
    lines = -(-len(pairs) // columns)
    size = 5.2 * columns, 2.7 * lines + 0.8
    figure = Figure(size, DPI, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06))
    parts: Any = figure.subfigures(lines, columns, squeeze=False)
    for part, (i, j) in zip(parts.flat, pairs, strict=False):
        sides = [Side(kinds[names[k]], names[k], (rows[:, k], draws[:, k])) for k in (i, j)]
        sides.sort(key=lambda side: side.kind.kind == "levels")  # numbers first
        of_levels = sum(side.kind.kind == "levels" for side in sides)
        (draw_dots, draw_boxes, draw_shares)[of_levels](part, *sides)
        text = f"association {found.rows[i, j]:.2f} in rows, {found.draws[i, j]:.2f} in draws"
        part.suptitle(text, size=SIZE + 1)
    draw_key(figure, f"{len(rows):,} test rows", f"{len(draws):,} draws")
    chosen = "most associated pairs of columns, and those that differ most"
    add_title(figure, subject, chosen if len(pairs) < len(names) * (len(names) - 1) / 2 else "")
    return figure


def draw_dots(part: Any, across: Side, up: Side) -> None:
    """Draw rows with both numbers as dots, and an equal number of draws."""
    axes = part.subplots(1, 2)
    both = [np.isfinite(x) & np.isfinite(y) for x, y in zip(across.cells, up.cells, strict=True)]
    most = min(DOTS, *(int(b.sum()) or DOTS for b in both))
    for i, (ax, colour, title) in enumerate(zip(axes, (SKY, ORANGE), SIDES, strict=True)):
        points = [
            spread(s.kind, values_of(s.kind, s.cells[i][both[i]][:most])) for s in (across, up)
        ]
        ax.plot(*points, "o", color=colour, ms=2.2, mew=0, rasterized=True)
        prepare_values(ax.xaxis, across)
        prepare_values(ax.yaxis, up, is_named=i == 0)
        ax.set_title(title, size=SIZE)
        if not both[i].any():
            note(ax, "no row has both")


def prepare_values(axis: Axis, side: Side, is_named: bool = True) -> None:
    """Set values and name of an axis; without a name, no tick labels."""
    x, y = (values_of(side.kind, cells) for cells in side.cells)
    by_powers = is_spaced_by_powers(side.kind, x, y)
    frame = axis_frame(side.kind, x, y, by_powers)
    prepare_axis(axis, side.kind, plain(side.name, LETTERS) if is_named else "", frame, by_powers)
    axis.set_tick_params(labelleft=is_named)


def spread(kind: ColumnKind, values: np.ndarray) -> np.ndarray:
    """Values (n,) of a grid, jittered by up to 0.35 of a step."""
    shifts = np.modf(GOLDEN * np.arange(len(values)))[0] - 0.5
    return values + 0.7 * step_of(kind) * shifts


def draw_boxes(part: Any, number: Side, levels: Side) -> None:
    """Draw quantiles of a number at each level: boxes 25 to 75 %, lines 5 to 95 %."""
    groups = grouped(levels.kind, *levels.cells, MOST_LEVELS)
    ax = part.subplots()
    prepare_values(ax.xaxis, number)
    styles = (groups.rows, 0.8, SKY, "white"), (groups.draws, 0.3, ORANGE, "black")
    for values, (codes, height, colour, middle) in zip(number.cells, styles, strict=True):
        some = [values_of(number.kind, values[codes == i]) for i in range(len(groups.names))]
        style: Any = {
            **{"positions": range(len(some)), "widths": height, "whis": (5, 95)},
            **{"showcaps": False, "showfliers": False, "patch_artist": True},
            **{"boxprops": {"facecolor": colour, "lw": 0}, "medianprops": {"color": middle}},
            "whiskerprops": {"color": colour, "lw": 3 * height + 0.6},
        }
        ax.boxplot(some, orientation="horizontal", manage_ticks=False, **style)
    name_groups(ax, groups, 16)
    ax.set_ylabel(plain(levels.name, LETTERS), size=SIZE)
    note_empty(ax, *(values_of(number.kind, cells) for cells in number.cells))


def draw_shares(part: Any, across: Side, up: Side) -> None:
    """Draw shares of pairs of levels, rows beside draws."""
    axes = part.subplots(1, 2)
    right, left = (grouped(side.kind, *side.cells, MOST_LEVELS) for side in (across, up))
    matrices = [shares_of(*codes) for codes in zip((right, right), (left, left), (1, 2))]
    top = max(m.max() for m in matrices) or 1.0
    for ax, matrix, title in zip(axes, matrices, SIDES, strict=True):
        draw_matrix(ax, 100 * matrix, Normalize(0, 100 * top), "{:.0f}%")
        name_groups(ax, left, 14)
        ax.set_ylim(len(left.names) - 0.5, -0.5)
        ax.yaxis.set_tick_params(labelleft=ax is axes[0])
        ax.set_xticks(
            range(len(right.names)), [plain(name, 10) for name in right.names], size=SIZE - 1
        )
        ax.tick_params("x", rotation=90)
        ax.set_xlabel(plain(across.name, LETTERS), size=SIZE)
        ax.set_title(title, size=SIZE)
    axes[0].set_ylabel(plain(up.name, LETTERS), size=SIZE)


def shares_of(across: Groups, up: Groups, side: int) -> np.ndarray:
    """Shares of pairs of groups, (up, across), in rows (side 1) or draws (2)."""
    shape = len(up.names), len(across.names)
    codes = np.asarray(up[side]) * shape[1] + np.asarray(across[side])
    counts = np.bincount(codes, minlength=shape[0] * shape[1])
    return counts.reshape(shape) / max(len(codes), 1)
