"""Pictures `dependence` and `pairs` of a whole table."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.axis import Axis
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.constants import DPI
from nflow_cli.evaluation.association import (
    Associations,
    associations,
    grouped,
    pairs_to_show,
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
from nflow_cli.tables.pictures.cell_axes import (
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

MOST_COLUMNS = 24  # in the matrix
COMPARED_COLUMNS = 100  # among which those of the matrix are the most dependent
MOST_PAIRS = 6
MOST_LEVELS = 8
MOST_DOTS = 1_000
GOLDEN = (5**0.5 - 1) / 2
SIDES = ("rows", "draws")


class Side(NamedTuple):
    """Column of a pair: kind, name, and cells in rows (n,) and draws (m,)."""

    kind: ColumnKind
    name: str
    cells: tuple[np.ndarray, np.ndarray]

    @property
    def values(self) -> list[np.ndarray]:
        """Values in rows and in draws, on the scale of an axis, without missing ones."""
        return [values_of(self.kind, cells) for cells in self.cells]


def dependence_figures(
    kinds: Mapping[str, ColumnKind],
    rows: np.ndarray,
    draws: np.ndarray,
    subject: str,
    noun: str = "test rows",
) -> dict[str, Figure]:
    """`dependence` and `pairs` of rows (n, C) and draws (m, C), of the first 100 columns.

    Empty for one column, and without rows. ``noun``: what the rows are called.
    """
    kinds = dict(list(kinds.items())[:COMPARED_COLUMNS])
    if len(kinds) < 2 or not len(rows) + len(draws):
        return {}
    rows = rows[:, :COMPARED_COLUMNS]
    draws = draws[:, :COMPARED_COLUMNS]
    matrices = associations(kinds, rows, draws)
    return {
        "dependence": matrix_figure(list(kinds), matrices, subject, noun),
        "pairs": pairs_figure(kinds, rows, draws, matrices, subject, noun),
    }


def matrix_figure(names: list[str], matrices: Associations, subject: str, noun: str) -> Figure:
    """Draw the associations of at most 24 columns, rows beside draws."""
    strongest = [np.max(matrix - np.eye(len(names)), axis=1) for matrix in matrices]
    shown = np.sort(np.argsort(-np.maximum(*strongest), kind="stable")[:MOST_COLUMNS])
    size = 4.2 + 0.08 * len(shown)
    figure = Figure((2 * size + 1, size + 0.7), DPI, layout="constrained")
    axes = list(figure.subplots(1, 2))
    for ax, matrix, title in zip(axes, matrices, (noun, "draws"), strict=True):
        texts = [plain(names[i], 20) for i in shown]
        image = draw_matrix(ax, matrix[np.ix_(shown, shown)], Normalize(0, 1), "{:.2f}")
        ax.set_xticks(range(len(shown)), texts, size=SIZE, rotation=90)
        ax.set_yticks(range(len(shown)), texts if ax is axes[0] else [], size=SIZE)
        ax.set_title(title)
    add_colour_bar(image, axes, "association: 0 none, 1 complete", "neither")
    parts = [subject, "association of columns"]
    if len(shown) < len(names):
        parts.append(f"the {len(shown)} most dependent of {len(names)} columns")
    add_title(figure, *parts)
    return figure


def pairs_figure(
    kinds: Mapping[str, ColumnKind],
    rows: np.ndarray,
    draws: np.ndarray,
    matrices: Associations,
    subject: str,
    noun: str,
) -> Figure:
    """Draw six pairs of columns: the most associated, and those that differ most.

    Two numeric columns are dots, two categorical ones shares, mixed ones boxes.
    """
    names = list(kinds)
    pairs = pairs_to_show(matrices, MOST_PAIRS)
    columns = min(2, len(pairs))
    lines = -(-len(pairs) // columns)
    size = (5.2 * columns, 2.7 * lines + 0.8)
    figure = Figure(size, DPI, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06))
    parts = figure.subfigures(lines, columns, squeeze=False)
    for part, (i, j) in zip(parts.flat, pairs, strict=False):
        sides = [Side(kinds[names[k]], names[k], (rows[:, k], draws[:, k])) for k in (i, j)]
        draw_pair(part, *sides)
        in_rows = f"{matrices.rows[i, j]:.2f} in rows"
        in_draws = f"{matrices.draws[i, j]:.2f} in draws"
        part.suptitle(f"association {in_rows}, {in_draws}", size=SIZE + 1)
    draw_key(figure, f"{len(rows):,} {noun}", f"{len(draws):,} draws")
    parts_of_title = [subject]
    if len(pairs) < len(names) * (len(names) - 1) / 2:
        parts_of_title.append("most associated pairs of columns, and those that differ most")
    add_title(figure, *parts_of_title)
    return figure


def draw_pair(part: SubFigure, first: Side, second: Side) -> None:
    """Draw a pair of columns: numbers across, levels up where only one column has levels."""
    first_is_levels = first.kind.kind == "levels"
    second_is_levels = second.kind.kind == "levels"
    if first_is_levels and second_is_levels:
        draw_shares(part, first, second)
    elif first_is_levels:
        draw_boxes(part, second, first)
    elif second_is_levels:
        draw_boxes(part, first, second)
    else:
        draw_dots(part, first, second)


def draw_dots(part: SubFigure, across: Side, up: Side) -> None:
    """Draw rows with both numbers as dots, and an equal number of draws."""
    axes = part.subplots(1, 2)
    known = [np.isfinite(x) & np.isfinite(y) for x, y in zip(across.cells, up.cells, strict=True)]
    n_dots = min(MOST_DOTS, *(int(is_known.sum()) or MOST_DOTS for is_known in known))
    for i, (ax, colour, title) in enumerate(zip(axes, (SKY, ORANGE), SIDES, strict=True)):
        x = values_of(across.kind, across.cells[i][known[i]][:n_dots])
        y = values_of(up.kind, up.cells[i][known[i]][:n_dots])
        ax.plot(
            spread(across.kind, x),
            spread(up.kind, y),
            "o",
            color=colour,
            ms=2.2,
            mew=0,
            rasterized=True,
        )
        prepare_values(ax.xaxis, across)
        prepare_values(ax.yaxis, up, is_named=i == 0)
        ax.set_title(title, size=SIZE)
        if not known[i].any():
            note(ax, "no row has both")


def prepare_values(axis: Axis, side: Side, is_named: bool = True) -> None:
    """Set values and name of an axis; without a name, no tick labels."""
    rows, draws = side.values
    by_powers = is_spaced_by_powers(side.kind, rows, draws)
    frame = axis_frame(side.kind, rows, draws, by_powers)
    prepare_axis(axis, side.kind, plain(side.name, LETTERS) if is_named else "", frame, by_powers)
    axis.set_tick_params(labelleft=is_named)


def spread(kind: ColumnKind, values: np.ndarray) -> np.ndarray:
    """Values (n,) of a grid, jittered by up to 0.35 of a step."""
    shifts = np.modf(GOLDEN * np.arange(len(values)))[0] - 0.5
    return values + 0.7 * step_of(kind) * shifts


def draw_boxes(part: SubFigure, number: Side, levels: Side) -> None:
    """Draw quantiles of a number at each level: boxes 25 to 75 %, lines 5 to 95 %."""
    groups = grouped(levels.kind, *levels.cells, MOST_LEVELS)
    places = range(len(groups.names))
    ax = part.subplots()
    prepare_values(ax.xaxis, number)
    for cells, codes, height, colour, median_colour in (
        (number.cells[0], groups.rows, 0.8, SKY, "white"),
        (number.cells[1], groups.draws, 0.3, ORANGE, "black"),
    ):
        values = [values_of(number.kind, cells[codes == place]) for place in places]
        ax.boxplot(
            values,
            orientation="horizontal",
            manage_ticks=False,
            positions=places,
            widths=height,
            whis=(5, 95),
            showcaps=False,
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": colour, "lw": 0},
            medianprops={"color": median_colour},
            whiskerprops={"color": colour, "lw": 3 * height + 0.6},
        )
    name_groups(ax, groups, 16)
    ax.set_ylabel(plain(levels.name, LETTERS), size=SIZE)
    note_empty(ax, *number.values)


def draw_shares(part: SubFigure, across: Side, up: Side) -> None:
    """Draw shares of pairs of levels, rows beside draws."""
    axes = part.subplots(1, 2)
    right = grouped(across.kind, *across.cells, MOST_LEVELS)
    left = grouped(up.kind, *up.cells, MOST_LEVELS)
    shape = (len(left.names), len(right.names))
    matrices = [
        shares_of(left.rows, right.rows, shape),
        shares_of(left.draws, right.draws, shape),
    ]
    top = max(matrix.max() for matrix in matrices) or 1.0
    names = [plain(name, 10) for name in right.names]
    for ax, matrix, title in zip(axes, matrices, SIDES, strict=True):
        draw_matrix(ax, 100 * matrix, Normalize(0, 100 * top), "{:.0f}%")
        name_groups(ax, left, 14)
        ax.set_ylim(len(left.names) - 0.5, -0.5)
        ax.yaxis.set_tick_params(labelleft=ax is axes[0])
        ax.set_xticks(range(len(names)), names, size=SIZE - 1)
        ax.tick_params("x", rotation=90)
        ax.set_xlabel(plain(across.name, LETTERS), size=SIZE)
        ax.set_title(title, size=SIZE)
    axes[0].set_ylabel(plain(up.name, LETTERS), size=SIZE)


def shares_of(up: np.ndarray, across: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Shares of pairs of groups ``shape``, from the groups (n,) of two columns."""
    codes = up * shape[1] + across
    counts = np.bincount(codes, minlength=shape[0] * shape[1])
    return counts.reshape(shape) / max(len(codes), 1)
