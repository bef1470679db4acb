"""Pictures of flows in the plane: one flow, and all of them moving."""

import io
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image

from nflow_cli.plotting.plane import AXES, density_of, draw_panels, extent_of, peak_of
from nflow_cli.plotting.style import (
    BLUE,
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
    panel_grid,
    subject_of,
    subscript,
    title_figure,
    without_warnings,
)

WIDTH, DPI = 5.2, 96  # inches, dots an inch

FRAME, FIRST, LAST = 60, 1_000, 2_500  # milliseconds that a moment, the base and the fit are shown
SHOWN = 200  # draws
ARROWS = 70  # draws with arrows


def animation_files(arrays: Arrays, summary: Summary, names: tuple[str, str]) -> dict[str, bytes]:
    """Animation of a stack as a GIF and a WebP, each frame with its own colour scale.

    `arrays`: `moments` (F,), from 0 to the number of maps, `axis_1` (n,), `axis_2` (m,), and at
    each moment `log_density` (m, n) in nats and `draws` (S, 2).
    """
    frames = list(_frames(arrays, summary, names))
    times = [FRAME] * len(frames)
    times[0], times[-1] = FIRST, LAST
    palette = frames[-1].quantize()  # of all: with colours of its own, each frame would flicker
    few = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    return {
        "gif": _saved(few, "GIF", times, optimize=False),
        "webp": _saved(frames, "WEBP", times, quality=75, method=4),
    }


@without_warnings()
def _frames(arrays: Arrays, summary: Summary, names: tuple[str, str]) -> Iterator[Image.Image]:
    extent = extent_of(arrays["axis_1"], arrays["axis_2"])
    with drawing():
        figure, (ax,) = panel_grid(1, 1, extent, WIDTH, names, height=height_of(extent))
        figure.set_dpi(DPI)
        blank = np.zeros((len(arrays["axis_2"]), len(arrays["axis_1"])))
        image = draw_grid(ax, blank, extent, SEQUENTIAL, Normalize(0.0, 1.0), aspect_of(extent))
        ax.set_autoscale_on(False)
        style = {"color": "white", "alpha": 0.7, "markersize": 1.6, "markeredgewidth": 0}
        (dots,) = ax.plot([], [], "o", **style)
        add_colour_bar(image, [ax], "density / its peak", "neither")
        ax.set_title(_moment_text(0.0, arrays["moments"], summary))
        title_figure(figure, summary)
        canvas = FigureCanvasAgg(figure)
        moving = (image, dots, ax.title)
        for artist in moving:
            artist.set_animated(True)
        canvas.draw()
        background = canvas.copy_from_bbox(figure.bbox)
        densities = density_of(arrays["log_density"])
        for moment, density, draws in zip(arrays["moments"], densities, arrays["draws"]):
            image.set_data(density / (peak_of(density) or 1.0))
            dots.set_data(*draws[:SHOWN].T)
            ax.title.set_text(_moment_text(moment, arrays["moments"], summary))
            canvas.restore_region(background)
            for artist in (*moving, *ax.spines.values()):
                ax.draw_artist(artist)
            yield Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _moment_text(moment: float, moments: np.ndarray, summary: Summary) -> str:
    number, last = math.ceil(moment), int(moments[-1])
    if number == 0:
        return "base q₀"
    if moment == last:
        return f"fit: after {last} of {last} flows"
    return f"flow {number} of {last}"


def _saved(
    frames: Sequence[Image.Image], format: str, times: Sequence[int], **options: Any
) -> bytes:
    file = io.BytesIO()
    options |= {"save_all": True, "append_images": frames[1:], "duration": list(times), "loop": 0}
    frames[0].save(file, format, **options)
    return file.getvalue()


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
