import numpy as np
import pytest
from layouts import assert_apart, assert_inside, drawn
from pictures import panels, placed

from nflow_cli.plotting.style import COLOURS
from nflow_cli.sweeps.comparison_figures import (
    MARKERS,
    MOST_IN_A_ROW,
    Curve,
    Density,
    Series,
    courses_figure,
    densities_figure,
    spread_figure,
)

AXIS = np.linspace(-4, 4, 40)
KS = [0, 2, 8, 32]


def series(name="planar", scale=1.0, ks=KS, words=None):
    scores = np.outer(scale / (1 + np.asarray(ks, float)), [0.5, 1, 3]).tolist()
    return Series(name, ks, scores, words or ["" for _ in ks])


def density(title, axis=AXIS):
    first, second = np.meshgrid(axis, axis)
    return Density(title, axis, -(first**2 + second**2) / 2 - np.log(2 * np.pi))


def assert_parts_apart(figure):
    """Check that no panel, title or legend covers another."""
    placed(figure)
    boxes = [part.get_window_extent() for part in (*figure.texts, *figure.legends)]
    boxes += [ax.get_tightbbox() for ax in figure.axes]
    assert_apart([box.shrunk(0.98, 0.98) for box in boxes])


def test_each_target_has_a_panel_over_k():
    panels = {f"u{n}": [series(), series("radial", 2.0)] for n in range(5)}
    figure = spread_figure(panels, "KL (nats)", seeds=5)
    assert [ax.get_title() for ax in figure.axes] == list(panels)
    for ax in figure.axes:
        assert ax.get_xticks().tolist() == KS
        assert ax.get_yscale() == "log"
    assert_parts_apart(figure)
    one = spread_figure({"u1": [series(ks=[8])]}, "KL (nats)", seeds=1)
    assert drawn(one).axes[0].get_xticks().tolist() == [8]
    many = spread_figure({"u1": [series(ks=list(range(40)))]}, "KL (nats)", seeds=1)
    assert len(drawn(many).axes[0].get_xticks()) == 8


def test_each_fit_is_a_dot_and_a_line_joins_the_medians():
    """Of two fits at one K their median, where no fit is, is no mark."""
    scores = [[0.8, 0.3, 0.4, 0.7], [0.1, 0.2, 0.3]]
    for ks in ([2], [2, 4]):
        line = Series("planar", ks, scores[: len(ks)], [""] * len(ks))
        (ax,) = spread_figure({"u1": [line]}, "KL (nats)", seeds=4).axes
        medians, dots = ax.lines
        assert dots.get_linestyle() == "None" and medians.get_marker() == "None"
        expected = [[k, score] for k, some in zip(ks, scores) for score in some]
        places = dots.get_xydata()
        np.testing.assert_array_equal(places[:, 1], np.array(expected)[:, 1])
        np.testing.assert_allclose(places[:, 0], np.array(expected)[:, 0], rtol=0.15)
        assert len({*places[:, 0]}) == len(places)  # equal scores do not hide each other
        np.testing.assert_allclose(medians.get_ydata(), [0.55, 0.2][: len(ks)])


def test_a_series_keeps_its_colour_and_marker_where_others_are_missing():
    panels = {"u1": [series(), series("radial")], "u2": [series("radial")]}
    figure = spread_figure(panels, "KL (nats)", seeds=1)
    second = figure.axes[1].lines[-1]
    assert (second.get_color(), second.get_marker()) == (COLOURS[1], MARKERS[1])


@pytest.mark.parametrize(("count", "panels"), [(2, 4), (9, 1)])
def test_long_names_stay_in_the_picture(count, panels):
    text = "planar, train.annealing.updates = 10000, train.learning_rate = "
    names = [f"{text}0.{n}" for n in range(1, count + 1)]
    figure = spread_figure(
        {f"u{n}": [series(name) for name in names] for n in range(panels)}, "KL (nats)", seeds=1
    )
    (legend,) = figure.legends
    assert [" ".join(t.get_text().split()) for t in legend.get_texts()] == names
    box = legend.get_window_extent(placed(figure).canvas.get_renderer())
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1
    assert_parts_apart(figure)
    assert all(ax.get_window_extent().height > 100 for ax in figure.axes)


def test_the_scale_fits_the_values():
    for values, scale in [
        ([90.0, 88.0, 87.0, 86.0], "linear"),
        ([0.0, 0.0, 0.0, 0.0], "linear"),
        ([0.1, 0.01, -1e-5, 1e-3], "symlog"),
    ]:
        line = Series("planar", KS, [[value] for value in values], [""] * len(KS))
        figure = spread_figure({"u1": [line]}, "KL (nats)", seeds=1)
        assert drawn(figure).axes[0].get_yscale() == scale


