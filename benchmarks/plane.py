"""Fits in the plane: KL of presets over seeds, gaps of points to their truth, updates a second."""

import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks.runner import (
    NFLOW,
    Benchmark,
    Options,
    Row,
    apart,
    groups,
    in_turn,
    markdown,
    medians,
    pm,
    settings_of,
    trained,
)

RUNS, BATCH, UPDATES, ROUNDS = 5, 512, 20_000, 3
FITS: list[tuple[str, int, Row]] = [  # preset, restarts, changes
    ("multimodal-planar", 1, {}),
    ("gaussian-from-uniform-radial", 8, {"flow.k": 1, "train.restarts": 8}),
    ("gaussian-from-uniform-radial", 1, {}),
    *[(f"u{i}-planar-k2", 8, {}) for i in range(1, 5)],
    *[(f"u{i}-planar-k8", 4, {}) for i in range(1, 5)],
    ("u1-planar-k32", 4, {}),
]
LESS = {"train.restarts": 1, "train.steps": 20_000}
POINT_FITS = [  # preset, points, seeds
    *[
        (name, ("two-moons", "spirals"), 1)
        for name in ("cells", "points-planar-k32", "flows-planar")
    ],
    *[(name, ("eight-gaussians",), 1) for name in ("cells", "points-planar-k32")],
    ("flows-planar", ("eight-gaussians",), 3),
    ("points-spline-coupling", ("eight-gaussians", "spirals", "rings"), 5),
    ("points-spline-coupling", ("checkerboard",), 1),
]


def fit_2d(case: Row, _: Options) -> Row:
    """Return KL and seconds of a preset."""
    start = time.perf_counter()
    changes = settings_of(case) | ({"target": case["target"]} if "target" in case else {})
    found = trained("fit-2d", "--preset", case["preset"], "--seed", case["seed"], **changes)
    seconds = time.perf_counter() - start
    keys = ("kl", "kl_standard_error", "ess")
    return {**{key: found[key] for key in keys}, "seconds": seconds}


def quality_table(rows: list[Row]) -> str:
    lines = []
    for (preset, k), some in groups(rows, "preset", "flow.k").items():
        kls = [row["kl"] for row in some]
        name = f"`{preset}`" + (f", K = {k}" if k != "null" else "")
        lines.append([name, *(f"{f(kls):.5f}" for f in (statistics.median, min, max))])
    return markdown(["fit", "median", "best", "worst"], lines)


def energies_table(rows: list[Row]) -> str:
    whole = [row for row in rows if "train.draws" not in row]
    seeds = sorted({row["seed"] for row in whole})
    lines: list[list[str]] = []
    for (target, decay), some in groups(whole, "target", "train.weight_decay").items():
        by_seed = {row["seed"]: pm(row["kl"], row["kl_standard_error"], 4) for row in some}
        name = f"`{target}`" + (" without its weight decay" if decay == "0.0" else "")
        lines.append([name, *(by_seed.get(seed, "") for seed in seeds)])
    found = markdown(["", *(f"seed {seed}" for seed in seeds)], lines)
    batches = [
        [
            row["train.batch_size"],
            row["train.draws"],
            row["seed"],
            pm(row["kl"], row["kl_standard_error"], 4),
        ]
        for row in rows
        if "train.draws" in row
    ]
    head = ["batch", "draws", "seed", "KL"]
    return found + ("\n\n" + markdown(head, batches) if batches else "")


def points(case: Row, _: Options) -> Row:
    """Return the gap of a fit to the truth."""
    words = ["fit", case["data"], "--preset", case["preset"], "--seed", case["seed"]]
    found = trained(*words, **{"data.split_seed": case["seed"]})
    keys = ("gap", "gap_standard_error", "log_likelihood", "train_seconds")
    return {key: found[key] for key in keys}


def points_table(rows: list[Row]) -> str:
    lines = []
    for (data, preset), some in groups(rows, "data", "preset").items():
        gaps = [row["gap"] for row in some]
        spread = f"{min(gaps):.4f}, {max(gaps):.4f}" if len(some) > 1 else ""
        lines.append(
            [f"`{data}`", f"`{preset}`", len(some), f"{statistics.median(gaps):.4f}", spread]
        )
    return markdown(["points", "preset", "seeds", "median gap", "best, worst"], lines)


