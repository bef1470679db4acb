import io
from itertools import pairwise

import numpy as np
import pytest
from pictures import placed, title

from nflow_cli import plotting
from nflow_cli.evaluation.normality import most_dependent, normality
from nflow_cli.plotting import columns
from nflow_cli.plotting.style import drawing

SCORES = {
    **{"flow": "spline-coupling", "k": 8, "target": None, "best_update": 400},
    **{"data": {"name": "folder/mine.csv", "sha256": "0"}},
    **{"log_likelihood": -1.25, "log_likelihood_standard_error": 0.02},
    **{"gaussian_log_likelihood": -2.5, "gaussian_log_likelihood_standard_error": 0.03},
}


def make_evaluation(dim=3, rows=600, samples=500, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, dim))
    evaluation = {
        **{"rows": x, "samples": rng.normal(size=(samples, dim)), "latents": x.copy()},
        "columns_shown": np.array(most_dependent(x, 12)),
    }
    if dim == 1:
        axis = np.linspace(-5, 5, 200)
        evaluation |= {"axis_1": axis, "log_q": -(axis**2) / 2 - np.log(2 * np.pi) / 2}
    return evaluation


def make_metrics(rows=60):
    loss = 1.3 + 3 * np.exp(-np.arange(rows) / 5)
    update = 20 * np.arange(1, rows + 1)
    return {"update": update, "loss": loss, "validation_loss": loss + 0.1}


def summary_of(evaluation, names=None):
    names = names or [f"name {i}" for i in range(evaluation["rows"].shape[1])]
    return SCORES | {"columns": names} | normality(evaluation["latents"], names)


def draw(evaluation, names=None):
    return plotting.table_figures(evaluation, make_metrics(), summary_of(evaluation, names))


def corner(evaluation, names):
    """Return the picture `corner` as it is in a file."""
    with drawing():
        return placed(columns.corner_figure(evaluation, summary_of(evaluation, names)))


def without_layout(evaluation, names=None):
    """Return the picture `corner` before its parts are placed."""
    with drawing():
        return columns.corner_figure(evaluation, summary_of(evaluation, names))


def key(figure):
    return [text.get_text().replace("\n", " ") for text in figure.legends[0].get_texts()]


@pytest.fixture(scope="module")
def figures():
    return draw(make_evaluation())


@pytest.fixture(scope="module")
def line():
    return draw(make_evaluation(dim=1), ["height"])


def test_the_figures_of_a_table_name_the_data_and_the_flow(figures, line):
    assert list(figures) == ["corner", "training"]
    assert list(line) == ["density", "training"]
    for figure in (*figures.values(), *line.values()):
        assert title(figure).startswith("mine.csv, spline-coupling flow, K = 8")
    for figure in (figures["corner"], line["density"]):
        assert "log-likelihood = -1.250 ± 0.020 nats" in title(figure)


def test_the_corner_has_each_pair_of_columns_once_and_each_column(figures):
    axes = figures["corner"].axes
    assert len(axes) == 6
    evaluation = make_evaluation()
    rows, draws = axes[4].lines  # of the third column against the second
    np.testing.assert_array_equal(rows.get_xydata(), evaluation["rows"][:500, [1, 2]])
    np.testing.assert_array_equal(draws.get_xydata(), evaluation["samples"][:, [1, 2]])


def test_the_histograms_of_the_corner_are_densities_in_one_frame(figures):
    for ax in (figures["corner"].axes[i] for i in (0, 2, 5)):
        for bars in ax.patches:
            heights, edges, _ = bars.get_data()
            assert np.sum(heights * np.diff(edges)) == pytest.approx(1, abs=0.01)
            assert (edges[0], edges[-1]) == pytest.approx(ax.get_xlim())


def test_what_lies_outside_the_frame_is_told_and_does_not_widen_it():
    evaluation = make_evaluation()
    evaluation["rows"][:2, 1] = 1e9
    evaluation["samples"][:7, 2] = -1e9
    drawn = without_layout(evaluation)
    assert key(drawn) == ["598 of 600 test rows in the frame", "493 of 500 draws in the frame"]
    for ax in drawn.axes:
        assert np.abs(ax.get_xlim()).max() < 12


