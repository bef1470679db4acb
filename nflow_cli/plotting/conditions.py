"""The picture `conditions` of a conditional density: what it is at a few test rows."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nflow_cli.config.roles import Roles
from nflow_cli.evaluation.conditions import short_text
from nflow_cli.evaluation.normality import most_dependent
from nflow_cli.plotting.columns import SQUARE, cut_text, draw_histogram, finite
from nflow_cli.plotting.frames import FURTHEST, SKY, Frame, column_text, frame_of
from nflow_cli.plotting.style import (
    COMPARABLE,
    DPI,
    ORANGE,
    Arrays,
    Summary,
    drawing,
    fix_layout,
    label_panel,
    note,
    panel_grid,
    without_warnings,
)
from nflow_cli.plotting.target import title_figure

MOST_COLUMNS, MOST_GIVEN = 4, 4  # that are drawn, and told above
MEASURED = 500  # draws at each condition that the dependence of columns is measured by
DOTS = 1_000
NARROW, WIDE = 50, 110  # letters above a panel, and above a line of them
NO_BREAK = "\N{NO-BREAK SPACE}"


def conditions_figure(evaluation: Arrays, summary: Summary, roles: Roles) -> Figure:
    """Return the picture `conditions`: draws of `q(. | g)` at a few test rows, beside the row.

    `evaluation` holds `condition_rows` (c, C), as `roles` has the columns, and `condition_draws`
    (c, s, D) at what is given in each, of one condition and one column at least. Of one column a
    histogram a condition, of two the dots, of more the histograms of the 4 most dependent, a
    condition a line; the row itself is orange. Frames are those of all conditions, unless these
    differ too much in width. `summary` gives `data` {`name`}, `flow`, `k`.
    """
    rows, draws = evaluation["condition_rows"], evaluation["condition_draws"]
    dim = roles.dim
    shown = most_dependent(draws[:, :MEASURED].reshape(-1, dim), MOST_COLUMNS)
    observed = np.clip(rows[:, shown].astype(np.float64), -FURTHEST, FURTHEST)
    parts = [finite(some[:, shown], "draws")[0] for some in draws]
    lost = draws.shape[0] * draws.shape[1] - sum(map(len, parts))
    names = [roles.numbers[i] for i in shown]
    texts = titles(rows, roles, WIDE if dim > 2 else NARROW)
    with drawing(), without_warnings():
        draw = draw_planes if dim == 2 else draw_line if dim == 1 else draw_lines
        figure = draw(parts, observed, names, texts)
        few = f"the {len(shown)} most dependent of {dim:,} columns" if len(shown) < dim else ""
        lost_text = f"not finite: {lost:,} draws" if lost else ""
        draws_text = f"{draws.shape[1]:,} draws at what is given with each of {len(rows)} test rows"
        title_figure(figure, summary, draws_text, "orange: the row itself", few, lost_text)
        fix_layout(figure)
    return figure


def titles(rows: np.ndarray, roles: Roles, width: int) -> list[str]:
    """Return what is given in each row (c, C), of a few columns, in lines of a width."""
    texts = []
    for row in rows:
        parts = []
        for name in roles.given[:MOST_GIVEN]:
            (place,) = roles.places([name])
            levels = roles.given_categories.get(name)
            value = short_text(row[place]) if levels is None else level_text(levels, row[place])
            parts.append(f"{column_text(name)} = {value}".replace(" ", NO_BREAK))
        rest = len(roles.given) - MOST_GIVEN
        text = ", ".join(parts) + (f", and{NO_BREAK}{rest}{NO_BREAK}more" if rest > 0 else "")
        texts.append(textwrap.fill(text, width, break_on_hyphens=False))
    return texts


def level_text(levels: Sequence[str], number: float) -> str:
    """Return a level of a category by its number."""
    return column_text(levels[int(number)]) if number >= 0 else "unknown"


def draw_line(
    parts: Sequence[np.ndarray], observed: np.ndarray, names: Sequence[str], texts: Sequence[str]
) -> Figure:
    """Draw a histogram for each condition, of the one column."""
    figure, axes = panel_grid(len(parts), min(len(parts), 2), SQUARE, 8.0, height=0.55)
    for ax, text, part, x, frames in zip(axes, texts, parts, observed, frames_of(parts, observed)):
        draw_marginal(ax, column_text(names[0]), part[:, 0], x[0], frames[0])
        ax.set_title(text, fontsize=9)
    return figure


def draw_planes(
    parts: Sequence[np.ndarray], observed: np.ndarray, names: Sequence[str], texts: Sequence[str]
) -> Figure:
    """Draw the dots of two columns for each condition."""
    x_name, y_name = map(column_text, names)
    figure, axes = panel_grid(len(parts), min(len(parts), 2), SQUARE, 8.0)
    for ax, text, part, x, frames in zip(axes, texts, parts, observed, frames_of(parts, observed)):
        style: Any = {"markersize": 2.4, "markeredgewidth": 0, "rasterized": True}
        ax.plot(*part[:DOTS].T, "o", color=SKY, **style)
        inside = all(low <= value <= high for value, (low, high) in zip(x, frames))
        if inside:
            ax.plot(*x, "o", color=ORANGE, markersize=7, markeredgecolor="white")
        else:
            note(ax, f"row at {short_text(x[0])}, {short_text(x[1])}: outside", 0.93)
        label_panel(ax, x_name, y_name)
        ax.set(xlim=frames[0], ylim=frames[1], box_aspect=1)
        cut = cut_text(part, frames, "draws")
        ax.set_title(f"{text}\n{cut}" if cut else text, fontsize=9)
    return figure


def draw_lines(
    parts: Sequence[np.ndarray], observed: np.ndarray, names: Sequence[str], texts: Sequence[str]
) -> Figure:
    """Draw the histograms of more columns, those of one condition beside each other."""
    size = 2.4 * len(names) + 0.6, 1.9 * len(parts) + 0.8
    figure = Figure(size, DPI, layout="constrained")
    lines: Any = figure.subfigures(len(parts), 1, squeeze=False)[:, 0]
    for line, text, part, x, frames in zip(
        lines, texts, parts, observed, frames_of(parts, observed)
    ):
        line.suptitle(text, fontsize=9)
        for j, ax in enumerate(line.subplots(1, len(names), squeeze=False)[0]):
            draw_marginal(ax, column_text(names[j]), part[:, j], x[j], frames[j])
    return figure


def draw_marginal(ax: Axes, name: str, draws: np.ndarray, observed: float, frame: Frame) -> None:
    """Draw a histogram of draws (n,) of a column over a frame, and the value of the row."""
    peak = draw_histogram(ax, draws, frame)
    is_seen = frame[0] <= observed <= frame[1]
    if is_seen:
        ax.axvline(observed, color=ORANGE, lw=1.8)
    else:
        note(ax, f"row at {short_text(observed)}: outside", 0.9)
    label_panel(ax, name, "")
    ax.set(xlim=frame, ylim=(0, (1.08 if is_seen else 1.3) * peak or 1.0))


def frames_of(parts: Sequence[np.ndarray], observed: np.ndarray) -> list[list[Frame]]:
    """Return the frame of each condition and column: one for all, where they compare in width."""
    columns = []
    for j, values in enumerate(observed.T):
        every = frame_of(np.concatenate([part[:, j] for part in parts]), values)
        each = [frame_of(part[:, j], values[i : i + 1]) for i, part in enumerate(parts)]
        narrowest = min(high - low for low, high in each)
        columns.append(
            each if every[1] - every[0] > COMPARABLE * narrowest else [every] * len(each)
        )
    return [list(frames) for frames in zip(*columns)]
