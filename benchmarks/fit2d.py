"""Time planar fits of the two-mode mixture: nflow, a hand-written JAX scan, and normflows.

    python -m benchmarks.fit2d [--json] [--k 8 --k 32] [--updates 20000]

Each contender runs in a process of its own, one after the other, ``--repeats`` times over, so
that ratios come from one run on one machine. What is not installed is left out. ``whole command``
is ``nflow fit-2d --flow planar --k 8``, pictures included, beside ``import tensorflow``.
"""

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import click

from benchmarks.contenders import in_turn

BATCH = 512


def nflow(k: int, updates: int) -> dict[str, float]:
    """Train with the command line's own trainer."""
    from nflow_cli.backend.start import PROCESSOR, start_tensorflow
    from nflow_cli.config import presets

    data = presets.read_preset(presets.find_preset("multimodal-planar"))
    changes = {"flow.k": k, "train.steps": updates, "train.batch_size": BATCH}
    resolved = presets.validate(presets.override(data, changes), "benchmark")
    start_tensorflow(PROCESSOR.with_threads(resolved.threads))
    from nflow_cli.experiments.reverse_kl import training as target_fit

    model = target_fit.build(resolved, resolved.new_target())
    trained = target_fit.train(model, resolved)
    return {
        "updates_per_second": trained["steps_per_second"] or math.nan,
        "compile": trained["compile_seconds"],
    }


def jax_scan(k: int, updates: int) -> dict[str, float]:
    """Train with a loop written by hand: ``lax.scan`` over updates, K unrolled."""
    import math

    import jax
    import jax.numpy as jnp

    log_2pi = math.log(2 * math.pi)
    means = jnp.array([[2.0, 2.0], [-2.0, -2.0]])

    def push(parameters: Any, z: Any) -> Any:
        total = 0.0
        for u, w, b in zip(*parameters, strict=True):
            wu = u @ w
            u_hat = u + (jax.nn.softplus(wu) - 1 - wu) * w / (w @ w)
            h = jnp.tanh(z @ w + b)
            z = z + h[:, None] * u_hat
            total = total + jnp.log1p((1 - h * h) * (w @ u_hat))
        return z, total

    def loss(parameters: Any, key: Any) -> Any:
        z0 = jax.random.normal(key, (BATCH, 2))
        z, log_det = push(parameters, z0)
        squares = ((z[:, None] - means) ** 2).sum(-1)
        log_p = jax.nn.logsumexp(-0.5 * squares, -1) - math.log(2) - log_2pi
        return (-0.5 * (z0**2).sum(-1) - log_2pi - log_det - log_p).mean()

    def adam(state: Any, key: Any) -> Any:
        parameters, first, second, t = state
        gradients = jax.grad(loss)(parameters, key)
        t = t + 1
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
        rate = 1e-2 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        step = jax.tree.map(lambda m, v: rate * m / (jnp.sqrt(v) + 1e-8), first, second)
        return (jax.tree.map(jnp.subtract, parameters, step), first, second, t), None

    train = jax.jit(lambda state, keys: jax.lax.scan(adam, state, keys)[0])
    key_u, key_w, key = jax.random.split(jax.random.key(0), 3)
    normal = jax.random.normal
    parameters = (0.3 * normal(key_u, (k, 2)), 0.5 * normal(key_w, (k, 2)), jnp.zeros(k))
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    state = (parameters, zeros, zeros, jnp.zeros(()))
    keys = jax.random.split(key, updates)
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        jax.block_until_ready(train(state, keys))
        seconds.append(time.perf_counter() - start)
    return {"updates_per_second": updates / seconds[1], "compile": seconds[0] - seconds[1]}


