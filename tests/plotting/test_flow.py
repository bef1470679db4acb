import numpy as np
import pytest
from pictures import gaussian, panels, placed

from nflow_cli.plotting import flow_figure, save_figure

AXIS = np.linspace(-4, 4, 40)
SUMMARY = {"flow": "planar", "k": 8, "target": "u1"}
DRAWS = np.random.default_rng(0).standard_normal((400, 2))
LINES = np.stack([np.stack([np.full(9, at), np.linspace(-4, 4, 9)], axis=-1) for at in (-1, 1)])
PLANAR = {"w": np.array([2.0, 1.0]), "b": np.array(0.5), "u_hat": np.array([1.0, -0.5])}
RADIAL = {
    "center": np.array([1.0, 0.0]),
    **{"alpha": np.array(0.75), "beta_hat": np.array(-0.3)},
}


def draw(geometry, names=("flow 3 of 8 (planar)",)):
    arrays = {
        **{"axis_1": AXIS, "axis_2": AXIS},
        **{"log_before": gaussian(AXIS, AXIS), "log_after": gaussian(AXIS, AXIS, 0.5, 0.8)},
        **{"draws_before": DRAWS, "draws_after": 0.8 * DRAWS + 0.5},
        **{"lines": LINES, "lines_after": LINES + 0.5, **geometry},
    }
    return flow_figure(arrays, SUMMARY, 3, names)


def middle(figure):
    return figure.axes[1]


def labelled(ax, label):
    return [line for line in ax.lines if line.get_label() == label]


def test_the_densities_before_and_after_have_one_colour_scale(tmp_path):
    figure = draw(PLANAR)
    before, after = panels(figure)
    assert before.images[0].norm is after.images[0].norm
    save_figure(figure, tmp_path / "flow.svg", "svg")


def test_every_point_of_the_line_is_on_the_hyperplane_and_the_arrow_is_u_hat():
    ax = middle(draw(PLANAR))
    (line,) = labelled(ax, "w·z + b = 0")
    for point in (line.get_xy1(), line.get_xy2()):
        assert np.dot(PLANAR["w"], point) + PLANAR["b"] == pytest.approx(0)
    (arrow,) = ax.texts
    np.testing.assert_allclose(np.subtract(arrow.xy, arrow.xyann), PLANAR["u_hat"])
    assert "= 2.5" in ax.get_title()  # 1 + 2 - 0.5


@pytest.mark.parametrize("side", [-1, 1])
def test_the_arrow_of_u_hat_is_in_the_frame_where_the_line_is_near_an_edge(side):
    at_edge = {"w": np.array([1.0, 0.0]), "b": np.array(-3.5 * side)}
    (arrow,) = middle(draw({**PLANAR, **at_edge, "u_hat": np.array([side, 0.0])})).texts
    np.testing.assert_allclose(np.subtract(arrow.xy, arrow.xyann), [side, 0.0])
    assert np.abs([arrow.xy, arrow.xyann]).max() <= 4


def test_the_circle_has_the_radius_alpha_about_the_centre():
    ax = middle(draw(RADIAL))
    (circle,) = labelled(ax, "radius α about c")
    away = np.transpose(circle.get_data()) - RADIAL["center"]
    np.testing.assert_allclose(np.linalg.norm(away, axis=-1), RADIAL["alpha"])
    (center,) = labelled(ax, "centre c")
    assert np.ravel(center.get_data()).tolist() == RADIAL["center"].tolist()


def test_arrows_go_from_draws_to_where_they_are_afterwards():
    ax = middle(draw({}))
    (arrows,) = ax.collections
    ways = np.stack([arrows.U, arrows.V], axis=-1)
    np.testing.assert_allclose(ways, (0.5 - 0.2 * DRAWS)[: len(ways)])
    assert (arrows.angles, arrows.scale, arrows.scale_units) == ("xy", 1, "xy")


def test_a_planar_flow_without_a_direction_has_no_line():
    ax = middle(draw({**PLANAR, "w": np.zeros(2)}))
    assert not labelled(ax, "w·z + b = 0")


def test_no_text_is_cut_off():
    figure = draw(PLANAR, ["flow 3 of 8 (planar)", "in the coordinates of the flows"])
    width, height = placed(figure).get_size_inches()
    box = figure.get_tightbbox()
    assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= 0
