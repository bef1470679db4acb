"""The page of a flow that can be touched: its mathematics by Node, and its text."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from keras import ops

from nflow_cli.densities.bases import StandardNormal, StudentT, UniformBox
from nflow_cli.experiments.live_page import encoded_base, encoded_map
from nflow_cli.flows.affine import Affine
from nflow_cli.flows.composition import Step
from nflow_cli.flows.planar import Planar
from nflow_cli.flows.radial import Radial
from nflow_cli.plotting.live import live_page

TESTS = Path(__file__).with_name("live")
MAPS = {
    "planar": (Planar(), {"u": [1.4, -0.3], "w": [1.1, 2.3], "b": 0.7}),
    "planar, nearly folding": (Planar(), {"u": [-3.0, -2.0], "w": [1.5, 2.5], "b": -0.2}),
    "planar, steep": (Planar(), {"u": [5.0, 9.0], "w": [6.0, 11.0], "b": 3.0}),
    "radial, out": (Radial(), {"center": [0.4, -1.0], "alpha": -0.6, "beta": 2.5}),
    "radial, in": (Radial(), {"center": [-0.7, 0.3], "alpha": 1.2, "beta": -3.0}),
    "affine, diagonal": (Affine(), {"shift": [0.3, -2.0], "log_scale": [0.8, -1.1]}),
    "affine, full": (
        Affine(full=True),
        {"shift": [1.0, 0.2], "log_scale": [-0.4, 0.5], "lower": [1.7]},
    ),
}
BASES = {"normal": StandardNormal(), "box": UniformBox(2.5), "student": StudentT(4.0)}


def step_of(name):
    flow, weights = MAPS[name]
    arrays = {key: np.array(value, np.float64)[None, ..., None] for key, value in weights.items()}
    return Step(f"flow 1 of 1 ({name})", flow, arrays)


def moved(step, points):
    images, log_det = step.run(ops.convert_to_tensor(points))
    return {
        "images": ops.convert_to_numpy(images).T.tolist(),
        "logDet": ops.convert_to_numpy(log_det).tolist(),
    }


def cases():
    rng = np.random.default_rng(0)
    points = rng.normal(0, 2, (200, 2))
    x, y = points.T.tolist()
    maps = []
    for name in MAPS:
        step = step_of(name)
        part = {"t": 0.3, **moved(step.part(0.3), points)}
        case = {"name": name, "map": encoded_map(step), "x": x, "y": y, "part": part}
        maps.append(case | moved(step, points))
    bases = []
    for name, base in BASES.items():
        log_q = ops.convert_to_numpy(base.log_prob(ops.convert_to_tensor(points)))
        values = [value if np.isfinite(value) else None for value in log_q.tolist()]
        bases.append({"name": name, "base": encoded_base(base), "x": x, "y": y, "logQ": values})
    return {"maps": maps, "bases": bases}


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_mathematics_is_that_of_the_layers(tmp_path, monkeypatch):
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(cases()))
    monkeypatch.setenv("NFLOW_LIVE_CASES", str(path))
    done = subprocess.run(["node", "--test", TESTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_hostile_names_are_text():
    hostile = "</script><script>alert(1)</script>{policy}<img src=x onerror=alert(1)>"
    names = {"title": hostile, "subtitle": hostile, "names": [hostile], "note": "$&{style}"}
    page = live_page(names)
    assert page.count("<script") == page.count("</script>") == 2
    assert "<img" not in page and "&lt;img" in page
    data = page.split('id="data">')[1].split("</script>")[0]
    assert json.loads(data) == names
    assert "eval(" not in page and "import " not in page.split("<script")[2]
