"""Pictures of a 2-D fit: `density`, `difference`, `deformation`, `training`."""

import math
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from nflow_cli.plotting.compare import draw_legend
from nflow_cli.plotting.style import (
    BLUE,
    DPI,
    GREY,
    SEQUENTIAL,
    Arrays,
    Extent,
    Summary,
    add_colour_bar,
    add_title,
    aspect_of,
    colour_scale,
    draw_grid,
    drawing,
    height_of,
    label_steps,
    mark_lost,
    marked,
    note,
    number_text,
    panel_grid,
    space_by_logarithm,
    space_by_powers,
    value_text,
)

AXES = ("z₁", "z₂")
SEEN = 0.01  # of the mass, below which a density is not drawn
UNTOLD = 0.03  # mass beyond the frame that no panel tells of
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

    Fit and target have one colour scale, and the peak of a fit above it is written. A base with a
    higher peak, which would dim them, has colours of its own.
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
        own = f"colours to its own peak, {number_text(peaks[0])}"
        axes[0].set_title(f"{axes[0].get_title()}\n{own}")
    if peaks[1] > (compared.vmax or 0.0):
        axes[1].set_title(f"{axes[1].get_title()}\nabove the colours: peak {number_text(peaks[1])}")
    label = "density of fit and target" if stands_out else "density"
    add_colour_bar(image, axes, label, extend)
    title_figure(figure, summary, _kl_text(summary))
    return figure


def difference_figure(evaluation: Arrays, summary: Summary) -> Figure:
    """Draw q - p: red where the flow puts too much mass, blue where too little.

    The scale is symmetric about 0 and never exceeds the target's peak: only a spike of q can,
    and the colour bar's arrow then says so.
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


def deformation_figure(
    evaluation: Arrays, summary: Summary, names: tuple[str, str] = AXES
) -> Figure:
    """Draw the density after the first k flows, one panel for each k.

    The colours of each reach from 0 to its own peak, which is written above it, and so is the part
    of its draws that the frame holds where that is not all.
    """
    steps, densities = evaluation["deformation_k"], density_of(evaluation["log_deformation"])
    extent = extent_of(evaluation["deformation_axis_1"], evaluation["deformation_axis_2"])
    columns = len(steps) if len(steps) <= 5 else math.ceil(len(steps) / 2)
    shape = (len(steps), columns, extent, min(10.0, 2 + 1.8 * columns), names)
    shares = [share_of(points, extent) for points in evaluation["deformation_samples"]]
    is_cut = any(1 - share > UNTOLD for share in shares)
    head = 0.8 if is_cut else 0.65
    figure, axes = panel_grid(*shape, head=head, height=height_of(extent))
    for ax, k, density, share in zip(axes, steps, densities, shares, strict=True):
        peak = peak_of(density)
        draw_density(ax, density, extent, Normalize(0.0, 1.0), share, peak or 1.0)
        notes = [] if share < SEEN else [f"peak {number_text(peak)}"]
        notes += [f"mass {share:.2f}"] if 1 - share > UNTOLD else []
        name = f"k = {int(k)}" if k <= summary["k"] else "affine"
        ax.set_title("\n".join([name, *notes]), fontsize=9)
    add_colour_bar(axes[0].images[0], axes, "density / its peak", "neither")
    parts = ("density after the first k flows", "peak and mass: in the frame" if is_cut else "")
    title_figure(figure, summary, *parts)
    return figure


def training_figure(metrics: Arrays, summary: Summary) -> Figure:
    """Draw KL (nats) against update, and beta below it where it was annealed.

    Thin: the mean of each logging interval; thick: a running median; dashed: the evaluated KL.
    Without a KL the loss is drawn, as free energy. Rows that are not finite get a cross. Shaded:
    the updates of several restarts, where a row is of whichever was best in its interval; and those
    before 0, of the first stage.
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
        scale_history(axes[0], values, evaluated)
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
    """Shade the updates up to which more than one restart was trained."""
    updates = sorted(summary.get("restarts", {}).get("updates", []))
    if len(updates) > 1:
        label = "the best restart of each interval, no single run"
        ax.axvspan(0, updates[-2], color="#FBEADB", zorder=0, label=label)


def draw_density(
    ax: Axes, density: np.ndarray, extent: Extent, norm: Normalize, share: float, scale: float = 1.0
) -> AxesImage:
    """Draw a density (m, n) over the extent, divided by a scale; as 0 where it is elsewhere.

    `share` is what part of it lies within the extent, nan where that is not known.
    """
    if share < SEEN:
        note(ax, "mass < 1% here", 0.6)
        density = np.where(np.isnan(density), np.nan, 0.0)
    return draw_grid(ax, density / scale, extent, SEQUENTIAL, norm, aspect_of(extent))


def share_of(points: np.ndarray, extent: Extent) -> float:
    """Return what part of draws (S, 2) lies within the extent; nan where some are not finite."""
    left, right, bottom, top = extent
    inside = np.all((points >= (left, bottom)) & (points <= (right, top)), axis=1)
    return float(inside.mean()) if len(points) and np.isfinite(points).all() else math.nan


