"""Pictures of a whole table: columns by themselves and by pairs, and their probabilities."""

import io

import numpy as np
import pytest
from layouts import assert_apart, assert_inside, drawn
from matplotlib.colors import to_rgb
from matplotlib.dates import num2date
from pictures import title
from whole_tables import KINDS, LONG, cells, column

from nflow_cli.config.column_kinds import ColumnKind, Lattice
from nflow_cli.evaluation.association import associations
from nflow_cli.plotting.style import ORANGE, SKY, drawing, save_figure
from nflow_cli.tables.pictures.cells_dependence import dependence_figures
from nflow_cli.tables.pictures.cells_marginals import marginals_figure
from nflow_cli.tables.pictures.table_figures import pit_figure, whole_table_figures
from nflow_cli.tables.scores.pit import LEVELS, distribution, pit

NUMBER = ColumnKind(kind="number")
MANY = {f"a long name of a column {i}": NUMBER for i in range(60)}


def marginals(kinds, rows, draws):
    with drawing():
        return marginals_figure(kinds, rows, draws, "mine.csv")


def dependence(names, rows, draws, kinds=KINDS):
    """Return the pictures of the columns of some names."""
    at = [list(kinds).index(name) for name in names]
    some = {name: kinds[name] for name in names}
    with drawing():
        return dependence_figures(some, rows[:, at], draws[:, at], "mine.csv")


def panel(name):
    """Return the axes of a column drawn alone, its rows and its draws."""
    kinds, rows = column(name)
    draws = column(name, 800, 1)[1]
    return drawn(marginals(kinds, rows, draws)).axes, rows[:, 0], draws[:, 0]


def bars(ax, colour):
    """Return the lengths of the bars of a colour, from above."""
    mine = [p for p in ax.patches if to_rgb(p.get_facecolor()) == to_rgb(colour)]
    return [p.get_width() for p in sorted(mine, key=lambda p: p.get_y())]


def histograms(ax):
    """Return heights and edges of the histogram of rows, and of that of draws."""
    return [stairs.get_data()[:2] for stairs in ax.patches if hasattr(stairs, "get_data")]


def level_names(ax):
    return [text.get_text() for text in ax.get_yticklabels()]


def assert_panels_apart(figure):
    boxes = [ax.get_tightbbox().padded(-1) for ax in figure.axes if ax.get_xlabel()]
    assert_apart([*boxes, figure.legends[0].get_window_extent()])


def column_names(figure):
    return [ax.get_xlabel().split("\n")[0] for ax in figure.axes if ax.get_xlabel()]


@pytest.fixture(scope="module")
def every():
    """Return the pictures of every kind of column, of which the first two are given."""
    return whole(KINDS, cells(500), cells(800, 1), given=2)


def whole(kinds, rows, draws, given=0):
    modelled = list(kinds)[given:]
    values = np.random.default_rng(0).random((len(rows), len(modelled)))
    evaluation = {"rows": rows, "draws": draws, "pit": distribution(values)}
    judged = pit(values, modelled)
    return whole_table_figures(kinds, evaluation, judged, "mine.csv", n_given=given)


def test_a_table_has_four_pictures_with_given_columns_in_the_dependence_alone(every):
    assert list(every) == ["marginals", "dependence", "pairs", "pit"]
    assert column_names(every["marginals"]) == list(KINDS)[2:]
    left, right, _ = every["dependence"].axes
    found = associations(KINDS, cells(500), cells(800, 1))
    for ax, matrix in ((left, found.rows), (right, found.draws)):
        np.testing.assert_array_equal(ax.images[0].get_array(), matrix)
        assert [text.get_text() for text in ax.get_xticklabels()] == list(KINDS)
        assert (ax.images[0].norm.vmin, ax.images[0].norm.vmax) == (0, 1)
    for figure in every.values():
        assert_inside(figure)
    assert_panels_apart(every["marginals"])


def test_one_column_has_no_dependence():
    assert list(whole({"x": NUMBER}, cells(50)[:, 4:5], cells(50)[:, 4:5])) == ["marginals", "pit"]


def test_of_many_columns_those_that_differ_or_depend_most_are_drawn():
    x, y = np.random.default_rng(0).normal(size=(2, 300, 60))
    y[:, 40] += 3
    figure = marginals(MANY, x, y)
    assert_inside(figure)
    assert_panels_apart(figure)
    assert len(figure.axes) == 24 and "24 columns that differ most of 60" in title(figure)
    assert any(name.endswith("column 40") for name in column_names(figure))
    x[:, 40] = x[:, 55]
    figure = dependence(list(MANY), x, x, MANY)["dependence"]
    assert len(figure.axes[0].get_xticks()) == 24 and "24 most dependent of 60" in title(figure)
    assert_inside(figure)
    shown = {text.get_text() for text in figure.axes[0].get_xticklabels()}
    assert {"a long nam…column 40", "a long nam…column 55"} <= shown


