"""Picture of one flow in the plane."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nflow_cli.plotting.density import (
    AXES,
    density_of,
    draw_density,
    draw_dots,
    extent_of,
    peak_of,
    share_of,
)
from nflow_cli.plotting.style import (
    BLUE,
    ORANGE,
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
TURN = np.array([[0.0, -1.0], [1.0, 0.0]])


def flow_figure(arrays: Arrays, summary: Summary, number: int, names: Sequence[str]) -> Figure:
    """Draw the density before a flow, its map of the plane, and the density after it.

    `arrays`: `axis_1` (n,), `axis_2` (m,), `log_before` and `log_after` (m, n) in nats, samples
    `draws_before` and `draws_after` (S, 2), the `lines` of a grid and their images `lines_after`
    (L, P, 2); of a planar flow `u_hat` (2,), `w` (2,) and `b`, of a radial one `center` (2,),
    `alpha` and `beta_hat` (:meth:`~nflow_cli.flows.map.Map.geometry`). Both densities share a
    colour scale.
    """
    extent = extent_of(arrays["axis_1"], arrays["axis_2"])
    with drawing():
        figure, axes = panel_grid(3, 3, extent, 11.0, AXES, head=0.9, height=height_of(extent))
        densities = [density_of(arrays[key]) for key in ("log_before", "log_after")]
        peaks = [peak_of(density) for density in densities]
        norm, extend = colour_scale(peaks, float(np.median(peaks)))
        drawn = (arrays["draws_before"], arrays["draws_after"])
        titles = (f"before: q{subscript(number - 1)}", f"after: q{subscript(number)}")
        for ax, density, draws, title in zip(axes[::2], densities, drawn, titles):
            image = draw_density(ax, density, extent, norm, share_of(draws, extent))
            draw_dots(ax, draws, 300)
            ax.set_title(title)
        draw_map(axes[1], arrays, extent)
        axes[1].set_title("\n".join(["the map", *_facts(arrays)]), fontsize=9)
        figure.legend(loc="outside lower center", ncols=5, frameon=False)
        add_colour_bar(image, axes, "density", extend)
        add_title(figure, subject_of(summary), *names)
    return figure


def draw_map(ax: Axes, arrays: Arrays, extent: Extent) -> None:
    """Draw a grid and its image, the movement of draws, and fixed points."""
    for key, colour, width in (("lines", "0.85", 0.6), ("lines_after", BLUE, 0.7)):
        for line in arrays[key]:
            ax.plot(*line.T, color=colour, linewidth=width)
    ax.set(xlim=extent[:2], ylim=extent[2:], aspect=aspect_of(extent))
    before, after = arrays["draws_before"][:ARROWS], arrays["draws_after"][:ARROWS]
    style: Any = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.004, "color": "0.25"}
    ax.quiver(*before.T, *(after - before).T, zorder=3, **style)
    if "u_hat" in arrays:
        draw_hyperplane(ax, arrays, extent)
    if "center" in arrays:
        draw_center(ax, arrays)
    ax.plot([], [], color=BLUE, label="grid after the flow")
    ax.plot([], [], color="0.25", marker=">", markersize=4, label="paths of draws")


def draw_hyperplane(ax: Axes, arrays: Arrays, extent: Extent) -> None:
    """Draw the fixed line ``w.z + b = 0``, and ``û``, along which its sides move apart.

    Draws move by ``û tanh(w.z + b)``: below the line against the arrow.
    """
    w, b, u_hat = (np.asarray(arrays[key], float) for key in ("w", "b", "u_hat"))
    squared = float(w @ w)
    if not squared:
        return
    middle = np.array([extent[0] + extent[1], extent[2] + extent[3]]) / 2
    foot: Any = middle - (w @ middle + b) * w / squared  # on the line, nearest to the middle
    style: Any = {"color": ORANGE, "linewidth": 2, "label": "w·z + b = 0", "zorder": 4}
    ax.axline(foot, foot + TURN @ w, **style)
    start = foot if _holds(extent, foot + u_hat) else foot - u_hat  # a tip outside is not drawn
    arrow: Any = {"color": ORANGE, "arrowstyle": "-|>", "lw": 2, "mutation_scale": 14}
    ax.annotate("", start + u_hat, start, arrowprops=arrow, zorder=5)
    moves = np.tanh(arrays["draws_before"] @ w + b)
    low, high = (f"{end:.2f}".replace("-", "\N{MINUS SIGN}") for end in (moves.min(), moves.max()))
    label = f"û; draws move by û·tanh(w·z + b), here {low} to {high} times û"
    ax.plot([], [], color=ORANGE, marker=">", label=label)


def _holds(extent: Extent, point: np.ndarray) -> bool:
    return extent[0] <= point[0] <= extent[1] and extent[2] <= point[1] <= extent[3]


def draw_center(ax: Axes, arrays: Arrays) -> None:
    """Draw the fixed centre and the circle of radius ``α`` about it."""
    center, alpha = np.asarray(arrays["center"], float), float(arrays["alpha"])
    turn = np.linspace(0, 2 * np.pi, 200)
    circle = center[:, None] + alpha * np.stack([np.cos(turn), np.sin(turn)])
    ax.plot(*circle, color=ORANGE, linewidth=2, label="radius α about c", zorder=4)
    ax.plot(*center, "o", color=ORANGE, markersize=5, label="centre c", zorder=5)


def _facts(arrays: Arrays) -> list[str]:
    if "u_hat" in arrays:
        slope = 1 + float(arrays["w"] @ arrays["u_hat"])
        return [f"areas at the line × (1 + w·û) = {slope:.3g}"]
    if "center" in arrays:
        alpha, beta = float(arrays["alpha"]), float(arrays["beta_hat"])
        does = "pushes away from" if beta > 0 else "pulls to"
        return [f"it {does} c: α = {alpha:.3g}, β̂ = {beta:.3g}"]
    return []
