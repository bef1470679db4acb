from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.dates import num2date
from pictures import placed, title
from whole_tables import KINDS, LONG, cells, column

from nflow_cli.config.kinds_schema import ColumnKind, Lattice
from nflow_cli.plotting.cells_marginals import marginals_figure
from nflow_cli.plotting.frames import SKY
from nflow_cli.plotting.style import ORANGE, drawing


def draw(kinds, rows, draws):
    with drawing():
        return placed(marginals_figure(kinds, rows, draws, "mine.csv"))


def panel(name, draws_seed=1):
    kinds, rows = column(name)
    draws = column(name, 800, draws_seed)[1]
    return draw(kinds, rows, draws).axes, rows[:, 0], draws[:, 0]


def bars(ax, colour):
    """Return the lengths of the bars of a colour, from above."""
    mine = [p for p in ax.patches if to_rgb(p.get_facecolor()) == to_rgb(colour)]
    return [p.get_width() for p in sorted(mine, key=lambda p: p.get_y())]


def histograms(ax):
    """Return heights and edges of the histogram of rows, and of that of draws."""
    return [stairs.get_data()[:2] for stairs in ax.patches if hasattr(stairs, "get_data")]


def test_every_column_has_a_panel_in_the_order_of_the_table(every):
    names = [ax.get_xlabel().split("\n")[0] for ax in every.axes if ax.get_xlabel()]
    assert names == list(KINDS)


def test_levels_are_bars_as_long_as_their_shares():
    (ax,), rows, draws = panel("species")
    for values, colour in ((rows, SKY), (draws, ORANGE)):
        assert bars(ax, colour) == pytest.approx([np.mean(values == i) for i in range(3)])
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert names[:2] == ["Adelie", "Gentoo"] and len(names[2]) < 20 < len(LONG)


def test_gaps_new_levels_and_rare_ones_have_bars_of_their_own():
    (ax,), rows, _ = panel("city")
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert len(names) == 14 and names[-2:] == ["other levels", "new level"]
    assert bars(ax, SKY)[-1] == pytest.approx(np.mean(rows == -1))
    assert sum(bars(ax, SKY)) == pytest.approx(1)
    (ax,), rows, _ = panel("answer")
    assert [text.get_text() for text in ax.get_yticklabels()] == ["no", "yes", "missing"]
    assert bars(ax, SKY)[-1] == pytest.approx(np.mean(np.isnan(rows)))


def test_a_level_that_is_never_drawn_has_no_bar_of_draws():
    kinds, rows = column("species")
    (ax,) = draw(kinds, rows, rows[rows[:, 0] != 1]).axes
    assert bars(ax, SKY)[1] > 0.2 and bars(ax, ORANGE)[1] == 0


def test_rows_and_draws_are_counted_in_the_same_bins():
    (ax,), rows, _ = panel("time")
    (of_rows, edges), (of_draws, other) = histograms(ax)
    np.testing.assert_array_equal(edges, other)
    days = rows / 86_400
    np.testing.assert_allclose(of_rows, np.histogram(days, edges)[0] / len(rows))
    assert of_draws.sum() == pytest.approx(1)


@pytest.mark.parametrize(("name", "step", "offset"), [("half", 0.5, 0.25), ("day", 1, 0)])
def test_the_bins_of_a_grid_are_whole_steps_about_its_values(name, step, offset):
    (ax,), rows, draws = panel(name)
    _, edges = histograms(ax)[0]
    steps = (edges - offset) / step - 0.5
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
    assert len(set(np.rint(np.diff(steps)))) == 1
    assert edges[0] < min(rows.min(), draws.min()) and edges[-1] > max(rows.max(), draws.max())


def test_atoms_are_spikes_as_high_as_their_shares_and_not_in_the_histogram():
    (ax, spikes), rows, draws = panel("rain")
    heights = [line.get_ydata()[0] for line in spikes.lines]
    assert heights == pytest.approx([np.mean(rows == 0), np.mean(draws == 0)])
    assert histograms(ax)[0][0].sum() == pytest.approx(np.mean(rows > 0), abs=0.02)


