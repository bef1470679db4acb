"""``nflow plot``: which pictures, of what size, and what flows do."""

import json
import re
import shutil

import pytest
from PIL import Image
from short_runs import BOX, MIXED, POINTS

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


def test_only_what_is_named_is_drawn_in_so_many_dots_an_inch(invoke, run):
    path, widths = run(**MIXED), []
    for dpi, names in ((40, ["density", "training"]), (80, ["training"])):
        only = [word for name in names for word in ("--only", name)]
        assert drawn(invoke, path, *only, "--dpi", dpi) == [f"{name}.png" for name in names]
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
    monkeypatch.setattr(motion, "MOST_FRAMES", 2)
    path = run(**MIXED)
    options = ["--flow-at", 2, "--flow-at", 2, "--animate", "--format", "svg", "--dpi", 40]
    names = drawn(invoke, path, *options)
    assert names == ["flow-2.svg", "animation.gif", "animation.webp"]
    assert "flow 2 of 5 (radial)" in (path / "plots/flow-2.svg").read_text().replace("\xa0", " ")
    for name in names[1:]:
        with Image.open(path / "plots" / name) as picture:
            assert picture.n_frames > 1


def test_a_flow_is_drawn_beside_other_pictures_and_in_the_units_of_points(invoke, run):
    path = run(**POINTS)
    options = ["--flow-at", 1, "--only", "density", "--format", "svg"]
    assert drawn(invoke, path, *options) == ["density.svg", "flow-1.svg"]
    text = (path / "plots/flow-1.svg").read_text().replace("\xa0", " ")
    assert "in the coordinates of the flows" in text


SPLINES = {"flow": {"pattern": [{"spline-coupling": {"hidden": [8]}}], "k": 10, "affine": "full"}}


@pytest.mark.parametrize(
    ("changes", "found"),
    [(MIXED, "KL(q‖p)"), (BOX, "KL(q‖p)"), (POINTS, "log-likelihood"), (SPLINES, "KL(q‖p)")],
)
def test_a_page_is_written_on_which_the_flows_are_run_and_changed(invoke, run, changes, found):
    path = run(**changes)
    printed = invoke("plot", path, "--live").stdout.splitlines()
    assert printed == [f"{path}/live.html", f"{path}/report.html"]
    assert '<a href="live.html">' in (path / "report.html").read_text()
    page = (path / "live.html").read_text()
    assert len(page.encode()) <= 250_000
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert data["score"]["name"] == found
    assert len(data["names"]) == len(data.get("maps", data["names"]))
    assert ("recorded" in data) == (changes is SPLINES)
