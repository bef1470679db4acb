"""Time couplings by maximum likelihood: nflow, flowjax (scanned), zuko, nflows and normflows.

    python -m benchmarks.flows [--flow spline|affine] [--shape 2,4,64 --shape 8,8,64] [--json]

A shape is D, K, H: K couplings with networks of two hidden layers of H. All train on the same
50,000 points of a mixture of two Gaussians, in the same batches, with Adam at 1e-3, and are
judged by the same 20,000 others (nats a point). Each contender runs in a process of its own, one
after the other, ``--repeats`` times over, so that ratios come from one run on one machine;
updates that are not compiled are timed over fewer. What is not installed is left out.
"""

import json
import math
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import click
import numpy as np

from benchmarks.contenders import in_turn

POINTS, HELD_OUT, RATE, CHUNK = 50_000, 20_000, 1e-3, 100
BINS, BOUND = 8, 5.0
EAGER = 10  # one update for so many of those that are compiled


def drawn(n: int, dim: int, seed: int) -> np.ndarray:
    """Draw points ``(n, D)`` from ``½ N(2, I) + ½ N(-2, I)``."""
    rng = np.random.default_rng(seed)
    sign = rng.choice([-2.0, 2.0], (n, 1))
    return (sign + rng.standard_normal((n, dim))).astype(np.float32)


def batches(updates: int, batch: int) -> np.ndarray:
    """Draw the rows of each update, ``(updates, batch)``."""
    return np.random.default_rng(2).integers(POINTS, size=(updates, batch)).astype(np.int32)


def nflow(flow: str, dim: int, k: int, hidden: int, batch: int, updates: int) -> dict[str, float]:
    """Train with the command line's own trainer."""
    from nflow_cli.backend import start_tensorflow

    start_tensorflow()
    from nflow_cli.config.schema import Train
    from nflow_cli.densities.bases import StandardNormal
    from nflow_cli.densities.pushforward import FlowDensity
    from nflow_cli.experiments.table.fit import FitPoints
    from nflow_cli.flows import FlowStack
    from nflow_cli.training.chunks import DrawnChunks
    from nflow_cli.training.trainer import Clock

    points, rows = drawn(POINTS, dim, 0).T, batches(updates, batch)

    class SameBatches(DrawnChunks):
        def drawn(self, seed: int, index: int) -> np.ndarray:
            part = rows[index * self.chunk : (index + 1) * self.chunk]
            return np.moveaxis(points[:, part], 0, 1)

    stack = FlowStack([{f"{flow}-coupling": {"hidden": [hidden, hidden]}}], k, seed=0)
    stack.build((None, dim))
    density = FlowDensity(StandardNormal(), stack)
    model = FitPoints(density, 0.0)
    model.prepare(Train(learning_rate=RATE, schedule="constant", clip_norm=None), updates)
    clock = Clock()
    model.train_on(SameBatches([0], updates, CHUNK, batch), [clock])
    held_out = float(density.log_prob(drawn(HELD_OUT, dim, 1)).mean())
    return timed(clock.seconds, held_out)


def flowjax(flow: str, dim: int, k: int, hidden: int, batch: int, updates: int) -> dict[str, float]:
    """Train with flowjax, a hundred updates scanned in one compiled call."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax
    import paramax
    from flowjax.bijections import Affine, RationalQuadraticSpline
    from flowjax.distributions import StandardNormal
    from flowjax.flows import coupling_flow

    spline = RationalQuadraticSpline(knots=BINS, interval=BOUND)
    model = coupling_flow(
        jax.random.key(0),
        base_dist=StandardNormal((dim,)),
        transformer=spline if flow == "spline" else Affine(),
        flow_layers=k,
        nn_width=hidden,
        nn_depth=2,
    )
    points, rows = jnp.asarray(drawn(POINTS, dim, 0)), batches(updates, batch)

    def frozen(leaf: Any) -> bool:
        return isinstance(leaf, paramax.NonTrainable)

    weights, rest = eqx.partition(model, eqx.is_inexact_array, is_leaf=frozen)
    adam = optax.adam(RATE)
    state = adam.init(weights)

    def log_prob(weights: Any, x: Any) -> Any:
        return paramax.unwrap(eqx.combine(weights, rest)).log_prob(x).mean()

    @eqx.filter_jit
    def chunk(weights: Any, state: Any, rows: Any) -> Any:
        def step(carry: Any, row: Any) -> Any:
            weights, state = carry
            gradient = jax.grad(lambda w: -log_prob(w, points[row]))(weights)
            changes, state = adam.update(gradient, state, weights)
            return (optax.apply_updates(weights, changes), state), None

        return jax.lax.scan(step, (weights, state), rows)[0]

    seconds = []
    for start in range(0, updates, CHUNK):
        began = time.perf_counter()
        weights, state = chunk(weights, state, jnp.asarray(rows[start : start + CHUNK]))
        jax.block_until_ready(weights)
        seconds.append(time.perf_counter() - began)
    return timed(seconds, float(log_prob(weights, jnp.asarray(drawn(HELD_OUT, dim, 1)))))


def in_torch(build: Callable[..., Any], *shape: Any) -> dict[str, float]:
    """Train a density of PyTorch eagerly, as its own examples do."""
    import torch

    flow, dim, k, hidden, batch, updates = shape
    torch.manual_seed(0)
    log_prob, weights = build(flow, dim, k, hidden)
    points, rows = (
        torch.from_numpy(drawn(POINTS, dim, 0)),
        torch.from_numpy(batches(updates, batch)),
    )
    adam = torch.optim.Adam(weights, RATE)
    seconds = []
    for row in rows[: max(2 * CHUNK, updates // EAGER)]:
        began = time.perf_counter()
        adam.zero_grad()
        (-log_prob(points[row]).mean()).backward()
        adam.step()
        seconds.append(time.perf_counter() - began)
    return {"updates_per_second": 1 / statistics.median(seconds), "compile": 0.0, **memory()}


def zuko(flow: str, dim: int, k: int, hidden: int) -> Any:
    """Build zuko's coupling flow."""
    import zuko

    options = {"transforms": k, "hidden_features": (hidden, hidden), "passes": 2}
    if flow == "spline":
        model = zuko.flows.NSF(dim, bins=BINS, **options)
    else:
        model = zuko.flows.MAF(dim, **options)
    return lambda x: model().log_prob(x), list(model.parameters())


