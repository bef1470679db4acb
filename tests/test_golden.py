"""What users have from before: runs and layers in ``golden/``, written by its ``make.py``."""

import json
import os
import re
import shutil
from pathlib import Path
from unittest.mock import patch

import keras
import numpy as np
import pytest
from short_runs import without_layout, without_pictures

import nflow_cli
from nflow_cli.experiments import check

GOLDEN = Path(__file__).with_name("golden")
# Of each run, its main figure, the error of that, and the weights, had it not been interrupted.
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())
FINISHED = sorted(path.name for path in GOLDEN.glob("runs/*-finished"))
INTERRUPTED = sorted(path.name for path in GOLDEN.glob("runs/*-interrupted"))
LAYERS = sorted(path.stem for path in GOLDEN.glob("layers/*.keras"))
ROWS = {"kl": "KL(q || p)", "log_likelihood": "log-likelihood", "negative_elbo": "-ELBO"}

on_tensorflow = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="runs are trained on TensorFlow"
)


BITS = os.environ.get("NFLOW_GOLDEN_BITS") == "1"  # on the machine that wrote them


@pytest.fixture(autouse=not BITS)
def quickly(without_xla):
    pass


@pytest.fixture
def copied(tmp_path):
    """Return a function that copies a run, and the table that those on a table need, here."""
    shutil.copy(GOLDEN / "table.csv", tmp_path)
    return lambda name: shutil.copytree(GOLDEN / "runs" / name, tmp_path / "run")


def printed_by(invoke, *args):
    done = invoke(*args)
    assert done.exit_code == 0, done.output
    return done.stdout


def expected_of(name):
    return EXPECTED[name.rpartition("-")[0]]


def assert_as_expected(value, expected):
    assert value == pytest.approx(expected["value"], abs=3 * expected["standard_error"], rel=0)


def assert_passes_its_checks(invoke, run):
    lines = printed_by(invoke, "check", run).splitlines()
    outcomes = {line.split()[0] for line in lines if not line.startswith(" ")}
    assert "OK" in outcomes and outcomes <= {"OK", "unchanged", "unknown"}, lines


def extended(invoke, run, *args):
    """Go on with a run; return its summary, after it passed its checks.

    But for those of its flows in themselves, which the finished runs pass.
    """
    before = (run / "metrics.csv").read_bytes()
    with without_pictures():
        printed_by(invoke, "resume", run, *args)
    after = (run / "metrics.csv").read_bytes()
    assert after.startswith(before) and len(after) > len(before)
    assert json.loads((run / "run.json").read_text())["status"] == "completed"
    with patch.object(check, "OF_FLOWS", {}):
        assert_passes_its_checks(invoke, run)
    return json.loads((run / "summary.json").read_text())


@on_tensorflow
@pytest.mark.parametrize("name", FINISHED)
def test_a_finished_run_passes_its_checks(invoke, copied, name):
    assert_passes_its_checks(invoke, copied(name))


@on_tensorflow
@pytest.mark.parametrize("name", FINISHED)
def test_a_finished_run_is_judged_as_it_was(invoke, copied, name):
    expected = expected_of(name)
    row = re.escape(ROWS[expected["figure"]])
    text = printed_by(invoke, "evaluate", copied(name))
    assert_as_expected(float(re.search(rf"^{row} +(\S+)", text, re.M)[1]), expected)


@on_tensorflow
@pytest.mark.parametrize("name", FINISHED)
def test_a_finished_run_is_sampled_from(invoke, copied, name):
    run = copied(name)
    drawn = nflow_cli.load(run).sample(20)
    assert np.isfinite(drawn).all() and drawn.std() > 0
    printed_by(invoke, "sample", run, "-n", 20, "-o", "drawn.npy")
    written = np.load("drawn.npy", allow_pickle=False)[..., : drawn.shape[-1]]
    np.testing.assert_allclose(written, drawn, atol=1e-6)


@on_tensorflow
@pytest.mark.parametrize("name", FINISHED)
def test_a_finished_run_is_drawn(invoke, copied, name):
    with without_layout():
        pictures = printed_by(invoke, "plot", copied(name)).splitlines()
    assert len(pictures) >= 3
    for picture in pictures:
        assert Path(picture).read_bytes().startswith(b"\x89PNG")


@on_tensorflow
def test_a_finished_run_is_extended(invoke, copied):
    run = copied("target-finished")
    assert extended(invoke, run, "--steps", 450)["steps"] == 450


@on_tensorflow
@pytest.mark.parametrize("name", INTERRUPTED)
def test_an_interrupted_run_ends_as_one_that_never_was(invoke, copied, name):
    summary, expected = extended(invoke, copied(name)), expected_of(name)
    assert_as_expected(summary[expected["figure"]], expected)
    if BITS:
        assert summary["model_sha256"] == expected["model_sha256"]


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_computes_what_it_did(name):
    from nflow_cli import flows  # registers the layers with Keras

    layer = keras.saving.load_model(GOLDEN / "layers" / f"{name}.keras")
    assert isinstance(layer, tuple(getattr(flows, public) for public in flows.__all__))
    with np.load(GOLDEN / "layers" / f"{name}.npz", allow_pickle=False) as arrays:
        inputs = [arrays[key] for key in arrays if key.startswith("input")]
        outputs = [arrays[key] for key in arrays if key.startswith("output")]
    assert_close(layer(*inputs), outputs)
    if hasattr(layer, "inverse_and_log_det"):
        x, log_det = outputs
        assert_close(layer.inverse_and_log_det(x, *inputs[1:]), [inputs[0], -log_det])


def assert_close(received, expected):
    received = received if isinstance(received, tuple) else (received,)
    for tensor, array in zip(received, expected, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(tensor), array, rtol=0, atol=1e-5)