def test_levels_are_bars_as_long_as_their_shares():
    (ax,), rows, draws = panel("species")
    for values, colour in ((rows, SKY), (draws, ORANGE)):
        assert bars(ax, colour) == pytest.approx([np.mean(values == i) for i in range(3)])
    assert level_names(ax)[:2] == ["Adelie", "Gentoo"] and len(level_names(ax)[2]) < 20 < len(LONG)
    kinds, rows = column("species")
    (ax,) = marginals(kinds, rows, rows[rows[:, 0] != 1]).axes  # one of them is never drawn
    assert bars(ax, SKY)[1] > 0.2 and bars(ax, ORANGE)[1] == 0


def test_gaps_new_levels_and_rare_ones_have_bars_of_their_own():
    (ax,), rows, _ = panel("city")
    assert len(level_names(ax)) == 14 and level_names(ax)[-2:] == ["other levels", "new level"]
    assert bars(ax, SKY)[-1] == pytest.approx(np.mean(rows == -1))
    assert sum(bars(ax, SKY)) == pytest.approx(1)
    (ax,), rows, _ = panel("answer")
    assert level_names(ax) == ["no", "yes", "missing"]
    assert bars(ax, SKY)[-1] == pytest.approx(np.mean(np.isnan(rows)))


def test_rows_and_draws_are_counted_in_the_same_bins():
    (ax,), rows, _ = panel("time")
    (of_rows, edges), (of_draws, other) = histograms(ax)
    np.testing.assert_array_equal(edges, other)
    days = rows / 86_400
    np.testing.assert_allclose(of_rows, np.histogram(days, edges)[0] / len(rows))
    assert of_draws.sum() == pytest.approx(1)


def test_the_bins_of_a_grid_are_whole_steps_about_its_values():
    for name, step, offset in [("half", 0.5, 0.25), ("day", 1, 0)]:
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
    # Of a grid drawn value by value they are bars like others.
    coarse = ColumnKind(kind="grid", lattice=Lattice(step=1), atoms=[2.0])
    rows = np.repeat([0.0, 1, 2, 3, 4], [10, 20, 60, 20, 10])[:, None]
    (ax,) = marginals({"x": coarse}, rows, rows).axes
    np.testing.assert_allclose(histograms(ax)[0][0][:5], [1 / 12, 1 / 6, 1 / 2, 1 / 6, 1 / 12])


def test_missing_cells_are_bars_beside_the_panel():
    (ax,), rows, draws = panel("income")
    (beside,) = ax.child_axes
    heights = [bar.get_height() for bar in beside.patches]
    assert heights == pytest.approx([np.mean(np.isnan(rows)), np.mean(np.isnan(draws))])
    # A positive and skewed column is spaced by powers, and others are not.
    assert ax.get_xscale() == "log"
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


def test_what_lies_out_of_the_frame_is_counted_with_its_range_and_does_not_widen_it():
    kinds, rows = column("time")
    far = np.array(["2150-03-01", "2161-11-30"], "datetime64[s]").astype(float)
    (ax,) = marginals(kinds, rows, np.concatenate([rows, far[:, None]])).axes
    assert ax.get_title(loc="left") == "outside: 2 of the draws,\n2150-03-01 to 2161-11-30"
    assert np.diff(ax.get_xlim()) < 30
    rows = np.random.default_rng(0).normal(200_000, 1_000, (300, 1))
    draws = np.concatenate([rows, [[-5_234_000.0], [5_812_000.0]]])
    (ax,) = marginals({"price": NUMBER}, rows, draws).axes
    assert ax.get_title(loc="left") == "outside: 2 of the draws,\n−5,200,000 to 5,800,000"


def test_numbers_are_dots_of_as_many_rows_as_draws_in_one_frame():
    rows, draws = cells(500), cells(800, 1)
    left, right = dependence(["income", "rain"], rows, draws)["pairs"].axes
    both = np.isfinite(rows[:, 4])
    np.testing.assert_array_equal(left.lines[0].get_ydata(), rows[both, 3])
    assert len(right.lines[0].get_ydata()) == both.sum()
    colours = [to_rgb(ax.lines[0].get_color()) for ax in (left, right)]
    assert colours == [to_rgb(SKY), to_rgb(ORANGE)]
    assert left.get_xlim() == right.get_xlim() and left.get_ylim() == right.get_ylim()
    assert left.get_xscale() == "log"
    # Values of a grid are spread by less than half a step.
    left, _ = dependence(["half", "rain"], rows, rows)["pairs"].axes
    shifts = left.lines[0].get_xdata() - rows[:, 6]
    assert 0.1 < np.abs(shifts).max() < 0.25
    np.testing.assert_array_equal(left.lines[0].get_ydata(), rows[:, 3])


def test_a_number_at_each_level_is_a_box_of_its_quartiles():
    rows, draws = cells(500), cells(800, 1)
    (ax,) = dependence(["species", "rain"], rows, draws)["pairs"].axes
    for values, colour in ((rows, SKY), (draws, ORANGE)):
        boxes = [p for p in ax.patches if to_rgb(p.get_facecolor()) == to_rgb(colour)]
        for level, box in enumerate(boxes):
            ends = np.quantile(values[values[:, 0] == level, 3], [0.25, 0.75])
            extent = box.get_path().get_extents()
            assert (extent.x0, extent.x1) == pytest.approx(tuple(ends))
        assert len(boxes) == 3
    assert ax.get_xlabel() == "rain" and ax.get_ylabel() == "species"


