"""Pictures of a 2-D fit to points."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nflow_cli.plotting.density import (
    count_shown,
    deformation_figure,
    density_of,
    draw_density,
    draw_dots,
    extent_of,
    share_of,
)
from nflow_cli.plotting.style import (
    BLUE,
    Arrays,
    Extent,
    Summary,
    add_colour_bar,
    aspect_of,
    colour_scale,
    drawing,
    height_of,
    panel_grid,
    title_figure,
)
from nflow_cli.plotting.training import likelihood_figure, likelihood_text

AXES = ("x₁", "x₂")
SCATTERED = 1_000
TYPICAL = 0.995  # of the window lies below what the colours are made for


def points_figures(evaluation: Arrays, metrics: Arrays, summary: Summary) -> dict[str, Figure]:
    """Pictures of a 2-D fit to points: `density`, `deformation`, `training`, in the user's units.

    Arrays, metrics and scores as in docs/scores.md, in the plane; losses are negative
    log-likelihoods in nats a point, scores None where not finite.
    """
    with drawing():
        return {
            "density": density_figure(evaluation, summary),
            "deformation": deformation_figure(evaluation, summary, AXES),
            "training": likelihood_figure(metrics, summary),
        }


def density_figure(evaluation: Arrays, summary: Summary) -> Figure:
    """Draw test points, the fitted density, and draws."""
    q = density_of(evaluation["log_q"])
    extent = extent_of(evaluation["axis_1"], evaluation["axis_2"])
    figure, axes = panel_grid(3, 3, extent, 10.0, AXES, height=height_of(extent))
    points, draws = evaluation["test_points"], evaluation["samples"]
    shown = min(len(points), len(draws), SCATTERED)
    axes[0].set_title(draw_points(axes[0], points[:shown], extent, "test points"))
    finite = np.append(q[np.isfinite(q)], 0.0)
    norm, extend = colour_scale([float(finite.max())], float(np.quantile(finite, TYPICAL)))
    image = draw_density(axes[1], q, extent, norm, share_of(draws, extent))
    draw_dots(axes[1], points, 300)
    axes[1].set_title("fitted density q(x)")
    axes[2].set_title(draw_points(axes[2], draws[:shown], extent, "draws of q"))
    add_colour_bar(image, axes, "density", extend)
    title_figure(figure, summary, likelihood_text(summary))
    return figure


def draw_points(ax: Axes, points: np.ndarray, extent: Extent, what: str) -> str:
    """Draw points (n, 2) over the extent; return the number shown as text."""
    style: Any = {"markersize": 2.2, "alpha": 0.5, "markeredgewidth": 0}
    ax.plot(*points.T, "o", color=BLUE, **style)
    ax.set(xlim=extent[:2], ylim=extent[2:], aspect=aspect_of(extent))
    return count_shown(ax, points, what)
