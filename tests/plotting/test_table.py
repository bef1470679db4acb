import io
import re
from itertools import pairwise

import numpy as np
import pytest
from pictures import gaussian, panels, placed, title

from nflow_cli import plotting
from nflow_cli.plotting import table as plots
from nflow_cli.plotting.density import deformation_figure
from nflow_cli.plotting.style import drawing

SUMMARY = {
    **{"flow": "planar,radial", "k": 8, "target": None, "best_update": 400, "kl": None},
    **{"data": {"name": "folder/mine.csv", "sha256": "0"}},
    **{"log_likelihood": -1.25, "log_likelihood_standard_error": 0.02},
    **{"gaussian_log_likelihood": -2.5, "gaussian_log_likelihood_standard_error": 0.03},
}


def make_evaluation(width=4.0, height=3.0, steps=3):
    rng = np.random.default_rng(0)
    axes = np.linspace(-width, width, 41), np.linspace(-height, height, 31)
    coarse = axes[0][::2], axes[1][::2]
    unit = np.log(12 / width / height)
    log_q = gaussian(axes[0] / width * 4, axes[1] / height * 3) + unit
    means = [k / 9 for k in range(steps)]
    flows = [unit + gaussian(coarse[0] / width * 4, coarse[1] / height * 3, m) for m in means]
    return {
        **{"axis_1": axes[0], "axis_2": axes[1], "log_q": log_q},
        **{"samples": rng.normal(size=(1500, 2)), "test_points": rng.normal(size=(120, 2))},
        **{"deformation_k": np.arange(steps), "log_deformation": np.stack(flows)},
        **{"deformation_axis_1": coarse[0], "deformation_axis_2": coarse[1]},
        "deformation_samples": np.empty((steps, 0, 2)),
    }


def make_metrics(rows=60):
    loss = 1.3 + 3 * np.exp(-np.arange(rows) / 5)
    update = 20 * np.arange(1, rows + 1)
    return {"update": update, "loss": loss, "validation_loss": loss + 0.1}


def densities(evaluation):
    """Return the two pictures of densities, as they are in files."""
    with drawing():
        figures = (
            plots.density_figure(evaluation, SUMMARY),
            deformation_figure(evaluation, SUMMARY, plots.AXES),
        )
    return list(map(placed, figures))


@pytest.fixture(scope="module")
def figures():
    return plotting.points_figures(make_evaluation(), make_metrics(), SUMMARY)


def test_there_are_three_figures_and_none_of_a_target(figures):
    assert list(figures) == ["density", "deformation", "training"]
    for figure in figures.values():
        assert title(figure).startswith("mine.csv, planar, radial flow, K = 8")
        assert not any(word in title(figure) for word in ("KL", "None", "folder"))


def test_points_and_as_many_draws_stand_beside_the_density(figures):
    axes = figures["density"].axes[:3]
    assert [len(ax.lines[0].get_xdata()) for ax in axes] == [120, 120, 120]
    assert len({ax.get_xlim() + ax.get_ylim() for ax in axes}) == 1
    assert all(ax.get_aspect() == 1 for ax in axes)


def test_coordinates_of_different_units_fill_a_square_panel():
    for figure in densities(make_evaluation(width=1e-3, height=5e4)):
        for ax in panels(figure):
            box = ax.get_window_extent()
            assert box.width == pytest.approx(box.height, rel=0.02)


UNITS = [(4e5, 4.5e5), (30.0, 1.7e9), (1e-7, 0.0), (1e3, -123456.0)]
ALIKE = [(1.5e7, 1.7e9), (2.5e-7, 1e-3)]


@pytest.mark.parametrize(
    ("width", "centre"), [*UNITS, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in ALIKE)]
)
def test_numbers_below_a_panel_stand_apart_and_have_a_unit(width, centre):
    evaluation = make_evaluation(width=width, steps=9)
    for name in ("axis_1", "deformation_axis_1"):
        evaluation[name] = evaluation[name] + centre
    evaluation["samples"] = evaluation["test_points"]  # a standard normal: it may be anywhere
    for figure in densities(evaluation):
        for ax in (ax for ax in figure.axes if ax.get_xlabel()):
            low, high = ax.get_xlim()
            numbers = [t for t in ax.get_xticklabels() if low <= t.get_position()[0] <= high]
            assert len(numbers) > 1
            boxes = [text.get_window_extent() for text in numbers]
            assert all(a.x1 + 2 < b.x0 for a, b in pairwise(boxes))
            unit = ax.xaxis.get_offset_text().get_text()
            for text in numbers:  # what is written, with its unit, is where it stands
                at = text.get_position()[0]
                assert value(text.get_text(), unit) == pytest.approx(at, abs=1e-3 * width)