def test_an_atom_of_a_grid_drawn_value_by_value_is_a_bar_like_others():
    coarse = ColumnKind(kind="grid", lattice=Lattice(step=1), atoms=[2.0])
    rows = np.repeat([0.0, 1, 2, 3, 4], [10, 20, 60, 20, 10])[:, None]
    (ax,) = draw({"x": coarse}, rows, rows).axes
    np.testing.assert_allclose(histograms(ax)[0][0][:5], [1 / 12, 1 / 6, 1 / 2, 1 / 6, 1 / 12])


def test_missing_cells_are_bars_beside_the_panel():
    (ax,), rows, draws = panel("income")
    (beside,) = ax.child_axes
    heights = [bar.get_height() for bar in beside.patches]
    assert heights == pytest.approx([np.mean(np.isnan(rows)), np.mean(np.isnan(draws))])


def test_a_positive_and_skewed_column_is_spaced_by_powers_and_others_are_not():
    assert panel("income")[0][0].get_xscale() == "log"
    assert {panel(name)[0][0].get_xscale() for name in ("rain", "age", "time")} == {"linear"}


def test_dates_are_on_an_axis_of_dates():
    (ax,), rows, _ = panel("day")
    ticks = [tick for tick in ax.get_xticklabels() if tick.get_text()]
    for tick in ticks:  # the first day of the year that is written there
        at = num2date(tick.get_position()[0])
        assert (str(at.year), at.month, at.day) == (tick.get_text(), 1, 1)
    low, high = ax.get_xlim()
    assert sum(low <= tick.get_position()[0] <= high for tick in ticks) >= 2
    assert low < rows.min() and high > rows.max()


def test_what_lies_out_of_the_frame_is_counted_and_does_not_widen_it():
    kinds, rows = column("time")
    draws = rows.copy()
    draws[:7] = 1e12
    (ax,) = draw(kinds, rows, draws).axes
    assert ax.get_title() == "outside the frame: 7 of the draws"
    assert np.diff(ax.get_xlim()) < 30


@pytest.fixture(scope="module")
def every():
    return draw(KINDS, cells(500), cells(800, 1))


@pytest.fixture(scope="module")
def many():
    kinds = {f"a long name of a column {i}": ColumnKind(kind="number") for i in range(60)}
    x, y = np.random.default_rng(0).normal(size=(2, 300, 60))
    y[:, 40] += 3
    return draw(kinds, x, y)


def test_of_many_columns_those_that_differ_most_are_drawn_and_others_named(many):
    assert len(many.axes) == 24
    assert "the 24 columns that differ most of 60" in title(many)
    assert any(ax.get_xlabel().endswith("column 40") for ax in many.axes)


@pytest.mark.parametrize("picture", ["every", "many"])
def test_no_text_is_cut_off_and_no_panels_overlap(picture, request):
    figure = request.getfixturevalue(picture)
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= 0
    boxes = [ax.get_tightbbox().padded(-1) for ax in figure.axes if ax.get_xlabel()]
    boxes.append(figure.legends[0].get_window_extent())
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("side", ["rows", "draws", "both"])
def test_a_column_that_is_all_missing_is_drawn(name, side):
    kinds, rows = column(name)
    empty = np.full_like(rows, np.nan)
    figure = draw(kinds, rows if side == "draws" else empty, rows if side == "rows" else empty)
    if KINDS[name].kind != "levels":
        notes = [text.get_text() for text in figure.axes[0].texts]
        assert notes == [f"no values in {'rows or draws' if side == 'both' else side}"]


@pytest.mark.parametrize("value", [0.0, 1e300, -1e300, 1e-300])
@pytest.mark.parametrize("name", ["rain", "half", "day", "time"])
def test_a_constant_of_any_size_is_drawn(name, value):
    kinds, rows = column(name)
    draw(kinds, np.full_like(rows, value), rows)
    draw(kinds, rows, np.full_like(rows, value))
