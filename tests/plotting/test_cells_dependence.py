import numpy as np
import pytest
from matplotlib.colors import to_rgb
from pictures import placed, title
from whole_tables import KINDS, cells

from nflow_cli.config.kinds_schema import ColumnKind
from nflow_cli.evaluation.association import associations
from nflow_cli.plotting.cells_dependence import dependence_figures
from nflow_cli.plotting.frames import SKY
from nflow_cli.plotting.style import ORANGE, drawing


def draw(names, rows, draws, kinds=KINDS):
    """Draw the columns of some names."""
    at = [list(kinds).index(name) for name in names]
    some = {name: kinds[name] for name in names}
    with drawing():
        figures = dependence_figures(some, rows[:, at], draws[:, at], "mine.csv")
    return {name: placed(figure) for name, figure in figures.items()}


@pytest.fixture(scope="module")
def figures():
    return draw(list(KINDS), cells(500), cells(800, 1))


def test_the_associations_of_rows_stand_beside_those_of_draws(figures):
    left, right, _ = figures["dependence"].axes
    found = associations(KINDS, cells(500), cells(800, 1))
    for ax, matrix in ((left, found.rows), (right, found.draws)):
        np.testing.assert_array_equal(ax.images[0].get_array(), matrix)
        assert [text.get_text() for text in ax.get_xticklabels()] == list(KINDS)
        assert (ax.images[0].norm.vmin, ax.images[0].norm.vmax) == (0, 1)


def test_numbers_are_dots_of_as_many_rows_as_draws_in_one_frame():
    rows, draws = cells(500), cells(800, 1)
    left, right = draw(["income", "rain"], rows, draws)["pairs"].axes
    both = np.isfinite(rows[:, 4])
    np.testing.assert_array_equal(left.lines[0].get_ydata(), rows[both, 3])
    assert len(right.lines[0].get_ydata()) == both.sum()
    colours = [to_rgb(ax.lines[0].get_color()) for ax in (left, right)]
    assert colours == [to_rgb(SKY), to_rgb(ORANGE)]
    assert left.get_xlim() == right.get_xlim() and left.get_ylim() == right.get_ylim()
    assert left.get_xscale() == "log"


def test_values_of_a_grid_are_spread_by_less_than_half_a_step():
    rows = cells(500)
    left, _ = draw(["half", "rain"], rows, rows)["pairs"].axes
    shifts = left.lines[0].get_xdata() - rows[:, 6]
    assert 0.1 < np.abs(shifts).max() < 0.25
    np.testing.assert_array_equal(left.lines[0].get_ydata(), rows[:, 3])


def test_a_number_at_each_level_is_a_box_of_its_quartiles():
    rows, draws = cells(500), cells(800, 1)
    (ax,) = draw(["species", "rain"], rows, draws)["pairs"].axes
    for values, colour in ((rows, SKY), (draws, ORANGE)):
        boxes = [p for p in ax.patches if to_rgb(p.get_facecolor()) == to_rgb(colour)]
        for level, box in enumerate(boxes):
            ends = np.quantile(values[values[:, 0] == level, 3], [0.25, 0.75])
            assert (box.get_x(), box.get_x() + box.get_width()) == pytest.approx(tuple(ends))
        assert len(boxes) == 3
    assert ax.get_xlabel() == "rain" and ax.get_ylabel() == "species"


def test_two_columns_of_levels_are_the_shares_of_their_pairs():
    rows, draws = cells(500), cells(800, 1)
    left, right = draw(["species", "answer"], rows, draws)["pairs"].axes
    for ax, values in ((left, rows), (right, draws)):
        shares = ax.images[0].get_array()
        assert shares.sum() == pytest.approx(100)
        both = np.mean((values[:, 0] == 2) & (values[:, 2] == 1))
        assert shares[1, 2] == pytest.approx(100 * both)
        assert shares[2].sum() == pytest.approx(100 * np.mean(np.isnan(values[:, 2])))
    assert left.images[0].norm.vmax == right.images[0].norm.vmax


def test_of_many_columns_the_most_dependent_are_in_the_matrix():
    kinds = {f"a long name of a column {i}": ColumnKind(kind="number") for i in range(60)}
    x = np.random.default_rng(0).normal(size=(300, 60))
    x[:, 40] = x[:, 55]
    figures = draw(list(kinds), x, x, kinds)
    left, *_ = figures["dependence"].axes
    assert len(left.get_xticks()) == 24
    assert "the 24 most dependent of 60 columns" in title(figures["dependence"])
    assert {"a long nam…column 40", "a long nam…column 55"} <= {
        text.get_text() for text in left.get_xticklabels()
    }


def test_one_column_has_no_dependence():
    assert draw(["rain"], cells(50), cells(50)) == {}


@pytest.mark.parametrize("picture", ["dependence", "pairs"])
def test_no_text_is_cut_off(figures, picture):
    figure = figures[picture]
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= 0


@pytest.mark.parametrize("names", [["rain", "time"], ["species", "day"], ["city", "answer"]])
def test_columns_that_are_all_missing_are_drawn(names):
    rows = cells(200)
    gaps = np.full_like(rows, np.nan)
    for pair in ((rows, gaps), (gaps, rows), (gaps, gaps), (rows, rows[:0]), (rows[:0], rows)):
        assert list(draw(names, *pair)) == ["dependence", "pairs"]
    assert draw(names, rows[:0], rows[:0]) == {}
