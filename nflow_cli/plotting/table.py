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
    DPI,
    ORANGE,
    Arrays,
    Extent,
    Summary,
    add_colour_bar,
    aspect_of,
    colour_scale,
    draw_history,
    drawing,
    height_of,
    label_steps,
    marked,
    panel_grid,
    title_figure,
    value_text,
    zoom_on_later,
)

AXES = ("x₁", "x₂")
SCATTERED = 1_000
LEVELS = (  # lines of the training picture: its style, its name, its key in the summary
    ("--", ("test set", "log_likelihood")),
    (":", ("Gaussian", "gaussian_log_likelihood")),
    (":", ("independent columns", "independent_log_likelihood")),
)
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
            "training": training_figure(metrics, summary),
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


def training_figure(metrics: Arrays, summary: Summary) -> Figure:
    """Draw the log-likelihood (nats) of training batches and of the validation rows.

    Dashed: test rows; dotted: a baseline; vertical line: the best weights.
    """
    update = np.asarray(metrics["update"], float)
    loss, validation = (np.asarray(metrics[name], float) for name in ("loss", "validation_loss"))
    figure = Figure((7.0, 4.8), DPI, layout="constrained")
    ax = figure.subplots()
    trained = update > 0  # before, there is a validation loss alone
    draw_history(ax, update[trained], -loss[trained])
    marker = "o" if len(update) < 40 else ""
    ax.plot(update, -validation, color=ORANGE, lw=1.2, marker=marker, ms=3, label="validation")
    ax.axvline(summary["best_update"], color="k", lw=0.8, ls="-.", label="best weights")
    for style, (name, key) in LEVELS:
        if summary.get(key) is not None:
            text = f"{name}: {likelihood_text(summary, key, '')}"
            ax.axhline(summary[key], color="k", ls=style, lw=1.4, label=text)
    ax.set_ylabel("log-likelihood (nats a point)")
    levels = [value for _, (_, key) in LEVELS if (value := summary.get(key)) is not None]
    zoom_on_later(ax, [-loss, -validation], levels)
    # Below, where it hides no curve.
    ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    label_steps([ax], "update")
    title_figure(figure, summary)
    return figure


def likelihood_text(
    summary: Summary, key: str = "log_likelihood", name: str = "log-likelihood = "
) -> str:
    """Log-likelihood as text; "" where not finite."""
    value = summary[key]
    if value is None:
        return ""
    text = name + value_text(value, summary.get(f"{key}_standard_error"))
    return marked(text, summary, key)