def test_panels_of_a_corner_have_one_size_and_their_numbers_stand_apart():
    evaluation = make_evaluation(dim=12)
    for name in ("rows", "samples"):
        evaluation[name] *= np.geomspace(1e-6, 1e6, 12)
        evaluation[name][:, 3] += 1e6
    figure = corner(evaluation, [f"a column whose name is long {i}" for i in range(12)])
    sizes = {tuple(np.round(ax.get_window_extent().size, 3)) for ax in figure.axes}
    assert len(sizes) == 1
    boxes = []
    for ax in figure.axes[-12:]:
        low, high = ax.get_xlim()
        shown = [t for t in ax.get_xticklabels() if low <= t.get_position()[0] <= high]
        assert len(shown) > 1
        boxes += [text.get_window_extent() for text in shown]
    assert all(a.x1 < b.x0 for a, b in pairwise(boxes))
    labels = [ax.xaxis.label.get_window_extent() for ax in figure.axes[-12:]]
    assert all(a.x1 < b.x0 for a, b in pairwise(labels))


UNITS = [1e6, 1e-6, 1e9]


@pytest.mark.parametrize("dim", [1, 3, 12])
def test_no_text_is_cut_off(dim):
    evaluation = make_evaluation(dim=dim)
    evaluation["rows"] *= np.resize(UNITS, dim)
    evaluation["samples"] *= np.resize(UNITS, dim)
    names = [f"a long name of a column {i}" for i in range(dim)]
    for figure in draw(evaluation, names).values():
        width, height = placed(figure).get_size_inches()
        box = figure.get_tightbbox()
        assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= 0


def test_the_density_of_one_column_stands_beside_the_rows(line):
    (ax,) = line["density"].axes
    (curve,) = ax.lines
    np.testing.assert_allclose(
        curve.get_ydata()[100], np.exp(-(0.05**2)) / np.sqrt(2 * np.pi), 1e-2
    )


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
    drawn = draw(make_evaluation(dim=len(SHOWN)), list(SHOWN))
    for figure in drawn.values():
        plotting.save_figure(figure, io.BytesIO(), "png")
    for ax, shown in zip(drawn["corner"].axes[-len(SHOWN) :], SHOWN.values(), strict=True):
        assert ax.get_xlabel().replace("\n", " ") == shown


def test_a_name_with_a_dollar_keeps_the_unit_of_its_axis():
    evaluation = make_evaluation(dim=2)
    for name in ("rows", "samples"):
        evaluation[name][:, 1] = 1e6 * evaluation[name][:, 1]
    figure = corner(evaluation, ["$x", "5 $"])
    assert figure.axes[-1].get_xlabel() == "5 $\n[1e6]"
    assert figure.axes[-2].get_xlabel() == "$x"


def test_what_is_not_finite_is_left_out_and_counted():
    evaluation = make_evaluation()
    evaluation["rows"][4, 0] = np.nan
    evaluation["samples"][:9, 2] = np.inf
    drawn = without_layout(evaluation)
    lost = "not finite: 1 of 600 test rows, not finite: 9 of 500 draws"
    assert lost in " ".join(title(drawn).split())
    assert key(drawn) == ["599 test rows", "491 draws"]


@pytest.mark.parametrize("dim", [1, 3])
def test_a_fit_whose_draws_are_nowhere_is_drawn(dim):
    evaluation = make_evaluation(dim=dim, samples=0)
    if dim == 1:
        evaluation["log_q"][:] = np.nan
    drawn = draw(evaluation)
    for figure in drawn.values():
        plotting.save_figure(figure, io.BytesIO(), "svg")


@pytest.mark.parametrize("size", [1e300, 1e-300, 0.0])
def test_numbers_of_any_size_are_drawn_without_a_warning(size):
    for name in ("rows", "samples"):
        evaluation = make_evaluation(dim=2)
        evaluation[name] *= size
        evaluation[name][0] = 1.7e308
        plotting.save_figure(draw(evaluation)["corner"], io.BytesIO(), "svg")


@pytest.mark.parametrize("rows", [1, 2])
def test_a_table_of_few_rows_is_drawn(rows):
    drawn = draw(make_evaluation(dim=2, rows=rows, samples=1))
    plotting.save_figure(drawn["corner"], io.BytesIO(), "png")
