import shutil

import numpy as np
import pytest

from nflow_cli.config import presets
from nflow_cli.config.presets import validate
from nflow_cli.experiments import running
from nflow_cli.images import image_data, images


@pytest.fixture
def name_of(invoke, tmp_path, monkeypatch):
    """Return a function that gives the name of the run that a command would begin."""
    runs = []
    monkeypatch.setattr(running, "execute", lambda run, *_: runs.append(run))
    monkeypatch.setattr(running, "show", lambda run: None)
    for module in (images, image_data):
        monkeypatch.setattr(module, "load_images", lambda *_, **__: images._sample())
    np.save(tmp_path / "mine.npy", np.random.default_rng(0).normal(size=(40, 2)))
    (tmp_path / "free.yaml").write_text("command: fit-2d\ntarget: u2\n")

    def name_of(line):
        result = invoke(*line.split())
        assert result.exit_code == 0, result.stderr
        shutil.rmtree(runs[-1].path)  # of two in a second, the other would be called name-2
        return runs[-1].path.name.split("-", 2)[2]

    return name_of


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (
            "fit-2d",
            {
                "--flow planar --k 8": "multimodal-planar",
                "--flow radial --k 8": "gaussian-from-uniform-radial",
                "--preset u3-planar-k8 --steps 5 --seed 3 --restarts 1": "u3-planar-k8",
                "--preset free.yaml --set train.batch_size=9": "free",
                "--preset free.yaml --k 9": "u2-planar-k9",
                "--flow planar,radial --k 6 --target u1": "u1-planar-radial-k6",
                "--target u1": "u1-planar-k8",
                "--target U1 --k 32": "u1-planar-k32",
                "--target u4 --k 0": "u4-k0",
                "--preset u1-planar-k2 --set base=uniform-box": "u1-planar-k2",
                "--preset far-mixture --set target.weights=[1,3]": "mixture-spline-coupling-k4",
            },
        ),
        (
            "fit",
            {
                "two-moons --preset points-planar-k32": "points-planar-k32",
                "rings --flow planar,radial": "rings-planar-radial-k32",
                "mine.npy --flow planar --k 4": "mine-planar-k4",
                "two-moons": "cells",
            },
        ),
        (
            "train-vae",
            {
                "": "mnist",
                "--flows 16 --epochs 2": "mnist",
                "--flows 4": "mnist-planar-radial-k4",
                "--data some/digits.npz": "digits-planar-radial-k16",
                "--preset mnist-mlp --flows 0": "mnist-k0",
                "--preset mnist-mlp --no-fallback": "mnist-mlp",
                "--preset mnist-mlp --prior-k 3": "mnist-planar-k20-prior-affine-coupling-k3",
                "--preset mnist-flow-prior --prior-k 4": "mnist-flow-prior",
                "--preset mnist-flow-prior --set prior=null": "mnist-k0",
                "--flow spline-coupling --flows 2": "mnist-spline-coupling-k2",
                "--preset mnist-mlp --set model.latent_dim=2": "mnist-planar-k20",
            },
        ),
    ],
)
def test_a_run_is_named_after_its_preset_or_after_what_runs(name_of, command, names):
    assert {line: name_of(f"{command} {line}") for line in names} == names


def made_name(command, **changes):
    return presets.made_name(validate({"command": command, **changes}, "a test"))


def test_the_name_of_a_file_becomes_letters_that_any_folder_takes():
    for name, word in [
        ("a b/c d.csv", "c_d"),
        ("..", "data"),
        ("x\n\x1b[31m.csv", "x_31m"),
        (99 * "é", 40 * "é"),
    ]:
        flow = {"pattern": ["planar"], "k": 2}
        assert made_name("fit", data=name, flow=flow) == f"{word}-planar-k2"


def test_a_log_density_is_named_after_its_file():
    for path, name, word in [
        ("models/hier.py", "log_density", "hier"),
        ("models/hier.py", "tight", "hier-tight"),
        ("<python>", "posterior", "posterior"),
        ("<python>", "log_density", "log-density"),
        ("<python>", "<lambda>", "log-density"),
        (None, "banana", "banana"),
        ("model.py", "a/../b", "model-a_.._b"),
    ]:
        density = {"name": name, "path": path, "dim": 2}
        assert made_name("infer", density=density, flow={"k": 0}) == f"{word}-k0"


def test_many_flows_in_turn_are_not_all_named():
    flow = {"pattern": 20 * ["planar", "radial"], "k": 40}
    assert made_name("fit-2d", flow=flow) == "multimodal-mixed-k40"
