"""Pictures of a density in the plane: fit and target, each flow, and all of it moving."""

import io
from typing import Any

import numpy as np
import pytest
from layouts import assert_apart, assert_inside
from matplotlib.figure import Figure
from matplotlib.lines import AxLine
from pictures import gaussian, panels, placed, title
from PIL import Image

from nflow_cli.evaluation.warnings import ScoreWarning
from nflow_cli.plotting import plane
from nflow_cli.plotting.plane import AXES, animation_files, fit2d_figures, flow_figure
from nflow_cli.plotting.style import save_figure
from nflow_cli.plotting.training_figures import reverse_kl_figure


def make_evaluation(steps=3, q_scale=1.0):
    rng = np.random.default_rng(0)
    axis_1, axis_2 = np.linspace(-4, 4, 41), np.linspace(-3, 3, 31)
    axis_1_coarse, axis_2_coarse = axis_1[::2], axis_2[::2]
    flows = [gaussian(axis_1_coarse, axis_2_coarse, k / max(steps, 2)) for k in range(steps)]
    return {
        "axis_1": axis_1,
        "axis_2": axis_2,
        "log_target": gaussian(axis_1, axis_2, 1.0),
        "log_base": gaussian(axis_1, axis_2),
        "log_q": gaussian(axis_1, axis_2, 0.9, q_scale),
        "samples": rng.normal(0.9, 1.0, (300, 2)),
        "base_samples": rng.normal(size=(300, 2)),
        "target_samples": rng.normal(1.0, 1.0, (300, 2)),
        "deformation_k": np.arange(steps),
        "deformation_axis_1": axis_1_coarse,
        "deformation_axis_2": axis_2_coarse,
        "log_deformation": np.stack(flows),
        "deformation_samples": 0.5 * rng.normal(size=(steps, 300, 2)),
    }


def make_metrics(rows=60):
    rng = np.random.default_rng(1)
    kl = 3 * np.exp(-np.arange(rows) / 5) + 0.02 + 0.001 * rng.normal(size=rows)
    return {
        "update": 500 * np.arange(1, rows + 1),
        "loss": kl - 2,
        "kl": kl,
        "beta": np.ones(rows),
        "learning_rate": np.full(rows, 1e-3),
        "gradient_norm": np.ones(rows),
    }


SUMMARY = {
    "flow": ",".join(["planar", "radial"] * 8),
    "k": 8,
    "target": "two_moons$",
    "kl": 0.0123,
    "kl_standard_error": 0.0004,
    "ess": 0.973,
    "mass": 0.9998,
    "log_z": 0.0,
}
UNKNOWN = {"kl": None, "kl_standard_error": None, "ess": None, "mass": None, "log_z": None}


def draw(name, arrays, **summary):
    if name == "training":
        return reverse_kl_figure(arrays, SUMMARY | summary)
    return getattr(plane, f"{name}_figure")(arrays, SUMMARY | summary)


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def dots(ax):
    return sum(len(line.get_xdata()) for line in ax.lines)


@pytest.fixture(scope="module")
def figures():
    return fit2d_figures(make_evaluation(), make_metrics(), SUMMARY)


def test_the_legend_of_a_training_covers_nothing_of_it():
    warnings = [ScoreWarning("a word", ("kl",), "and another")]
    summary = SUMMARY | {"restarts": {"updates": [30_000, 15_000]}, "warnings": warnings}
    figure = fit2d_figures(make_evaluation(), make_metrics(), summary)["training"]
    renderer = placed(figure).canvas.get_renderer()
    (ax,), (legend,) = figure.axes, figure.legends
    box, panel = legend.get_window_extent(renderer), ax.get_tightbbox(renderer)
    assert 0 <= box.y0 < box.y1 <= panel.y0
    assert 0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert ax.bbox.width > 0.8 * figure.bbox.width


