"""Measure what being able to resume costs a training.

    python -m benchmarks.checkpoints [--seconds 60]

Trains the MNIST VAE of the preset mnist-mlp (its embedded sample) and the 2-D fit of
multimodal-planar for about a minute each, with checkpoints as often as by default, and tells which
share of that was spent on them and on keeping what each chunk began with.
"""

import functools
import math
import tempfile
import time
from collections.abc import Callable
from typing import Any

import click

SPENT: dict[str, float] = {}


def timed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` that adds its time to ``SPENT``."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            name = function.__qualname__
            SPENT[name] = SPENT.get(name, 0.0) + time.perf_counter() - start

    return call


def vae(folder: Any, seconds: float) -> tuple[float, float]:
    """Train a VAE; return as :func:`measured`."""
    from nflow_cli.config import presets
    from nflow_cli.data.images import load_images
    from nflow_cli.experiments.images import training as images_fit
    from nflow_cli.training.chunks import ImageChunks

    changes = {"data.name": "mnist-sample", "flow.k": 16}
    data = presets.override(presets.read_preset(presets.find_preset("mnist-mlp")), changes)

    def train(epochs: int, directory: Any) -> Any:
        resolved = presets.validate(presets.override(data, {"train.epochs": epochs}), "benchmark")
        chunks = ImageChunks(load_images("mnist-sample").x_train, resolved)
        return images_fit.train(
            images_fit.build(resolved, chunks.batches), chunks, None, resolved, directory
        )

    epoch = train(5, None)["seconds_per_epoch"]
    return measured(train, math.ceil(seconds / epoch), folder)


def fit_2d(folder: Any, seconds: float) -> tuple[float, float]:
    """Fit a mixture; return as :func:`measured`."""
    from nflow_cli.config import presets
    from nflow_cli.experiments.reverse_kl import training as target_fit

    data = presets.read_preset(presets.find_preset("multimodal-planar"))

    def train(steps: int, directory: Any) -> Any:
        resolved = presets.validate(presets.override(data, {"train.steps": steps}), "benchmark")
        return target_fit.train(
            target_fit.build(resolved, resolved.new_target()), resolved, directory
        )

    rate = train(20_000, None).speed.steps_per_second
    return measured(train, int(seconds * rate), folder)


def measured(train: Callable[..., Any], size: int, folder: Any) -> tuple[float, float]:
    """Return the seconds of a training and those that went into resuming."""
    SPENT.clear()
    start = time.perf_counter()
    train(size, folder)
    return time.perf_counter() - start, sum(SPENT.values())


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="How long to train, about.")
def main(seconds: float) -> None:
    """Print the share of a training that being able to resume costs."""
    from nflow_cli.backend.start import start_tensorflow

    start_tensorflow()
    from nflow_cli.runs.directory import RunDirectory
    from nflow_cli.training.observers import DivergenceStop
    from nflow_cli.training.session import Checkpointer

    for part, name in ((Checkpointer, "save"), (DivergenceStop, "before")):
        setattr(part, name, timed(getattr(part, name)))
    for name, train in (("train-vae", vae), ("fit-2d", fit_2d)):
        with tempfile.TemporaryDirectory() as folder:
            whole, spent = train(RunDirectory.create(name, f"{folder}/run"), seconds)
        click.echo(f"{name:<9} {whole:6.1f} s, {spent:5.2f} s on it: {100 * spent / whole:.2f} %")


if __name__ == "__main__":
    main()
