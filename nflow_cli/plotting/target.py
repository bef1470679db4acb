"""Pictures of a 2-D fit: `density`, `difference`, `deformation`, `training`."""

import math

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from nflow_cli.plotting.compare import draw_legend, scale_values
from nflow_cli.plotting.density import (
    AXES,
    deformation_figure,
    density_of,
    draw_density,
    draw_dots,
    extent_of,
    peak_of,
    share_of,
)
from nflow_cli.plotting.style import (
    BLUE,
    DPI,
    Arrays,
    Extent,
    Summary,
    add_colour_bar,
    colour_scale,
    draw_grid,
    draw_history,
    drawing,
    height_of,
    label_steps,
    marked,
    number_text,
    panel_grid,
    space_by_logarithm,
    title_figure,
    value_text,
)

DIVERGING = matplotlib.colormaps["RdBu_r"].with_extremes(bad="0.75")


def fit2d_figures(evaluation: Arrays, metrics: Arrays, summary: Summary) -> dict[str, Figure]:
    """Return the pictures of a 2-D fit: `density`, `difference`, `deformation`, `training`.

    `evaluation` holds the grid `axis_1` (n,) and `axis_2` (m,); `log_target`, `log_base` and
    `log_q` (m, n) in nats, -inf where the density is 0; `samples`, `base_samples` (S, 2) and
    `target_samples` (S', 2), where S' may be 0; `deformation_k` (P,), `log_deformation`
    (P, m2, n2), `deformation_axis_1` (n2,), `deformation_axis_2` (m2,), and `deformation_samples`
    (P, S'', 2).

    `metrics` has one row per logging interval: `update`, `loss` and `kl` (nats), `beta`.
    `summary` gives `target`, `flow`, `k`, and, each None where unknown, `kl` and
    `kl_standard_error` (nats), `ess`, `mass`, `log_z`. Where neither KL nor log Z is known, the
    target is scaled to mass 1 over the grid and the training picture shows the free energy.
    """
    with drawing():
        return {
            "density": density_figure(evaluation, summary),
            "difference": difference_figure(evaluation, summary),
            "deformation": deformation_figure(evaluation, summary),
            "training": training_figure(metrics, summary),
        }


def density_figure(evaluation: Arrays, summary: Summary) -> Figure:
    """Draw base, fit and target side by side, with draws.

    Fit and target share a colour scale; a higher peak of the fit is written. A base with a higher
    peak has its own scale.
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
        (base, "base_samples", "base q₀(z)", of_base),
        (q, "samples", "fit q(z)", compared),
        (target, "target_samples", target_title, compared),
    )
    for ax, (density, drawn, title, norm) in zip(axes, panels):
        points = evaluation[drawn]
        image = draw_density(ax, density, extent, norm, share_of(points, extent))
        draws = draw_dots(ax, points)
        ax.set_title(f"{title}, {draws}" if draws else title)
    if stands_out:
        own = f"own colour scale, peak {number_text(peaks[0])}"
        axes[0].set_title(f"{axes[0].get_title()}\n{own}")
    if peaks[1] > (compared.vmax or 0.0):
        peak = f"above the colour scale: peak {number_text(peaks[1])}"
        axes[1].set_title(f"{axes[1].get_title()}\n{peak}")
    label = "density of fit and target" if stands_out else "density"
    add_colour_bar(image, axes, label, extend)
    title_figure(figure, summary, _kl_text(summary))
    return figure


def difference_figure(evaluation: Arrays, summary: Summary) -> Figure:
    """Draw q - p: red where the flow puts too much mass, blue where too little.

    The scale is symmetric about 0 and ends at the target's peak; the colour bar has an arrow if q
    exceeds it.
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
    title_figure(figure, summary, _kl_text(summary), ess, mass)
    return figure


def training_figure(metrics: Arrays, summary: Summary) -> Figure:
    """Draw KL (nats) against update, and beta below it where it was annealed.

    Thin: interval means; thick: a running median; dashed: the final KL. Without a KL the loss is
    drawn, as free energy. Rows that are not finite get a cross. Shaded: updates of several
    restarts, where a row is that of the best; and those before 0, of the first stage.
    """
    has_kl = summary.get("kl") is not None
    update, beta = np.asarray(metrics["update"], float), np.asarray(metrics["beta"], float)
    values = np.asarray(metrics["kl" if has_kl else "loss"], float)
    annealed = bool(np.any(np.isfinite(beta) & (beta != 1)))
    figure = Figure((7.0, 4.4 if annealed else 3.6), DPI, layout="constrained")
    ratios = [4, 1] if annealed else [1]
    axes = figure.subplots(len(ratios), sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    shade_restarts(axes[0], summary)
    if update[0] < 0:
        axes[0].axvspan(update[0], 0, color="#E3EDF7", zorder=0, label="first stage: affine alone")
    draw_history(axes[0], update, values)
    if has_kl:
        evaluated = summary["kl"] if math.isfinite(summary["kl"]) else math.nan
        axes[0].axhline(evaluated, color="k", ls="--", label=f"evaluated {_kl_text(summary)}")
        scale_values(axes[0], np.append(values, evaluated))
    axes[0].set_ylabel("KL (nats)" if has_kl else "free energy (nats)")
    draw_legend(figure, axes[0].get_legend_handles_labels()[0])
    if annealed:
        axes[1].plot(update, beta, color=BLUE, marker="o" if len(beta) == 1 else "")
        axes[1].set_ylabel("β")
    label_steps(axes, "update")
    if update[0] > 0 and len(update) > 1:
        space_by_logarithm(list(axes))
    title_figure(figure, summary)
    return figure


def shade_restarts(ax: Axes, summary: Summary) -> None:
    """Shade the updates with more than one restart."""
    updates = sorted(summary.get("restarts", {}).get("updates", []))
    if len(updates) > 1:
        label = "the best restart of each interval"
        ax.axvspan(0, updates[-2], color="#FBEADB", zorder=0, label=label)


def _target(evaluation: Arrays, summary: Summary) -> tuple[np.ndarray, str]:
    log_p = evaluation["log_target"]
    if summary.get("kl") is not None or summary.get("log_z") is not None:
        return density_of(log_p), "target p(z)"
    density = density_of(log_p - np.max(log_p))
    extent = extent_of(evaluation["axis_1"], evaluation["axis_2"])
    return density / mass_of(np.nan_to_num(density), extent), "target p(z), mass 1 on the grid"


def mass_of(density: np.ndarray, extent: Extent) -> float:
    """Return the integral of a density (m, n) over the extent, NaN where not finite."""
    left, right, bottom, top = extent
    return float(np.mean(density)) * (right - left) * (top - bottom)


def _kl_text(summary: Summary) -> str:
    kl = summary.get("kl")
    text = "" if kl is None else f"KL = {value_text(kl, summary.get('kl_standard_error'))}"
    return marked(text, summary, "kl")
