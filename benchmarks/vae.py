"""Time the MNIST VAE with amortised planar flows: nflow, and the same model in eager PyTorch.

    python -m benchmarks.vae [--data mnist.npz] [--json] [--k 0 --k 16] [--updates 600]

The model is that of the preset mnist-mlp, in batches of 100: 600 updates are an epoch of MNIST.
Each contender runs in a process of its own, in turn, ``--repeats`` times over.
"""

import json
import math
import time
from typing import Any

import click

from benchmarks.contenders import in_turn

BATCH, WARM = 100, 20  # WARM: eager updates before the clock starts


def nflow(k: int, updates: int, data: str) -> dict[str, float]:
    """Train with the command line's own trainer, binarization and noise included."""
    from nflow_cli.backend.start import start_tensorflow

    start_tensorflow()
    from nflow_cli.config import presets
    from nflow_cli.data import images
    from nflow_cli.experiments.images import training as images_fit
    from nflow_cli.training.chunks import ImageChunks
    from nflow_cli.training.observers import Clock

    x_train = images.load_images(data, fallback=False).x_train
    epochs = 1 + -(-updates * BATCH // len(x_train))  # the first chunk compiles
    changes = {"flow.k": k, "train.batch_size": BATCH, "train.epochs": epochs}
    preset = presets.read_preset(presets.find_preset("mnist-mlp"))
    resolved = presets.validate(presets.override(preset, changes), "benchmark")
    chunks, clock = ImageChunks(x_train, resolved), Clock()
    model = images_fit.build(resolved, chunks.batches)
    model.train_on(chunks, [clock])
    return {"seconds": updates / (clock.speed().steps_per_second or math.nan)}


def torch_eager(k: int, updates: int, data: str) -> dict[str, float]:
    """Train a plain PyTorch model with a plain loop."""

    import torch
    from torch.nn import Linear, ReLU, Sequential
    from torch.nn.functional import binary_cross_entropy_with_logits, softplus

    from nflow_cli.data import images

    torch.manual_seed(0)
    d, h = 40, 400
    x_train = images.load_images(data, fallback=False).x_train
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
        pixels, noise = torch.bernoulli(batch), torch.randn(BATCH, d)
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
        first = i * BATCH % (len(order) - BATCH + 1)
        step(x_train[order[first : first + BATCH]])
    return {"seconds": time.perf_counter() - start}


CONTENDERS = {"nflow": nflow, "PyTorch": torch_eager}


def table(result: dict[str, Any], updates: int) -> str:
    """Lay the scores out, with nflow's time as a share of the others'."""
    lines = [f"{'K':>4}  {'contender':<10} {f's / {updates:,} updates':>18} {'nflow takes':>12}"]
    for k, contenders in result.items():
        own = contenders["nflow"]["seconds"]
        for name, scores in contenders.items():
            seconds = scores["seconds"]
            lines.append(f"{k:>4}  {name:<10} {seconds:>18.2f} {own / seconds:>11.2f}x")
    return "\n".join(lines)


@click.command()
@click.option("--data", default="mnist-sample", show_default=True, help="As for train-vae.")
@click.option("--k", "ks", type=int, multiple=True, default=[0, 16], help="How many flows.")
@click.option("--updates", default=600, show_default=True)
@click.option("--repeats", default=3, show_default=True, help="Medians are over these.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--one", type=click.Choice(list(CONTENDERS)), hidden=True)
def main(
    data: str, ks: tuple[int, ...], updates: int, repeats: int, as_json: bool, one: str | None
) -> None:
    """Compare the speed of train-vae with PyTorch's on this machine."""
    if one is not None:
        click.echo(json.dumps(CONTENDERS[one](ks[0], updates, data)))
        return
    options = ("--data", data, "--updates", str(updates))
    result = {str(k): in_turn("benchmarks.vae", CONTENDERS, repeats, k, *options) for k in ks}
    click.echo(json.dumps(result, indent=2) if as_json else table(result, updates))


if __name__ == "__main__":
    main()
