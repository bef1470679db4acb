"""Speed of other libraries, each trained as its own examples do. Nothing of nflow is imported."""

import math
import statistics
import time
from typing import Any

import numpy as np

from benchmarks.shapes import (
    BINS,
    BOUND,
    CHUNK,
    HELD_OUT,
    POINTS,
    RATE,
    batches,
    drawn,
    draws_per_second,
    memory,
    timed,
)

BATCH = 512  # points of an update in the plane
EAGER = 10  # one update for so many of those that are compiled
IMAGES, WARM = 100, 20  # images of an update; eager updates before the clock starts


def jax_scan(k: int, updates: int) -> dict[str, float]:
    """Train with a loop written by hand: ``lax.scan`` over updates, K unrolled."""
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


def planar_normflows(k: int, updates: int) -> dict[str, float]:
    """Train with normflows, eagerly, as its own examples do."""
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


def in_torch(
    library: str, flow: str, dim: int, k: int, hidden: int, batch: int, updates: int
) -> dict[str, float]:
    """Train a density of PyTorch eagerly, as its own examples do."""
    import torch

    torch.manual_seed(0)
    log_prob, sample, weights = TORCH[library](flow, dim, k, hidden)
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


def pyro(flow: str, dim: int, k: int, hidden: int) -> Any:
    """Build Pyro's affine autoregressive flow, with a permutation between, as its tutorial does."""
    import torch
    from pyro import distributions
    from pyro.distributions import transforms

    layers = []
    for _ in range(k):
        inverse = transforms.affine_autoregressive(dim, hidden_dims=[hidden, hidden])
        layers += [inverse.inv, transforms.permute(dim)]
    base = distributions.Normal(torch.zeros(dim), torch.ones(dim)).to_event(1)
    model = distributions.TransformedDistribution(base, layers)
    # The wrapper of an inverse hides the module that holds its weights.
    modules = [getattr(layer, "_inv", None) or layer for layer in layers]
    weights = [w for m in modules if isinstance(m, torch.nn.Module) for w in m.parameters()]

    def log_prob(x: Any) -> Any:
        model.clear_cache()
        return model.log_prob(x)

    return log_prob, lambda n: model.sample((n,)), weights


TORCH = {"zuko": zuko, "pyro": pyro}


def vae(k: int, updates: int, images: str) -> dict[str, float]:
    """Train a VAE by a plain loop of PyTorch, on the images ``(n, 28, 28)`` of a file."""
    import torch
    from torch.nn import Linear, ReLU, Sequential
    from torch.nn.functional import binary_cross_entropy_with_logits, softplus

    torch.manual_seed(0)
    d, h = 40, 400
    x_train = np.load(images)
    x_train = torch.tensor(x_train.reshape(-1, 784) / 255, dtype=torch.float32)
    encoder = Sequential(Linear(784, h), ReLU(), Linear(h, h), ReLU())
    decoder = Sequential(Linear(d, h), ReLU(), Linear(h, h), ReLU(), Linear(h, 784))
    mean, log_variance = Linear(h, d), Linear(h, d)
    flows: Any = Linear(h, k * (2 * d + 1)) if k else None
    parts = torch.nn.ModuleList([encoder, decoder, mean, log_variance, *([flows] if flows else [])])
    optimizer = torch.optim.Adam(parts.parameters(), 1e-3)
    log_2pi = math.log(2 * math.pi)

    def push(hidden: Any, z: Any, log_q: Any) -> tuple[Any, Any]:
        raw = flows(hidden).reshape(-1, k, 2 * d + 1)
        u, w, b = raw[..., :d], raw[..., d : 2 * d], raw[..., -1]
        wu = (u * w).sum(-1)
        m = softplus(wu) - 1
        u_hat = u + ((m - wu) / ((w * w).sum(-1) + 1e-6))[..., None] * w
        for i in range(k):
            t = torch.tanh((z * w[:, i]).sum(-1) + b[:, i])
            z = z + t[:, None] * u_hat[:, i]
            log_q = log_q - torch.log1p((1 - t * t) * m[:, i])
        return z, log_q

    def step(batch: Any) -> None:
        pixels, noise = torch.bernoulli(batch), torch.randn(IMAGES, d)
        hidden = encoder(pixels)
        s = log_variance(hidden).clamp(-10, 10)
        z = mean(hidden) + (s / 2).exp() * noise
        log_q = -0.5 * (noise**2 + s + log_2pi).sum(-1)
        if flows:
            z, log_q = push(hidden, z, log_q)
        log_p = -0.5 * (z**2 + log_2pi).sum(-1)
        lost = binary_cross_entropy_with_logits(decoder(z), pixels, reduction="none").sum(-1)
        loss = (log_q - log_p + lost).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    start = 0.0
    order = torch.randperm(len(x_train))
    for i in range(WARM + updates):
        if i == WARM:
            start = time.perf_counter()
        first = i * IMAGES % (len(order) - IMAGES + 1)
        step(x_train[order[first : first + IMAGES]])
    return {"seconds": time.perf_counter() - start}
