"""Names in pictures, and settings that change none."""

import os
import subprocess
import sys

import pytest
from matplotlib.cbook import is_math_text

from nflow_cli.plotting.style import plain


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
