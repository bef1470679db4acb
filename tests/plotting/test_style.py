"""Panels stand where Matplotlib's own layout puts them."""

import numpy as np
import pytest
from matplotlib.colors import Normalize
from matplotlib.layout_engine import ConstrainedLayoutEngine

from nflow_cli.plotting.style import SEQUENTIAL, add_colour_bar, draw_grid, fix_layout, panel_grid


@pytest.mark.parametrize(
    "extent", [(-4.0, 4.0, -4.0, 4.0), (-1.0, 1.0, -2.5, 2.5), (-9e3, 9e3, -4e3, 4e3)]
)
@pytest.mark.parametrize(("count", "columns"), [(1, 1), (3, 3), (5, 3)])
def test_measured_once_panels_stand_where_they_do_measured_again(extent, count, columns):
    placed = []
    for layout in (None, ConstrainedLayoutEngine(compress=True, h_pad=0.06, w_pad=0.06)):
        figure, axes = panel_grid(count, columns, extent, 8.0)
        for ax in axes:
            image = draw_grid(ax, np.eye(2), extent, SEQUENTIAL, Normalize(0.0, 1.0))
            ax.set_title("a panel")
        add_colour_bar(image, axes, "density", "max")
        figure.suptitle("a picture")
        if layout:
            figure.set_layout_engine(layout)
        fix_layout(figure)
        placed.append([ax.get_position().extents for ax in figure.axes])
    np.testing.assert_allclose(*placed, atol=0.01)  # of the figure
