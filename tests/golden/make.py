"""Make the golden runs of this version: what later versions must read and resume.

    python tests/golden/make.py

Of each kind of run a finished one and one that Ctrl-C interrupted at its second checkpoint, small,
and without the pictures, which are derived; in tests/golden/VERSION.tar.xz.
"""

import json
import os
import shutil
import signal
import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np
from click.testing import CliRunner

from nflow_cli.cli import main
from nflow_cli.constants import __version__
from nflow_cli.images import vae_scoring
from nflow_cli.runs.checkpoints import Checkpoints

TESTS = Path(__file__).parents[1]
OFTEN = ["--set", "train.chunk=10", "--set", "train.checkpoint_seconds=0"]
SHORT = ["--steps", "40", "--batch-size", "64", *OFTEN]
CELLS = [
    "--set",
    "cells.width=4",
    "--set",
    "train.ensemble=3",
    "--set",
    "cells.blocks=1",
    "--set",
    "cells.components=3",
]


def hidden(flow: str) -> list[str]:
    """Options of two flows with a hidden layer of 4."""
    return ["--set", f"flow.pattern=[{{{flow}: {{hidden: [4]}}}}]", "--set", "flow.k=2"]


SMALL = ["--set", "model.hidden=[2]", "--set", "model.latent_dim=2"]
FEW = {
    "MANIFOLD": 3,
    "SHOWN_SAMPLES": 4,
    "SHOWN_LATENTS": 200,
}  # of images, as pixels fill an archive
COMMANDS = {
    "fit-2d": ["fit-2d", "--flow", "planar", "--k", "2", "--set", "evaluate.grid=100", *SHORT],
    "infer": ["infer", "funnel", "--dim", "4", *hidden("affine-coupling"), *SHORT],
    "evidence": [
        "evidence",
        "draws.csv",
        "--log-p",
        "lp",
        *hidden("mixture-autoregressive"),
        *SHORT,
    ],
    "cells": ["fit", "mixed.csv", *CELLS, *SHORT],
    "flows": ["fit", "table.csv", "--preset", "flows", *hidden("spline-coupling"), *SHORT],
    "images": ["train-vae", "--preset", "smoke", "--epochs", "2", *SMALL, *OFTEN],
}


def make(folder: Path) -> None:
    """Make all runs in ``folder``, from tables beside them."""
    for name in ("mixed.csv", "table.csv"):
        shutil.copy(TESTS / name, folder)
    write_draws(folder / "draws.csv")
    os.chdir(folder)
    for name, few in FEW.items():
        setattr(vae_scoring, name, few)
    for kind, command in COMMANDS.items():
        run_nflow(*command, "--output", kind)
        with patch.object(Checkpoints, "save", interrupting(Checkpoints.save)):
            run_nflow(*command, "--output", f"{kind}-interrupted", expected=130)
        for run in (kind, f"{kind}-interrupted"):
            remove_derived(Path(run))


def write_draws(path: Path) -> None:
    """Write draws of N(0, I) in the plane, with log p up to its constant."""
    x = np.random.default_rng(0).normal(size=(1_000, 2)).round(6)
    rows = np.column_stack([x, -(x**2).sum(axis=1) / 2])
    np.savetxt(path, rows, "%.8f", delimiter=",", header="a,b,lp", comments="")


def interrupting(save):
    """``save`` of checkpoints, with Ctrl-C after the second."""
    count = 0

    def interrupted(store, *args):
        nonlocal count
        save(store, *args)
        count += 1
        if count == 2:
            signal.raise_signal(signal.SIGINT)

    return interrupted


def run_nflow(*args: str, expected: int = 0) -> None:
    """Run ``nflow`` in this process."""
    result = CliRunner().invoke(main, args)
    if result.exit_code != expected:
        raise SystemExit(f"nflow {' '.join(args)}: {result.exit_code}: {result.output}")


def remove_derived(run: Path) -> None:
    """Remove pictures, the report, all but the last checkpoint, and the path on this machine."""
    for checkpoint in sorted((run / "checkpoints").glob("*.npz"))[:-1]:
        checkpoint.unlink()
    shutil.rmtree(run / "plots", ignore_errors=True)
    (run / "report.html").unlink(missing_ok=True)
    record = json.loads((run / "run.json").read_text())
    for key in ("path", "paths"):
        record.get("data", {}).pop(key, None)
    (run / "run.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    for old in Path(__file__).parent.glob("*.dev*.tar.xz"):  # which this version does not read
        old.unlink()
    with tempfile.TemporaryDirectory() as made:
        make(Path(made))
        shutil.make_archive(str(Path(__file__).with_name(__version__)), "xztar", made)
