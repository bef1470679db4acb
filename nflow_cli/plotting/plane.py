"""Pictures of densities in the plane: fits, one flow, and all flows moving."""

import io
import math
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Circle
from PIL import Image

from nflow_cli.plotting.style import (
    BLUE,
    ORANGE,
    SEQUENTIAL,
    Arrays,
    Extent,
    Summary,
    add_colour_bar,
    add_title,
    aspect_of,
    colour_scale,
    count_in,
    draw_grid,
    drawing,
    marked,
    note,
    panel_grid,
    subject_of,
    subscript,
    title_figure,
    without_warnings,
)
from nflow_cli.plotting.training_figures import (
    likelihood_figure,
    reverse_kl_figure,
    score_text,
)
from nflow_cli.runs.npz import DEFORMATION_ARRAYS, DENSITY_ARRAYS

AXES = ("z₁", "z₂")
COLUMN_AXES = ("x₁", "x₂")
LEAST_MASS_DRAWN = 0.01  # smallest share of the mass that is drawn
LARGEST_MASS_UNWRITTEN = 0.03  # mass beyond the frame that is not written
DIVERGING = matplotlib.colormaps["RdBu_r"].with_extremes(bad="0.75")
MOST_POINTS = 1_000  # points in a panel without a density
COLOURED_SHARE = 0.995  # of the grid has a density within the colour scale
ARROWS = 70  # draws whose movement by one flow is drawn
FRAME_WIDTH = 5.2  # inches, of an animation
FRAME_DPI = 96
# How long a frame of an animation is shown: between flows, of the base, and of the fit.
MOMENT_MS = 60
BASE_MS = 1_000
FIT_MS = 2_500
MOVING_DRAWS = 200  # in each frame
LANDMARK: Any = {"color": ORANGE, "linestyle": "--", "linewidth": 1.6, "zorder": 4}


def deformation_figure(
    evaluation: Arrays, summary: Summary, names: tuple[str, str] = AXES
) -> Figure:
    """Draw the density after the first k flows, one panel for each k.

    Each panel has its own colour scale; above it are its peak and the share of draws within the
    frame.
    """
    flow_counts = evaluation["deformation_k"]
    densities = density_of(evaluation["log_deformation"])
    extent = extent_of(evaluation["deformation_axis_1"], evaluation["deformation_axis_2"])
    shares = [share_in_frame(draws, extent) for draws in evaluation["deformation_samples"]]
    is_cut = any(1 - share > LARGEST_MASS_UNWRITTEN for share in shares)
    n_panels = len(flow_counts)
    columns = n_panels if n_panels <= 5 else math.ceil(n_panels / 2)
    width = min(10.0, 2 + 1.8 * columns)
    head = 0.8 if is_cut else 0.65
    figure, axes = panel_grid(n_panels, columns, extent, width, names, head=head)
    for ax, k, density, share in zip(axes, flow_counts, densities, shares, strict=True):
        peak = peak_of(density)
        draw_density(ax, density, extent, Normalize(0.0, 1.0), share, peak or 1.0)
        title = f"k = {int(k)}" if k <= summary["k"] else "affine"  # the affine map comes last
        if not share < LEAST_MASS_DRAWN:  # unknown, NaN, is written too
            title += f"\npeak {peak:.3g}"
        if 1 - share > LARGEST_MASS_UNWRITTEN:
            title += f"\nmass {share:.2f}"
        ax.set_title(title, fontsize=9)
    add_colour_bar(axes[0].images[0], axes, "density / its peak", "neither")
    peak_note = "peak and mass: in the frame" if is_cut else ""
    title_figure(figure, summary, "density after the first k flows", peak_note)
    return figure


def draw_density(
    ax: Axes, density: np.ndarray, extent: Extent, norm: Normalize, share: float, scale: float = 1.0
) -> AxesImage:
    """Draw a density (m, n) over the extent, divided by a scale, in the colours of `norm`.

    `share`: of its mass within the extent, NaN if unknown; below 1 % it is drawn as 0, with a note.
    """
    if share < LEAST_MASS_DRAWN:
        note(ax, "mass < 1% here", 0.6)
        density = np.where(np.isnan(density), np.nan, 0.0)
    return draw_grid(ax, density / scale, extent, SEQUENTIAL, norm)