def test_two_columns_of_levels_are_the_shares_of_their_pairs():
    rows, draws = cells(500), cells(800, 1)
    left, right = dependence(["species", "answer"], rows, draws)["pairs"].axes
    for ax, values in ((left, rows), (right, draws)):
        shares = ax.images[0].get_array()
        assert shares.sum() == pytest.approx(100)
        both = np.mean((values[:, 0] == 2) & (values[:, 2] == 1))
        assert shares[1, 2] == pytest.approx(100 * both)
        assert shares[2].sum() == pytest.approx(100 * np.mean(np.isnan(values[:, 2])))
    assert left.images[0].norm.vmax == right.images[0].norm.vmax


def test_columns_that_are_all_missing_or_without_rows_are_drawn():
    rows = cells(60)
    gaps = np.full_like(rows, np.nan)
    for one, other, side in [(gaps, rows, "rows"), (rows, gaps, "draws"), (gaps, gaps, "rows or")]:
        figure = drawn(marginals(KINDS, one, other))
        notes = [text.get_text() for ax in figure.axes for text in ax.texts]
        numbers = sum(kind.kind != "levels" for kind in KINDS.values())
        assert sum(f"no values in {side}" in note for note in notes) == numbers
    for names in (["rain", "time"], ["species", "day"], ["city", "answer"]):
        for pair in ((rows, gaps), (gaps, gaps), (rows[:0], rows)):
            figures = dependence(names, *pair)
            assert list(figures) == ["dependence", "pairs"]
            drawn(figures["pairs"])
        assert dependence(names, rows[:0], rows[:0]) == {}


def test_constants_of_any_size_are_drawn():
    rows, some = cells(100), {name: KINDS[name] for name in ("rain", "half", "day", "time")}
    rows = rows[:, [list(KINDS).index(name) for name in some]]
    for value in (0.0, -1e300, 1e-300):
        drawn(marginals(some, np.full_like(rows, value), rows))
        drawn(marginals(some, rows, np.full_like(rows, value)))


def draw_pit(values, names=("a", "b", "c"), weights=None):
    judged = pit(values, list(names), weights)
    with drawing():
        return pit_figure(distribution(values, weights), judged, "mine.csv"), judged


def uniform(n=400, dim=3):
    return np.random.default_rng(0).random((n, dim))


def test_the_curves_of_the_pit_are_shares_less_the_level_and_the_worst_column_is_named():
    u = uniform()
    u[:, 1] **= 1.5
    figure, judged = draw_pit(u)
    left, right = figure.axes
    curves = [line for line in left.lines if len(line.get_xdata()) == len(LEVELS)]
    assert len(curves) == 4  # the worst is drawn again
    expected = (u[:, 1, None] <= LEVELS).mean(axis=0) - LEVELS
    np.testing.assert_allclose(curves[-1].get_ydata(), expected, atol=1e-12)
    (box,) = (patch.get_bbox() for patch in left.patches)
    assert (box.y0, box.y1) == pytest.approx((-judged.columns["a"].band, judged.columns["a"].band))
    assert "thick: b" in title(figure) and level_names(right)[0] == "b"


def test_weights_count_in_the_curves_of_the_pit():
    u, weights = uniform(), np.repeat([1.0, 0.0], 200)
    figure, half = draw_pit(u, weights=weights)[0], draw_pit(u[:200])[0]
    for one, other in zip(figure.axes[0].lines, half.axes[0].lines, strict=True):
        np.testing.assert_allclose(one.get_ydata(), other.get_ydata(), atol=1e-12)


def test_the_largest_of_many_distances_are_bars_and_one_column_needs_none():
    figure, judged = draw_pit(uniform(dim=60), MANY)
    _, right = figure.axes
    assert right.get_title() == "the largest 16 of 60"
    assert right.patches[16].get_width() == max(c.distance for c in judged.columns.values())
    assert len(draw_pit(uniform(dim=1), ["x"])[0].axes) == 1


def test_names_of_a_stranger_are_drawn():
    names = ["5 $ each$", r"\$\frac{1}{0}$", "a\x1b[31m\nb", "住宅", "", "x" * 1_000]
    levels = ColumnKind(kind="levels", levels=[*names[:4], "y" * 1_000])
    rows = np.random.default_rng(0).integers(0, 5, (100, len(names))).astype(float)
    for kind in (levels, NUMBER):
        for figure in whole(dict.fromkeys(names, kind), rows, rows).values():
            drawn(figure)


def test_equal_arrays_give_equal_files():
    rows, files = cells(100), [io.BytesIO(), io.BytesIO()]
    for file in files:  # values of a grid are spread at random
        save_figure(dependence(["half", "rain"], rows, rows)["pairs"], file, "svg")
    assert files[0].getvalue() == files[1].getvalue()
