from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from pictures import title

from nflow_cli.config.roles import Roles
from nflow_cli.evaluation.calibration import Ranks, calibration
from nflow_cli.plotting.calibration import calibration_figure
from nflow_cli.plotting.style import ORANGE

SUMMARY = {"data": {"name": "folder/mine.csv"}, "flow": "spline-coupling", "k": 8}
ROLES = Roles(["x", "y"], given_numbers=["a", "b"], given_categories={"c": ["no", "yes"]})


def draw(roles=ROLES, n=500, seed=0, off=None, names=1):
    """Draw the picture of ranks that are uniform, but for the rows `off`."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, len(roles.columns)))
    for name, levels in roles.given_categories.items():
        rows[:, roles.places([name])] = rng.integers(len(levels), size=(n, 1))
    alphas = rng.random(n)
    if off is not None:
        alphas = np.where(off(rows), alphas**0.2, alphas)
    figures, arrays = calibration(Ranks(alphas, rng.random((n, roles.dim))), rows, roles)
    return calibration_figure(arrays, SUMMARY | figures, roles), figures["calibration"], arrays


def is_orange(artist):
    return to_rgb(artist.get_color()) == to_rgb(ORANGE)


def test_the_curves_are_drawn_less_their_level_beside_the_band():
    figure, facts, arrays = draw()
    left, middle, _ = figure.axes
    assert title(figure).startswith(
        "mine.csv, spline-coupling flow, K = 8, calibration by 500 test"
    )
    levels = np.linspace(0, 1, 101)
    np.testing.assert_allclose(left.lines[-1].get_ydata(), arrays["coverage"] - levels)
    thick = ROLES.numbers.index(facts["worst_column"])
    np.testing.assert_allclose(middle.lines[-1].get_ydata(), arrays["pit"][:, thick] - levels)
    for ax, name in ((left, "band"), (middle, "pit_band")):
        (box,) = (patch.get_bbox() for patch in ax.patches)
        assert (box.y0, box.y1) == pytest.approx((-facts[name], facts[name]))
        low, high = ax.get_ylim()
        assert low < min(line.get_ydata()[1:-1].min() for line in ax.lines[1:])
        assert high > max(line.get_ydata()[1:-1].max() for line in ax.lines[1:])
    assert middle.get_title().startswith(f"{facts['worst_column']}:\ndistance ")


def test_the_worst_bin_is_orange_and_each_bin_is_named():
    figure, facts, arrays = draw(off=lambda rows: rows[:, 4] == 1)
    ax = figure.axes[2]
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert len(names) == 12 and names[-2:] == ["c: no", "c: yes"]
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [is_orange(dot) for dot in dots] == 11 * [False] + [True]
    assert dots[-1].get_xdata()[0] == facts["worst_bin"]["covered"]
    bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches]
    np.testing.assert_allclose(bars, arrays["coverage_bins"][:, 5:7])


def test_of_many_bins_those_of_the_worst_columns_are_drawn():
    roles = Roles(["x"], given_numbers=[f"given {i}" for i in range(9)])
    figure, *_ = draw(roles, off=lambda rows: rows[:, 6] < -0.84)
    ax = figure.axes[2]
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert len(names) == 15 and "given 5" in {name.split(":")[0] for name in names}
    assert ax.get_title() == "15 of 45 bins; orange: the worst bin"


def test_without_a_column_a_panel_is_left_out():
    assert len(draw(Roles(["x", "y"]))[0].axes) == 2
    only_categories = Roles([], categories={"k": ["a", "b"]}, given_numbers=["a"])
    assert len(draw(only_categories)[0].axes) == 2
    assert "thick" not in title(draw(Roles(["x"]))[0])


def test_without_rows_the_panels_say_so():
    figure, *_ = draw(n=0)
    assert all("not finite" in [text.get_text() for text in ax.texts] for ax in figure.axes)


def test_nothing_overlaps():
    name = "a column whose name is long"
    levels = [f"a level whose name is long {i}" for i in range(10)]
    figure, *_ = draw(Roles([f"{name} $1$", f"{name} $2$"], given_categories={name: levels}))
    figure.draw_without_rendering()
    frames = [ax.get_tightbbox() for ax in figure.axes]
    assert all(a.x1 <= b.x0 for a, b in pairwise(frames))
    labels = [text.get_window_extent() for text in figure.axes[2].get_yticklabels()]
    assert all(above.y0 >= below.y1 for above, below in pairwise(labels))
    assert frames[-1].x1 <= figure.bbox.x1 and frames[0].x0 >= 0
