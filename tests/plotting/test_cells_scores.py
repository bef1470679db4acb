import numpy as np
import pytest
from pictures import placed, title

from nflow_cli.evaluation.pit import pit
from nflow_cli.plotting.cells_scores import CURVE, pit_figure, rows_figure
from nflow_cli.plotting.style import drawing

NAMES = ["a", "b", "c"]


def draw_pit(values, names=NAMES, weights=None):
    judged = pit(values, names, weights)
    with drawing():
        figure = pit_figure(values, judged, "mine.csv", weights)
    return placed(figure), judged


def draw_rows(rows, draws):
    with drawing():
        return placed(rows_figure(rows, draws, "mine.csv"))


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


def test_rows_beside_draws_are_shares_over_the_same_bins():
    rng = np.random.default_rng(0)
    rows, draws = -rng.gamma(3, 2, 500), -rng.gamma(3, 2, 2_000)
    (ax,) = draw_rows(rows, draws).axes
    (of_rows, edges, _), (of_draws, other, _) = (p.get_data() for p in ax.patches)
    np.testing.assert_array_equal(edges, other)
    np.testing.assert_allclose(of_rows, np.histogram(rows, edges)[0] / 500)
    np.testing.assert_allclose(of_draws, np.histogram(draws, edges)[0] / 2_000)


@pytest.mark.parametrize("rows", [np.empty(0), np.full(5, -np.inf), np.zeros(5), np.full(5, 1e300)])
def test_log_q_without_spread_is_drawn(rows):
    draw_rows(rows, rows)
