"""See whether nflow does on a GPU what it does on the processor: a line each, passed or failed.

    python -m benchmarks.gpu [--device gpu:0]

For whoever has a GPU. Looks whether TensorFlow sees it, whether its memory is taken as needed,
and whether matrix products are of float32; trains a planar fit, a spline coupling and a VAE on
both, compares the KL within its errors and the speeds; and lets `nflow check` judge on the GPU what
was trained there. Exit code 1 where a line failed.
"""

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import click

from benchmarks import trained
from nflow_cli.backend.start import cores

SIZE = 1024  # of the matrices whose product is judged
ROUNDING = 1e-5  # of it in float32, beside its norm; with TF32 it is 3e-4
SIGMA = 4.0  # by so many standard errors may two KL differ, beside what trainings differ by
TRAININGS = 0.02  # nats

# In a process of its own: TensorFlow settles its devices once.
PRODUCT = """
import json, sys
import numpy as np
from nflow_cli.backend.start import machine_of
machine = machine_of(sys.argv[1])
import tensorflow as tf
from nflow_cli.backend.programs import compiled
rng = np.random.default_rng(0)
a, b = rng.standard_normal((2, int(sys.argv[2]), int(sys.argv[2])))
truth = a @ b
def error(product):
    found = product(tf.constant(a, tf.float32), tf.constant(b, tf.float32))
    return float(np.linalg.norm(found.numpy() - truth) / np.linalg.norm(truth))
errors = {"eager": error(tf.matmul), "XLA": error(compiled(tf.matmul))}
where = tf.matmul(tf.ones((2, 2)), tf.ones((2, 2))).device
used = tf.config.experimental.get_memory_info("GPU:0")["peak"]
growth = tf.config.experimental.get_memory_growth(tf.config.get_visible_devices("GPU")[0])
print(json.dumps({"card": machine.text, "errors": errors, "where": where, "growth": growth,
                  "peak_gb": used / 1e9}))
"""
SHAPES: dict[str, Callable[[], dict[str, Any]]] = {
    "planar K 8": lambda: trained.plane(8, steps=10_000, chunk=500),
    "spline D 8 K 8 H 64": lambda: trained.table(8, 8, 64, steps=600, chunk=50),
    "spline D 30 K 10 H 128": lambda: trained.table(30, 10, 128, steps=300, chunk=50),
    "VAE K 16": lambda: trained.vae(16, epochs=5, chunk=80),
}


class Lines:
    """Prints the lines, and counts those that failed."""

    def __init__(self) -> None:
        self.failed = 0

    def add(self, passed: bool, what: str, detail: str) -> None:
        """Print one."""
        self.failed += not passed
        click.echo(f"{'pass' if passed else 'FAIL'}  {what:<26} {detail}")


def outcome(command: list[str]) -> tuple[bool, str]:
    """Run a command; return whether it went well, and its last line."""
    done = subprocess.run(command, capture_output=True, text=True)
    said = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return done.returncode == 0, said[-1] if said else ""


def see(lines: Lines, device: str) -> bool:
    """Look at the device; return whether there is one."""
    well, said = outcome([sys.executable, "-c", PRODUCT, device, str(SIZE)])
    lines.add(well, "TensorFlow sees it", json.loads(said)["card"] if well else said)
    if not well:
        return False
    seen = json.loads(said)
    lines.add("GPU" in seen["where"], "operations run there", seen["where"])
    lines.add(bool(seen["growth"]), "memory as needed", f"{seen['peak_gb']:.2f} GB at most")
    for how, error in seen["errors"].items():
        lines.add(error < ROUNDING, f"float32, {how}", f"products are off by {error:.1e}")
    return True


def share(lines: Lines, device: str) -> None:
    """Let two processes train at once."""
    words = [sys.executable, "-m", "benchmarks.trained", json.dumps(SHAPES["planar K 8"]())]
    both = [
        subprocess.Popen([*words, "1", device], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    errors = [process.communicate()[1].decode().strip().splitlines() for process in both]
    well = all(process.returncode == 0 for process in both)
    said = next((error[-1] for error in errors if error), "") if not well else "both trained"
    lines.add(well, "a second process starts", said)


def compare(lines: Lines, device: str) -> None:
    """Train each shape on both, and compare."""
    for name, preset in SHAPES.items():
        here = trained.in_process(preset(), cores())
        there = trained.in_process(preset(), 1, device)
        speeds = [1 / scores["seconds"] for scores in (here, there)]
        detail = f"{speeds[0]:,.1f} updates/s here, {speeds[1]:,.1f} there"
        ratio = speeds[1] / speeds[0]
        lines.add(math.isfinite(ratio), name, f"{detail}: {ratio:.2f} times as fast")
        if "kl" in here:
            error = math.hypot(here["kl_standard_error"], there["kl_standard_error"])
            apart = abs(here["kl"] - there["kl"])
            detail = f"{here['kl']:.5f} here, {there['kl']:.5f} there, ± {error:.5f}"
            lines.add(apart < SIGMA * error + TRAININGS, f"{name}: KL", detail)


def check(lines: Lines, device: str) -> None:
    """Train by the command line on the device, and check there and on the processor."""
    nflow = [sys.executable, "-c", "from nflow_cli.cli import main; main()"]
    with tempfile.TemporaryDirectory() as folder:
        flow = ["--flow", "spline-coupling", "--k", "4", "--steps", "2000"]
        run = f"{folder}/run"
        well, said = outcome([*nflow, "fit-2d", *flow, "--device", device, "--output", run])
        lines.add(well, "nflow fit-2d", said)
        for place in (device, "cpu"):
            well, said = outcome([*nflow, "check", run, "--device", place])
            lines.add(well, f"nflow check on {place}", said)


@click.command()
@click.option("--device", default="gpu:0", show_default=True)
def main(device: str) -> None:
    """Print what passes on a GPU and what fails."""
    lines = Lines()
    if see(lines, device):
        share(lines, device)
        compare(lines, device)
        check(lines, device)
    if lines.failed:
        raise click.ClickException(f"{lines.failed} failed")


if __name__ == "__main__":
    main()