def test_pixels_are_centred_on_the_grid_points(figures):
    ax = panels(figures["density"])[2]
    image = ax.images[0]
    left, right, bottom, top = image.get_extent()
    row, column = np.unravel_index(np.argmax(image.get_array()), (31, 41))
    centre_1 = left + (column + 0.5) * (right - left) / 41
    centre_2 = bottom + (row + 0.5) * (top - bottom) / 31
    assert (centre_1, centre_2) == pytest.approx((1.0, 1.0))
    for name in ("density", "difference", "deformation"):  # and undistorted
        assert all(ax.get_aspect() == 1 for ax in panels(figures[name]))


def test_base_fit_and_target_share_their_colours_and_a_high_base_dims_nothing(figures):
    base, fit, target = (ax.images[0].norm for ax in panels(figures["density"]))
    assert base is fit is target
    evaluation = make_evaluation()
    evaluation["log_base"] = gaussian(evaluation["axis_1"], evaluation["axis_2"], 0.0, 0.2)
    for ax in panels(draw("density", evaluation)):
        assert ax.images[0].norm.vmax == pytest.approx(ax.images[0].get_array().max(), rel=0.3)


def test_each_panel_of_the_strip_reaches_the_peak_of_its_density():
    evaluation = make_evaluation()
    evaluation["log_deformation"] += np.log([[[1.0]], [[30.0]], [[0.1]]])
    shown = panels(draw("deformation", evaluation))
    for ax, log_density in zip(shown, evaluation["log_deformation"], strict=True):
        image = ax.images[0]
        assert (image.norm.vmin, image.norm.vmax) == (0, np.max(image.get_array())) == (0, 1)
        expected = np.exp(log_density)
        np.testing.assert_allclose(image.get_array(), expected / expected.max())


def test_no_mass_is_missed_that_is_narrower_than_the_cells_of_a_frame():
    evaluation = make_evaluation(steps=2)
    evaluation["log_q"] = gaussian(evaluation["axis_1"], evaluation["axis_2"], 0.1, 1e-3)
    axes = evaluation["deformation_axis_1"], evaluation["deformation_axis_2"]
    evaluation["log_deformation"][1] = gaussian(*axes, 0.1, 1e-3)
    evaluation["samples"] = 0.1 + 1e-3 * evaluation["base_samples"]
    evaluation["deformation_samples"][1] = evaluation["samples"]
    assert not panels(draw("density", evaluation))[1].texts
    figure = draw("deformation", evaluation)
    assert not any("mass" in ax.get_title() or ax.texts for ax in panels(figure))


def test_titles_of_panels_stand_apart():
    evaluation = make_evaluation(steps=9)
    evaluation["log_deformation"] -= 30.0
    evaluation["deformation_samples"][1:] += (0.0, 3.0)
    figure = draw("deformation", evaluation)
    renderer = placed(figure).canvas.get_renderer()
    assert_apart([ax.title.get_window_extent(renderer) for ax in panels(figure)])
    assert all("mass" in ax.get_title() for ax in panels(figure)[1:])


def test_a_panel_that_shows_nothing_says_why():
    evaluation = make_evaluation()
    evaluation["log_q"] = np.full_like(evaluation["log_q"], -np.inf)
    evaluation["log_deformation"][1] = -1e9
    evaluation["log_deformation"][2] = -100.0  # a tail of what is far away
    evaluation["deformation_samples"][1:] += 1e6
    evaluation["samples"] += 1e6
    assert len(panels(draw("density", evaluation))[1].texts) == 2
    shown = panels(draw("deformation", evaluation))
    assert [len(ax.texts) for ax in shown] == [0, 1, 1]
    assert not any(ax.images[0].get_array().any() for ax in shown[1:])


def test_a_spike_of_q_is_cut_off_and_the_colour_bar_says_so():
    evaluation = make_evaluation(q_scale=0.1)
    *_, target = panels(draw("density", evaluation))
    bar = target.images[0].colorbar
    peak_of_target = 1 / (2 * np.pi)
    assert bar.extend == "max"
    assert peak_of_target <= bar.norm.vmax <= 2 * peak_of_target
    assert panels(draw("difference", evaluation))[0].images[0].colorbar.extend == "max"


