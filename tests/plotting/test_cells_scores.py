import numpy as np
import pytest
from pictures import placed, title

from nflow_cli.evaluation.pit import pit
from nflow_cli.plotting.cells_scores import CURVE, pit_figure
from nflow_cli.plotting.style import drawing

NAMES = ["a", "b", "c"]


def draw_pit(values, names=NAMES, weights=None):
    judged = pit(values, names, weights)
    with drawing():
        figure = pit_figure(values, judged, "mine.csv", weights)
    return placed(figure), judged


def uniform(n=400, dim=3):
    return np.random.default_rng(0).random((n, dim))


def test_the_curves_are_shares_less_the_level_and_the_worst_column_is_thick_and_named():
    u = uniform()
    u[:, 1] **= 1.5
    figure, judged = draw_pit(u)
    left, right = figure.axes
    curves = [line for line in left.lines if len(line.get_xdata()) == len(CURVE)]
    assert len(curves) == 4  # the worst is drawn again
    expected = (u[:, 1, None] <= CURVE).mean(axis=0) - CURVE
    np.testing.assert_allclose(curves[-1].get_ydata(), expected, atol=1e-12)
    assert "thick: b" in title(figure) and "grey: 99% band of chance" in title(figure)
    (box,) = (patch.get_bbox() for patch in left.patches)
    assert (box.y0, box.y1) == pytest.approx((-judged.columns["a"].band, judged.columns["a"].band))
    assert right.get_yticklabels()[0].get_text() == "b"


def test_weights_count_in_the_curves():
    u, weights = uniform(), np.repeat([1.0, 0.0], 200)
    figure, _ = draw_pit(u, weights=weights)
    half, _ = draw_pit(u[:200])
    for one, other in zip(figure.axes[0].lines, half.axes[0].lines, strict=True):
        np.testing.assert_allclose(one.get_ydata(), other.get_ydata(), atol=1e-12)


def test_the_largest_of_many_distances_are_bars_and_one_column_needs_none():
    names = [f"a long name of a column {i}" for i in range(60)]
    figure, judged = draw_pit(uniform(dim=60), names)
    _, right = figure.axes
    assert right.get_title() == "the largest 16 of 60"
    assert right.patches[16].get_width() == max(c.distance for c in judged.columns.values())
    assert len(draw_pit(uniform(dim=1), ["x"])[0].axes) == 1
