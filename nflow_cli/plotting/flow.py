"""Picture of one flow in the plane."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nflow_cli.plotting.density import (
    AXES,
    density_of,
    draw_panels,
    extent_of,
    peak_of,
)
from nflow_cli.plotting.style import (
    BLUE,
    Arrays,
    Extent,
    Summary,
    add_colour_bar,
    add_title,
    aspect_of,
    colour_scale,
    drawing,
    height_of,
    panel_grid,
    subject_of,
    subscript,
)

ARROWS = 70  # draws with arrows


def flow_figure(arrays: Arrays, summary: Summary, number: int, names: Sequence[str]) -> Figure:
    """Draw the density before a flow, its map of the plane, and the density after it.

    `arrays`: `axis_1` (n,), `axis_2` (m,), `log_before` and `log_after` (m, n) in nats, samples
    `draws_before` and `draws_after` (S, 2), the `lines` of a grid and their images `lines_after`
    (L, P, 2). Both densities share a colour scale; `names` are of the flow, and its weights.
    """
    extent = extent_of(arrays["axis_1"], arrays["axis_2"])
    with drawing():
        figure, axes = panel_grid(3, 3, extent, 11.0, AXES, head=0.9, height=height_of(extent))
        before, after = (density_of(arrays[key]) for key in ("log_before", "log_after"))
        peaks = [peak_of(before), peak_of(after)]
        norm, extend = colour_scale(peaks, float(np.median(peaks)))
        panels = (
            (f"before: q{subscript(number - 1)}", before, arrays["draws_before"], norm),
            (f"after: q{subscript(number)}", after, arrays["draws_after"], norm),
        )
        image = draw_panels(axes[::2], panels, extent)
        draw_map(axes[1], arrays, extent)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        add_colour_bar(image, axes, "density", extend)
        add_title(figure, subject_of(summary), *names)
    return figure


def draw_map(ax: Axes, arrays: Arrays, extent: Extent) -> None:
    """Draw a grid and its image, and the movement of draws."""
    for key, colour, width in (("lines", "0.85", 0.6), ("lines_after", BLUE, 0.7)):
        for line in arrays[key]:
            ax.plot(*line.T, color=colour, linewidth=width)
    ax.set(xlim=extent[:2], ylim=extent[2:], aspect=aspect_of(extent), title="the map")
    before, after = arrays["draws_before"][:ARROWS], arrays["draws_after"][:ARROWS]
    style: Any = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.004, "color": "0.25"}
    ax.quiver(*before.T, *(after - before).T, zorder=3, **style)
    ax.plot([], [], color=BLUE, label="grid after the flow")
    ax.plot([], [], color="0.25", marker=">", markersize=4, label="paths of draws")
