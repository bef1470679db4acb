import io

import numpy as np
import pytest
from pictures import gaussian
from PIL import Image

from nflow_cli.plotting import animation, animation_files
from nflow_cli.plotting.density import AXES

SUMMARY = {"flow": "planar", "k": 2, "target": "u1"}
AXIS_1, AXIS_2 = np.linspace(-4, 4, 40), np.linspace(-3, 3, 30)


def arrays_of(moments, log_density=None):
    rng = np.random.default_rng(0)
    densities = [gaussian(AXIS_1, AXIS_2, moment) for moment in moments]
    return {
        **{"moments": moments, "axis_1": AXIS_1, "axis_2": AXIS_2},
        "log_density": np.stack(densities) if log_density is None else log_density,
        "draws": moments[:, None, None] + rng.standard_normal((len(moments), 400, 2)),
    }


MOMENTS = np.linspace(0, 2, 5)


@pytest.fixture(scope="module")
def pictures():
    files = animation_files(arrays_of(MOMENTS), SUMMARY, AXES)
    return {format: Image.open(io.BytesIO(content)) for format, content in files.items()}


def frames(picture):
    shown = []
    for number in range(picture.n_frames):
        picture.seek(number)
        picture.load()
        shown.append((np.asarray(picture.convert("RGB"), float), picture.info["duration"]))
    return shown


@pytest.mark.parametrize("format", ["gif", "webp"])
def test_there_is_a_frame_for_each_moment_and_both_ends_are_shown_longer(pictures, format):
    shown = frames(pictures[format])
    assert pictures[format].format == format.upper() and pictures[format].info["loop"] == 0
    assert len(shown) == 5
    first, *between, last = (duration for _, duration in shown)
    assert last > first > max(between)


@pytest.mark.parametrize("format", ["gif", "webp"])
def test_the_brightest_spot_goes_where_the_density_does(pictures, format):
    """Of viridis, only what is bright has more green and red than blue."""
    places = []
    for shown, _ in frames(pictures[format]):
        panel = shown[60:-60, 60:-130]
        bright = (panel[..., 0] > 200) & (panel[..., 2] < 110)
        places.append(np.argwhere(bright).mean(axis=0))
    rows, columns = np.transpose(places)
    assert np.all(np.diff(columns) > 5) and np.all(np.diff(rows) < -5)  # up, to the right


def test_the_colours_of_the_gif_are_near_those_that_were_drawn(pictures):
    drawn = list(animation._frames(arrays_of(MOMENTS), SUMMARY, AXES))
    for (shown, _), frame in zip(frames(pictures["gif"]), drawn, strict=True):
        assert np.abs(shown - np.asarray(frame, float)).mean() < 3


def test_what_is_of_another_scale_or_not_finite_is_drawn_too():
    log_density = np.full((5, 30, 40), -1e4)
    log_density[2] = np.nan
    files = animation_files(arrays_of(MOMENTS, log_density), SUMMARY, AXES)
    assert Image.open(io.BytesIO(files["gif"])).n_frames >= 2  # equal ones are one
