"""Pictures of a flow-VAE."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from nflow_cli.plotting.style import (
    BLUE,
    Arrays,
    Extent,
    Summary,
    add_title,
    draw_grid,
    drawing,
    label_panel,
    marked,
    name_lost,
    panel_grid,
    subscript,
)
from nflow_cli.plotting.training_figures import Panel, annealing, score_text, training_figure

INK = matplotlib.colormaps["gray_r"].with_extremes(bad="0.75")
# Paul Tol's muted set and black: ten colours that are distinct for colour-blind readers.
DIGITS = ListedColormap(
    [
        "#CC6677",
        "#332288",
        "#DDCC77",
        "#117733",
        "#88CCEE",
        "#882255",
        "#44AA99",
        "#999933",
        "#AA4499",
        "#000000",
    ]
)
PRIOR_MASS = (0.5, 0.95)  # inside the circles drawn for the prior
BINARIZED = {
    "stochastic": "stochastically binarized",
    "static": "statically binarized",
    "threshold": "thresholded",
    "none": "grey levels",
}


@drawing()
def vae_figures(evaluation: Arrays, metrics: Arrays, summary: Summary) -> dict[str, Figure]:
    """Pictures of a flow-VAE: `latent`, `reconstructions`, `samples`, `manifold`, `training`.

    Arrays, metrics and scores as in docs/scores.md, of images: `latent_axes` from 0, labels 0-9,
    pixels in [0, 1]; the image [i, j] of `manifold` is decoded at (`manifold_axis`[j],
    `manifold_axis`[i]), with a flow prior in its base.
    """
    return {
        "latent": latent_figure(evaluation, summary),
        "reconstructions": reconstructions_figure(evaluation, summary),
        "samples": samples_figure(evaluation, summary),
        "manifold": manifold_figure(evaluation, summary),
        "training": course_figure(metrics, summary),
    }


def latent_figure(evaluation: Arrays, summary: Summary) -> Figure:
    """Draw base and transformed latents as points, coloured by digit if labelled.

    They share limits, unless these hide one; without flows they are drawn once. The prior is drawn
    as circles, or by draws if it has flows.
    """
    clouds = {"base z₀": evaluation["base_latents"], "transformed z": evaluation["latents"]}
    if summary["k"] == 0:
        clouds = {"z = z₀ (no flow)": evaluation["latents"]}
    labels = _digits(evaluation["labels"])
    cloud_labels = [labels] * len(clouds)
    has_flows = "prior_latents" in evaluation
    if has_flows:
        clouds["prior p(z)"] = evaluation["prior_latents"]
        cloud_labels.append(None)
    windows = _windows(list(clouds.values()))
    columns = len(clouds)
    width = 1.7 + 3.0 * columns
    names = _unit_names(evaluation)
    figure, axes = panel_grid(columns, columns, windows[0], width, names, side=1.7, head=0.6)
    for ax, (title, points), digits, window in zip(axes, clouds.items(), cloud_labels, windows):
        draw_latents(ax, points, digits, window)
        ax.set_title(title)
        if not has_flows:
            draw_prior(ax)
        if len(set(windows)) > 1:
            label_panel(ax, ax.get_xlabel() or " ", ax.get_ylabel() or " ")
    if labels is not None:
        draw_digit_key(axes)
    if not has_flows:
        circles, texts = axes[0].get_legend_handles_labels()
        figure.legend(circles, texts, loc="outside lower center", frameon=False)
    count = len(evaluation["latents"])
    total = summary["data"].get("n_test")
    shown = f"{count:,} of {total:,} test images" if total and count < total else ""
    add_title(figure, *_about(summary, evaluation), shown)
    return figure


def draw_digit_key(axes: Sequence[Axes]) -> None:
    """Draw the legend of the digits' colours, those of the first panel, beside the last."""
    points: Any = axes[0].collections[0]
    handles, names = points.legend_elements(num=None, fmt="{x:.0f}", alpha=1)
    axes[-1].legend(
        handles,
        names,
        title="digit",
        handletextpad=0.2,
        loc="center left",
        bbox_to_anchor=(1.02, 0.5),
        frameon=False,
    )


