from typing import Any

import numpy as np
import pytest
from layouts import assert_inside
from pictures import placed, title

from nflow_cli.images import image_figures as image_pictures
from nflow_cli.images.image_figures import vae_figures


def make_evaluation(n=400, units=(0, 1), images=10, seed=0):
    rng = np.random.default_rng(seed)
    axis = np.linspace(-2, 2, 6)
    base = rng.normal(size=(n, 2))
    return {
        "base_latents": base,
        "latents": base + 0.5 * np.sin(2 * base[:, ::-1]),
        "latent_axes": np.array(units),
        "labels": rng.integers(0, 10, n),
        "originals": rng.random((images, 28, 28)),
        "reconstructions": rng.random((images, 28, 28)),
        "samples": rng.random((7, 28, 28)),
        "manifold": rng.random((6, 6, 28, 28)),
        "manifold_axis": axis,
    }


def make_metrics(rows=30, annealed=5, validation=True):
    epoch = np.arange(1, rows + 1)
    reconstruction, kl = 70 + 400 * np.exp(-epoch / 0.6) + 5 / epoch, 25 - 5 / epoch
    metrics = {
        "epoch": epoch,
        "update": 600 * epoch,
        "loss": reconstruction + kl,
        "negative_elbo": reconstruction + kl,
        "reconstruction": reconstruction,
        "kl": kl,
        "beta": np.minimum(1, epoch / (annealed + 1)),
        "learning_rate": np.full(rows, 1e-3),
        "gradient_norm": np.ones(rows),
    }
    return metrics | ({"validation_negative_elbo": reconstruction + kl + 1} if validation else {})


SUMMARY = {
    "flow": "planar,radial",
    "k": 4,
    "latent_dim": 2,
    "amortized": True,
    "negative_elbo": 96.5,
    "reconstruction": 71.25,
    "kl": 25.25,
    "negative_log_likelihood": 92.34,
    "negative_log_likelihood_standard_error": 0.21,
    "nll_samples": 500,
    "binarization": "stochastic",
    "data": {"name": "mnist", "n_train": 60000, "n_test": 10000},
}
NAMES = ["latent", "reconstructions", "samples", "manifold", "training"]


def draw(name, arrays, **summary):
    name = {"training": "course"}.get(name, name)
    return getattr(image_pictures, f"{name}_figure")(arrays, SUMMARY | summary)


def points(figure) -> list[Any]:
    return [ax for ax in figure.axes if ax.collections and not ax.images]


def legend(ax):
    return [text.get_text().replace("\n", " ") for text in ax.get_legend().get_texts()]


def mosaic(figure):
    (image,) = figure.axes[0].images
    return image.get_array()[::-1]


@pytest.fixture(scope="module")
def figures():
    return vae_figures(make_evaluation(), make_metrics(), SUMMARY)


@pytest.mark.parametrize("name", NAMES)
def test_titles_name_data_flow_and_bound_and_are_not_cut_off_if_they_are_long(figures, name):
    text = title(figures[name])
    assert all(word in text for word in ("mnist", "planar, radial", "K = 4", "96.50 nats"))
    arrays = make_metrics() if name == "training" else make_evaluation()
    long = {"flow": ",".join(["planar", "radial"] * 8), "data": {"name": "a/b$/my digits.npz"}}
    figure = draw(name, arrays, **long)
    assert title(figure).startswith("my digits.npz (")
    assert_inside(figure)


def test_latents_share_their_window_and_are_undistorted(figures):
    base, transformed = points(figures["latent"])
    assert base.get_aspect() == transformed.get_aspect() == 1
    assert base.get_xlim() + base.get_ylim() == transformed.get_xlim() + transformed.get_ylim()
    # A base on another scale gets its own window, and strays widen none.
    evaluation = make_evaluation(4000)
    evaluation["base_latents"] = 20 * evaluation["base_latents"]
    evaluation["latents"][0] = 1e6
    base, transformed = points(draw("latent", evaluation))
    assert np.ptp(base.get_xlim()) > 5 * np.ptp(transformed.get_xlim())
    assert len(transformed.get_yticks()) > 1 and np.ptp(transformed.get_xlim()) < 15


