"""Pictures of predictions beside the true values of a column."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.constants import DPI
from nflow_cli.plotting.style import BLUE, ORANGE, add_title, drawing, note, plain
from nflow_cli.tables.pictures.cell_axes import (
    SIZE,
    axis_frame,
    draw_matrix,
    is_spaced_by_powers,
    prepare_axis,
    prepare_shares,
    values_of,
)

MOST_INTERVALS = 400  # drawn
BINS = 10
MOST_LEVELS = 20


class Intervals(NamedTuple):
    """Predicted medians and intervals ``(n,)`` of numbers.

    ``share``: of the values that intervals should contain.
    """

    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray
    share: float

    def of(self, rows: np.ndarray) -> "Intervals":
        """Intervals of some rows, by a mask or by numbers."""
        return Intervals(self.middle[rows], self.low[rows], self.high[rows], self.share)


@drawing()
def intervals_figure(
    name: str, kind: ColumnKind, values: np.ndarray, predicted: Intervals, subject: str
) -> Figure:
    """Draw predicted medians with their intervals against true values ``(n,)``, and the share of
    values in their interval by the predicted median, with 95 % intervals of a proportion.
    """
    known = np.isfinite(values) & np.isfinite(predicted.middle)
    values = values[known]
    predicted = predicted.of(known)
    inside = (predicted.low <= values) & (values <= predicted.high)
    figure = Figure((9.5, 4.4), DPI, layout="constrained")
    left, right = figure.subplots(1, 2)
    parts = [subject, f"predictions of {name[:40]}"]
    if len(values):
        shown = np.linspace(0, len(values) - 1, min(MOST_INTERVALS, len(values))).astype(int)
        _draw_intervals(left, name, kind, values[shown], predicted.of(shown))
        parts.append(f"{inside.mean():.1%} of {len(values):,} values inside")
    else:
        note(left, "no values")
    _draw_coverage(right, name, inside, predicted)
    add_title(figure, *parts)
    return figure


def _draw_intervals(
    ax: Axes, name: str, kind: ColumnKind, values: np.ndarray, intervals: Intervals
) -> None:
    true = values_of(kind, values)
    predicted = values_of(kind, intervals.middle)
    by_powers = is_spaced_by_powers(kind, true, predicted)
    frame = axis_frame(kind, true, predicted, by_powers)
    low = np.clip(values_of(kind, np.nan_to_num(intervals.low)), *frame)
    high = np.clip(values_of(kind, np.nan_to_num(intervals.high)), *frame)
    inside = (intervals.low <= values) & (values <= intervals.high)
    for rows, colour in ((inside, BLUE), (~inside, ORANGE)):
        ax.vlines(true[rows], low[rows], high[rows], color=colour, lw=0.6, alpha=0.35)
        ax.plot(true[rows], predicted[rows], ".", ms=3.5, color=colour)
    ax.plot(frame, frame, "k--", lw=0.8)
    prepare_axis(ax.xaxis, kind, f"{plain(name, 20)}, true", frame, by_powers)
    prepare_axis(ax.yaxis, kind, "predicted: median and interval", frame, by_powers)
    ax.set_title(f"{len(values):,} rows; orange: outside its interval", fontsize=9)


def _draw_coverage(ax: Axes, name: str, inside: np.ndarray, intervals: Intervals) -> None:
    order = np.argsort(intervals.middle, kind="stable")
    tenths = np.array_split(order, min(BINS, max(len(order) // 5, 1)))
    groups = [inside[rows] for rows in tenths if len(rows)]
    places = np.arange(1, len(groups) + 1)
    lowest = _draw_shares(ax, places, groups)
    ax.axhline(intervals.share, color="k", lw=0.8, ls="--")
    ax.set(xlim=(0.3, len(groups) + 0.7), ylim=(min(0.5, lowest - 0.03), 1.02), xticks=places)
    prepare_shares(ax.yaxis)
    ax.set_xlabel(f"tenth of the rows, by the predicted median of {plain(name, 20)}", size=SIZE + 1)
    ax.set_title(f"values in their interval, of {intervals.share:.3g} expected", fontsize=9)


def _draw_shares(ax: Axes, places: np.ndarray, groups: Sequence[np.ndarray]) -> float:
    """Draw the share of what is true in each group, with Wilson's 95 % interval of a proportion;
    return the lowest end, 1 without groups.
    """
    if not groups:
        return 1.0
    shares = np.array([group.mean() for group in groups])
    z2 = 1.96**2 / np.array([len(group) for group in groups])
    middle = (shares + z2 / 2) / (1 + z2)
    half = np.sqrt(shares * (1 - shares) * z2 + z2 * z2 / 4) / (1 + z2)
    reach = np.abs([middle - half - shares, middle + half - shares])
    ax.errorbar(places, shares, reach, fmt="o", color=BLUE, ms=4, lw=1, capsize=2)
    return float(np.min(middle - half))


@drawing()
def levels_figure(
    name: str, levels: Sequence[str], shares: np.ndarray, codes: np.ndarray, subject: str
) -> Figure:
    """Draw how often levels are true by their predicted probability ``(n, L)``, and the likeliest
    level against the true one ``(n,)``, -1 if it is new.
    """
    known = np.isfinite(codes) & np.isfinite(shares).all(axis=1)
    shares = shares[known]
    codes = codes[known].astype(int)
    figure = Figure((9.5, 4.6), DPI, layout="constrained")
    left, right = figure.subplots(1, 2)
    parts = [subject, f"predictions of {name[:40]}"]
    if len(codes):
        likeliest = shares.argmax(axis=1)
        _draw_reliability(left, shares, codes)
        _draw_pairs(right, levels, likeliest, codes)
        parts.append(f"{(likeliest == codes).mean():.1%} right")
    else:
        note(left, "no values")
    add_title(figure, *parts)
    return figure


def _draw_reliability(ax: Axes, shares: np.ndarray, codes: np.ndarray) -> None:
    p = shares.ravel()
    is_true = (np.arange(shares.shape[1]) == codes[:, None]).ravel()
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    groups = [bins == i for i in np.unique(bins)]
    ax.plot([0, 1], [0, 1], "k--", lw=0.8)
    means = np.array([p[group].mean() for group in groups])
    _draw_shares(ax, means, [is_true[group] for group in groups])
    for axis in (ax.xaxis, ax.yaxis):
        prepare_shares(axis)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    ax.set_xlabel("predicted probability of a level", size=SIZE + 1)
    ax.set_ylabel("share of cells where it is true", size=SIZE + 1)
    ax.set_title("reliability, with 95 % intervals", fontsize=9)


def _draw_pairs(ax: Axes, levels: Sequence[str], likeliest: np.ndarray, codes: np.ndarray) -> None:
    counts = np.bincount(codes[codes >= 0], minlength=len(levels))
    shown = np.sort(np.argsort(-counts, kind="stable")[:MOST_LEVELS])
    pairs = np.array([[((codes == i) & (likeliest == j)).sum() for j in shown] for i in shown])
    shares = pairs / np.maximum(pairs.sum(axis=1, keepdims=True), 1)
    draw_matrix(ax, shares, Normalize(0, 1), "{:,}", pairs)
    names = [plain(levels[int(i)], 14) for i in shown]
    places = range(len(shown))
    ax.set_xticks(places, names, size=SIZE - 1, rotation=90 if len(shown) > 6 else 0)
    ax.set_yticks(places, names, size=SIZE - 1)
    ax.set_xlabel("likeliest level", size=SIZE + 1)
    ax.set_ylabel("true level", size=SIZE + 1)
    title = f"the {len(shown)} most frequent levels" if len(shown) < len(levels) else "rows"
    ax.set_title(title, fontsize=9)