def draw_panels(
    axes: Sequence[Axes],
    panels: Sequence[tuple[str, np.ndarray, np.ndarray, Normalize]],
    extent: Extent,
) -> AxesImage:
    """Draw densities over the extent, a panel each, with draws that its title counts; return the
    last image.

    `panels`: title, density (m, n), draws (S, 2) and colour scale.
    """
    image: Any = None
    for ax, (title, density, points, norm) in zip(axes, panels, strict=True):
        image = draw_density(ax, density, extent, norm, share_in_frame(points, extent))
        count = draw_dots(ax, points)
        ax.set_title(f"{title}, {count}" if count else title)
    return image


def share_in_frame(points: np.ndarray, extent: Extent) -> float:
    """Share of draws (S, 2) within the extent; NaN if some are not finite."""
    if not len(points) or not np.isfinite(points).all():
        return math.nan
    return count_in((extent[:2], extent[2:]), points) / len(points)


def draw_dots(ax: Axes, points: np.ndarray, most: int = 500) -> str:
    """Draw the first `most` points of (S, 2); return the text of their number."""
    points = points[:most]
    ax.set_autoscale_on(False)
    ax.plot(*points.T, "o", color="white", alpha=0.5, markersize=1.7, markeredgewidth=0)
    return count_text(ax, points, "draws")


def count_text(ax: Axes, points: np.ndarray, noun: str) -> str:
    """Text of the number of points (n, 2) within a panel, with a note if none is; "" if n is 0."""
    if not len(points):
        return ""
    shown = count_in((ax.get_xlim(), ax.get_ylim()), points)
    if not shown:
        note(ax, f"all {noun} lie outside", 0.4)
    if shown == len(points):
        return f"{shown:,} {noun}"
    return f"{shown:,} of {len(points):,} {noun}"


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
    half_x = (x[-1] - x[0]) / (len(x) - 1) / 2
    half_y = (y[-1] - y[0]) / (len(y) - 1) / 2
    return float(x[0] - half_x), float(x[-1] + half_x), float(y[0] - half_y), float(y[-1] + half_y)


@drawing()
def fit2d_figures(evaluation: Arrays, metrics: Arrays, summary: Summary) -> dict[str, Figure]:
    """Pictures of a 2-D fit: `density`, `difference`, `deformation`, `training`.

    Arrays, metrics and scores as in docs/scores.md, in the plane. Log-densities are -inf where the
    density is 0; `target_samples` may be empty. If log Z is neither known nor estimated, the target
    is scaled to mass 1 over the grid and the free energy is drawn.
    """
    return {**fit_figures(evaluation, summary), "training": reverse_kl_figure(metrics, summary)}


def fit_figures(
    evaluation: Arrays, summary: Summary, names: tuple[str, str] = AXES
) -> dict[str, Figure]:
    """Figures by name, `density`, `difference` and `deformation`, of an evaluation's arrays, by
    name; without those whose arrays it lacks. ``names`` of the two axes.
    """
    figures = {}
    if evaluation.keys() >= DENSITY_ARRAYS.keys():
        figures["density"] = density_figure(evaluation, summary, names)
        figures["difference"] = difference_figure(evaluation, summary, names)
    if evaluation.keys() >= DEFORMATION_ARRAYS.keys():
        figures["deformation"] = deformation_figure(evaluation, summary, names)
    return figures


def density_figure(evaluation: Arrays, summary: Summary, names: tuple[str, str] = AXES) -> Figure:
    """Draw base, fit and target side by side, with draws.

    Fit and target share a colour scale; a higher peak of the fit is written. A base of higher peak
    has its own.
    """
    target, target_title = _target_and_title(evaluation, summary)
    base = density_of(evaluation["log_base"])
    q = density_of(evaluation["log_q"])
    base_peak = peak_of(base)
    fit_peak = peak_of(q)
    target_peak = peak_of(target)
    extent = extent_of(evaluation["axis_1"], evaluation["axis_2"])
    figure, axes = panel_grid(3, 3, extent, 10.0, names, head=0.65)
    shared_scale, extend = colour_scale([fit_peak, target_peak], target_peak or fit_peak)
    top = shared_scale.vmax or 0.0
    base_scale = shared_scale
    label = "density"
    if base_peak > top:
        base_scale = Normalize(0.0, base_peak)
        label = "density of fit and target"
    panels = (
        ("base q₀", base, evaluation["base_samples"], base_scale),
        ("fit q", q, evaluation["samples"], shared_scale),
        (target_title, target, evaluation["target_samples"], shared_scale),
    )
    image = draw_panels(axes, panels, extent)
    if base_peak > top:
        axes[0].set_title(f"{axes[0].get_title()}\nown colour scale, peak {base_peak:.3g}")
    if fit_peak > top:
        axes[1].set_title(f"{axes[1].get_title()}\nabove the colour scale: peak {fit_peak:.3g}")
    add_colour_bar(image, axes, label, extend)
    title_figure(figure, summary, score_text(summary, "kl", "KL"))
    return figure


