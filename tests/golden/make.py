"""Make the golden runs of this version: what later versions must read and resume.

    python tests/golden/make.py

Of each kind of run a finished one and one that Ctrl-C interrupted at its second checkpoint, without
the pictures, which are derived; in tests/golden/VERSION, with log q of some points by this version.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np
from click.testing import CliRunner

from nflow_cli.cli import main
from nflow_cli.constants import __version__
from nflow_cli.runs.checkpoints import Checkpoints

TESTS = Path(__file__).parents[1]
TRAINING = ["--steps", "40", *("--set", "train.chunk=10", "--set", "train.checkpoint_seconds=0")]
SMALL = [*TRAINING, "--batch-size", "64"]
COMMANDS = {
    "fit-2d": ["fit-2d", "--flow", "planar", "--k", "2", *SMALL],
    "infer": ["infer", "banana", "--flow", "affine-coupling", "--k", "2", *SMALL],
    "evidence": ["evidence", "draws.csv", "--log-p", "lp", *SMALL],
    "cells": ["fit", "mixed.csv", *SMALL],
    "flows": ["fit", "table.csv", "--flow", "spline-coupling", "--k", "2", *SMALL],
    "images": ["train-vae", "--preset", "smoke"],
}


def make(folder: Path) -> None:
    """Make all runs in ``folder``, from tables beside them."""
    for name in ("mixed.csv", "table.csv"):
        shutil.copy(TESTS / name, folder)
    write_draws(folder / "draws.csv")
    os.chdir(folder)
    for kind, command in COMMANDS.items():
        succeed(*command, "--output", kind)
        with patch.object(Checkpoints, "save", interrupting(Checkpoints.save)):
            CliRunner().invoke(main, [*command, "--output", f"{kind}-interrupted"])
        for run in (kind, f"{kind}-interrupted"):
            without_derived(Path(run))


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
            raise KeyboardInterrupt

    return interrupted


def succeed(*args: str) -> None:
    """Run ``nflow`` in this process."""
    result = CliRunner().invoke(main, args)
    if result.exit_code:
        raise SystemExit(f"nflow {' '.join(args)}: {result.output}")


def without_derived(run: Path) -> None:
    """Remove pictures, the report, and the folder's path on this machine."""
    shutil.rmtree(run / "plots", ignore_errors=True)
    (run / "report.html").unlink(missing_ok=True)
    record = json.loads((run / "run.json").read_text())
    record.get("data", {}).pop("path", None)
    (run / "run.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        make(Path(made))
        shutil.copytree(made, Path(__file__).with_name(__version__))
