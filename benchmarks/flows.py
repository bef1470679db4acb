"""Updates and draws a second of flows by maximum likelihood, of nflow and of other libraries.

All train K flows with networks of two hidden layers of H on the same 50,000 points of a mixture of
two Gaussians in D dimensions, in the same batches, with Adam at 1e-3, and are judged by the same
20,000 others (nats a point). To K flows nflow adds the affine map that ends its stacks, which
starts as the Gaussian of the points. An update goes from points to the base, which an
autoregressive flow does in one pass; then as many points are drawn, the other way round. Each
library runs in a process of its own, in turn; updates that are not compiled are timed over fewer.
"""

from typing import Any

import numpy as np

from benchmarks.runner import Benchmark, Options, Row, apart, in_turn, markdown
from benchmarks.shapes import (
    CHUNK,
    HELD_OUT,
    POINTS,
    RATE,
    batches,
    drawn,
    draws_per_second,
    timed,
)

BATCH, UPDATES, ROUNDS = 512, 500, 3
SHAPES = [(2, 4, 64), (8, 8, 64), (30, 10, 128)]
CASES = [  # flow, shape, libraries
    *[("spline-coupling", shape, ("flowjax", "zuko")) for shape in SHAPES],
    ("spline-coupling", (2, 32, 64), ()),
    *[("affine-coupling", shape, ("flowjax", "zuko")) for shape in SHAPES],
    *[("affine-autoregressive", shape, ("flowjax", "zuko", "pyro")) for shape in SHAPES[::2]],
]


def nflow(flow: str, dim: int, k: int, hidden: int, batch: int, updates: int) -> dict[str, float]:
    """Train by the command line's own trainer."""
    from nflow_cli.backend.start import PROCESSOR, start_tensorflow
    from nflow_cli.config.flows import Flow, gained_by

    pattern: list[Any] = [{flow: {"hidden": [hidden, hidden]}}]
    threads = gained_by(Flow(pattern=pattern, k=k), dim, batch)
    start_tensorflow(PROCESSOR.with_threads(threads))
    import tensorflow as tf

    from nflow_cli.config.run_config import Train
    from nflow_cli.densities.bases import StandardNormal
    from nflow_cli.densities.pushforward import PushforwardDensity
    from nflow_cli.flows.stack import FlowStack
    from nflow_cli.tables.flows_training import FitPoints
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
    density = PushforwardDensity(StandardNormal(), stack)
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


def measure(case: Row, options: Options) -> Row:
    """Return the speed of each library."""
    shape = {key: case[key] for key in ("flow", "dim", "k", "hidden")}
    shape |= {"batch": BATCH, "updates": UPDATES}
    contenders: dict[str, Any] = {"nflow": lambda: apart("benchmarks.flows:nflow", shape)}
    for name in case["libraries"]:
        if name == "flowjax":
            contenders[name] = lambda: options.peer("speed:flowjax", **shape)
        else:
            contenders[name] = lambda name=name: options.peer(
                "speed:in_torch", library=name, **shape
            )
    return {"contenders": in_turn(contenders, ROUNDS)}


def table(rows: list[Row]) -> str:
    lines = [
        [
            row["flow"],
            f"{row['dim']}, {row['k']}, {row['hidden']}",
            name,
            *(
                f"{found[key]:,.1f}"
                for key in ("updates_per_second", "draws_per_second", "compile")
            ),
            f"{found['peak_gb']:.2f}",
            f"{found['held_out']:.3f}" if "held_out" in found else "",
        ]
        for row in rows
        for name, found in row["contenders"].items()
    ]
    head = ["flow", "D, K, H", "", "updates/s", "draws/s", "seconds of compiling", "GB at most"]
    return markdown([*head, "nats"], lines)


BENCHMARKS = [
    Benchmark(
        "flows",
        [
            {"flow": flow, "dim": dim, "k": k, "hidden": hidden, "libraries": list(names)}
            for flow, (dim, k, hidden), names in CASES
        ],
        measure,
        table,
    )
]
