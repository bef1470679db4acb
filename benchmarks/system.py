"""Costs on a machine: of sizes, threads, checkpoints and many rows, and what a GPU does."""

import functools
import math
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.runner import (
    NFLOW,
    Benchmark,
    Options,
    Row,
    apart,
    groups,
    launched,
    markdown,
    medians,
    pm,
)

POINTS = 50_000


# A training in a process of its own


def plane(k: int, flow: str = "planar", **train: Any) -> Row:
    """Return a fit of the mixture of two modes."""
    return preset("fit-2d", k, flow, train, target="multimodal", evaluate={"samples": 1000})


def of_table(dim: int, k: int, hidden: int, rows: int = POINTS, **train: Any) -> Row:
    """Return a fit of spline couplings to so many rows of ``½ N(2, I) + ½ N(-2, I)``."""
    flow = {"spline-coupling": {"hidden": [hidden, hidden]}}
    return preset("fit", k, flow, train, data={"name": f"{rows}x{dim}.npy"})


def of_vae(k: int, **train: Any) -> Row:
    """Return the VAE of `mnist-mlp`, on the sample of digits that is there."""
    model = {"latent_dim": 40, "hidden": [400, 400]}
    data, train = {"name": "mnist-sample"}, {"batch_size": 100, **train}
    evaluate = {"importance_samples": 1}
    return preset("train-vae", k, "planar", train, data=data, model=model, evaluate=evaluate)


def preset(command: str, k: int, flow: Any, train: Mapping[str, Any], **others: Any) -> Row:
    return {"command": command, "flow": {"pattern": [flow], "k": k}, "train": train, **others}


def cost_of(preset: Mapping[str, Any], threads: int, device: str = "cpu") -> Row:
    """Train in a fresh process, which compiles its programs anew."""
    arguments = {"preset": preset, "threads": threads, "device": device}
    anew = {**os.environ, "NFLOW_CACHE": "off"}
    return apart("benchmarks.system:train", arguments, env=anew)


def train(preset: dict[str, Any], threads: int, device: str = "cpu") -> Row:
    """Train a preset; return its cost.

    Returns:
        ``seconds`` an update, ``processor_seconds`` of all cores an update, and of all cores too
        ``compile_seconds`` and ``in_all_seconds`` from the data to the scores, ``peak_gb`` of
        memory, and ``sha256`` of the weights.
    """
    from nflow_cli.backend.start import machine_of, start_tensorflow

    machine = machine_of(device)
    start_tensorflow(machine if machine.is_gpu else machine.of(threads))
    from nflow_cli.config import presets
    from nflow_cli.experiments import running
    from nflow_cli.experiments.run import Run, kind_of
    from nflow_cli.runs.directory import CONFIG, RunDirectory
    from nflow_cli.training.observers import Clock, Observer
    from nflow_cli.training.trainer import ChunkTrainer

    class Cost(Observer):
        """Notes the seconds of the processor that each chunk took."""

        def before(self) -> None:
            self._start = time.process_time()

        def after(self, logs: Any) -> None:
            spent.append(time.process_time() - self._start)

    spent: list[float] = []
    clocks: list[Clock] = []
    train_on = ChunkTrainer.train_on

    def watched(self: Any, chunks: Any, observers: Sequence[Any]) -> None:
        clocks.extend(one for one in observers if isinstance(one, Clock))
        train_on(self, chunks, [Cost(), *observers])

    ChunkTrainer.train_on = watched
    with tempfile.TemporaryDirectory() as folder:
        if preset["command"] == "fit":
            preset["data"]["name"] = write_rows(preset["data"]["name"], Path(folder))
        config, start = presets.validate(preset, "benchmark"), time.process_time()
        data = kind_of(config).data.load(config)
        config = kind_of(config).data.settled_config(config, data)
        run = RunDirectory.create("benchmark", f"{folder}/run")
        run.write_text(CONFIG, presets.dump(config))
        with run.recorded({}):
            opened = Run(run, config)
            running.train_and_write(opened, data)
        summary = opened.facts
        in_all = time.process_time() - start
    clock = clocks[0]
    updates = np.diff(clock.updates)[1:]  # the first chunk compiles
    seconds = clock.seconds[1:]
    return {
        "seconds": statistics.median(np.array(seconds) / updates),
        "processor_seconds": statistics.median(np.array(spent[1:]) / updates),
        "compile_seconds": spent[0] - statistics.median(spent[1:]),
        "in_all_seconds": in_all,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "sha256": summary["model_sha256"],
        **{key: summary[key] for key in ("kl", "kl_standard_error") if key in summary},
    }