def difference_figure(
    evaluation: Arrays, summary: Summary, names: tuple[str, str] = AXES
) -> Figure:
    """Draw q - p: red where the flow puts too much mass, blue where too little.

    The scale ends at ± the target's peak; the colour bar has an arrow if q exceeds it.
    """
    target, _ = _target_and_title(evaluation, summary)
    difference = density_of(evaluation["log_q"]) - target
    peak = peak_of(target)
    largest = peak_of(np.abs(difference))
    limit = min(largest, peak) or 1.0
    extent = extent_of(evaluation["axis_1"], evaluation["axis_2"])
    figure, axes = panel_grid(1, 1, extent, 5.6, names)
    image = draw_grid(axes[0], difference, extent, DIVERGING, Normalize(-limit, limit))
    if min(peak, largest) > 0:
        axes[0].contour(
            evaluation["axis_1"],
            evaluation["axis_2"],
            target,
            levels=[0.1 * peak, 0.5 * peak],
            colors="0.35",
            linewidths=0.6,
        )
        axes[0].set_title("lines: p at 10% and 50% of its peak")
    add_colour_bar(image, axes, "fit q − target p", "max" if largest > limit else "neither")
    scores = [score_text(summary, "kl", "KL")]
    for key, form in (("ess", "ESS = {:.1%}"), ("mass", "mass = {:.4f}")):
        if summary.get(key) is not None:
            scores.append(marked(form.format(summary[key]), summary, key))
    title_figure(figure, summary, *scores)
    return figure


def _target_and_title(evaluation: Arrays, summary: Summary) -> tuple[np.ndarray, str]:
    """Density of the target over the grid (m, n), and the title of its panel.

    Without a known or estimated log Z it is scaled to mass 1 over the grid.
    """
    log_p = evaluation["log_target"]
    if summary.get("log_z") is not None:
        return density_of(log_p), "target p"
    if summary.get("estimated_log_z") is not None:
        return density_of(log_p), "target p by estimated log Z"
    density = density_of(log_p - np.max(log_p))
    left, right, bottom, top = extent_of(evaluation["axis_1"], evaluation["axis_2"])
    mass = np.mean(np.nan_to_num(density)) * (right - left) * (top - bottom)  # by midpoints
    return density / mass, "target p, mass 1 on the grid"


@drawing()
def points_figures(evaluation: Arrays, metrics: Arrays, summary: Summary) -> dict[str, Figure]:
    """Pictures of a 2-D fit to points: `density`, `deformation`, `training`, in the user's units.

    Arrays, metrics and scores as in docs/scores.md, in the plane; losses are negative
    log-likelihoods in nats a point, scores None where not finite.
    """
    return {
        "density": points_figure(evaluation, summary),
        "deformation": deformation_figure(evaluation, summary, COLUMN_AXES),
        "training": likelihood_figure(metrics, summary),
    }


def points_figure(evaluation: Arrays, summary: Summary) -> Figure:
    """Draw test points, the fitted density, and as many draws as points, a panel each."""
    q = density_of(evaluation["log_q"])
    extent = extent_of(evaluation["axis_1"], evaluation["axis_2"])
    figure, axes = panel_grid(3, 3, extent, 10.0, COLUMN_AXES)
    points = evaluation["test_points"]
    draws = evaluation["samples"]
    n_shown = min(len(points), len(draws), MOST_POINTS)
    axes[0].set_title(draw_points(axes[0], points[:n_shown], extent, "test points"))
    finite = np.append(q[np.isfinite(q)], 0.0)
    norm, extend = colour_scale([float(finite.max())], float(np.quantile(finite, COLOURED_SHARE)))
    image = draw_density(axes[1], q, extent, norm, share_in_frame(draws, extent))
    draw_dots(axes[1], points, 300)
    axes[1].set_title("fitted density q(x)")
    axes[2].set_title(draw_points(axes[2], draws[:n_shown], extent, "draws of q"))
    add_colour_bar(image, axes, "density", extend)
    title_figure(figure, summary, score_text(summary, "log_likelihood", "log-likelihood"))
    return figure