def test_a_prior_of_flows_is_drawn_by_its_draws():
    evaluation = make_evaluation()
    draws = np.random.default_rng(1).normal([5.0, 0.0], 0.5, (3000, 2))
    for k, clouds in [(4, 2), (0, 1)]:
        figure = draw("latent", evaluation | {"prior_latents": draws}, k=k, prior="planar, K = 4")
        shown = points(figure)
        assert len(shown) == clouds + 1 and not any(ax.patches for ax in shown)
        np.testing.assert_array_equal(shown[-1].collections[0].get_offsets(), draws)


def test_no_digit_is_drawn_over_all_the_others():
    evaluation = make_evaluation(1100)
    evaluation["labels"] = np.repeat([0, 1], [1000, 100])
    colours = points(placed(draw("latent", evaluation)))[0].collections[0].get_facecolors()
    for label, count in ((0, 1000), (1, 100)):
        own = np.flatnonzero(np.all(colours[:, :3] == image_pictures.DIGITS(label)[:3], axis=1))
        assert len(own) == count
        assert np.quantile(own, [0.25, 0.5, 0.75]) == pytest.approx([275, 550, 825], abs=20)


def test_without_digits_the_points_have_one_colour_and_without_flows_they_are_drawn_once():
    for labels in (np.empty(0, int), np.arange(400) % 26):
        evaluation = make_evaluation() | {"labels": labels}
        for ax in points(draw("latent", evaluation)):
            assert len(ax.collections[0].get_facecolors()) == 1
        assert len(points(draw("latent", evaluation, k=0))) == 1
    assert len(points(draw("latent", make_evaluation(), k=0))) == 1


def test_originals_lie_above_their_reconstructions():
    for count, pairs in [(3, 1), (10, 1), (14, 2)]:
        evaluation = make_evaluation(images=count)
        figure = draw("reconstructions", evaluation)
        assert len(figure.axes) == pairs
        for ax in figure.axes:
            assert ax.get_aspect() == 1  # a pixel is a square
        grid = figure.axes[-1].images[0].get_array()[::-1]
        first = 10 * (pairs - 1)
        np.testing.assert_array_equal(grid[:28, :28], evaluation["originals"][first])
        np.testing.assert_array_equal(grid[28:, :28], evaluation["reconstructions"][first])


def test_samples_fill_a_mosaic_from_the_top_left():
    evaluation = make_evaluation()
    grid = mosaic(draw("samples", evaluation))
    assert grid.shape == (3 * 28, 3 * 28)
    np.testing.assert_array_equal(grid[:28, 28:56], evaluation["samples"][1])
    assert not grid[56:, 28:].any()


def test_the_manifold_shows_each_image_at_its_latents(figures):
    evaluation = make_evaluation()
    ax = figures["manifold"].axes[0]
    grid = mosaic(figures["manifold"])
    np.testing.assert_array_equal(grid[-28:, 28:56], evaluation["manifold"][0, 1])
    np.testing.assert_array_equal(grid[:28, :28], evaluation["manifold"][5, 0])
    assert ax.get_aspect() == 1
    for axis in (ax.xaxis, ax.yaxis):
        ticks = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
        shown = {at: float(text.get_text().replace("\N{MINUS SIGN}", "-")) for at, text in ticks}
        assert shown == {i + 0.5: round(z, 2) for i, z in enumerate(evaluation["manifold_axis"])}


def test_first_epochs_that_would_flatten_the_rest_are_cut(figures):
    top = figures["training"].axes[0]
    assert top.get_ylim()[1] < 110
    assert top.get_ylim()[0] < 92.34
    metrics = make_metrics(validation=False)
    metrics["negative_elbo"] = np.linspace(120, 96, 30)  # slow, it is not cut
    top = draw("training", metrics).axes[0]
    assert top.get_ylim()[1] > 120


def test_a_diverged_model_is_named_in_its_panels():
    evaluation = make_evaluation()
    for name in ("latents", "reconstructions", "samples", "manifold"):
        evaluation[name] = np.full_like(evaluation[name], np.nan)
    keys = ("negative_elbo", "reconstruction", "kl", "negative_log_likelihood")
    lost = dict.fromkeys((*keys, "negative_log_likelihood_standard_error"), np.nan)
    figures = vae_figures(evaluation, make_metrics(), SUMMARY | lost)
    for name in NAMES[:-1]:
        texts = [text.get_text() for text in figures[name].axes[-1].texts]
        assert texts == ["not finite"]
    assert "test set: reconstruction = nan nats" in legend(figures["training"].axes[1])