def test_titles_carry_the_numbers_with_the_word_of_a_warning(figures):
    assert "0.01230 ± 0.00040" in title(figures["density"])
    difference = figures["difference"]
    assert "97.3%" in title(difference) and "0.9998" in title(difference)
    norm = panels(difference)[0].images[0].norm
    assert norm.vmin == -norm.vmax < 0
    for key in ("kl", "ess", "mass"):
        warning = ScoreWarning("doubtful", (key,), "a reason")
        figure = draw("difference", make_evaluation(), warnings=[warning])
        assert title(figure).count("[doubtful]") == 1


def test_draws_lie_over_every_panel_and_leave_its_limits_alone(figures):
    for ax in panels(figures["density"]):
        assert dots(ax) > 100
        assert ax.get_xlim() == pytest.approx(ax.images[0].get_extent()[:2])
    # A target without a sampler has a panel without dots.
    evaluation = make_evaluation() | {"target_samples": np.empty((0, 2))}
    shown = panels(draw("density", evaluation))
    assert [dots(ax) > 0 for ax in shown] == [True, True, False]
    assert np.ptp(shown[2].images[0].get_array()) > 0


def test_zero_density_outside_a_bounded_base_is_drawn_as_zero():
    evaluation = make_evaluation()
    inside = np.abs(evaluation["axis_1"]) < 3
    log_base = np.where(inside, -np.log(36), -np.inf) * np.ones((31, 1))
    base = panels(draw("density", evaluation | {"log_base": log_base}))[0].images[0].get_array()
    assert not np.ma.getmaskarray(base).any()
    assert base[0, 0] == 0


def test_without_kl_the_free_energy_is_drawn_and_the_target_scaled_to_the_others():
    metrics = make_metrics()
    line: Any = draw("training", metrics, **UNKNOWN).axes[0].lines[0]
    np.testing.assert_array_equal(line.get_ydata(), metrics["loss"])
    evaluation = make_evaluation()
    evaluation["log_target"] = evaluation["log_target"] + 1000
    target = panels(draw("density", evaluation, **UNKNOWN))[2]
    assert np.sum(target.images[0].get_array()) * 0.2**2 == pytest.approx(1.0)


def test_kl_falling_over_decades_has_a_log_axis_and_the_evaluated_kl(figures):
    ax = figures["training"].axes[0]
    assert ax.get_yscale() == "log"
    assert any(np.allclose(line.get_ydata(), 0.0123) for line in ax.lines)
    # Noise below zero stays in the picture.
    metrics = make_metrics()
    metrics["kl"][40::3] = -0.004
    (ax,) = draw("training", metrics).axes
    assert ax.get_ylim()[0] < -0.004 and ax.get_yscale() == "symlog"
    # The fall of a ruined fit is a curve.
    metrics = make_metrics(40)
    metrics["kl"] = 1e12 * 10 ** (-6 * np.arange(40) / 39)
    ax = draw("training", metrics, kl=2e5, kl_standard_error=1e4).axes[0]
    assert ax.get_yscale() == "log"
    curve = ax.transData.transform(np.column_stack([metrics["update"], metrics["kl"]]))[:, 1]
    assert np.all(np.diff(curve) < -0.01 * ax.bbox.height)


def test_the_updates_are_shaded_in_which_several_restarts_train():
    for updates, shaded in [
        ([11_000, 30_000, 15_000, 19_000], [(0, 19_000)]),  # halved
        ([30_000, 30_000], [(0, 30_000)]),  # all to the end
        ([30_000], []),
    ]:
        ax = draw("training", make_metrics(), restarts={"updates": updates}).axes[0]
        found = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in ax.patches]
        assert found == shaded


def test_rows_that_are_not_finite_are_marked():
    for lost in (slice(20, None), slice(10, 15), slice(None)):
        metrics = make_metrics()
        for name in ("kl", "loss", "gradient_norm"):
            metrics[name][lost] = np.nan
        text = f"not finite ({np.isnan(metrics['kl']).sum()} of 60 rows)"
        assert text in legend(draw("training", metrics))


