"""Seconds of training a VAE with amortised planar flows: nflow, and the same model in PyTorch.

The model is that of the preset mnist-mlp, in batches of 100: 600 updates are an epoch of MNIST. The
images are those of ``mnist.npz`` in the folder of data.
"""

import math
import tempfile

import numpy as np

from benchmarks.runner import Benchmark, Options, Row, apart, in_turn, markdown

BATCH, UPDATES, ROUNDS = 100, 600, 3


def nflow(k: int, updates: int, images: str) -> dict[str, float]:
    """Train by the command line's own trainer, binarization and noise included."""
    from nflow_cli.backend.start import start_tensorflow

    start_tensorflow()
    from nflow_cli.config import presets
    from nflow_cli.images import vae_training as images_fit
    from nflow_cli.images.image_chunks import ImageChunks
    from nflow_cli.training.observers import Clock

    x_train = np.load(images)
    epochs = 1 + -(-updates * BATCH // len(x_train))  # the first chunk compiles
    changes = {"flow.k": k, "train.batch_size": BATCH, "train.epochs": epochs}
    preset = presets.read_preset(presets.find_preset("mnist-mlp"))
    resolved = presets.validate(presets.override(preset, changes), "benchmark")
    chunks, clock = ImageChunks(x_train, resolved), Clock()
    model = images_fit.build(resolved, chunks.batches)
    model.train_on(chunks, [clock])
    return {"seconds": updates / (clock.speed().steps_per_second or math.nan)}


def measure(case: Row, options: Options) -> Row:
    """Return the seconds of both."""
    from nflow_cli.images.images import load_images

    path = str(options.file("mnist.npz"))
    with tempfile.TemporaryDirectory() as folder:
        images = f"{folder}/images.npy"
        np.save(images, load_images(path, fallback=False).x_train)
        shape = {"k": case["k"], "updates": UPDATES, "images": images}
        contenders = {
            "nflow": lambda: apart("benchmarks.vae:nflow", shape),
            "PyTorch, eager": lambda: options.peer("speed:vae", **shape),
        }
        return {"contenders": in_turn(contenders, ROUNDS)}


def table(rows: list[Row]) -> str:
    lines = [
        [row["k"], name, f"{found['seconds']:.1f}"]
        for row in rows
        for name, found in row["contenders"].items()
    ]
    return markdown(["K", "", "seconds of 600 updates"], lines)


BENCHMARKS = [Benchmark("vae", [{"k": 0}, {"k": 16}], measure, table)]
