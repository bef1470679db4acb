"""Time flows by maximum likelihood: nflow, flowjax (scanned), zuko, nflows, normflows and Pyro.

    python -m benchmarks.flows [--flow spline-coupling] [--shape 2,4,64 --shape 8,8,64] [--json]

A shape is D, K, H: K flows with networks of two hidden layers of H. All train on the same
50,000 points of a mixture of two Gaussians, in the same batches, with Adam at 1e-3, and are
judged by the same 20,000 others (nats a point). To K flows nflow adds the affine map that ends its
stacks, which starts as the Gaussian of the points. An update goes from points to the base, which an
autoregressive flow does in one pass; then as many points are drawn, the other way round. Each
contender runs in a process of its own, one after the other, ``--repeats`` times over, so that
ratios come from one run on one machine; updates that are not compiled are timed over fewer. What
is not installed is left out, and who has a flow the other way round alone.
"""

import json
import math
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import click
import numpy as np

from benchmarks.contenders import in_turn

POINTS, HELD_OUT, RATE, CHUNK = 50_000, 20_000, 1e-3, 100
BINS, BOUND = 8, 5.0
EAGER = 10  # one update for so many of those that are compiled
DRAWS = 20  # batches that are drawn
FLOWS = ["spline-coupling", "affine-coupling", "affine-autoregressive"]
# Who has a flow the other way round alone, an update in D passes.
INVERSE_ALONE = {"affine-autoregressive": ["normflows"]}


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
    from nflow_cli.backend.start import PROCESSOR, start_tensorflow
    from nflow_cli.config.flows import Flow, gained_by

    pattern: list[Any] = [{flow: {"hidden": [hidden, hidden]}}]
    threads = gained_by(Flow(pattern=pattern, k=k), dim, batch)
    start_tensorflow(PROCESSOR.with_threads(threads))
    import tensorflow as tf

    from nflow_cli.config.training import Train
    from nflow_cli.densities.bases import StandardNormal
    from nflow_cli.densities.pushforward import FlowDensity
    from nflow_cli.experiments.table.flows_training import FitPoints
    from nflow_cli.flows.stack import FlowStack
    from nflow_cli.training.chunks import DrawnChunks
    from nflow_cli.training.observers import Clock

    points, rows = drawn(POINTS, dim, 0).T, batches(updates, batch)

    class SameBatches(DrawnChunks):
        def drawn(self, seed: int, index: int) -> np.ndarray:
            part = rows[index * self.chunk : (index + 1) * self.chunk]
            return np.moveaxis(points[:, part], 0, 1)

    stack = FlowStack(pattern, k, seed=0, affine="full")
    stack.build((None, dim))
    stack.adapt(points.mean(axis=1), np.linalg.cholesky(np.cov(points)))
    density = FlowDensity(StandardNormal(), stack)
    model = FitPoints(density, 0.0)
    model.prepare(Train(learning_rate=RATE, schedule="constant", clip_norm=None), updates)
    clock = Clock()
    model.train_on(SameBatches([0], updates, CHUNK, batch), [clock])
    held_out = float(density.log_prob(drawn(HELD_OUT, dim, 1)).mean())

    @tf.function(jit_compile=True)
    def draw(number: tf.Tensor) -> tf.Tensor:
        return density.push(tf.random.stateless_normal((batch, dim), tf.stack([0, number])))[0]

    draws = draws_per_second(lambda number: draw(tf.constant(number)).numpy())
    return {**timed(clock.seconds, held_out), **draws}


