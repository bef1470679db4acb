"""Common style of pictures: constants, panels, titles, colour bars, layout, files."""

import contextlib
import functools
import math
import re
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.image import AxesImage
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from matplotlib.ticker import (
    MaxNLocator,
    NullLocator,
)

from nflow_cli.constants import DPI
from nflow_cli.evaluation.warnings import marked as with_words
from nflow_cli.text import printable

# Many journals refuse the default font type; the fixed salt makes svg files repeatable, and text
# stays text in them.
STYLE: dict[Any, Any] = {
    # Not those of a matplotlibrc, the user's or of a stranger's folder.
    **{key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"},
    "axes.titlesize": 10,
    "pdf.fonttype": 42,
    "svg.hashsalt": "nflow",
    "svg.fonttype": "none",
    "axes.formatter.limits": (-3, 5),  # beyond, numbers are multiples of a power of 10
    "axes.titley": 1.0,  # no search for room above each title, which nothing needs
}
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
COMPARABLE = 4.0  # sides of a panel that differ by less are drawn to one scale
SEQUENTIAL = matplotlib.colormaps["viridis"].with_extremes(bad="0.75")
# Okabe-Ito, safe for colour-blind readers, without its yellow, which is faint on white.
BLUE = "#0072B2"
ORANGE = "#D55E00"
GREY = "0.55"
COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
Arrays = Mapping[str, np.ndarray]
Summary = Mapping[str, Any]
Extent = tuple[float, float, float, float]  # left, right, bottom, top
# Rows are light and wide, draws dark and small or a line: distinct without colours too.
SKY = "#8CC8EE"
LETTERS = 20  # of a column's name
STRAYS = 0.01  # share of the rows at each end that a frame may leave out
WIDER = 0.5  # of the width of the others, which a frame may have beyond them
BORDER = 0.04  # of its width, around a frame
FEWEST_BINS = 8
GAUSSIAN_EIGHTH = 4.288  # interquartile range of a Gaussian over the width of its densest eighth
OPTIONS = re.compile(r"\([^()]*\)")
FURTHEST = 1e300  # largest value drawn
Frame = tuple[float, float]


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Apply the common style; overflow gives inf, shown as not finite."""
    with matplotlib.rc_context(STYLE), np.errstate(over="ignore"):
        yield


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Silence Matplotlib's warnings about numbers of extreme size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@without_warnings()
def save_figure(figure: Figure, file: str | Path | BinaryIO, format: str, dpi: int = DPI) -> None:
    """Write a figure as `png`, `svg` or `pdf`; equal figures give equal files."""
    date_keys = {"svg": "Date", "pdf": "CreationDate"}
    with drawing():
        if format in date_keys:
            figure.savefig(file, format=format, dpi=dpi, metadata={date_keys[format]: None})
        else:  # `savefig` would draw it twice
            figure.set_dpi(dpi)
            FigureCanvasAgg(figure).print_png(file, pil_kwargs={"compress_level": 3})


def panel_grid(
    count: int,
    columns: int,
    extent: Extent,
    width: float,
    names: tuple[str, str] = ("z₁", "z₂"),
    side: float = 1.4,
    head: float = 0.5,
    height: float | None = None,
) -> tuple[Figure, list[Axes]]:
    """Figure of equal panels with axes named at the outer edges.

    `side`: width in inches of labels and colour bars; `head`: height of titles and labels of a row;
    `height`: of a panel over its width, if not that of the extent.
    """
    rows = math.ceil(count / columns)
    panel = ((width - side) / columns - 0.1) * (height or height_of(extent))
    total = min(max(rows * (panel + head) + 0.52, 2.0), 8.0)
    layout = ConstrainedLayoutEngine(compress=True, h_pad=0.06, w_pad=0.06)
    figure = Figure((width, total), DPI, layout=layout)
    grid = figure.add_gridspec(rows, columns)
    axes = [figure.add_subplot(grid[divmod(i, columns)]) for i in range(count)]
    for i, ax in enumerate(axes):
        label_panel(ax, names[0] if i + columns >= count else "", "" if i % columns else names[1])
    return figure, axes


def _ratio(extent: Extent) -> float:
    """Height over width."""
    return (extent[3] - extent[2]) / (extent[1] - extent[0])


def height_of(extent: Extent) -> float:
    """Aspect of a panel, height over width: 1 if extreme, as units then differ."""
    ratio = _ratio(extent)
    return ratio if 1 / COMPARABLE < ratio < COMPARABLE else 1.0


def aspect_of(extent: Extent) -> float:
    """Length of a unit of y in units of x, in a panel: 1, unless the sides are extreme."""
    return height_of(extent) / _ratio(extent)


def label_panel(ax: Axes, x_label: str, y_label: str) -> None:
    """Name the axes of an image panel; an empty name removes the ticks."""
    for axis, label in ((ax.xaxis, x_label), (ax.yaxis, y_label)):
        axis.set_label_text(label)
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 4, 10]) if label else NullLocator())


@without_warnings()
def name_scaled(axis: Axis, name: str, size: float) -> None:
    """Name an axis, with the power of 10 of its tick labels."""
    formatter: Any = axis.get_major_formatter()
    formatter.format_ticks(axis.get_majorticklocs())
    axis.get_offset_text().set_visible(False)
    unit = formatter.get_offset() if name else ""
    axis.set_label_text(f"{name}\n[{unit}]" if unit else name, size=size)


def draw_grid(ax: Axes, grid: np.ndarray, extent: Extent, cmap: Any, norm: Normalize) -> AxesImage:
    """Draw a grid (m, n) over the extent; NaN is grey."""
    name_lost(ax, grid)
    return ax.imshow(
        grid,
        cmap,
        norm,
        extent=extent,
        origin="lower",
        interpolation="bilinear",
        aspect=aspect_of(extent),
    )


def name_lost(ax: Axes, values: np.ndarray, height: float = 0.5) -> None:
    """Write "not finite" at a height (0-1) of a panel without finite values."""
    if not np.isfinite(values).any():
        ax.text(0.5, height, "not finite", ha="center", va="center", transform=ax.transAxes)


def note(ax: Axes, text: str, height: float = 0.5) -> None:
    """Write a text at a height (0-1) of a panel, legible on any colour."""
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "boxstyle": "round,pad=0.2"}
    ax.text(
        0.5,
        height,
        text,
        transform=ax.transAxes,
        in_layout=False,
        ha="center",
        va="center",
        fontsize=9,
        bbox=box,
    )


def subscript(number: int) -> str:
    """Non-negative integer as an index."""
    return str(number).translate(SUBSCRIPTS)


def colour_scale(peaks: list[float], typical: float) -> tuple[Normalize, str]:
    """One colour scale for densities with these peaks, and how its colour bar extends.

    It ends at the highest peak, or below it, with an arrow, if that is a spike beside which other
    panels would be dark.
    """
    highest = max(peaks) or 1.0
    if highest > 2.5 * typical > 0:
        return Normalize(0.0, 1.25 * typical), "max"
    return Normalize(0.0, highest), "neither"


def add_colour_bar(image: AxesImage, axes: list[Axes], label: str, extend: str) -> None:
    """Add one colour bar for all axes; `extend` marks the values cut off."""
    figure: Any = axes[0].figure
    aspect = 6 * figure.get_figheight()  # one width, however high
    bar = figure.colorbar(image, ax=axes, extend=extend, label=label, pad=0.02, aspect=aspect)
    bar.ax.yaxis.set_major_locator(MaxNLocator(6))


def plain(text: str, letters: int = 10_000, width: int = 0) -> str:
    """Untrusted text, cut in the middle and wrapped: what the font lacks is escaped, and ``$``, so
    that it begins no formula.
    """
    font = drawn_by(findfont(FontProperties()))
    drawn = "".join(_drawable(letter, font) for letter in printable(text))
    if len(drawn) > letters:
        drawn = f"{drawn[: letters // 2]}…{drawn[1 - letters // 2 :]}"
    if width:
        drawn = textwrap.fill(drawn, width)
    return drawn.replace("$", r"\$")


def _drawable(letter: str, font: frozenset[int]) -> str:
    """Letter, escaped if the font lacks it."""
    return letter if ord(letter) in font else letter.encode("unicode_escape").decode()


@functools.cache
def drawn_by(font: str) -> frozenset[int]:
    """Code points of a font, cached."""
    return frozenset(get_font(font).get_charmap())


def add_title(figure: Figure, *parts: str) -> None:
    """Set the overall title from its non-empty parts, one a line."""
    # A no-break space keeps "K = 8" together.
    unbroken = (plain(part).replace(" ", "\N{NO-BREAK SPACE}") for part in parts if part)
    text = ", ".join(re.sub(r",(?=[^\W\d])", ", ", part) for part in unbroken)
    width = int(figure.get_figwidth() * 10.5)
    title = textwrap.fill(text, width, break_on_hyphens=False)
    figure.suptitle(title)
    figure.set_figheight(figure.get_figheight() + 0.2 * title.count("\n"))


def title_figure(figure: Figure, summary: Summary, *parts: str) -> None:
    """Set a title of target or data, flows, and ``parts``."""
    add_title(figure, *title_of(summary), *parts)


def title_of(summary: Summary) -> tuple[str, ...]:
    """Parts of a title: target or data, and flows without their options."""
    flows = OPTIONS.sub("", str(summary["flow"]))
    return subject_of(summary), f"{flows} flow", f"K = {summary['k']}"


def subject_of(summary: Summary) -> str:
    """Name of target or data."""
    return summary.get("target") or Path(summary.get("data", {}).get("name", "")).name


def scale_values(ax: Axes, values: np.ndarray) -> None:
    """Scale y: logarithmic over more than a decade, linear about 0."""
    values = values[np.isfinite(values)]
    if not values.any() or values.max() < 10 * abs(values.min()):
        return
    if values.min() > 0:
        ax.set_yscale("log")
        return
    # Noise about a KL of 0.
    edge = 10.0 ** math.ceil(math.log10(max(-values.min(), values.max() * 1e-5)))
    ax.set_yscale("symlog", linthresh=edge)


def marked(text: str, summary: Summary, key: str) -> str:
    """Score's text with its warning labels; "" stays."""
    return with_words(text, summary.get("warnings", ()), key) if text else ""


def frame_of(rows: np.ndarray, draws: np.ndarray) -> Frame:
    """Limits of a column's axis: most rows, and draws near them."""
    values = np.concatenate([rows, draws])
    if not len(values):
        return 0.0, 1.0
    low, high = np.quantile(rows if len(rows) else draws, [STRAYS, 1 - STRAYS])
    room = WIDER * (high - low)
    return padded((max(low - room, values.min()), min(high + room, values.max())))


def count_in(frames: Sequence[Frame], points: np.ndarray) -> int:
    """Number of points (n, D) within the limits of all D axes."""
    low, high = np.transpose(frames)
    return int(np.all((points >= low) & (points <= high), axis=1).sum())


def padded(frame: tuple[float, float]) -> Frame:
    """Limits with a margin and a positive width."""
    low, high = frame
    least = 1e-9 * max(abs(low), abs(high)) or 1.0
    border = max(BORDER * (high - low), least)
    return max(float(low - border), -FURTHEST), min(float(high + border), FURTHEST)


def bin_count(values: np.ndarray, frame: Frame, n: int, most: int) -> int:
    """Number of bins of a frame by the rule of Freedman & Diaconis, of 8 to ``most``; for parts of
    which the smallest has ``n`` values. The spread is that of the narrowest mode.
    """
    if not len(values):
        return most
    low, high = np.quantile(values, [0.25, 0.75])
    spread = min(high - low, _narrowest(values) or high - low)
    width = 2 * spread / n ** (1 / 3)
    if not width > 0:
        return most
    return int(np.clip((frame[1] - frame[0]) / width, FEWEST_BINS, most))


def _narrowest(values: np.ndarray) -> float:
    """Interquartile range of a Gaussian of which an eighth is as narrow as the narrowest eighth of
    the values; 0 where they are equal.
    """
    ordered = np.sort(values)
    eighth = math.ceil(len(ordered) / 8)
    return GAUSSIAN_EIGHTH * float(np.min(ordered[eighth:] - ordered[:-eighth], initial=np.inf))


def draw_key(figure: Figure, rows: str, draws: str, above: str = "") -> None:
    """Draw the legend of rows and draws below the panels, with a text above it."""
    handles = [Patch(color=SKY, label=rows), Patch(color=ORANGE, label=draws)]
    columns = 2 if figure.get_figwidth() > 6 else 1
    figure.legend(
        handles=handles,
        loc="outside lower center",
        title=above,
        frameon=False,
        ncols=columns,
        fontsize=9,
        title_fontsize=8,
    )