def draw_dots(ax: Axes, points: np.ndarray, most: int = 500) -> str:
    """Draw the first few of the points (S, 2), keep the panel's limits, say how many are seen."""
    points = points[:most]
    ax.set_autoscale_on(False)
    style: Any = {"color": "white", "alpha": 0.5, "markersize": 1.7, "markeredgewidth": 0}
    ax.plot(*points.T, "o", **style)
    return tell_seen(ax, points, "draws")


def tell_seen(ax: Axes, points: np.ndarray, what: str) -> str:
    """Say how many of the points (n, 2) a panel shows; where it shows none, say so in it."""
    low, high = np.transpose([ax.get_xlim(), ax.get_ylim()])
    seen = int(np.all((points >= low) & (points <= high), axis=1).sum())
    if len(points) and not seen:
        note(ax, f"all {what} lie outside", 0.4)
    of = "" if seen == len(points) else f" of {len(points):,}"
    return f"{seen:,}{of} {what}" if len(points) else ""


def draw_history(ax: Axes, update: np.ndarray, values: np.ndarray) -> None:
    """Draw interval means (n,) thin, their running median thick, and a cross where not finite."""
    good = np.isfinite(values)
    count = int(good.sum())
    style: Any = {"linewidth": 0.7, "markersize": 4, "marker": "o" if count < 40 else ""}
    ax.plot(update, np.where(good, values, np.nan), color=GREY, label="interval mean", **style)
    if count >= 5:
        y, widest, median = values[good], max(1, count // 20), np.full(len(values), np.nan)
        # The window grows from the start, where a loss falls too fast for a lopsided one.
        halves = np.minimum(np.arange(count), widest)
        median[good] = [np.median(y[i - half : i + half + 1]) for i, half in enumerate(halves)]
        ax.plot(
            update, median, color=BLUE, linewidth=2, label=f"running median of {2 * widest + 1}"
        )
    mark_lost(ax, update, good)


def scale_history(ax: Axes, values: np.ndarray, evaluated: float) -> None:
    """Choose the y axis: linear within a decade, log over more, symlog for noise about 0."""
    values = values[np.isfinite(values)]
    shown = np.append(values, values[:1] if math.isnan(evaluated) else evaluated)
    if not len(values) or shown.max() < 10 * abs(shown.min()) or not shown.any():
        return
    late = np.abs(np.diff(values[(len(values) - 1) // 2 :]))
    noise = 3 * float(np.median(late)) if len(late) else 0.0
    if shown.min() > 0:
        space_by_powers(ax.yaxis, "log")
        return
    edge = 10.0 ** round(math.log10(noise or shown.max() / 100))
    if shown.max() < 10 * edge:
        return
    space_by_powers(ax.yaxis, "symlog", linthresh=edge, linscale=0.6)
    ax.axhspan(-edge, edge, color="0.94", zorder=0, label=f"linear scale within ±{edge:g}")
    if shown.min() >= 0:
        ax.set_ylim(bottom=0)


def density_of(log_density: np.ndarray) -> np.ndarray:
    """Return a density from its logarithm, NaN where it is not finite."""
    density = np.exp(log_density)
    return np.where(np.isfinite(density), density, np.nan)


def peak_of(density: np.ndarray) -> float:
    """Return the greatest value of a density, 0 where none is finite."""
    return float(np.nanmax(density, initial=0.0))


def _target(evaluation: Arrays, summary: Summary) -> tuple[np.ndarray, str]:
    log_p = evaluation["log_target"]
    if summary.get("kl") is not None or summary.get("log_z") is not None:
        return density_of(log_p), "target p(z)"
    density = density_of(log_p - np.max(log_p))
    extent = extent_of(evaluation["axis_1"], evaluation["axis_2"])
    return density / mass_of(np.nan_to_num(density), extent), "target p(z), mass 1 on the grid"


def extent_of(x: np.ndarray, y: np.ndarray) -> Extent:
    """Return what a picture of a grid with these axes covers."""
    # The grid's points are the centres of the pixels, so the picture is half a step wider.
    dx, dy = ((axis[-1] - axis[0]) / (len(axis) - 1) / 2 for axis in (x, y))
    return float(x[0] - dx), float(x[-1] + dx), float(y[0] - dy), float(y[-1] + dy)


def mass_of(density: np.ndarray, extent: Extent) -> float:
    """Return the integral of a density (m, n) over the extent, NaN where it is not finite."""
    left, right, bottom, top = extent
    return float(np.mean(density)) * (right - left) * (top - bottom)


def _kl_text(summary: Summary) -> str:
    kl = summary.get("kl")
    text = "" if kl is None else f"KL = {value_text(kl, summary.get('kl_standard_error'))}"
    return marked(text, summary, "kl")


def title_figure(figure: Figure, summary: Summary, *parts: str) -> None:
    """Name what was fitted, the flows, and ``parts``."""
    flow = f"{summary['flow']} flow"
    add_title(figure, subject_of(summary), flow, f"K = {summary['k']}", *parts)


def subject_of(summary: Summary) -> str:
    """Return the name of what was fitted."""
    return summary.get("target") or Path(summary.get("data", {}).get("name", "")).name