def draw_points(ax: Axes, points: np.ndarray, extent: Extent, noun: str) -> str:
    """Draw points (n, 2) over the extent; return the text of their number, such as "90 draws"."""
    ax.plot(*points.T, "o", color=BLUE, markersize=2.2, alpha=0.5, markeredgewidth=0)
    ax.set(xlim=extent[:2], ylim=extent[2:], aspect=aspect_of(extent))
    return count_text(ax, points, noun)


def animation_files(arrays: Arrays, summary: Summary, names: tuple[str, str]) -> dict[str, bytes]:
    """Animation of a stack as a GIF and a WebP, each frame with its own colour scale.

    `arrays`: `moments` (F,), from 0 to the number of maps, `axis_1` (n,), `axis_2` (m,), and at
    each moment `log_density` (m, n) in nats and `draws` (S, 2).
    """
    frames = list(_frames(arrays, summary, names))
    times = [MOMENT_MS] * len(frames)
    times[0] = BASE_MS
    times[-1] = FIT_MS
    palette = frames[-1].quantize()  # one for all frames, which would flicker with their own
    quantized = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    return {
        "gif": _encoded(quantized, "GIF", times, optimize=False),
        "webp": _encoded(frames, "WEBP", times, quality=75, method=4),
    }


@without_warnings()
def _frames(arrays: Arrays, summary: Summary, names: tuple[str, str]) -> Iterator[Image.Image]:
    """Frames of an animation, a moment each. What does not move is drawn once, as a background."""
    extent = extent_of(arrays["axis_1"], arrays["axis_2"])
    with drawing():
        figure, (ax,) = panel_grid(1, 1, extent, FRAME_WIDTH, names)
        figure.set_dpi(FRAME_DPI)
        blank = np.zeros((len(arrays["axis_2"]), len(arrays["axis_1"])))
        image = draw_grid(ax, blank, extent, SEQUENTIAL, Normalize(0.0, 1.0))
        ax.set_autoscale_on(False)
        (dots,) = ax.plot([], [], "o", color="white", alpha=0.7, markersize=1.6, markeredgewidth=0)
        add_colour_bar(image, [ax], "density / its peak", "neither")
        ax.set_title(_moment_text(0.0, arrays["moments"]))
        title_figure(figure, summary)
        canvas = FigureCanvasAgg(figure)
        animated = (image, dots, ax.title)
        for artist in animated:
            artist.set_animated(True)
        canvas.draw()
        background = canvas.copy_from_bbox(figure.bbox)
        densities = density_of(arrays["log_density"])
        for moment, density, draws in zip(arrays["moments"], densities, arrays["draws"]):
            image.set_data(density / (peak_of(density) or 1.0))
            dots.set_data(*draws[:MOVING_DRAWS].T)
            ax.title.set_text(_moment_text(moment, arrays["moments"]))
            canvas.restore_region(background)
            for artist in (*animated, *ax.spines.values()):
                ax.draw_artist(artist)
            yield Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _moment_text(moment: float, moments: np.ndarray) -> str:
    """Title of a moment, a number of flows that may end between two: base, flow at work, or fit."""
    last = int(moments[-1])
    if moment == 0:
        return "base q₀"
    if moment == last:
        return f"fit: after {last} of {last} flows"
    return f"flow {math.ceil(moment)} of {last}"


def _encoded(
    frames: Sequence[Image.Image], format: str, times: Sequence[int], **options: Any
) -> bytes:
    """Animation of frames as a file's content, in an endless loop; `times`: of each, in ms."""
    file = io.BytesIO()
    options |= {"save_all": True, "append_images": frames[1:], "duration": list(times), "loop": 0}
    frames[0].save(file, format, **options)
    return file.getvalue()


