"""Pictures of a 2-D fit: `density`, `difference`, `deformation`, `training`."""

import matplotlib
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from nflow_cli.plotting.density import (
    AXES,
    deformation_figure,
    density_of,
    draw_panels,
    extent_of,
    peak_of,
)
from nflow_cli.plotting.style import (
    Arrays,
    Extent,
    Summary,
    add_colour_bar,
    colour_scale,
    draw_grid,
    drawing,
    height_of,
    marked,
    number_text,
    panel_grid,
    title_figure,
)
from nflow_cli.plotting.training import kl_text, reverse_kl_figure

DIVERGING = matplotlib.colormaps["RdBu_r"].with_extremes(bad="0.75")


def fit2d_figures(evaluation: Arrays, metrics: Arrays, summary: Summary) -> dict[str, Figure]:
    """Pictures of a 2-D fit: `density`, `difference`, `deformation`, `training`.

    Arrays, metrics and scores as in docs/scores.md, in the plane. Log-densities are -inf where the
    density is 0; `target_samples` may be empty. If neither KL nor log Z is known, the target is
    scaled to mass 1 over the grid and the free energy is drawn.
    """
    with drawing():
        return {
            "density": density_figure(evaluation, summary),
            "difference": difference_figure(evaluation, summary),
            "deformation": deformation_figure(evaluation, summary),
            "training": reverse_kl_figure(metrics, summary),
        }


def density_figure(evaluation: Arrays, summary: Summary) -> Figure:
    """Draw base, fit and target side by side, with draws.

    Fit and target share a colour scale; a higher peak of the fit is written. A base of higher peak
    has its own.
    """
    target, target_title = _target(evaluation, summary)
    base, q = density_of(evaluation["log_base"]), density_of(evaluation["log_q"])
    extent = extent_of(evaluation["axis_1"], evaluation["axis_2"])
    figure, axes = panel_grid(3, 3, extent, 10.0, AXES, head=0.65, height=height_of(extent))
    peaks = [peak_of(density) for density in (base, q, target)]
    compared, extend = colour_scale(peaks[1:], peaks[2] or peaks[1])
    stands_out = peaks[0] > (compared.vmax or 0.0)
    of_base = Normalize(0.0, peaks[0]) if stands_out else compared
    panels = (
        ("base q₀(z)", base, evaluation["base_samples"], of_base),
        ("fit q(z)", q, evaluation["samples"], compared),
        (target_title, target, evaluation["target_samples"], compared),
    )
    image = draw_panels(axes, panels, extent)
    if stands_out:
        own = f"own colour scale, peak {number_text(peaks[0])}"
        axes[0].set_title(f"{axes[0].get_title()}\n{own}")
    if peaks[1] > (compared.vmax or 0.0):
        peak = f"above the colour scale: peak {number_text(peaks[1])}"
        axes[1].set_title(f"{axes[1].get_title()}\n{peak}")
    label = "density of fit and target" if stands_out else "density"
    add_colour_bar(image, axes, label, extend)
    title_figure(figure, summary, kl_text(summary))
    return figure


def difference_figure(evaluation: Arrays, summary: Summary) -> Figure:
    """Draw q - p: red where the flow puts too much mass, blue where too little.

    The scale ends at ± the target's peak; the colour bar has an arrow if q exceeds it.
    """
    target, _ = _target(evaluation, summary)
    difference = density_of(evaluation["log_q"]) - target
    peak, largest = (float(np.nanmax(x, initial=0.0)) for x in (target, np.abs(difference)))
    limit = min(largest, peak) or 1.0
    extent = extent_of(evaluation["axis_1"], evaluation["axis_2"])
    figure, axes = panel_grid(1, 1, extent, 5.6)
    image = draw_grid(axes[0], difference, extent, DIVERGING, Normalize(-limit, limit))
    if min(peak, largest) > 0:
        style = {"levels": [0.1 * peak, 0.5 * peak], "colors": "0.35", "linewidths": 0.6}
        axes[0].contour(evaluation["axis_1"], evaluation["axis_2"], target, **style)
        axes[0].set_title("lines: p at 10% and 50% of its peak")
    add_colour_bar(image, axes, "q(z) − p(z)", "max" if largest > limit else "neither")
    texts = {"ess": "ESS = {:.1%}", "mass": "mass = {:.4f}"}
    ess, mass = (
        "" if (value := summary.get(key)) is None else marked(text.format(value), summary, key)
        for key, text in texts.items()
    )
    title_figure(figure, summary, kl_text(summary), ess, mass)
    return figure


def _target(evaluation: Arrays, summary: Summary) -> tuple[np.ndarray, str]:
    log_p = evaluation["log_target"]
    if summary.get("kl") is not None or summary.get("log_z") is not None:
        return density_of(log_p), "target p(z)"
    density = density_of(log_p - np.max(log_p))
    extent = extent_of(evaluation["axis_1"], evaluation["axis_2"])
    return density / mass_of(np.nan_to_num(density), extent), "target p(z), mass 1 on the grid"


def mass_of(density: np.ndarray, extent: Extent) -> float:
    """Integral of a density (m, n) over the extent, NaN where not finite."""
    left, right, bottom, top = extent
    return float(np.mean(density)) * (right - left) * (top - bottom)