def test_a_dollar_sign_is_a_dollar_sign():
    drawn(spread_figure({"a$b_$": [series("data.name = $x_$")]}, "KL (nats)", seeds=1))
    figure = densities_figure({"a$b_$": [density("target"), density("data.name = $x_$")]})
    drawn(figure)


def test_a_row_is_a_target_and_its_fits_on_one_scale():
    narrow = np.linspace(-3, 3, 30)
    targets = {
        "u1": [density("target"), density("planar, K = 2"), density("planar, K = 8")],
        "u2": [density("target", narrow), density("planar, K = 2", narrow)],
    }
    figure = densities_figure(targets)
    shown = panels(figure)
    assert len(shown) == 5 and len(figure.axes) == 6  # with the bar, and no empty ones
    for ax in shown:
        assert ax.get_aspect() == 1 and len(ax.images) == 1
        assert (ax.images[0].norm.vmin, ax.images[0].norm.vmax) == (0, 1)
        assert ax.images[0].get_array().max() == pytest.approx(1, rel=0.02)
    assert_parts_apart(figure)
    # The bar says whether a fit is above the peak of its target.
    for height, extend in [(3.0, "max"), (0.5, "neither")]:
        fit = Density("planar, K = 2", AXIS, density("").log_density + np.log(height))
        figure = densities_figure({"u1": [density("target"), fit]})
        assert panels(figure)[0].images[0].colorbar.extend == extend


def test_more_fits_than_fit_are_on_more_rows_and_their_titles_stay_apart():
    text = "planar, annealing.updates = 10000, learning_rate = 0.1, restarts = 8, K = "
    fits = [density(f"{text}{k}") for k in range(MOST_IN_A_ROW * 4 - 5)]
    figure = densities_figure({"u1": [density("target"), *fits]})
    titles = [" ".join(ax.get_title().split()) for ax in panels(figure)]
    assert titles.count("target") == 4
    assert [title for title in titles if title != "target"] == [fit.title for fit in fits]
    assert_parts_apart(figure)
    assert_inside(figure)
    assert all(ax.get_window_extent().height > 100 for ax in panels(figure))


@pytest.mark.parametrize(("at", "scale"), [(0, 1e9), (3, 1.0), (3, 1e9)])
def test_the_word_of_a_warning_stays_in_its_panel(at, scale):
    words = ["doubtful" if i == at else "" for i in range(4)]
    panels = {"u1": [series()], "u2": [series(scale=scale, words=words)], "u3": [series()]}
    figure = spread_figure(panels, "KL (nats)", seeds=1)
    renderer = placed(figure).canvas.get_renderer()
    ax = figure.axes[1]
    (note,) = [text for text in ax.texts if text.get_text()]
    box, panel = note.get_window_extent(renderer), ax.get_window_extent(renderer)
    assert panel.x0 <= box.x0 and box.x1 <= panel.x1 and panel.y0 <= box.y0 and box.y1 <= panel.y1


STEPS = np.arange(500, 20_001, 500)


def curve(name, seed=0, scale=1.0):
    noise = np.random.default_rng(seed).normal(size=len(STEPS))
    return Curve(name, STEPS, scale * np.exp(-STEPS / 4_000 + 0.1 * noise))


def test_runs_of_one_name_have_one_colour_and_one_entry_of_the_legend():
    curves = [curve("planar, K = 2"), curve("planar, K = 2", 1), curve("radial, K = $8$", 2)]
    panels = {f"u{n}": curves for n in range(3)}
    figure = courses_figure(panels, "KL (nats)", "update (logarithmic)", "a note")
    for ax in figure.axes:
        assert ax.get_xscale() == ax.get_yscale() == "log"
        one, same, other = ax.lines
        assert one.get_color() == same.get_color() != other.get_color()
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["planar, K = 2", r"radial, K = \$8\$"]
    assert_parts_apart(figure)


def test_of_a_course_what_is_finite_is_drawn():
    lost = curve("planar, K = 2")
    lost.values[5:] = np.nan
    nothing = Curve("radial, K = 2", STEPS, np.full(len(STEPS), np.inf))
    figure = courses_figure({"u1": [lost, nothing]}, "KL (nats)", "update")
    assert [len(line.get_xdata()) for line in drawn(figure).axes[0].lines] == [5, 0]


def test_twenty_courses_look_different():
    curves = [curve(f"rate {n}", n) for n in range(20)]
    (ax,) = courses_figure({"u1": curves}, "KL (nats)", "update").axes
    assert len({(line.get_color(), line.get_linestyle()) for line in ax.lines}) == 20