def test_a_diverged_flow_is_named_in_its_panels():
    evaluation = make_evaluation()
    for name in ("log_q", "samples", "log_deformation", "deformation_samples"):
        evaluation[name] = np.full_like(evaluation[name], np.nan)
    lost = dict.fromkeys(("kl", "kl_standard_error", "ess", "mass"), np.nan)
    for name in ("density", "difference", "deformation"):
        last = panels(draw(name, evaluation, **lost))[1 if name == "density" else -1]
        assert last.texts[0].get_text() == "not finite"


def test_no_text_is_cut_off_even_under_a_long_title(figures):
    for figure in figures.values():
        assert "\n" in title(figure)
        assert_inside(figure)


def test_equal_figures_are_saved_as_equal_files():
    for kind, magic in [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]:
        files = [io.BytesIO(), io.BytesIO()]
        for file in files:
            figure = Figure((1, 1))
            figure.add_subplot().plot([0, 1], label="q")
            save_figure(figure, file, kind)
        first, second = (file.getvalue() for file in files)
        assert first.startswith(magic) and first == second


def test_updates_are_spaced_by_their_logarithm_unless_a_first_stage_comes_before():
    metrics = make_metrics()
    (ax,) = draw("training", metrics).axes
    assert ax.get_xscale() == "log"
    assert ax.get_xlim()[0] < metrics["update"][0] < metrics["update"][-1] < ax.get_xlim()[1]
    metrics["update"] = metrics["update"] - 1_000.0
    assert draw("training", metrics).axes[0].get_xscale() == "linear"
    # Annealing is shaded where there was any.
    annealed = make_metrics() | {"beta": np.minimum(1, np.linspace(0.1, 2, 60))}
    (shaded,) = draw("training", annealed).axes[0].patches
    beta_of = dict(zip(annealed["update"], annealed["beta"], strict=True))
    assert shaded.get_x() == 500 and beta_of[500 + shaded.get_width()] < 1


AXIS = np.linspace(-4, 4, 40)
OF_A_FLOW = {"flow": "planar", "k": 8, "target": "u1"}
DRAWS = np.random.default_rng(0).standard_normal((400, 2))
LINES = np.stack([np.stack([np.full(9, at), np.linspace(-4, 4, 9)], axis=-1) for at in (-1, 1)])


def draw_flow(*names, **geometry):
    arrays = {
        **{"axis_1": AXIS, "axis_2": AXIS},
        **{"log_before": gaussian(AXIS, AXIS), "log_after": gaussian(AXIS, AXIS, 0.5, 0.8)},
        **{"draws_before": DRAWS, "draws_after": 0.8 * DRAWS + 0.5},
        **{"lines": LINES, "lines_after": LINES + 0.5},
    }
    return flow_figure(arrays, OF_A_FLOW, 3, names, geometry)


def test_arrows_go_from_draws_to_where_they_are_afterwards():
    ax = draw_flow().axes[1]
    (arrows,) = ax.collections
    ways = np.stack([arrows.U, arrows.V], axis=-1)
    np.testing.assert_allclose(ways, (0.5 - 0.2 * DRAWS)[: len(ways)])
    assert (arrows.angles, arrows.scale, arrows.scale_units) == ("xy", 1, "xy")


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_crease_of_a_planar_flow_is_drawn_with_its_arrow():
    w, b, u = np.array([3.0, 4.0]), np.array(5.0), np.array([0.5, -1.0])
    figure = draw_flow(w=w, b=b, û=u)
    ax = figure.axes[1]
    (crease,) = (line for line in ax.lines if isinstance(line, AxLine))
    on_the_line = np.array(crease.get_xy1())
    np.testing.assert_allclose(on_the_line @ w + b, 0, atol=1e-12)
    np.testing.assert_allclose(crease.get_slope(), -w[0] / w[1])
    arrow = ax.collections[-1]
    np.testing.assert_allclose([*arrow.U, *arrow.V], u)
    np.testing.assert_allclose(arrow.get_offsets() @ w + b, 0, atol=1e-12)
    np.testing.assert_allclose(
        [*ax.get_xlim(), *ax.get_ylim()], figure.axes[0].images[0].get_extent()
    )
    assert legend_of(figure)[2:] == ["crease w·z + b = 0", "û"]