def planar(k: int, updates: int) -> dict[str, float]:
    """Train the two modes by the command line's own trainer."""
    from nflow_cli.backend.start import PROCESSOR, start_tensorflow
    from nflow_cli.config import presets

    data = presets.read_preset(presets.find_preset("multimodal-planar"))
    changes = {"flow.k": k, "train.steps": updates, "train.batch_size": BATCH}
    resolved = presets.validate(presets.override(data, changes), "benchmark")
    start_tensorflow(PROCESSOR.with_threads(resolved.threads))
    from nflow_cli.inference import reverse_kl_training

    found = reverse_kl_training.search(
        reverse_kl_training.build(resolved, resolved.new_target()), resolved
    )
    return {"updates_per_second": found["steps_per_second"], "compile": found["compile_seconds"]}


def speed(case: Row, options: Options) -> Row:
    """Return updates a second of each library, or seconds of whole commands."""
    if "k" not in case:
        return commands()
    shape: dict[str, Any] = {"k": case["k"], "updates": UPDATES}
    contenders = {
        "nflow": lambda: apart("benchmarks.plane:planar", shape),
        "a hand-written JAX scan": lambda: options.peer("speed:jax_scan", **shape),
        "normflows (PyTorch, eager)": lambda: options.peer("speed:planar_normflows", **shape),
    }
    return {"contenders": in_turn(contenders, ROUNDS)}


def commands() -> Row:
    """Time the main command against importing TensorFlow, and the light commands."""
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        for i in range(ROUNDS):
            times = {}
            for name, words in {
                "import": [sys.executable, "-c", "import tensorflow"],
                "fit-2d": [*NFLOW, "fit-2d", "--flow", "planar", "--k", "8", "--output", f"{i}"],
                "plot": [*NFLOW, "plot", f"{i}"],
                "help": [*NFLOW, "--help"],
            }.items():
                start = time.perf_counter()
                subprocess.run(words, cwd=folder, check=True, capture_output=True)
                times[name] = time.perf_counter() - start
            rounds.append(times | {"ratio": times["fit-2d"] / times["import"]})
    return medians(rounds)


def speed_table(rows: list[Row]) -> str:
    lines = [
        [row["k"], name, f"{found['updates_per_second']:,.0f}", f"{found['compile']:.1f}"]
        for row in rows
        for name, found in row.get("contenders", {}).items()
    ]
    head = ["K", "", "updates a second", "seconds of compiling"]
    found = markdown(head, lines) if lines else ""
    for row in rows:
        if "fit-2d" in row:
            seconds = [f"`{key}` {row[key]:.2f} s" for key in ("import", "fit-2d", "plot", "help")]
            found += f"\n\n{', '.join(seconds)}; {row['ratio']:.2f} times the import"
    return found.strip()


BENCHMARKS = [
    Benchmark(
        "quality",
        [
            {"preset": preset, "seed": run * restarts, **changes}
            for preset, restarts, changes in FITS
            for run in range(RUNS)
        ],
        fit_2d,
        quality_table,
    ),
    Benchmark(
        "energies",
        [
            *[
                {"preset": f"{name}-spline-coupling", "target": target, "seed": seed, **changes}
                for target, name, changes in [
                    ("u1", "u1", {}),
                    ("u2", "u1", {}),
                    ("u3", "u1", {}),
                    ("u4", "u4", {}),
                    ("u4", "u4", {"train.weight_decay": 0.0}),
                ]
                for seed in range(0, 20, 4)
            ],
            *[
                {"preset": "u1-spline-coupling", "target": "u3", "seed": seed, **LESS}
                | {"train.batch_size": batch, "train.draws": draws}
                for batch, draws in [(1_024, "independent"), (256, "even")]
                for seed in (1, 3)
            ],
        ],
        fit_2d,
        energies_table,
    ),
    Benchmark(
        "points",
        [
            {"data": data, "preset": preset, "seed": seed}
            for preset, sets, seeds in POINT_FITS
            for data in sets
            for seed in range(seeds)
        ],
        points,
        points_table,
    ),
    Benchmark(
        "fit2d", [{"k": 8}, {"k": 32}, {"k": 128}, {"command": "fit-2d"}], speed, speed_table
    ),
]
