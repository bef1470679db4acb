"""Densities in the plane: their panels, and the picture `deformation`."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from nflow_cli.plotting.frames import count_in
from nflow_cli.plotting.style import (
    SEQUENTIAL,
    Arrays,
    Extent,
    Summary,
    add_colour_bar,
    aspect_of,
    draw_grid,
    height_of,
    note,
    number_text,
    panel_grid,
    title_figure,
)

AXES = ("z₁", "z₂")
Panel = tuple[str, np.ndarray, np.ndarray, Normalize]  # title, density (m, n), draws (S, 2), scale
SEEN = 0.01  # smallest share of the mass that is drawn
UNLABELLED = 0.03  # mass beyond the frame that is not written


def deformation_figure(
    evaluation: Arrays, summary: Summary, names: tuple[str, str] = AXES
) -> Figure:
    """Draw the density after the first k flows, one panel for each k.

    Each panel has its own colour scale; above it are its peak and the share of draws within the
    frame.
    """
    steps, densities = evaluation["deformation_k"], density_of(evaluation["log_deformation"])
    extent = extent_of(evaluation["deformation_axis_1"], evaluation["deformation_axis_2"])
    columns = len(steps) if len(steps) <= 5 else math.ceil(len(steps) / 2)
    shape = (len(steps), columns, extent, min(10.0, 2 + 1.8 * columns), names)
    shares = [share_of(points, extent) for points in evaluation["deformation_samples"]]
    is_cut = any(1 - share > UNLABELLED for share in shares)
    head = 0.8 if is_cut else 0.65
    figure, axes = panel_grid(*shape, head=head, height=height_of(extent))
    for ax, k, density, share in zip(axes, steps, densities, shares, strict=True):
        peak = peak_of(density)
        draw_density(ax, density, extent, Normalize(0.0, 1.0), share, peak or 1.0)
        notes = [] if share < SEEN else [f"peak {number_text(peak)}"]
        notes += [f"mass {share:.2f}"] if 1 - share > UNLABELLED else []
        name = f"k = {int(k)}" if k <= summary["k"] else "affine"
        ax.set_title("\n".join([name, *notes]), fontsize=9)
    add_colour_bar(axes[0].images[0], axes, "density / its peak", "neither")
    parts = ("density after the first k flows", "peak and mass: in the frame" if is_cut else "")
    title_figure(figure, summary, *parts)
    return figure


def draw_density(
    ax: Axes, density: np.ndarray, extent: Extent, norm: Normalize, share: float, scale: float = 1.0
) -> AxesImage:
    """Draw a density (m, n) over the extent, divided by a scale; as 0 if its mass is elsewhere.

    `share`: of its mass within the extent, NaN if unknown.
    """
    if share < SEEN:
        note(ax, "mass < 1% here", 0.6)
        density = np.where(np.isnan(density), np.nan, 0.0)
    return draw_grid(ax, density / scale, extent, SEQUENTIAL, norm, aspect_of(extent))


def draw_panels(axes: Sequence[Axes], panels: Sequence[Panel], extent: Extent) -> AxesImage:
    """Draw densities over the extent, and draws of each, which are counted in its title."""
    image: Any = None
    for ax, (title, density, points, norm) in zip(axes, panels, strict=True):
        image = draw_density(ax, density, extent, norm, share_of(points, extent))
        draws = draw_dots(ax, points)
        ax.set_title(f"{title}, {draws}" if draws else title)
    return image


def share_of(points: np.ndarray, extent: Extent) -> float:
    """Share of draws (S, 2) within the extent; NaN if some are not finite."""
    if not len(points) or not np.isfinite(points).all():
        return math.nan
    return count_in((extent[:2], extent[2:]), points) / len(points)


def draw_dots(ax: Axes, points: np.ndarray, most: int = 500) -> str:
    """Draw the first `most` points of (S, 2); return their number."""
    points = points[:most]
    ax.set_autoscale_on(False)
    style: Any = {"color": "white", "alpha": 0.5, "markersize": 1.7, "markeredgewidth": 0}
    ax.plot(*points.T, "o", **style)
    return count_shown(ax, points, "draws")


def count_shown(ax: Axes, points: np.ndarray, what: str) -> str:
    """Number of points (n, 2) in a panel, which has a note if none."""
    seen = count_in((ax.get_xlim(), ax.get_ylim()), points)
    if len(points) and not seen:
        note(ax, f"all {what} lie outside", 0.4)
    of = "" if seen == len(points) else f" of {len(points):,}"
    return f"{seen:,}{of} {what}" if len(points) else ""


def density_of(log_density: np.ndarray) -> np.ndarray:
    """Density from its logarithm, NaN where not finite."""
    density = np.exp(log_density)
    return np.where(np.isfinite(density), density, np.nan)


def peak_of(density: np.ndarray) -> float:
    """Maximum of a density, 0 where none is finite."""
    return float(np.nanmax(density, initial=0.0))


def extent_of(x: np.ndarray, y: np.ndarray) -> Extent:
    """Extent of a grid with these axes."""
    # The grid's points are the centres of the pixels, so the picture is half a step wider.
    dx, dy = ((axis[-1] - axis[0]) / (len(axis) - 1) / 2 for axis in (x, y))
    return float(x[0] - dx), float(x[-1] + dx), float(y[0] - dy), float(y[-1] + dy)
