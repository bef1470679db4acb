"""What the tests of pictures look at."""

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from nflow_cli.plotting.style import drawing, without_warnings


def gaussian(axis_1, axis_2, mean=0.0, scale=1.0):
    z_1, z_2 = np.meshgrid(axis_1, axis_2)
    squares = ((z_1 - mean) / scale) ** 2 + ((z_2 - mean) / scale) ** 2
    return -squares / 2 - np.log(2 * np.pi * scale**2)


def placed(figure):
    """Lay a picture out as it is in its file; return it."""
    with drawing(), without_warnings():
        FigureCanvasAgg(figure).draw()
    return figure


def panels(figure) -> list[Any]:
    return [ax for ax in figure.axes if ax.images]


def title(figure):
    return figure.get_suptitle().replace("\N{NO-BREAK SPACE}", " ").replace(r"\$", "$")


def colour_bar(figure):
    (bar,) = [ax for ax in figure.axes if ax.get_label() == "<colorbar>"]
    return bar
