"""Pictures of a fit by flows: of a table, by a corner of its columns, and of points in a plane."""

import re

import numpy as np
import pytest
from layouts import assert_apart, assert_inside, drawn
from matplotlib.colors import to_rgb
from pictures import gaussian, panels, placed, title

from nflow_cli.evaluation.association import most_dependent
from nflow_cli.plotting import plane as plots
from nflow_cli.plotting.corner import corner_figure
from nflow_cli.plotting.plane import deformation_figure, points_figures
from nflow_cli.plotting.style import ORANGE, SKY, drawing
from nflow_cli.plotting.training_figures import likelihood_figure
from nflow_cli.tables.pictures.table_figures import table_figures

SUMMARY = {
    **{"flow": "planar,radial", "k": 8, "target": None, "best_update": 400, "kl": None},
    **{"data": {"name": "folder/mine.csv", "sha256": "0"}},
    **{"log_likelihood": -1.25, "log_likelihood_standard_error": 0.02},
    **{"baseline_log_likelihood": -2.5, "baseline_log_likelihood_standard_error": 0.03},
    "baseline": "Gaussian",
}


def make_metrics(rows=60):
    loss = 1.3 + 3 * np.exp(-np.arange(rows) / 5)
    update = 20 * np.arange(1, rows + 1)
    return {"update": update, "loss": loss, "validation_loss": loss + 0.1}


