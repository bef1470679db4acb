"""Axis limits, names and ticks of columns, and the colours of rows and draws."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from nflow_cli.plotting.style import ORANGE

# Rows are light and wide, draws dark and small or a line: distinct without colours too.
SKY = "#8CC8EE"
LETTERS = 20  # of a column's name
# A frame holds the rows but for strays at each end, and this much of its width beyond.
STRAYS, WIDER, BORDER = 0.01, 0.5, 0.04
FURTHEST = 1e300  # largest value drawn

Frame = tuple[float, float]


def frame_of(rows: np.ndarray, draws: np.ndarray) -> Frame:
    """Limits of a column's axis: most rows, and draws near them."""
    every = np.concatenate([rows, draws])
    if not len(every):
        return 0.0, 1.0
    low, high = np.quantile(rows if len(rows) else draws, [STRAYS, 1 - STRAYS])
    wider = WIDER * (high - low)
    return padded((max(low - wider, every.min()), min(high + wider, every.max())))


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


def draw_key(figure: Figure, rows: str, draws: str, above: str = "") -> None:
    """Draw the legend of rows and draws below the panels."""
    handles = [Patch(color=SKY, label=rows), Patch(color=ORANGE, label=draws)]
    columns = 2 if figure.get_figwidth() > 6 else 1
    style: Any = {"frameon": False, "ncols": columns, "fontsize": 9, "title_fontsize": 8}
    figure.legend(handles=handles, loc="outside lower center", title=above, **style)
