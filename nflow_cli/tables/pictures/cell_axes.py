"""Axes for cells of any kind: values, dates, levels, missing cells."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import Normalize
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator, ScalarFormatter

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.evaluation.association import MISSING, NEW, OTHER, Groups
from nflow_cli.plotting.style import SEQUENTIAL, Frame, frame_of, name_scaled, note, plain

SIZE = 8.0  # points of letters in a small panel
DAY = 86_400.0  # seconds
# Years 1 to 9999 in days since 1970, which are all that dates are drawn for.
CALENDAR = (-719_000.0, 2_932_000.0)
WRITTEN = 12  # columns or levels of a matrix whose values are written in it
# Of quantiles, from which on a positive column is spaced by powers.
SPREAD = 30.0
SKEW = 5.0


def is_dated(kind: ColumnKind) -> bool:
    """Whether a column holds dates or times."""
    return kind.type in ("date", "time")


def values_of(kind: ColumnKind, cells: np.ndarray) -> np.ndarray:
    """Values (n,) of a column without missing ones, on the scale of an axis.

    Dates and times are days since 1970, clipped to drawable years.
    """
    unit = DAY if kind.type == "time" else 1.0
    values = cells[np.isfinite(cells)] / unit
    return np.clip(values, *CALENDAR) if is_dated(kind) else values


def step_of(kind: ColumnKind) -> float:
    """Step of a column's finest grid in axis units; 0 without a grid."""
    step = kind.lattice.step if kind.lattice else 0.0
    return step / DAY if kind.type == "time" else step


def is_spaced_by_powers(kind: ColumnKind, rows: np.ndarray, draws: np.ndarray) -> bool:
    """Whether an axis should be logarithmic: all values positive, most small, steps of a grid
    narrow.
    """
    if is_dated(kind) or not len(rows) or min(rows.min(), draws.min(initial=np.inf)) <= 0:
        return False
    low, middle, high = np.quantile(rows, [0.01, 0.5, 0.99])
    skewed = high - middle > SKEW * (middle - low) and high > SPREAD * low
    return bool(skewed and step_of(kind) < low / 20)


def axis_frame(kind: ColumnKind, rows: np.ndarray, draws: np.ndarray, by_powers: bool) -> Frame:
    """Limits of an axis for values (n,) and (m,)."""
    if by_powers:
        low, high = frame_of(np.log10(rows), np.log10(draws))
        return 10**low, 10**high
    low, high = frame_of(rows, draws)
    if is_dated(kind):
        low, high = np.clip([low, high], *CALENDAR)
    return float(low), float(high)


def prepare_axis(axis: Axis, kind: ColumnKind, name: str, frame: Frame, by_powers: bool) -> None:
    """Set name, limits and few ticks of an axis."""
    letter = "x" if axis is axis.axes.xaxis else "y"
    axis.axes.tick_params(labelsize=SIZE - 1, length=2.5, pad=2)
    if by_powers:
        axis.axes.set(**{f"{letter}scale": "log"})
        axis.set_minor_locator(NullLocator())
    elif is_dated(kind):
        locator = AutoDateLocator(minticks=2, maxticks=4)
        axis.set_major_locator(locator)
        axis.set_major_formatter(ConciseDateFormatter(locator))
    else:
        axis.set_major_locator(MaxNLocator(3, prune="both"))
        axis.set_major_formatter(ScalarFormatter())
    axis.axes.set(**{f"{letter}lim": frame})
    name_scaled(axis, name, SIZE)


def prepare_shares(axis: Axis) -> None:
    """Set percent ticks."""
    axis.axes.tick_params(labelsize=SIZE - 1, length=2.5, pad=2)
    axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g}%"))


def name_groups(ax: Axes, groups: Groups, letters: int) -> None:
    """Label groups left of a panel, top down."""
    count = len(groups.names)
    texts = [plain(name, letters) for name in groups.names]
    ax.set_yticks(range(count), texts, size=SIZE - 1)
    ax.set_ylim(count - 0.4, -0.6)
    for text, name in zip(ax.get_yticklabels(), groups.names, strict=True):
        text.set_fontstyle("italic" if name in (OTHER, MISSING, NEW) else "normal")


def note_empty(ax: Axes, rows: np.ndarray, draws: np.ndarray) -> None:
    """Note in a panel without values of rows or draws."""
    empty = [name for name, values in (("rows", rows), ("draws", draws)) if not len(values)]
    if empty:
        note(ax, f"no values in {' or '.join(empty)}", 0.9)


def draw_matrix(
    ax: Axes, matrix: np.ndarray, norm: Normalize, form: str, written: np.ndarray | None = None
) -> AxesImage:
    """Draw a matrix as colours, with the numbers of ``written``, by default its own, if it is
    small.
    """
    image = ax.imshow(matrix, SEQUENTIAL, norm, aspect="auto", interpolation="nearest")
    ax.tick_params(length=0)
    numbers = matrix if written is None else written
    if max(matrix.shape) <= WRITTEN:
        for (i, j), value in np.ndenumerate(numbers):
            colour = "black" if norm(matrix[i, j]) > 0.6 else "white"
            ax.text(
                j, i, form.format(value), ha="center", va="center", size=SIZE - 1.5, color=colour
            )
    return image