def reconstructions_figure(evaluation: Arrays, summary: Summary) -> Figure:
    """Draw rows of originals, each above its reconstructions."""
    originals = _tiles(evaluation["originals"], 10)
    reconstructions = _tiles(evaluation["reconstructions"], 10)
    rows, columns = originals.shape[:2]
    extent = (0.0, columns, 0.0, 2.0)
    height = 2 / columns
    figure, axes = panel_grid(rows, 1, extent, 8.0, ("", ""), side=1.2, head=0.15, height=height)
    for ax, upper, lower in zip(axes, originals, reconstructions, strict=True):
        draw_mosaic(ax, np.stack([upper, lower]))
        name_lost(ax, lower, 0.25)
        ax.set_yticks([1.5, 0.5], ["original", "reconstruction"])
        ax.tick_params(length=0)
    add_title(figure, *_about(summary))
    return figure


def samples_figure(evaluation: Arrays, summary: Summary) -> Figure:
    """Draw decoded means of prior draws."""
    samples = evaluation["samples"]
    content = f"decoded means of {len(samples)} draws from the prior"
    return images_figure(samples, *_about(summary), content)


@drawing()
def images_figure(images: np.ndarray, *about: str) -> Figure:
    """Draw images (n, h, w) in a square."""
    figure, _ = mosaic_figure(_tiles(images, math.ceil(math.sqrt(len(images)))), ("", ""))
    add_title(figure, *about)
    return figure


def manifold_figure(evaluation: Arrays, summary: Summary) -> Figure:
    """Draw decoded means over a plane of two latent units."""
    axis = evaluation["manifold_axis"]
    of_base = " of the prior's base" if summary.get("prior") else ""
    names = [f"{name}{of_base} (quantiles of N(0, 1))" for name in _unit_names(evaluation)]
    figure, ax = mosaic_figure(evaluation["manifold"][::-1], (names[0], names[1]))
    # An even number of ticks on an even number of images, so that both sides get the same ones.
    most_ticks = 6 if len(axis) % 2 == 0 else 7
    ticks = np.unique(np.round(np.linspace(0, len(axis) - 1, most_ticks)).astype(int))
    texts = [f"{axis[i]:.2f}".replace("-", "\N{MINUS SIGN}") for i in ticks]
    ax.set_xticks(ticks + 0.5, texts)
    ax.set_yticks(ticks + 0.5, texts)
    add_title(figure, *_about(summary, evaluation), "decoded means")
    return figure


def course_figure(metrics: Arrays, summary: Summary) -> Figure:
    """Draw the bound and its two terms against epochs, and the test scores."""
    names = {"negative_elbo": "−ELBO", "reconstruction": "reconstruction", "kl": "KL"}
    panels = []
    for key, name in names.items():
        curves = {"training": metrics[key]}
        if f"validation_{key}" in metrics:
            curves["validation"] = metrics[f"validation_{key}"]
        level = _level(summary, key)
        levels = {f"test set: {name} = {level:.2f} nats": level}
        likelihood = score_text(summary, "negative_log_likelihood")
        if key == "negative_elbo" and likelihood:
            label = f"−log p(x) = {likelihood} ({summary['nll_samples']:,} importance samples)"
            levels[f"test set: {label}"] = summary["negative_log_likelihood"]
        panels.append(Panel(f"{name}\n(nats)", curves, levels))
    spans = annealing(metrics, "epoch", around=0.5)
    return training_figure(metrics, "epoch", panels, spans, _about(summary))


def draw_latents(ax: Axes, points: np.ndarray, labels: np.ndarray | None, window: Extent) -> None:
    """Draw points (n, 2) coloured by label, in an order that hides no class."""
    ax.set(xlim=window[:2], ylim=window[2:], aspect="equal")
    name_lost(ax, points)
    style: Any = {"s": 2.0, "linewidths": 0, "alpha": 0.8}
    if labels is None:
        ax.scatter(*points.T, color=BLUE, **style)
        return
    # Each class is spread evenly over the drawing order, however many points it has.
    rank = np.empty(len(labels))
    for label in np.unique(labels):
        members = labels == label
        rank[members] = (np.arange(members.sum()) + 0.5) / members.sum()
    order = np.argsort(rank, kind="stable")
    ax.scatter(*points[order].T, c=labels[order], cmap=DIGITS, vmin=-0.5, vmax=9.5, **style)


def draw_prior(ax: Axes) -> None:
    """Draw circles of given masses of N(0, I): r^2 = -2 log(1 - p)."""
    for mass in PRIOR_MASS:
        ax.add_patch(
            Circle(
                (0, 0), math.sqrt(-2 * math.log1p(-mass)), fill=False, ls="--", lw=0.9, ec="0.25"
            )
        )
    parts = " and ".join(f"{mass:.0%}" for mass in PRIOR_MASS)
    ax.plot([], [], color="0.25", ls="--", lw=0.9, label=f"prior N(0, I): {parts}")


