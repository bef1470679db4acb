"""Names in pictures, and settings that change none."""

import os
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.cbook import is_math_text

from nflow_cli.plotting.style import bin_count, plain, title_of


def no_text(path):
    path.write_bytes(b"\xff\xfe\0")


@pytest.mark.parametrize("make", [no_text, os.mkfifo])
def test_a_matplotlibrc_that_cannot_be_read_is_not(tmp_path, make):
    make(tmp_path / "matplotlibrc")
    code = "import nflow_cli.plotting, matplotlib; print(matplotlib.rcParams['font.size'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, timeout=60, capture_output=True
    )
    assert (done.returncode, done.stdout) == (0, b"10.0\n")


def test_a_name_is_no_formula_and_is_shown_as_it_is():
    for name in ("5 $ 6$", r"\$", r"$a$", "$", "$$"):
        drawn = plain(name, width=3)
        assert not is_math_text(drawn) and drawn.replace(r"\$", "$").split() == name.split()


def test_the_bins_of_a_histogram_are_finer_than_its_narrowest_mode():
    rng = np.random.default_rng(0)
    normal = rng.standard_normal(4_000)
    frame = (-10.0, 10.0)
    one = 20 / bin_count(normal, frame, 4_000, 500)
    np.testing.assert_allclose(one, 2 * 1.349 / 4_000 ** (1 / 3), rtol=0.1)  # Freedman & Diaconis
    modes = 0.5 * normal + rng.choice([-8.0, -4.0, 0.0, 4.0, 8.0], 4_000)
    assert 20 / bin_count(modes, frame, 4_000, 500) < 0.5
    assert bin_count(np.repeat([-1.0, 0.0, 1.0], 4), frame, 12, 500) >= 8


def test_a_title_has_the_flows_without_their_options():
    flow = "affine-coupling(hidden=[64, 64]),spline-coupling(hidden=[64, 64]) + full affine"
    subject, flows, count = title_of({"target": "ring", "flow": flow, "k": 8})
    assert (subject, count) == ("ring", "K = 8")
    assert flows == "affine-coupling,spline-coupling + full affine flow"