@pytest.mark.parametrize("w", [[2.0, 0.0], [1e-200, 0.0], [0.0, 0.0]])
def test_a_planar_flow_of_any_direction_is_drawn(w):
    figure = draw_flow(w=np.array(w), b=np.array(1.0), û=np.array([1e6, -1e6]))
    assert_inside(figure)


def test_the_centre_of_a_radial_flow_is_drawn_with_its_radius():
    figure = draw_flow(c=np.array([1.0, -0.5]), α=np.array(0.7), β̂=np.array(-0.2))
    (circle,) = figure.axes[1].patches
    assert (*circle.center, circle.radius) == (1.0, -0.5, 0.7)
    assert legend_of(figure)[2:] == ["centre c, circle of radius α"]
    far = draw_flow(c=np.array([-40.0, 0.0]), α=np.array(0.7), β̂=np.array(-0.2))
    assert legend_of(far)[2:] == ["centre c, circle of radius α (beyond the frame)"]


def test_no_text_of_a_flow_is_cut_off_and_its_densities_have_one_colour_scale():
    weights = "w = [0.123, -1.23e+03]", "b = -0.123", "û = [-1.23, 1.23e-05]"
    figure = draw_flow("flow 3 of 8 (planar)", *weights, "in the coordinates of the flows")
    assert all(weight in title(figure) for weight in weights)
    assert_inside(figure)
    before, after = panels(figure)
    assert before.images[0].norm is after.images[0].norm


MOVING = {"flow": "planar", "k": 2, "target": "u1"}
AXIS_1, AXIS_2 = np.linspace(-4, 4, 40), np.linspace(-3, 3, 30)


def arrays_of(moments, log_density=None):
    rng = np.random.default_rng(0)
    densities = [gaussian(AXIS_1, AXIS_2, moment) for moment in moments]
    return {
        **{"moments": moments, "axis_1": AXIS_1, "axis_2": AXIS_2},
        "log_density": np.stack(densities) if log_density is None else log_density,
        "draws": moments[:, None, None] + rng.standard_normal((len(moments), 400, 2)),
    }


MOMENTS = np.linspace(0, 2, 5)


@pytest.fixture(scope="module")
def pictures():
    files = animation_files(arrays_of(MOMENTS), MOVING, AXES)
    return {format: Image.open(io.BytesIO(content)) for format, content in files.items()}


def frames(picture):
    shown = []
    for number in range(picture.n_frames):
        picture.seek(number)
        picture.load()
        shown.append((np.asarray(picture.convert("RGB"), float), picture.info["duration"]))
    return shown


@pytest.mark.parametrize("format", ["gif", "webp"])
def test_there_is_a_frame_for_each_moment_and_its_brightest_spot_is_where_the_density_is(
    pictures, format
):
    """Of viridis, only what is bright has more green and red than blue."""
    every, places = frames(pictures[format]), []
    assert pictures[format].format == format.upper() and pictures[format].info["loop"] == 0
    assert len(every) == 5
    first, *between, last = (duration for _, duration in every)
    assert last > first > max(between)
    for shown, _ in every:
        panel = shown[60:-60, 60:-130]
        bright = (panel[..., 0] > 200) & (panel[..., 2] < 110)
        places.append(np.argwhere(bright).mean(axis=0))
    rows, columns = np.transpose(places)
    assert np.all(np.diff(columns) > 5) and np.all(np.diff(rows) < -5)  # up, to the right


def test_the_colours_of_the_gif_are_near_those_that_were_drawn(pictures):
    drawn = list(plane._frames(arrays_of(MOMENTS), MOVING, AXES))
    for (shown, _), frame in zip(frames(pictures["gif"]), drawn, strict=True):
        assert np.abs(shown - np.asarray(frame, float)).mean() < 3


def test_what_is_of_another_scale_or_not_finite_is_drawn_too():
    log_density = np.full((5, 30, 40), -1e4)
    log_density[2] = np.nan
    files = animation_files(arrays_of(MOMENTS, log_density), MOVING, AXES)
    assert Image.open(io.BytesIO(files["gif"])).n_frames >= 2  # equal ones are one
