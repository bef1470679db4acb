"""How the golden files were written: by ``python PATH/TO/make.py`` in an empty folder.

They are never written anew, for they stand for what users have: a later format gets files beside
them. They are what ``nflow`` writes, but for four things that keep them small. The grids of the
pictures have few points; the pictures, which can be drawn again, are removed; and so are the
checkpoints of the finished runs on images and on a table, which only an extension would need. The
interrupted run on a table has one checkpoint in place of two.
"""

import json
import math
import shutil
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import keras
import numpy as np
from click.testing import CliRunner

from nflow_cli.cli import main
from nflow_cli.evaluation import images as image_evaluation
from nflow_cli.evaluation import table as table_evaluation
from nflow_cli.evaluation import target as target_evaluation
from nflow_cli.experiments.target import fit as target_fit
from nflow_cli.flows import (
    AmortizedFlowStack,
    FlowStack,
    GaussianSampling,
    PlanarFlow,
    RadialFlow,
)
from nflow_cli.runs import checkpoints
from nflow_cli.training.checkpointing import Checkpointer

MIXED = ["--flow", "planar,radial", "--k", "2", "--seed", "5", "--batch-size", "64"]
FIT = [*MIXED, "--steps", "400", "--set", "train.chunk=25", "--set", "train.checkpoint_seconds=0"]
TARGET = ["fit-2d", "--target", "u1", "--set", "evaluate.samples=500", *FIT]
# Of each kind of run: its command, and the chunk of updates in which it is interrupted.
RUNS = {
    "target": ([*TARGET, "--restarts", "1", "--set", "train.early_stopping={patience: 300}"], 9),
    "restarts": ([*TARGET, "--restarts", "4"], 7),  # after six chunks two are left, side by side
    # Of the built-in points these depend least on a machine's sines: their SHA-256 is compared.
    "points": (["fit-2d", "--data", "eight-gaussians", *FIT], 9),
    "images": (
        [
            *("train-vae", "--data", "mnist-sample", "--flows", "2", "--epochs", "3"),
            *("--set", "model.hidden=[2]", "--set", "train.chunk=20", "--seed", "5"),
            *("--set", "evaluate.importance_samples=3"),
        ],
        6,  # of four in an epoch
    ),
    "table": (
        [
            *("fit", "table.csv", "--bounds", "price=0:", "--bounds", "share=0:1"),
            *("--set", "flow.pattern=[{spline-coupling: {hidden: [4], bins: 4}}]", "--k", "2"),
            *("--steps", "400", "--set", "train.chunk=25", "--set", "train.checkpoint_seconds=0"),
            *("--learning-rate", "0.02", "--batch-size", "64", "--seed", "5"),
        ],
        9,
    ),
}
FIGURES = {
    **{"target": "kl", "restarts": "kl", "images": "negative_elbo"},
    **{"points": "log_likelihood", "table": "log_likelihood"},
}


def write_table():
    """Write a table of three columns, two of them with bounds, and one that bends with another."""
    level, price, share = np.random.default_rng(0).standard_normal((3, 200))
    columns = [100 + 5 * level, np.exp(price / 4 + level**2 / 2), 1 / (1 + np.exp(-share))]
    rows = np.stack(columns, axis=1)
    np.savetxt("table.csv", rows, "%.5g", ",", header="level,price,share", comments="")


def train(command, output):
    """Run ``nflow`` with ``command``, as from a shell; return its exit code."""
    args = [*command, "--output", output]
    with mock.patch.object(sys, "argv", ["nflow", *args]):
        done = CliRunner().invoke(main, args)
    print(output, done.exit_code, done.stdout, sep="\n")
    shutil.rmtree(Path(output) / "plots", ignore_errors=True)
    return done.exit_code


@contextmanager
def small_grids():
    """Let the arrays of the pictures have few points."""

    def density_arrays(*args):
        return target_evaluation.density_arrays(*args[:-1], 24)

    with (
        mock.patch.object(target_fit, "density_arrays", density_arrays),
        mock.patch.object(target_evaluation, "STRIP_GRID", 12),
        mock.patch.object(table_evaluation, "STRIP_GRID", 12),
        mock.patch.object(table_evaluation, "SHOWN_GRID", 24),
        mock.patch.object(image_evaluation, "MANIFOLD", 3),
    ):
        yield


