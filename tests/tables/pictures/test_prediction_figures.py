"""Pictures of predictions and of the weights of a fit to a density: shares that are known."""

import numpy as np
import pytest
from layouts import drawn
from pictures import title

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.inference.weight_figures import infer_figures
from nflow_cli.plotting.style import BLUE, ORANGE
from nflow_cli.tables.pictures.prediction_figures import Intervals, intervals_figure, levels_figure

N = 200


def number(type="decimal"):
    return ColumnKind(kind="number", type=type, why="")


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
def test_few_values_and_infinite_ends_are_drawn(type):
    for n in (0, 1, 7):
        y, ends, unknown = np.arange(n) * 1e4, np.full(n, np.inf), np.full(n, np.nan)
        for intervals in (Intervals(y, -ends, ends, 0.9), Intervals(*3 * [unknown], 0.9)):
            drawn(intervals_figure("y", number(type), y, intervals, "t"))


def test_reliability_is_the_share_of_true_levels_by_probability():
    shares = np.tile([0.75, 0.25], (N, 1))
    codes = np.where(np.arange(N) % 4 == 0, 1.0, 0.0)
    figure = drawn(levels_figure("y", ["a", "b"], shares, codes, "t"))
    (bars,) = figure.axes[0].containers
    np.testing.assert_allclose(np.transpose(bars.lines[0].get_data()), [[0.25, 0.25], [0.75, 0.75]])
    assert {text.get_text() for text in figure.axes[1].texts} == {"150", "50", "0"}
    assert "75.0% right" in title(figure)


def test_many_levels_and_new_ones_are_drawn():
    levels = [f"level $ {i}" for i in range(40)]
    for n in (0, 1):
        shares = np.random.default_rng(0).dirichlet(np.ones(40), n)
        for code in (-1.0, 39.0):
            drawn(levels_figure("y", levels, shares, np.full(n, code), "t"))


SUMMARY = {
    **{"flow": "spline-coupling + full affine", "k": 8, "target": "log_density"},
    **{"columns": ["rate", "share", "x"], "restarts": {"updates": []}},
    **{"kl": None, "kl_standard_error": 0.001, "free_energy": -1.6, "log_z": None},
    **{"has_exact_samples": False, "pareto_k": 0.31, "ess": 0.98},
}


def make_evaluation(dim=3, n=300, scale=1.0):
    rng = np.random.default_rng(0)
    tail = np.sort(-rng.exponential(scale, 50))
    tail -= tail[-1]
    return {
        **{"rows": rng.normal(size=(n, dim)), "samples": rng.normal(size=(n, dim))},
        **{"columns_shown": np.arange(dim), "tail": tail, "smooth_tail": tail - 0.1},
    }


METRICS = {
    "update": np.array([-20, 0, 20, 40]),
    **{name: np.array([3.0, 2.0, 1.0, 0.5]) for name in ("loss", "kl")},
    "beta": np.ones(4),
}


def draw(evaluation=None, **changes):
    return infer_figures(evaluation or make_evaluation(), METRICS, SUMMARY | changes)


def test_the_figures_name_the_density_and_what_the_weights_say():
    figures = draw()
    assert list(figures) == ["corner", "weights", "training"]
    for name in ("corner", "weights"):
        assert all(w in title(figures[name]) for w in ("log_density", "k-hat = 0.31", "98.0%"))


def test_the_weights_are_drawn_with_how_many_lie_above():
    (ax,) = draw()["weights"].axes
    dots, line = ax.lines
    evaluation = make_evaluation()
    np.testing.assert_allclose(dots.get_xdata(), np.exp(evaluation["tail"]))
    np.testing.assert_allclose(dots.get_ydata(), np.arange(50, 0, -1) - 0.5)
    np.testing.assert_allclose(line.get_xdata(), np.exp(evaluation["smooth_tail"]))
    assert ax.get_xscale() == ax.get_yscale() == "log"


@pytest.mark.parametrize(("scale", "lines"), [(0.02, 1), (0.3, 2)])
def test_weights_within_a_decade_have_plain_ticks_and_within_two_no_tail(scale, lines):
    evaluation = make_evaluation(scale=scale)
    figure = draw(evaluation)["weights"]
    (ax,) = figure.axes
    assert (len(ax.lines), ax.get_xscale()) == (lines, "linear")
    spread = np.exp(-evaluation["tail"][0])
    assert (f"within a factor of {spread:.2f}: no tail" in title(figure)) == (lines == 1)


def test_a_tail_that_is_not_finite_is_drawn():
    for value in (np.nan, -np.inf, -1e300):
        tails = {"tail": np.full(5, value), "smooth_tail": np.zeros(5)}
        figures = draw(make_evaluation(dim=1) | tails, pareto_k=None, ess=None, columns=["x"])
        assert figures["weights"].axes[0].texts[0].get_text() == "not finite"