def flowjax(flow: str, dim: int, k: int, hidden: int, batch: int, updates: int) -> dict[str, float]:
    """Train with flowjax, a hundred updates scanned in one compiled call."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax
    import paramax
    from flowjax.bijections import Affine, RationalQuadraticSpline
    from flowjax.distributions import StandardNormal
    from flowjax.flows import coupling_flow, masked_autoregressive_flow

    spline = RationalQuadraticSpline(knots=BINS, interval=BOUND)
    build = coupling_flow if flow.endswith("coupling") else masked_autoregressive_flow
    model = build(
        jax.random.key(0),
        base_dist=StandardNormal((dim,)),
        transformer=spline if flow == "spline-coupling" else Affine(),
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
    held_out = float(log_prob(weights, jnp.asarray(drawn(HELD_OUT, dim, 1))))

    @eqx.filter_jit
    def draw(weights: Any, number: Any) -> Any:
        model = paramax.unwrap(eqx.combine(weights, rest))
        return model.sample(jax.random.key(number), (batch,))

    draws = draws_per_second(lambda number: np.asarray(draw(weights, jnp.asarray(number))))
    return {**timed(seconds, held_out), **draws}


def in_torch(build: Callable[..., Any], *shape: Any) -> dict[str, float]:
    """Train a density of PyTorch eagerly, as its own examples do."""
    import torch

    flow, dim, k, hidden, batch, updates = shape
    torch.manual_seed(0)
    log_prob, sample, weights = build(flow, dim, k, hidden)
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
    with torch.no_grad():
        draws = draws_per_second(lambda _: sample(batch))
    return {
        "updates_per_second": 1 / statistics.median(seconds),
        "compile": 0.0,
        **memory(),
        **draws,
    }


def zuko(flow: str, dim: int, k: int, hidden: int) -> Any:
    """Build zuko's flow."""
    import zuko

    options: dict[str, Any] = {"transforms": k, "hidden_features": (hidden, hidden)}
    if flow.endswith("coupling"):
        options["passes"] = 2
    if flow == "spline-coupling":
        model = zuko.flows.NSF(dim, bins=BINS, **options)
    else:
        model = zuko.flows.MAF(dim, **options)
    parameters = list(model.parameters())
    return lambda x: model().log_prob(x), lambda n: model().sample((n,)), parameters


def nflows(flow: str, dim: int, k: int, hidden: int) -> Any:
    """Build the flow of nflows."""
    from nflows import distributions, flows, transforms, utils
    from nflows.nn import nets

    def network(inputs: int, outputs: int) -> Any:
        return nets.ResidualNet(inputs, outputs, hidden_features=hidden, num_blocks=1)

    layers = []
    for i in range(k):
        mask = utils.create_alternating_binary_mask(dim, even=i % 2 == 0)
        if flow == "spline-coupling":
            layer = transforms.PiecewiseRationalQuadraticCouplingTransform(
                mask, network, num_bins=BINS, tails="linear", tail_bound=BOUND
            )
        elif flow == "affine-coupling":
            layer = transforms.AffineCouplingTransform(mask, network)
        else:
            layer = transforms.MaskedAffineAutoregressiveTransform(dim, hidden, num_blocks=1)
        layers.append(layer)
    base = distributions.StandardNormal([dim])
    model = flows.Flow(transforms.CompositeTransform(layers), base)
    return model.log_prob, model.sample, list(model.parameters())