def of_columns(dim=3, rows=600, samples=500):
    """Return what is drawn of a fit to columns."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, dim))
    evaluation = {
        **{"rows": x, "samples": rng.normal(size=(samples, dim))},
        "columns_shown": np.array(most_dependent(x, 12)),
    }
    if dim == 1:
        axis = np.linspace(-5, 5, 200)
        evaluation |= {"axis_1": axis, "log_q": -(axis**2) / 2 - np.log(2 * np.pi) / 2}
    return evaluation


def of_points(width=4.0, height=3.0, steps=3):
    """Return what is drawn of a fit to points in the plane."""
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


def summary_of(evaluation, names=None):
    names = names or [f"name {i}" for i in range(evaluation["rows"].shape[1])]
    return SUMMARY | {"columns": names}


def draw(evaluation, names=None):
    return table_figures(evaluation, make_metrics(), summary_of(evaluation, names))


def corner(evaluation, names=None):
    """Return the picture `corner` before its parts are placed."""
    with drawing():
        return corner_figure(evaluation, summary_of(evaluation, names))


def shown_numbers(ax):
    """Return the numbers below a panel that lie in its frame."""
    low, high = ax.get_xlim()
    return [t for t in ax.get_xticklabels() if low <= t.get_position()[0] <= high]


def extents(texts):
    return [text.get_window_extent() for text in texts]


def key(figure):
    return [text.get_text().replace("\n", " ") for text in figure.legends[0].get_texts()]


@pytest.fixture(scope="module")
def figures():
    return draw(of_columns())


@pytest.fixture(scope="module")
def line():
    return draw(of_columns(dim=1), ["height"])


@pytest.fixture(scope="module")
def plane():
    return points_figures(of_points(), make_metrics(), SUMMARY)


def test_each_kind_of_table_has_its_figures_which_name_the_data(figures, line, plane):
    assert list(figures) == ["corner", "training"]
    assert list(line) == ["density", "training"]
    assert list(plane) == ["density", "deformation", "training"]
    for figure in (*figures.values(), *line.values(), *plane.values()):
        assert title(figure).startswith("mine.csv, planar, radial flow, K = 8")
        assert not any(word in title(figure) for word in ("KL", "None", "folder"))
    assert "-1.250 ± 0.020" in title(figures["corner"])


def test_the_corner_has_each_pair_of_columns_once_and_each_column(figures):
    axes, evaluation = figures["corner"].axes, of_columns()
    assert len(axes) == 6
    # Of the third column against the second: in turn, so that neither hides the other.
    (dots,) = axes[4].collections
    rows, draws = dots.get_offsets()[::2], dots.get_offsets()[1::2]
    np.testing.assert_array_equal(rows, evaluation["rows"][:500, [1, 2]])
    np.testing.assert_array_equal(draws, evaluation["samples"][:, [1, 2]])
    colours = [to_rgb(colour) for colour in dots.get_facecolors()[:2]]
    assert colours == [to_rgb(SKY), to_rgb(ORANGE)] and len(dots.get_sizes()) == 1
    for ax in (axes[i] for i in (0, 2, 5)):  # densities in one frame
        for bars in ax.patches:
            heights, edges, _ = bars.get_data()
            assert np.sum(heights * np.diff(edges)) == pytest.approx(1, abs=0.01)
            assert (edges[0], edges[-1]) == pytest.approx(ax.get_xlim())


def test_what_lies_outside_the_frame_or_is_not_finite_is_counted_and_does_not_widen_it():
    evaluation = of_columns()
    evaluation["rows"][:2, 1] = 1e9
    evaluation["samples"][:7, 2] = -1e9
    figure = corner(evaluation)
    assert key(figure) == ["598 of 600 test rows in the frame", "493 of 500 draws in the frame"]
    for ax in figure.axes:
        assert np.abs(ax.get_xlim()).max() < 12
    evaluation = of_columns()
    evaluation["rows"][4, 0] = np.nan
    evaluation["samples"][:9, 2] = np.inf
    figure = corner(evaluation)
    lost = " ".join(title(figure).split())
    assert "not finite: 1 of 600" in lost and "not finite: 9 of 500" in lost
    assert key(figure) == ["599 test rows", "491 draws"]


def test_panels_of_a_corner_have_one_size_and_their_numbers_stand_apart():
    evaluation = of_columns(dim=12)
    for name in ("rows", "samples"):
        evaluation[name] *= np.geomspace(1e-6, 1e6, 12)
        evaluation[name][:, 3] += 1e6
    figure = corner(evaluation, [f"a column whose name is long {i}" for i in range(12)])
    assert_inside(figure)
    sizes = {tuple(np.round(ax.get_window_extent().size, 3)) for ax in figure.axes}
    assert len(sizes) == 1
    numbers = [extents(shown_numbers(ax)) for ax in figure.axes[-12:]]
    assert min(map(len, numbers)) > 1
    assert_apart([box for boxes in numbers for box in boxes])
    assert_apart(extents([ax.xaxis.label for ax in figure.axes[-12:]]))


@pytest.mark.parametrize("dim", [1, 3])
def test_no_text_of_a_table_is_cut_off(dim):
    evaluation = of_columns(dim=dim)
    for name in ("rows", "samples"):
        evaluation[name] *= np.resize([1e6, 1e-6, 1e9], dim)
    for figure in draw(evaluation, [f"a long name of a column {i}" for i in range(dim)]).values():
        assert_inside(figure)


def test_the_density_of_one_column_stands_beside_the_rows(line):
    (ax,) = line["density"].axes
    (curve,) = ax.lines
    expected = np.exp(-(0.05**2)) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(curve.get_ydata()[100], expected, 1e-2)


SHOWN = {
    "5 $ each$": "5 $ each$",
    r"\$\frac{1}{0}$": r"\$\frac{1}{0}$",
    "a\x1b[31m\nb": r"a\x1b[31m\nb",
    "Größe–α": "Größe–α",
    "住宅": r"\u4f4f\u5b85",
    "a name that goes on and on": "a name tha…on and on",
    "": "",
}


def test_names_of_a_stranger_are_shown_as_they_are_and_cut():
    figure = drawn(corner(of_columns(dim=len(SHOWN)), list(SHOWN)))
    for ax, shown in zip(figure.axes[-len(SHOWN) :], SHOWN.values(), strict=True):
        assert ax.get_xlabel().replace("\n", " ").replace(r"\$", "$") == shown
    for name in ("住宅", "a\x1b[31m\nb", "Größe–α", "5 $ each$"):  # of a file
        summary = SUMMARY | {"data": {"name": f"folder/{name}.csv", "sha256": "0"}}
        assert title(likelihood_figure(make_metrics(), summary)).startswith(f"{SHOWN[name]}.csv, ")


def test_a_name_with_a_dollar_keeps_the_unit_of_its_axis():
    evaluation = of_columns(dim=2)
    for name in ("rows", "samples"):
        evaluation[name][:, 1] = 1e6 * evaluation[name][:, 1]
    figure = placed(corner(evaluation, ["$x", "5 $"]))
    assert figure.axes[-1].get_xlabel() == r"5 \$" "\n[1e6]"
    assert figure.axes[-2].get_xlabel() == r"\$x"


def test_fits_of_few_rows_of_any_size_whose_draws_are_nowhere_are_drawn():
    nowhere = of_columns(dim=1, samples=0)
    nowhere["log_q"][:] = np.nan
    strange = [nowhere, of_columns(dim=3, samples=0)]
    strange += [of_columns(dim=2, rows=rows, samples=1) for rows in (1, 2)]
    for size in (1e300, 1e-300, 0.0):
        evaluation = of_columns(dim=2)
        for name in ("rows", "samples"):
            evaluation[name] *= size
            evaluation[name][0] = 1.7e308
        strange.append(evaluation)
    for evaluation in strange:
        for figure in draw(evaluation).values():
            drawn(figure)


def densities(evaluation):
    """Return the two pictures of densities of points, as they are in files."""
    with drawing():
        figures = (
            plots.points_figure(evaluation, SUMMARY),
            deformation_figure(evaluation, SUMMARY, plots.COLUMN_AXES),
        )
    return list(map(placed, figures))


def test_points_and_as_many_draws_stand_beside_the_density(plane):
    axes = plane["density"].axes[:3]
    assert [len(ax.lines[0].get_xdata()) for ax in axes] == [120, 120, 120]
    assert len({ax.get_xlim() + ax.get_ylim() for ax in axes}) == 1
    assert all(ax.get_aspect() == 1 for ax in axes)


def test_coordinates_of_different_units_fill_a_square_panel():
    for figure in densities(of_points(width=1e-3, height=5e4)):
        for ax in panels(figure):
            box = ax.get_window_extent()
            assert box.width == pytest.approx(box.height, rel=0.02)


UNITS = [(4e5, 4.5e5), (30.0, 1.7e9), (1e-7, 0.0), (1e3, -123456.0)]
ALIKE = [(1.5e7, 1.7e9), (2.5e-7, 1e-3)]


@pytest.mark.parametrize(
    ("width", "centre"), [*UNITS, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in ALIKE)]
)
def test_numbers_below_a_panel_stand_apart_and_have_a_unit(width, centre):
    evaluation = of_points(width=width, steps=9)
    for name in ("axis_1", "deformation_axis_1"):
        evaluation[name] = evaluation[name] + centre
    evaluation["samples"] = evaluation["test_points"]  # a standard normal: it may be anywhere
    for figure in densities(evaluation):
        for ax in (ax for ax in figure.axes if ax.get_xlabel()):
            numbers = shown_numbers(ax)
            assert len(numbers) > 1
            assert_apart(extents(numbers), gap=2)
            unit = ax.xaxis.get_offset_text().get_text()
            for text in numbers:  # what is written, with its unit, is where it stands
                at = text.get_position()[0]
                assert value(text.get_text(), unit) == pytest.approx(at, abs=1e-3 * width)


def value(number, unit):
    """Return what a number on an axis stands for, by its unit such as 1e3 or 1e3+1.7e9."""
    number, unit = (text.replace("\N{MINUS SIGN}", "-") for text in (number, unit))
    factor, offset = re.fullmatch(r"(1e-?\d+)?([+-].+)?", unit).groups()
    return float(number) * float(factor or 1) + float(offset or 0)


def test_no_text_of_points_is_cut_off_where_the_numbers_have_a_unit():
    evaluation = of_points(width=1e-7, height=3e8, steps=9)
    for figure in points_figures(evaluation, make_metrics(), SUMMARY).values():
        assert_inside(figure)


def test_the_training_picture_has_both_curves_and_both_levels_and_its_legend_hides_none(plane):
    (ax,) = plane["training"].axes
    curve = next(line for line in ax.lines if "validation" in line.get_label())
    np.testing.assert_allclose(curve.get_ydata(), -make_metrics()["validation_loss"])
    low, high = ax.get_ylim()
    assert low < -2.5 and high > -1.25
    placed(plane["training"])
    assert not plane["training"].legends[0].get_window_extent().overlaps(ax.bbox)
    metrics = make_metrics()
    metrics["loss"][0] = 1e6  # a fall from far above leaves the end readable
    (ax,) = likelihood_figure(metrics, SUMMARY).axes
    assert ax.get_ylim()[0] > -10


def test_a_density_elsewhere_is_not_drawn_to_its_own_scale_and_a_spike_is_cut_off():
    evaluation = of_points()
    evaluation["log_q"][:] = -400.0
    evaluation["samples"] += 1e6
    axes = plots.points_figure(evaluation, SUMMARY).axes
    assert not axes[1].images[0].get_array().any()
    evaluation = of_points()
    evaluation["log_q"][15, 20] = 20.0
    (ax,) = panels(plots.points_figure(evaluation, SUMMARY))
    assert ax.images[0].colorbar.extend == "max" and ax.images[0].norm.vmax < 1


def test_numbers_of_any_size_and_none_are_drawn():
    large, lost = (of_points(), make_metrics()), (of_points(), make_metrics())
    large[0]["samples"] *= 1e300
    large[0]["log_q"][3:9] = 709.0
    large[1]["loss"][:] = 1e308
    lost[0]["log_q"][:] = np.nan
    lost[1]["loss"][:] = lost[1]["validation_loss"][:] = np.nan
    nothing = {"log_likelihood": None, "log_likelihood_standard_error": None}
    for parts, changes in ((large, {}), (lost, nothing)):
        for figure in points_figures(*parts, SUMMARY | changes).values():
            drawn(figure)