def value(number, unit):
    """Return what a number on an axis stands for, by its unit such as 1e3 or 1e3+1.7e9."""
    number, unit = (text.replace("\N{MINUS SIGN}", "-") for text in (number, unit))
    factor, offset = re.fullmatch(r"(1e-?\d+)?([+-].+)?", unit).groups()
    return float(number) * float(factor or 1) + float(offset or 0)


def test_no_text_is_cut_off_where_the_numbers_have_a_unit():
    evaluation = make_evaluation(width=1e-7, height=3e8, steps=9)
    for figure in plotting.points_figures(evaluation, make_metrics(), SUMMARY).values():
        width, height = placed(figure).get_size_inches()
        box = figure.get_tightbbox()
        assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= 0


def test_the_legend_of_the_training_picture_hides_no_curve(figures):
    (ax,) = figures["training"].axes
    placed(figures["training"])
    assert not ax.get_legend().get_window_extent().overlaps(ax.bbox)


def test_the_training_picture_has_both_curves_and_both_levels(figures):
    (ax,) = figures["training"].axes
    curve = next(line for line in ax.lines if line.get_label() == "validation")
    np.testing.assert_allclose(curve.get_ydata(), -make_metrics()["validation_loss"])
    low, high = ax.get_ylim()
    assert low < -2.5 and high > -1.25


def test_a_density_that_is_elsewhere_is_not_drawn_to_its_own_scale():
    evaluation = make_evaluation()
    evaluation["log_q"][:] = -400.0
    evaluation["samples"] += 1e6
    axes = plots.density_figure(evaluation, SUMMARY).axes
    assert not axes[1].images[0].get_array().any()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("住宅/価格.csv", r"\u4fa1\u683c.csv"),
        ("a\x1b[31m\nb.csv", r"a\x1b[31m\nb.csv"),
        ("Größe–α.csv", "Größe–α.csv"),
        ("5 $ each$.csv", "5 $ each$.csv"),
    ],
)
def test_a_name_that_the_font_does_not_draw_is_escaped(name, shown):
    summary = SUMMARY | {"data": {"name": name, "sha256": "0"}}
    assert title(plots.training_figure(make_metrics(), summary)).startswith(f"{shown}, planar")


def test_numbers_of_any_size_are_drawn_without_a_warning():
    evaluation, metrics = make_evaluation(), make_metrics()
    evaluation["samples"] *= 1e300
    evaluation["log_q"][3:9] = 709.0
    metrics["loss"][:] = 1e308
    for figure in plotting.points_figures(evaluation, metrics, SUMMARY).values():
        plotting.save_figure(figure, io.BytesIO(), "svg")


def test_a_fall_from_far_above_leaves_the_end_readable():
    metrics = make_metrics()
    metrics["loss"][0] = 1e6
    (ax,) = plots.training_figure(metrics, SUMMARY).axes
    assert ax.get_ylim()[0] > -10


def test_a_spike_of_q_is_cut_off_and_the_colour_bar_says_so():
    evaluation = make_evaluation()
    evaluation["log_q"][15, 20] = 20.0
    (ax,) = panels(plots.density_figure(evaluation, SUMMARY))
    assert ax.images[0].colorbar.extend == "max"
    assert ax.images[0].norm.vmax < 1


def test_what_is_not_finite_is_drawn():
    evaluation, metrics = make_evaluation(), make_metrics()
    evaluation["log_q"][:] = np.nan
    metrics["loss"][:] = metrics["validation_loss"][:] = np.nan
    lost = {"log_likelihood": None, "log_likelihood_standard_error": None}
    figures = plotting.points_figures(evaluation, metrics, SUMMARY | lost)
    for figure in figures.values():
        plotting.save_figure(figure, io.BytesIO(), "svg")