def mosaic_figure(tiles: np.ndarray, names: tuple[str, str]) -> tuple[Figure, Axes]:
    """Mosaic of images (rows, columns, h, w), each a unit square."""
    extent = (0.0, float(tiles.shape[1]), 0.0, float(tiles.shape[0]))
    has_names = bool(names[0])
    side = 0.8 if has_names else 0.1
    head = 0.45 if has_names else 0.05
    figure, axes = panel_grid(1, 1, extent, 6.0 + side, names, side, head)
    draw_mosaic(axes[0], tiles)
    return figure, axes[0]


def draw_mosaic(ax: Axes, tiles: np.ndarray) -> None:
    """Draw images (rows, columns, h, w) without gaps, the first row at the top."""
    rows, columns, height, width = tiles.shape
    mosaic = tiles.swapaxes(1, 2).reshape(rows * height, columns * width)
    draw_grid(ax, mosaic[::-1], (0.0, columns, 0.0, rows), INK, Normalize(0, 1))
    ax.set_aspect("equal")


def _windows(clouds: list[np.ndarray]) -> list[Extent]:
    """Extent of each cloud of points: one for all, unless their widths are too different."""
    windows = [_window(points) for points in clouds]
    widths = [window[1] - window[0] for window in windows]
    if max(widths) > 3 * min(widths):
        return windows
    return [_window(np.concatenate(clouds))] * len(windows)


def _window(points: np.ndarray) -> Extent:
    """Square that holds nearly all points, and the plane of N(0, I)."""
    points = points[np.isfinite(points).all(axis=1)]
    low = np.array([-3.1, -3.1])
    high = np.array([3.1, 3.1])
    if len(points):
        ends = np.quantile(points, [0.0005, 0.9995], axis=0)
        low = np.minimum(ends[0], low)
        high = np.maximum(ends[1], high)
    reach = np.stack([low, high])
    centre = reach.mean(axis=0)
    half = 0.52 * np.ptp(reach, axis=0).max()
    left, bottom = (centre - half).tolist()
    right, top = (centre + half).tolist()
    return left, right, bottom, top


def _tiles(images: np.ndarray, columns: int) -> np.ndarray:
    """Images (n, h, w) in rows of columns (rows, columns, h, w), the last filled with blanks."""
    columns = min(columns, len(images))
    blank = 0.0 if np.isfinite(images).any() else np.nan
    blanks = np.full((-len(images) % columns, *images.shape[1:]), blank)
    return np.concatenate([images, blanks]).reshape(-1, columns, *images.shape[1:])


def _digits(labels: np.ndarray) -> np.ndarray | None:
    """Labels (n,), if they are digits."""
    labels = np.asarray(labels)
    return labels if labels.size > 0 and set(np.unique(labels)) <= set(range(10)) else None


def _unit_names(evaluation: Arrays) -> tuple[str, str]:
    first, second = _unit_numbers(evaluation)
    return f"z{subscript(first)}", f"z{subscript(second)}"


def _unit_numbers(evaluation: Arrays) -> tuple[int, int]:
    """Numbers, from 1, of the two latent units that are drawn."""
    first, second = evaluation["latent_axes"]
    return int(first) + 1, int(second) + 1


def _about(summary: Summary, evaluation: Arrays | None = None) -> list[str]:
    """Parts of a title: data, flow, prior, latent units and the bound."""
    binarization = summary["binarization"]
    name = Path(summary["data"]["name"]).name
    parts = [f"{name} ({BINARIZED.get(binarization, binarization)})"]
    if not summary["k"]:
        parts.append("no flow")
    elif summary["amortized"]:
        parts.append(f"amortized {summary['flow']} flow")
    else:
        parts.append(f"{summary['flow']} flow")
    parts.append(f"K = {summary['k']}")
    if summary.get("prior"):
        parts.append(f"prior: {summary['prior']}")
    dim = summary["latent_dim"]
    if evaluation is not None and dim > 2:
        first, second = _unit_numbers(evaluation)
        parts.append(f"latent units {first} and {second}, the two most active of {dim}")
    else:
        parts.append(f"{dim} latent units")
    bound = f"−ELBO = {_level(summary, 'negative_elbo'):.2f} nats"
    return [*parts, marked(bound, summary, "negative_elbo")]


def _level(summary: Summary, key: str) -> float:
    """Score, NaN if it is not known."""
    return math.nan if summary[key] is None else summary[key]