@drawing()
def flow_figure(
    arrays: Arrays, summary: Summary, number: int, names: Sequence[str], geometry: Arrays
) -> Figure:
    """Draw the density before a flow, its map of the plane, and the density after it.

    `arrays`: `axis_1` (n,), `axis_2` (m,), `log_before` and `log_after` (m, n) in nats, samples
    `draws_before` and `draws_after` (S, 2), the `lines` of a grid and their images `lines_after`
    (L, P, 2). Both densities share a colour scale. `number`: of the flow, from 1; `names`: its
    name, network weights and notes, for the title; `geometry`: numbers of its formula by symbol.
    """
    extent = extent_of(arrays["axis_1"], arrays["axis_2"])
    figure, axes = panel_grid(3, 3, extent, 11.0, AXES, head=0.9)
    before = density_of(arrays["log_before"])
    after = density_of(arrays["log_after"])
    peaks = [peak_of(before), peak_of(after)]
    norm, extend = colour_scale(peaks, float(np.median(peaks)))
    panels = (
        (f"before: q{subscript(number - 1)}", before, arrays["draws_before"], norm),
        (f"after: q{subscript(number)}", after, arrays["draws_after"], norm),
    )
    image = draw_panels(axes[::2], panels, extent)
    draw_map(axes[1], arrays, extent)
    draw_geometry(axes[1], geometry, extent)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    add_colour_bar(image, axes, "density", extend)
    add_title(figure, subject_of(summary), *names)
    return figure


def draw_map(ax: Axes, arrays: Arrays, extent: Extent) -> None:
    """Draw a grid of lines and its image by a flow, and arrows from draws to their images."""
    for line in arrays["lines"]:
        ax.plot(*line.T, color="0.85", linewidth=0.6)
    for line in arrays["lines_after"]:
        ax.plot(*line.T, color=BLUE, linewidth=0.7)
    ax.set(xlim=extent[:2], ylim=extent[2:], aspect=aspect_of(extent), title="the map")
    before = arrays["draws_before"][:ARROWS]
    after = arrays["draws_after"][:ARROWS]
    draw_arrows(ax, before, after - before, color="0.25", width=0.004, zorder=3)
    ax.plot([], [], color=BLUE, label="grid after the flow")
    ax.plot([], [], color="0.25", marker=">", markersize=4, label="paths of draws")


def draw_arrows(ax: Axes, starts: np.ndarray, ways: np.ndarray, **style: Any) -> None:
    """Draw arrows (n, 2) in the units of the axes from their starts (n, 2), cut at the frame."""
    ax.quiver(*starts.T, *ways.T, angles="xy", scale_units="xy", scale=1, **style)


def draw_geometry(ax: Axes, geometry: Arrays, extent: Extent) -> None:
    """Draw the crease `w·z + b = 0` and `û` of a planar map, or the centre `c` of a radial one and
    the circle of radius `α` about it, on which points move by `|β̂| / 2`, half of the most.
    """
    ax.set_autoscale_on(False)
    if "û" in geometry:
        _draw_crease(ax, geometry, extent)
    if "α" in geometry:
        _draw_circle(ax, geometry, extent)


def _draw_crease(ax: Axes, geometry: Arrays, extent: Extent) -> None:
    """Draw the line that a planar map leaves where it is, and the arrow `û` from the point of it
    that is nearest to the middle of the panel.
    """
    w = geometry["w"]
    size = math.hypot(*w)
    if not 0 < size < math.inf:  # w = 0 moves all points alike
        return
    middle = np.array([extent[0] + extent[1], extent[2] + extent[3]]) / 2
    normal = w / size
    foot = middle - (normal @ middle + geometry["b"] / size) * normal
    if not np.isfinite(foot).all():
        return
    ax.axline(tuple(foot), slope=-w[0] / w[1] if w[1] else math.inf, **LANDMARK)
    draw_arrows(ax, foot[None], geometry["û"][None], color=ORANGE, width=0.009, zorder=5)
    ax.plot([], [], label=f"crease w·z + b = 0{_beyond(foot, 0, extent)}", **LANDMARK)
    ax.plot([], [], color=ORANGE, marker=">", markersize=5, label="û")


def _draw_circle(ax: Axes, geometry: Arrays, extent: Extent) -> None:
    centre = geometry["c"]
    radius = float(geometry["α"])
    ax.add_patch(Circle(tuple(centre), radius, fill=False, **LANDMARK))
    ax.plot(*centre, "o", color=ORANGE, markersize=5, zorder=4)
    label = f"centre c, circle of radius α{_beyond(centre, radius, extent)}"
    ax.plot([], [], label=label, marker="o", **LANDMARK)


def _beyond(place: np.ndarray, reach: float, extent: Extent) -> str:
    """Note of the legend where nothing within `reach` of a place is in the panel."""
    low = np.array(extent[::2]) - reach
    high = np.array(extent[1::2]) + reach
    inside = np.all((low <= place) & (place <= high))
    return "" if inside else " (beyond the frame)"