def normflows(k: int, updates: int) -> dict[str, float]:
    """Train with normflows, eagerly, as its own examples do."""
    import math

    import normflows as nf
    import torch

    torch.manual_seed(0)
    log_2pi = math.log(2 * math.pi)
    means = torch.tensor([[2.0, 2.0], [-2.0, -2.0]])
    flows = torch.nn.ModuleList([nf.flows.Planar((2,)) for _ in range(k)])
    optimizer = torch.optim.Adam(flows.parameters(), 1e-2)

    def step() -> None:
        z = z0 = torch.randn(BATCH, 2)
        total = torch.zeros(BATCH)
        for flow in flows:
            z, log_det = flow(z)
            total = total + log_det
        squares = ((z[:, None] - means) ** 2).sum(-1)
        log_p = torch.logsumexp(-0.5 * squares, -1) - math.log(2) - log_2pi
        loss = (-0.5 * (z0**2).sum(-1) - log_2pi - total - log_p).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for _ in range(20):
        step()
    eager = max(100, updates // 100)  # a hundredth of the updates is enough to time it
    start = time.perf_counter()
    for _ in range(eager):
        step()
    return {"updates_per_second": eager / (time.perf_counter() - start), "compile": 0.0}


CONTENDERS = {"nflow": nflow, "jax scan": jax_scan, "normflows": normflows}


def seconds_of(command: list[str], folder: str) -> float:
    """Time one command in ``folder``."""
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start


def whole_command(repeats: int) -> dict[str, float]:
    """Time the main command against importing TensorFlow, and the light commands."""
    main = [sys.executable, "-c", "from nflow_cli.cli import main; main()"]
    times: dict[str, list[float]] = {name: [] for name in ("import", "fit-2d", "plot", "help")}
    with tempfile.TemporaryDirectory() as folder:
        for i in range(repeats):
            run = f"run-{i}"
            fit = [*main, "fit-2d", "--flow", "planar", "--k", "8", "--output", run]
            plain = [sys.executable, "-c", "import tensorflow"]
            times["import"].append(seconds_of(plain, folder))
            times["fit-2d"].append(seconds_of(fit, folder))
            times["plot"].append(seconds_of([*main, "plot", run], folder))
            times["help"].append(seconds_of([*main, "--help"], folder))
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = statistics.median(
        fit / plain for fit, plain in zip(times["fit-2d"], times["import"], strict=True)
    )
    return {**medians, "ratio": ratio}


def measure(ks: list[int], updates: int, repeats: int) -> dict[str, Any]:
    """Measure every contender ``repeats`` times, in turn; medians."""
    training = {
        str(k): in_turn("benchmarks.fit2d", CONTENDERS, repeats, k, "--updates", str(updates))
        for k in ks
    }
    return {"training": training, "command": whole_command(repeats)}


def table(result: dict[str, Any]) -> str:
    """Lay the scores out, with each speed as a ratio of nflow's."""
    lines = [f"{'K':>4}  {'contender':<10} {'updates/s':>10} {'compile s':>10} {'nflow is':>10}"]
    for k, contenders in result["training"].items():
        own = contenders["nflow"]["updates_per_second"]
        for name, scores in contenders.items():
            speed = scores["updates_per_second"]
            lines.append(
                f"{k:>4}  {name:<10} {speed:>10,.0f} {scores['compile']:>10.2f} "
                f"{own / speed:>9.2f}x"
            )
    command = result["command"]
    lines += [
        "",
        f"import tensorflow                  {command['import']:6.2f} s",
        f"nflow fit-2d --flow planar --k 8   {command['fit-2d']:6.2f} s"
        f"  ({command['ratio']:.2f} times the import)",
        f"nflow plot RUN                     {command['plot']:6.2f} s",
        f"nflow --help                       {command['help']:6.2f} s",
    ]
    return "\n".join(lines)


@click.command()
@click.option("--k", "ks", type=int, multiple=True, default=[8, 32], help="How many flows.")
@click.option("--updates", default=20_000, show_default=True)
@click.option("--repeats", default=3, show_default=True, help="Medians are over these.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--one", type=click.Choice(list(CONTENDERS)), hidden=True)
def main(ks: tuple[int, ...], updates: int, repeats: int, as_json: bool, one: str | None) -> None:
    """Compare the speed of nflow with that of its peers on this machine."""
    if one is not None:
        click.echo(json.dumps(CONTENDERS[one](ks[0], updates)))
        return
    result = measure(list(ks), updates, repeats)
    click.echo(json.dumps(result, indent=2) if as_json else table(result))


if __name__ == "__main__":
    main()