def normflows(flow: str, dim: int, k: int, hidden: int) -> Any:
    """Build the flow of normflows, with the permutations of its examples."""
    import normflows as nf

    layers: list[Any] = []
    for _ in range(k):
        if flow == "spline-coupling":
            spline = {"num_bins": BINS, "tail_bound": BOUND}
            layers += [nf.flows.CoupledRationalQuadraticSpline(dim, 2, hidden, **spline)]
        else:
            half = [math.ceil(dim / 2), hidden, hidden, 2 * (dim // 2)]
            layers += [nf.flows.AffineCouplingBlock(nf.nets.MLP(half, init_zeros=True))]
        layers += [nf.flows.LULinearPermute(dim)]
    model = nf.NormalizingFlow(nf.distributions.DiagGaussian(dim, trainable=False), layers)
    return model.log_prob, model.sample, list(model.parameters())


def pyro(flow: str, dim: int, k: int, hidden: int) -> Any:
    """Build the flow of Pyro, with a permutation between, as its tutorial does."""
    import torch
    from pyro import distributions
    from pyro.distributions import transforms

    widths, layers = [hidden, hidden], []
    for _ in range(k):
        if flow == "spline-coupling":
            layer = transforms.spline_coupling(
                dim, hidden_dims=widths, count_bins=BINS, bound=BOUND
            )
        elif flow == "affine-coupling":
            layer = transforms.affine_coupling(dim, hidden_dims=widths)
        else:
            layer = transforms.affine_autoregressive(dim, hidden_dims=widths).inv
        layers += [layer, transforms.permute(dim)]
    base = distributions.Normal(torch.zeros(dim), torch.ones(dim)).to_event(1)
    model = distributions.TransformedDistribution(base, layers)
    # The wrapper of an inverse hides the module that holds its weights.
    modules = [getattr(layer, "_inv", None) or layer for layer in layers]
    weights = [w for m in modules if isinstance(m, torch.nn.Module) for w in m.parameters()]

    def log_prob(x: Any) -> Any:
        model.clear_cache()
        return model.log_prob(x)

    return log_prob, lambda n: model.sample((n,)), weights


CONTENDERS: dict[str, Callable[..., dict[str, float]]] = {
    "nflow": nflow,
    "flowjax": flowjax,
    "zuko": lambda *shape: in_torch(zuko, *shape),
    "nflows": lambda *shape: in_torch(nflows, *shape),
    "normflows": lambda *shape: in_torch(normflows, *shape),
    "pyro": lambda *shape: in_torch(pyro, *shape),
}


def timed(seconds: list[float], held_out: float) -> dict[str, float]:
    """Return what a contender reports, by the seconds of its chunks: the first one compiles."""
    warm = statistics.median(seconds[1:])
    speed = {"updates_per_second": CHUNK / warm, "compile": seconds[0] - warm}
    return {**speed, **memory(), "held_out": held_out}


def draws_per_second(draw: Callable[[int], Any]) -> dict[str, float]:
    """Return how many batches are drawn a second, by the median; the first one may compile."""
    seconds = []
    for number in range(1 + DRAWS):
        began = time.perf_counter()
        draw(number)
        seconds.append(time.perf_counter() - began)
    return {"draws_per_second": 1 / statistics.median(seconds[1:])}


def memory() -> dict[str, float]:
    """Return the memory that this process took at most, in GB."""
    return {"peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}


def table(result: dict[str, dict[str, dict[str, float]]]) -> str:
    """Lay the scores out, with each speed as a ratio of nflow's."""
    head = (
        *("D, K, H", "contender", "updates/s", "compile s", "peak GB", "held out", "nflow is"),
        *("draws/s", "nflow is"),
    )
    lines = ["{:<12} {:<10} {:>9} {:>9} {:>8} {:>10} {:>9} {:>9} {:>9}".format(*head)]
    for shape, contenders in result.items():
        ours = contenders["nflow"]
        for name, scores in contenders.items():
            speed, draws = scores["updates_per_second"], scores["draws_per_second"]
            nats = f"{scores['held_out']:.4f}" if "held_out" in scores else ""
            lines.append(
                f"{shape:<12} {name:<10} {speed:>9,.1f} {scores['compile']:>9.2f} "
                f"{scores['peak_gb']:>8.2f} {nats:>10} {ours['updates_per_second'] / speed:>8.2f}x "
                f"{draws:>9,.1f} {ours['draws_per_second'] / draws:>8.2f}x"
            )
    return "\n".join(lines)


@click.command()
@click.option("--flow", type=click.Choice(FLOWS), default=FLOWS[0])
@click.option("--shape", "shapes", multiple=True, default=["2,4,64", "8,8,64", "30,10,128"])
@click.option("--batch", default=512, show_default=True)
@click.option("--updates", default=2_000, show_default=True, type=click.IntRange(2 * CHUNK))
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
    names: Sequence[str],
    as_json: bool,
    one: str | None,
    k: int | None,
) -> None:
    """Compare the speed of flows with that of their peers on this machine."""
    if one:
        dim, k, hidden = map(int, shapes[0].split(","))
        print(json.dumps(CONTENDERS[one](flow, dim, k, hidden, batch, updates)))
        return
    options = ["--flow", flow, "--batch", str(batch), "--updates", str(updates)]
    names = [n for n in names or CONTENDERS if n not in INVERSE_ALONE.get(flow, ())]
    result = {
        shape: in_turn(
            "benchmarks.flows",
            names,
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