def nflows(flow: str, dim: int, k: int, hidden: int) -> Any:
    """Build the coupling flow of nflows."""
    from nflows import distributions, flows, transforms, utils
    from nflows.nn import nets

    def network(inputs: int, outputs: int) -> Any:
        return nets.ResidualNet(inputs, outputs, hidden_features=hidden, num_blocks=1)

    couplings = []
    for i in range(k):
        mask = utils.create_alternating_binary_mask(dim, even=i % 2 == 0)
        if flow == "spline":
            coupling = transforms.PiecewiseRationalQuadraticCouplingTransform(
                mask, network, num_bins=BINS, tails="linear", tail_bound=BOUND
            )
        else:
            coupling = transforms.AffineCouplingTransform(mask, network)
        couplings.append(coupling)
    base = distributions.StandardNormal([dim])
    model = flows.Flow(transforms.CompositeTransform(couplings), base)
    return model.log_prob, list(model.parameters())


def normflows(flow: str, dim: int, k: int, hidden: int) -> Any:
    """Build the coupling flow of normflows, with the permutations of its examples."""
    import normflows as nf

    layers: list[Any] = []
    for _ in range(k):
        if flow == "spline":
            spline = {"num_bins": BINS, "tail_bound": BOUND}
            layers += [nf.flows.CoupledRationalQuadraticSpline(dim, 2, hidden, **spline)]
        else:
            half = [math.ceil(dim / 2), hidden, hidden, 2 * (dim // 2)]
            layers += [nf.flows.AffineCouplingBlock(nf.nets.MLP(half, init_zeros=True))]
        layers += [nf.flows.LULinearPermute(dim)]
    model = nf.NormalizingFlow(nf.distributions.DiagGaussian(dim, trainable=False), layers)
    return model.log_prob, list(model.parameters())


CONTENDERS: dict[str, Callable[..., dict[str, float]]] = {
    "nflow": nflow,
    "flowjax": flowjax,
    "zuko": lambda *shape: in_torch(zuko, *shape),
    "nflows": lambda *shape: in_torch(nflows, *shape),
    "normflows": lambda *shape: in_torch(normflows, *shape),
}


def timed(seconds: list[float], held_out: float) -> dict[str, float]:
    """Return what a contender reports, by the seconds of its chunks: the first one compiles."""
    warm = statistics.median(seconds[1:])
    speed = {"updates_per_second": CHUNK / warm, "compile": seconds[0] - warm}
    return {**speed, **memory(), "held_out": held_out}


def memory() -> dict[str, float]:
    """Return the memory that this process took at most, in GB."""
    return {"peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}


def table(result: dict[str, dict[str, dict[str, float]]]) -> str:
    """Lay the scores out, with each speed as a ratio of nflow's."""
    head = ("D, K, H", "contender", "updates/s", "compile s", "peak GB", "held out", "nflow is")
    lines = ["{:<12} {:<10} {:>9} {:>9} {:>8} {:>10} {:>9}".format(*head)]
    for shape, contenders in result.items():
        own = contenders["nflow"]["updates_per_second"]
        for name, scores in contenders.items():
            speed = scores["updates_per_second"]
            nats = f"{scores['held_out']:.4f}" if "held_out" in scores else ""
            lines.append(
                f"{shape:<12} {name:<10} {speed:>9,.1f} {scores['compile']:>9.2f} "
                f"{scores['peak_gb']:>8.2f} {nats:>10} {own / speed:>8.2f}x"
            )
    return "\n".join(lines)


@click.command()
@click.option("--flow", type=click.Choice(["spline", "affine"]), default="spline")
@click.option("--shape", "shapes", multiple=True, default=["2,4,64", "8,8,64", "30,10,128"])
@click.option("--batch", default=512, show_default=True)
@click.option("--updates", default=2_000, show_default=True)
@click.option("--repeats", default=3, show_default=True, help="Medians are over these.")
@click.option("--contender", "names", type=click.Choice(list(CONTENDERS)), multiple=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--one", type=click.Choice(list(CONTENDERS)), hidden=True)
@click.option("--k", type=int, hidden=True)
def main(
    flow: str,
    shapes: tuple[str, ...],
    batch: int,
    updates: int,
    repeats: int,
    names: tuple[str, ...],
    as_json: bool,
    one: str | None,
    k: int | None,
) -> None:
    """Compare the speed of couplings with that of their peers on this machine."""
    if one:
        dim, k, hidden = map(int, shapes[0].split(","))
        print(json.dumps(CONTENDERS[one](flow, dim, k, hidden, batch, updates)))
        return
    options = ["--flow", flow, "--batch", str(batch), "--updates", str(updates)]
    result = {
        shape: in_turn(
            "benchmarks.flows",
            names or CONTENDERS,
            repeats,
            int(shape.split(",")[1]),
            "--shape",
            shape,
            *options,
        )
        for shape in shapes
    }
    print(json.dumps(result) if as_json else table(result))


if __name__ == "__main__":
    main()
