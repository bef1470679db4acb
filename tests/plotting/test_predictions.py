"""Pictures of predictions: their points are shares that are known."""

import io

import numpy as np
import pytest
from pictures import title

from nflow_cli.config.kinds_schema import ColumnKind
from nflow_cli.plotting import Intervals, intervals_figure, levels_figure, save_figure
from nflow_cli.plotting.style import BLUE, ORANGE

N = 200


def number(type="decimal"):
    return ColumnKind(kind="number", type=type, why="")


def drawn(figure):
    save_figure(figure, io.BytesIO(), "png")
    return figure


def test_values_outside_of_their_interval_are_orange():
    y = np.linspace(1, 2, N)
    low, high = y - 0.1, np.where(np.arange(N) % 5 == 0, y - 0.05, y + 0.1)
    figure = drawn(intervals_figure("y", number(), y, Intervals(y, low, high, 0.9), "t"))
    left, right = figure.axes
    points = {
        line.get_color(): len(line.get_xdata()) for line in left.lines if line.get_ls() == "None"
    }
    assert points == {BLUE: 160, ORANGE: 40}
    (bars,) = right.containers
    np.testing.assert_allclose(bars.lines[0].get_ydata(), 0.8)
    assert "80.0% of 200 values inside" in title(figure)


@pytest.mark.parametrize("type", ["decimal", "date", "time"])
@pytest.mark.parametrize("n", [0, 1, 7])
def test_few_values_and_infinite_ends_are_drawn(n, type):
    y, ends = np.arange(n) * 1e4, np.full(n, np.inf)
    drawn(intervals_figure("y", number(type), y, Intervals(y, -ends, ends, 0.9), "t"))
    unknown = np.full(n, np.nan)
    drawn(intervals_figure("y", number(type), y, Intervals(unknown, unknown, unknown, 0.9), "t"))


def test_reliability_is_the_share_of_true_levels_by_probability():
    shares = np.tile([0.75, 0.25], (N, 1))
    codes = np.where(np.arange(N) % 4 == 0, 1.0, 0.0)
    figure = drawn(levels_figure("y", ["a", "b"], shares, codes, "t"))
    (bars,) = figure.axes[0].containers
    np.testing.assert_allclose(np.transpose(bars.lines[0].get_data()), [[0.25, 0.25], [0.75, 0.75]])
    assert {text.get_text() for text in figure.axes[1].texts} == {"150", "50"}
    assert "75.0% right" in title(figure)


@pytest.mark.parametrize("n", [0, 1])
def test_many_levels_and_new_ones_are_drawn(n):
    levels = [f"level $ {i}" for i in range(40)]
    shares = np.random.default_rng(0).dirichlet(np.ones(40), n)
    drawn(levels_figure("y", levels, shares, np.full(n, -1.0), "t"))
    drawn(levels_figure("y", levels, shares, np.full(n, 39.0), "t"))
