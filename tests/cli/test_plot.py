"""``nflow plot``: which pictures, of what size, and what flows do."""

import re
import shutil

import pytest
from PIL import Image
from short_runs import BOX, CELLS, MIXED, POINTS, VAE

from nflow_cli.evaluation import motion


@pytest.fixture
def run(short_run, tmp_path):
    """Return a function that copies a short run of some changes."""

    def copied(**changes):
        return shutil.copytree(short_run(**changes), tmp_path / "run")

    return copied


def drawn(invoke, run, *options):
    """Return the pictures that are written, by their paths in plots/."""
    shutil.rmtree(run / "plots", ignore_errors=True)
    result = invoke("plot", run, *options)
    assert (result.exit_code, result.stderr) == (0, "")
    names = [line.removeprefix(f"{run}/plots/") for line in result.stdout.splitlines()]
    assert sorted(names) == sorted(path.name for path in (run / "plots").iterdir())
    return names


def complaint(invoke, run, *options):
    result = invoke("plot", run, *options)
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)
    return result.stderr


def test_only_what_is_named_is_drawn(invoke, run):
    path = run(**MIXED)
    assert drawn(invoke, path, "--only", "training", "--only", "density") == [
        "density.png",
        "training.png",
    ]
    line = complaint(invoke, path, "--only", "densty")
    assert "'densty' is no picture of this run (did you mean 'density'?); known: density, " in line


def test_dots_an_inch_are_those_of_the_picture(invoke, run):
    path, widths = run(**MIXED), []
    for dpi in (60, 120):
        drawn(invoke, path, "--only", "training", "--dpi", dpi)
        with Image.open(path / "plots" / "training.png") as picture:
            widths.append(picture.width)
    assert widths[1] == 2 * widths[0]


def test_text_in_svg_and_pdf_is_text(invoke, run):
    path = run(**MIXED)
    drawn(invoke, path, "--only", "training", "--format", "svg")
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", (path / "plots/training.svg").read_text())
    assert {"update", "KL (nats)"} <= set(texts)
    drawn(invoke, path, "--only", "training", "--format", "pdf")
    assert b"/Type3" not in (path / "plots/training.pdf").read_bytes()


def test_a_flow_and_all_in_motion_are_drawn_from_the_model(invoke, run, monkeypatch):
    monkeypatch.setattr(motion, "FRAMES", 4)
    path = run(**MIXED)
    options = ["--flow-at", 2, "--flow-at", 5, "--flow-at", 2, "--animate", "--format", "svg"]
    names = drawn(invoke, path, *options)
    assert names == ["flow-2.svg", "flow-5.svg", "animation.gif", "animation.webp"]
    assert "flow 2 of 5 (radial)" in (path / "plots/flow-2.svg").read_text().replace("\xa0", " ")
    for name in names[2:]:
        assert 10_000 < (path / "plots" / name).stat().st_size < 3_000_000


def test_other_pictures_are_drawn_too_where_they_are_named(invoke, run):
    names = drawn(invoke, run(**BOX), "--flow-at", 1, "--only", "density")
    assert names == ["density.png", "flow-1.png"]


def test_points_move_in_their_own_units(invoke, run):
    path = run(**POINTS)
    assert drawn(invoke, path, "--flow-at", 1, "--format", "svg") == ["flow-1.svg"]
    text = (path / "plots/flow-1.svg").read_text().replace("\xa0", " ")
    assert "in the coordinates of the flows" in text


@pytest.mark.parametrize("option", ["--animate", "--flow-at=1"])
@pytest.mark.parametrize(
    ("changes", "received"),
    [
        ({**VAE}, "none; `nflow fit TABLE --flow planar` fits some"),
        (CELLS, "none; `nflow fit TABLE --flow planar` fits some"),
        ({"command": "fit"}, "D = 3"),
        ({"flow": {"k": 0}}, "K = 0"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(invoke, run, option, changes, received):
    line = complaint(invoke, run(**changes), option)
    assert f"expected flows of two numbers. Received: {received}" in line


def test_a_flow_that_there_is_not_is_one_line(invoke, run):
    path = run(**MIXED)
    assert "expected a flow from 1 to 5. Received: 6" in complaint(invoke, path, "--flow-at", 6)
    assert invoke("plot", path, "--flow-at", 0).exit_code == 2


def test_a_run_without_a_model_is_one_line(invoke, run):
    path = run(**MIXED)
    (path / "model.keras").unlink()
    assert "model.keras" in complaint(invoke, path, "--animate")
