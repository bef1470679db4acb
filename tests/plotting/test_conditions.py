import io
from itertools import pairwise

import numpy as np
import pytest
from pictures import title

from nflow_cli.config.roles import Roles
from nflow_cli.plotting.conditions import conditions_figure
from nflow_cli.plotting.style import save_figure

SUMMARY = {"data": {"name": "folder/mine.csv"}, "flow": "spline-coupling", "k": 8}


def draw(dim, conditions=4, spread=1.0, rows=None, roles=None, lost=0):
    """Draw the picture of normal draws about 0, of a spread for each condition."""
    rng = np.random.default_rng(0)
    roles = roles or Roles([f"name {i}" for i in range(dim)], given_numbers=["a"])
    if rows is None:
        rows = rng.normal(size=(conditions, len(roles.columns)))
        rows[:, :dim] *= 0.1
    scales = np.broadcast_to(spread, conditions)[:, None, None]
    draws = scales * rng.normal(size=(conditions, 800, dim))
    draws[:, :lost] = np.nan
    evaluation = {"condition_rows": rows, "condition_draws": draws}
    return conditions_figure(evaluation, SUMMARY, roles), rows, draws


def test_one_column_is_a_histogram_for_each_condition_with_the_row():
    figure, rows, _ = draw(1)
    assert title(figure).startswith("mine.csv, spline-coupling flow, K = 8,")
    assert "800 draws at what is given with each of 4 test rows" in title(figure).replace("\n", " ")
    assert len(figure.axes) == 4
    for ax, row in zip(figure.axes, rows):
        heights, edges, _ = ax.patches[0].get_data()
        assert np.sum(heights * np.diff(edges)) == pytest.approx(1, abs=0.02)
        assert ax.lines[0].get_xdata()[0] == row[0]
        assert ax.get_title() == f"a\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{row[1]:.3g}"
    assert len({ax.get_xlim() for ax in figure.axes}) == 1


def test_two_columns_are_dots_with_the_row():
    figure, rows, draws = draw(2, conditions=3)
    for ax, row, some in zip(figure.axes, rows, draws, strict=True):
        dots, one = ax.lines
        np.testing.assert_array_equal(dots.get_xydata(), some)
        np.testing.assert_array_equal(one.get_xydata(), [row[:2]])
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("name 0", "name 1")


def test_more_columns_are_a_line_of_histograms_for_each_condition():
    figure, rows, _ = draw(6, conditions=2)
    assert len(figure.axes) == 8
    assert "the 4 most dependent of 6 columns" in title(figure).replace("\n", " ")
    for i, ax in enumerate(figure.axes):
        column = int(ax.get_xlabel().removeprefix("name "))
        assert ax.lines[0].get_xdata()[0] == rows[i // 4, column]
    assert [len(line.axes) for line in figure.subfigs] == [4, 4]
    assert len(draw(3, conditions=1)[0].axes) == 3


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_conditions_of_very_different_widths_have_frames_of_their_own(dim):
    figure, *_ = draw(dim, spread=np.array([1e-3, 1.0, 1.0, 10.0]))
    widths = [np.ptp(ax.get_xlim()) for ax in figure.axes[:: dim if dim > 2 else 1]]
    assert 1e-3 < widths[0] < 1e-1 and 5 < widths[1] < 10 and widths[3] > 50


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_a_row_far_from_the_draws_is_told(dim):
    rows = np.column_stack([np.full((1, dim), 1e9), [[0.5]]])
    ax = draw(dim, conditions=1, rows=rows)[0].axes[0]
    assert ax.texts[0].get_text().startswith("row at 1e+09") and np.ptp(ax.get_xlim()) < 20


def test_draws_that_are_not_finite_are_counted():
    assert "not finite: 28 draws" in title(draw(1, lost=7)[0])
    assert "not finite: 3,200 draws" in title(draw(2, lost=800)[0])


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("scale", [1e307, 1e-308])
def test_numbers_of_any_size_are_drawn(dim, scale):
    rows = scale * np.random.default_rng(1).uniform(-1, 1, size=(2, dim + 1))
    save_figure(draw(dim, 2, spread=scale, rows=rows)[0], io.BytesIO(), "png")


def test_what_is_given_is_told_and_nothing_overlaps():
    names = [f"a column whose name is long {i}" for i in range(5)]
    roles = Roles(
        ["x", "y"],
        given_numbers=["$a$", *names],
        given_categories={"c": ["p"], "d": ["q"]},
    )
    rows = np.full((4, 10), 0.25)
    rows[:, 8:] = [0, -1]
    figure, *_ = draw(2, rows=rows, roles=roles)
    text = figure.axes[0].get_title().replace("\N{NO-BREAK SPACE}", " ").replace("\n", " ")
    assert text.startswith("$a$ = 0.25, a column ") and text.endswith("and 4 more")
    figure.draw_without_rendering()
    titles = [ax.title.get_window_extent() for ax in figure.axes]
    assert titles[0].x1 < titles[1].x0 and titles[2].x1 < titles[3].x0
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in titles)
    few = Roles(["x"], given_categories={"c": ["p"], "d": ["q"]})
    figure, *_ = draw(1, 1, rows=np.array([[0.0, 0, -1]]), roles=few)
    assert figure.axes[0].get_title().replace("\N{NO-BREAK SPACE}", " ") == "c = p, d = unknown"


def test_lines_of_conditions_do_not_overlap():
    figure, *_ = draw(5)
    figure.draw_without_rendering()
    lines = [line.get_tightbbox() for line in figure.subfigs]
    assert all(above.y0 >= below.y1 for above, below in pairwise(lines))