@contextmanager
def interrupted(chunk):
    """Let SIGTERM come at the end of a chunk, counted from 1."""
    before = Checkpointer.on_epoch_end

    def on_epoch_end(checkpointer, epoch, logs=None):
        if len(checkpointer.parts["Clock"].seconds) == chunk:
            signal.raise_signal(signal.SIGTERM)
        before(checkpointer, epoch, logs)

    with mock.patch.object(Checkpointer, "on_epoch_end", on_epoch_end):
        yield


def expected_of(path, figure):
    """Return what a run that is resumed must end with: its main figure, and its bits."""
    summary = json.loads((path / "summary.json").read_text())
    error = summary.get(f"{figure}_standard_error")
    if error is None:  # over the test images
        with np.load(path / "estimates.npz") as estimates:
            bounds = estimates["reconstruction"] + estimates["kl"]
        error = float(bounds.std(ddof=1) / math.sqrt(len(bounds)))
    recorded = {"figure": figure, "value": summary[figure], "standard_error": error}
    return recorded | {"model_sha256": summary["model_sha256"]}


def write_runs():
    """Train each kind of run twice, once to its end and once until a signal comes."""
    expected = {}
    for name, (command, chunk) in RUNS.items():
        assert train(command, f"runs/{name}-finished") == 0
        kept = 1 if name == "table" else 2
        with interrupted(chunk), mock.patch.object(checkpoints, "KEPT", kept):
            assert train(command, f"runs/{name}-interrupted") == 143
        expected[name] = expected_of(Path(f"runs/{name}-finished"), FIGURES[name])
    Path("expected.json").write_text(json.dumps(expected, indent=2) + "\n")
    shutil.rmtree("runs/restarts-finished")  # one run on a target is enough
    for name in ("images", "table"):
        shutil.rmtree(f"runs/{name}-finished/checkpoints")


def layers(rng):
    """Yield each layer, and the arrays that it is called with."""
    x, context = rng.standard_normal((7, 3)), rng.standard_normal((7, 4))
    yield PlanarFlow(seed=1), [x]
    yield RadialFlow(seed=1), [x]
    yield FlowStack(["planar", "radial"], 3, seed=1), [x]
    yield AmortizedFlowStack(["planar", "radial"], 3, seed=1), [x, context]
    mean, log_variance, noise = rng.standard_normal((3, 7, 3))
    yield GaussianSampling(0.5, 2.0, seed=1), [[mean, log_variance], noise]
    couplings = [{name: {"hidden": [4]}} for name in ("affine-coupling", "spline-coupling")]
    yield FlowStack(couplings, 2, seed=1, affine="full", name="Couplings"), [x]
    masked = [
        {name: {"hidden": [4]}}
        for name in ("affine-autoregressive", "spline-autoregressive", "inverse-autoregressive")
    ]
    yield FlowStack(masked, 3, seed=1, name="Masked"), [x]
    yield FlowStack([{"sylvester": {"reflections": 2}}], 2, seed=1, name="Sylvester"), [x]


def write_layers():
    """Save each layer, with weights far from its initial ones, and what it computes."""
    Path("layers").mkdir()
    rng = np.random.default_rng(0)
    for layer, inputs in layers(rng):
        named = layer.name in ("Couplings", "Masked", "Sylvester")
        name = layer.name if named else type(layer).__name__
        size = 0.3 if named else 1.0  # larger ones nearly fold the space
        layer(*inputs)
        for weight in layer.trainable_weights:  # the orders of couplings are none
            weight.assign(size * rng.standard_normal(weight.shape))
        outputs = layer(*inputs)
        path = f"layers/{name}"
        keras.saving.save_model(layer, f"{path}.keras")
        arrays = {f"input_{i}": array for i, array in enumerate(inputs)}
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        arrays |= {f"output_{i}": np.asarray(array) for i, array in enumerate(outputs)}
        np.savez(f"{path}.npz", **arrays)


if __name__ == "__main__":
    write_layers()
    write_table()
    with small_grids():
        write_runs()