def write_rows(name: str, folder: Path) -> str:
    """Draw the rows that a preset of :func:`of_table` names; return where they are."""
    rows, dim = map(int, name.removesuffix(".npy").split("x"))
    rng = np.random.default_rng(0)
    means = rng.choice([-2.0, 2.0], (rows, 1))
    np.save(folder / name, (means + rng.standard_normal((rows, dim))).astype(np.float32))
    return str(folder / name)


# Sizes


class Axis(NamedTuple):
    """A size that is varied, and what of it is measured."""

    sizes: Sequence[int]
    measure: Callable[[int], Row]


def of_plane(k: int = 8, **train: Any) -> Row:
    """Measure a planar fit, of more updates the cheaper they are."""
    work = k * train.get("batch_size", 512) * train.get("restarts", 1)
    chunk = max(10, min(500, 4_000_000 // work))
    return cost_of(plane(k, steps=6 * chunk, chunk=chunk, **train), 1)


def of_rows(dim: int, rows: int) -> Row:
    return cost_of(of_table(dim, 4, 64, rows, steps=120, chunk=20, batch_size=512), 1)


def of_workers(workers: int) -> Row:
    """Time a sweep of four runs of a second or two each, its processes' start included."""
    grid = ["--preset", "multimodal-planar", "--seeds", "0:4", "--workers", workers]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        launched([*NFLOW, "sweep", *grid, "--output", f"{folder}/s"])
        return {"in_all_seconds": time.perf_counter() - start}


AXES: dict[str, Axis] = {
    "K": Axis([8, 32, 128, 512], of_plane),
    "batch": Axis([128, 512, 2_048, 8_192], lambda n: of_plane(batch_size=n)),
    "restarts": Axis([1, 4, 16, 64], lambda n: of_plane(restarts=n, halving=False)),
    "D": Axis([2, 8, 32, 128], lambda n: of_rows(n, 10_000)),
    "rows": Axis([10_000, 100_000, 1_000_000], lambda n: of_rows(4, n)),
    "workers": Axis([1, 2], of_workers),
}


def slope(rows: list[Row], key: str) -> str:
    """Return the slope of a straight line through the logarithms."""
    values = [max(row[key], 1e-9) for row in rows]
    fit = np.polyfit(np.log([row["size"] for row in rows]), np.log(values), 1)
    return pm(float(fit[0]), None, 2)


def cost_table(rows: list[Row]) -> str:
    lines = []
    for (axis,), some in groups(rows, "axis").items():
        key = "processor_seconds" if "processor_seconds" in some[0] else "in_all_seconds"
        unit, factor = ("ms", 1e3) if key == "processor_seconds" else ("s in all", 1.0)
        ends = ", ".join(f"{factor * row[key]:.3g} {unit}" for row in (some[0], some[-1]))
        keys = [one for one in (key, "compile_seconds", "peak_gb") if one in some[0]]
        sizes = f"{some[0]['size']:,}, {some[-1]['size']:,}"
        lines.append([axis, sizes, ends, ", ".join(slope(some, one) for one in keys)])
    head = ["size", "from, to", "an update", "slopes of the update, of compiling, of memory"]
    return markdown(head, lines)


# Threads


SHAPES: dict[str, Callable[[], Row]] = {
    "planar, K = 8": lambda: plane(8, steps=10_000, chunk=500),
    "planar, K = 32": lambda: plane(32, steps=4_000, chunk=500),
    "radial, K = 8": lambda: plane(8, "radial", steps=10_000, chunk=500),
    "spline couplings, D = 2, K = 4, 2 × 64": lambda: of_table(
        2, 4, 64, steps=750, chunk=50, batch_size=512
    ),
    "spline couplings, D = 8, K = 8, 2 × 64": lambda: of_table(
        8, 8, 64, steps=150, chunk=20, batch_size=512
    ),
}
ROUNDS = 3


def threads(case: Row, _: Options) -> Row:
    """Train on one thread and on one a core, in turn; return updates a second."""
    from nflow_cli.backend.start import cores

    counts = (1, cores())
    rounds = [{n: cost_of(SHAPES[case["shape"]](), n) for n in counts} for _ in range(ROUNDS)]
    by_count = {n: medians([found[n] for found in rounds]) for n in counts}
    bits = {found["sha256"] for one in rounds for found in one.values()}
    return {
        "updates_per_second": {str(n): 1 / by_count[n]["seconds"] for n in counts},
        "busy": {str(n): by_count[n]["processor_seconds"] / by_count[n]["seconds"] for n in counts},
        "same_bits": len(bits) == 1,
    }


def threads_table(rows: list[Row]) -> str:
    counts = list(rows[0]["updates_per_second"])
    lines = [
        [row["shape"]]
        + [f"{row['updates_per_second'][n]:,.0f} ({row['busy'][n]:.1f} cores)" for n in counts]
        + ["the same bits" if row["same_bits"] else "other bits"]
        for row in rows
    ]
    return markdown(["updates a second", *(f"{n} threads" for n in counts), "weights"], lines)


# Checkpoints


SECONDS = 60  # of a training


def checkpoints(case: Row, _: Options) -> Row:
    return apart("benchmarks.system:with_checkpoints", {**case, "seconds": SECONDS})


def with_checkpoints(command: str, seconds: float) -> Row:
    """Train with checkpoints; return its seconds, and those spent on being able to resume."""
    from nflow_cli.backend.start import start_tensorflow

    start_tensorflow()
    from nflow_cli.runs.directory import RunDirectory
    from nflow_cli.training.observers import DivergenceStop
    from nflow_cli.training.session import Checkpointer

    spent = [0.0]

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent[0] += time.perf_counter() - start

        return call

    for owner, name in ((Checkpointer, "save"), (DivergenceStop, "before")):
        setattr(owner, name, timed(getattr(owner, name)))
    train, size = {"train-vae": a_vae, "fit-2d": a_fit}[command](seconds)
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory.create(command, f"{folder}/run")
        spent[0], start = 0.0, time.perf_counter()
        train(size, run)
        return {"seconds": time.perf_counter() - start, "spent": spent[0]}


def a_vae(seconds: float) -> tuple[Callable[[int, Any], Any], int]:
    """Return a training of a VAE, and how many epochs take so long."""
    from nflow_cli.config import presets
    from nflow_cli.images import vae_training
    from nflow_cli.images.image_chunks import ImageChunks
    from nflow_cli.images.images import load_images

    changes = {"data.name": "mnist-sample", "flow.k": 16}
    data = presets.override(presets.read_preset(presets.find_preset("mnist-mlp")), changes)

    def train(epochs: int, run: Any) -> Any:
        config = presets.validate(presets.override(data, {"train.epochs": epochs}), "benchmark")
        chunks = ImageChunks(load_images("mnist-sample").x_train, config)
        model = vae_training.build(config, chunks.batches)
        return vae_training.fit(model, chunks, None, config, run)

    return train, math.ceil(seconds / train(5, None)["seconds_per_epoch"])


def a_fit(seconds: float) -> tuple[Callable[[int, Any], Any], int]:
    """Return a fit of a mixture, and how many updates take so long."""
    from nflow_cli.config import presets
    from nflow_cli.inference import reverse_kl_training

    data = presets.read_preset(presets.find_preset("multimodal-planar"))

    def train(steps: int, run: Any) -> Any:
        config = presets.validate(presets.override(data, {"train.steps": steps}), "benchmark")
        return reverse_kl_training.search(
            reverse_kl_training.build(config, config.new_target()), config, run
        )

    return train, int(seconds * train(20_000, None)["steps_per_second"])


def checkpoints_table(rows: list[Row]) -> str:
    lines = [
        [
            f"`{row['command']}`",
            f"{row['seconds']:.0f}",
            f"{100 * row['spent'] / row['seconds']:.1f} %",
        ]
        for row in rows
    ]
    return markdown(["", "seconds", "of these for checkpoints"], lines)


# Many rows


MANY, WIDTH = 10_000_000, 7
FIT, EVALUATE = "nflow fit {} --steps 1", "nflow evaluate RUN --data big.csv -o scores.csv"


def many_rows(case: Row, _: Options) -> list[Row]:
    """Return seconds and memory of reading, fitting and scoring many rows of two formats."""
    with tempfile.TemporaryDirectory() as folder:
        apart("benchmarks.system:write_many", {"folder": folder, "rows": case["rows"]})
        files = [f"{folder}/big.csv", f"{folder}/big.parquet"]
        found = [
            {"what": f"{by} reads {file.partition('big.')[2]}"}
            | apart("benchmarks.system:seconds_of_reading", {"by": by, "path": file})
            for by in ("nflow", "pyarrow")
            for file in files
        ]
        fits = [["fit", file, "--steps", 1, "--output", f"{file}.run"] for file in files]
        scored = ["evaluate", f"{files[0]}.run", "--data", files[0], "-o", f"{folder}/scores.csv"]
        texts = [FIT.format("big.csv"), FIT.format("big.parquet"), EVALUATE]
        return found + [
            {"what": text} | apart("benchmarks.system:seconds_of_command", {"words": words})
            for text, words in zip(texts, [*fits, scored])
        ]


def write_many(folder: str, rows: int) -> None:
    """Write a table of normals as CSV and Parquet."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    x = np.random.default_rng(7).standard_normal((WIDTH, rows)).round(3)
    table = pa.table({f"x{i}": column for i, column in enumerate(x)})
    csv.write_csv(table, f"{folder}/big.csv")
    parquet.write_table(table, f"{folder}/big.parquet")


def seconds_of_reading(by: str, path: str) -> Row:
    """Time the reading of the numbers of a file, which nflow also checks."""
    from pyarrow import csv, parquet

    from nflow_cli.data.files.columns import numbers_of
    from nflow_cli.data.files.table_files import open_table

    start = time.perf_counter()
    if by == "nflow":
        numbers_of(open_table(path), [f"x{i}" for i in range(WIDTH)])
    else:
        csv.read_csv(path) if path.endswith(".csv") else parquet.read_table(path)
    return {"seconds": time.perf_counter() - start}


def seconds_of_command(words: list[Any]) -> Row:
    """Time a command of nflow, and its memory."""
    start = time.perf_counter()
    launched([*NFLOW, *words])
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "peak_gb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6,
    }


def many_rows_table(rows: list[Row]) -> str:
    lines = [
        [row["what"], f"{row['seconds']:.2g}", f"{row['peak_gb']:.1f}" if "peak_gb" in row else ""]
        for row in rows
    ]
    return markdown([f"{rows[0]['rows']:,} rows of {WIDTH} columns", "seconds", "GB"], lines)


# A GPU


SIZE = 1024  # of the matrices whose product is judged
ROUNDING = 1e-5  # of it in float32, beside its norm; with TF32 it is 3e-4
SIGMA = 4.0  # by so many standard errors may two KL differ, beside what trainings differ by
TRAININGS = 0.02  # nats
GPU_SHAPES: dict[str, Callable[[], Row]] = {
    "planar, K = 8": lambda: plane(8, steps=10_000, chunk=500),
    "spline couplings, D = 8, K = 8, 2 × 64": lambda: of_table(8, 8, 64, steps=600, chunk=50),
    "spline couplings, D = 30, K = 10, 2 × 128": lambda: of_table(30, 10, 128, steps=300, chunk=50),
    "VAE, K = 16": lambda: of_vae(16, epochs=5, chunk=80),
}


def gpu(case: Row, _: Options) -> list[Row]:
    """Return what passes on a GPU and what fails."""
    device = case["device"]
    try:
        seen = apart("benchmarks.system:product", {"device": device})
    except RuntimeError as error:
        return [said("TensorFlow sees it", False, str(error))]
    exact = [
        said(f"float32, {how}", error < ROUNDING, f"products are off by {error:.1e}")
        for how, error in seen["errors"].items()
    ]
    return [
        said("TensorFlow sees it", True, seen["card"]),
        said("operations run there", "GPU" in seen["where"], seen["where"]),
        said("memory as needed", bool(seen["growth"]), f"{seen['peak_gb']:.2f} GB at most"),
        *exact,
        *[row for name in GPU_SHAPES for row in beside(name, device)],
        *checked(device),
    ]


def said(what: str, passed: bool, detail: str) -> Row:
    return {"what": what, "passed": passed, "detail": detail}


def product(device: str) -> Row:
    """Return what TensorFlow sees, and the errors of products of matrices."""
    from nflow_cli.backend.start import machine_of

    machine = machine_of(device)
    import tensorflow as tf

    from nflow_cli.backend.programs import compiled

    a, b = np.random.default_rng(0).standard_normal((2, SIZE, SIZE))
    truth = a @ b

    def error(multiply: Callable[..., Any]) -> float:
        found = multiply(tf.constant(a, tf.float32), tf.constant(b, tf.float32)).numpy()
        return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))

    memory = tf.config.experimental
    return {
        "card": machine.card,
        "errors": {"eager": error(tf.matmul), "XLA": error(compiled(tf.matmul))},
        "where": tf.matmul(tf.ones((2, 2)), tf.ones((2, 2))).device,
        "growth": memory.get_memory_growth(tf.config.get_visible_devices("GPU")[0]),
        "peak_gb": memory.get_memory_info("GPU:0")["peak"] / 1e9,
    }


def beside(name: str, device: str) -> list[Row]:
    """Train a shape on the processor and on the device, and compare speed and KL."""
    from nflow_cli.backend.start import cores

    here = cost_of(GPU_SHAPES[name](), cores())
    there = cost_of(GPU_SHAPES[name](), 1, device)
    speeds = [1 / scores["seconds"] for scores in (here, there)]
    ratio = f"{speeds[1] / speeds[0]:.2f} times as fast"
    text = f"{speeds[0]:,.1f} updates/s here, {speeds[1]:,.1f} there: {ratio}"
    found = [said(name, all(map(math.isfinite, speeds)), text)]
    if "kl" in here:
        error = math.hypot(here["kl_standard_error"], there["kl_standard_error"])
        text = f"{here['kl']:.5f} here, {there['kl']:.5f} there, ± {error:.5f}"
        is_near = abs(here["kl"] - there["kl"]) < SIGMA * error + TRAININGS
        found.append(said(f"{name}: KL", is_near, text))
    return found


def checked(device: str) -> list[Row]:
    """Train by the command line on the device, two at once; check there and on the processor."""
    fit = ["fit-2d", "--flow", "spline-coupling", "--k", 4, "--steps", 2000, "--device", device]
    found = []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as both:
        runs = [f"{folder}/{i}" for i in range(2)]
        fits = [both.submit(launched, [*NFLOW, *fit, "--output", run]) for run in runs]
        checks = [[*NFLOW, "check", runs[0], "--device", place] for place in (device, "cpu")]
        for what, get in [
            ("nflow fit-2d", fits[0].result),
            ("a second process", fits[1].result),
            (f"nflow check on {device}", functools.partial(launched, checks[0])),
            ("nflow check on cpu", functools.partial(launched, checks[1])),
        ]:
            try:
                found.append(said(what, True, get().strip().splitlines()[-1]))
            except RuntimeError as error:
                found.append(said(what, False, str(error)))
    return found


def gpu_table(rows: list[Row]) -> str:
    lines = [["passed" if row["passed"] else "FAILED", row["what"], row["detail"]] for row in rows]
    return markdown(["", "", ""], lines)


BENCHMARKS = [
    Benchmark(
        "cost",
        [{"axis": name, "size": size} for name, axis in AXES.items() for size in axis.sizes],
        lambda case, _: AXES[case["axis"]].measure(case["size"]),
        cost_table,
    ),
    Benchmark("threads", [{"shape": name} for name in SHAPES], threads, threads_table),
    Benchmark(
        "checkpoints",
        [{"command": name} for name in ("train-vae", "fit-2d")],
        checkpoints,
        checkpoints_table,
    ),
    Benchmark("many_rows", [{"rows": MANY}], many_rows, many_rows_table),
    Benchmark("gpu", [{"device": "gpu:0"}], gpu, gpu_table),
]
