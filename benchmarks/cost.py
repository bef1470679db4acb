"""Measure how time and memory grow with K, D, the rows, the batch, the restarts and the workers.

    python -m benchmarks.cost [--axis K] [--fresh]

One size is varied at a time, on one thread. Each training runs in a process of its own and is a
line of ``benchmarks/results/cost.jsonl``; what stands there is not measured again. Times are those
of the processor, so that what else the machine does matters little. A slope is that of a straight
line through the logarithms: 1 where the cost grows as the size does, 0 where it does not grow.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

from benchmarks import trained

RESULTS = Path(__file__).with_name("results") / "cost.jsonl"
RUNS = 4  # of a sweep


class Axis(NamedTuple):
    """A size that is varied: its values, what of it is measured, and what bounds it."""

    sizes: list[int]
    measure: Callable[[int], dict[str, Any]]
    limit: str


def _plane(k: int = 8, **train: Any) -> dict[str, Any]:
    """Measure a planar fit, of more updates the cheaper they are."""
    work = k * train.get("batch_size", 512) * train.get("restarts", 1)
    chunk = max(10, min(500, 4_000_000 // work))
    return trained.in_process(trained.plane(k, steps=6 * chunk, chunk=chunk, **train), 1)


def _table(dim: int, rows: int) -> dict[str, Any]:
    steps = {"steps": 120, "chunk": 20, "batch_size": 512}
    return trained.in_process(trained.table(dim, 4, 64, rows, **steps), 1)


def _sweep(workers: int) -> dict[str, Any]:
    """Time a sweep of a few runs of a second or two each, its processes' start included."""
    command = [sys.executable, "-c", "from nflow_cli.cli import main; main()", "sweep"]
    grid = ["--preset", "multimodal-planar", "--seeds", f"0:{RUNS}", "--workers", str(workers)]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        words = [*command, *grid, "--output", f"{folder}/s"]
        subprocess.run(words, check=True, capture_output=True)
        return {"in_all_seconds": time.perf_counter() - start}


AXES: dict[str, Axis] = {
    "K": Axis([8, 32, 128, 512], _plane, "10,000"),
    "batch": Axis([128, 512, 2_048, 8_192], lambda n: _plane(batch_size=n), "10⁶, and memory"),
    "restarts": Axis(
        [1, 4, 16, 64], lambda n: _plane(restarts=n, halving=False), "100; batch × R: memory"
    ),
    "D": Axis([2, 8, 32, 128], lambda n: _table(n, 10_000), "1,000 columns; 10⁸ weights"),
    "rows": Axis([10_000, 100_000, 1_000_000], lambda n: _table(4, n), "10⁷, and memory"),
    "workers": Axis([1, 2], _sweep, "1,024; one a core or GPU"),
}
# What is measured, what it is called, and as how many of the unit it is shown.
SCORES = {
    "processor_seconds": ("ms an update", 1e3),
    "compile_seconds": ("s compiling", 1.0),
    "in_all_seconds": ("s in all", 1.0),
    "peak_gb": ("GB at most", 1.0),
}


def slope(sizes: list[int], values: list[float]) -> float:
    """Return the slope of a straight line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def known() -> dict[tuple[str, int], dict[str, Any]]:
    """Read what was measured, by axis and size."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    return {(row["axis"], row["size"]): row for row in map(json.loads, lines)}


def block(name: str, rows: list[dict[str, Any]]) -> str:
    """Lay out an axis: a line for each size, and one of slopes."""
    keys = [key for key in SCORES if key in rows[0]]
    lines = [f"{name:<12}" + "".join(f"{SCORES[key][0]:>15}" for key in keys)]
    for row in rows:
        numbers = "".join(f"{row[key] * SCORES[key][1]:>15,.3f}" for key in keys)
        lines.append(f"{row['size']:<12,}{numbers}")
    sizes = [row["size"] for row in rows]
    slopes = [slope(sizes, [max(row[key], 1e-9) for row in rows]) for key in keys]
    lines.append(f"{'slope':<12}" + "".join(f"{number:>15.2f}" for number in slopes))
    return "\n".join([*lines, f"{'at most':<12}   {AXES[name].limit}"])


@click.command()
@click.option("--axis", "names", type=click.Choice(list(AXES)), multiple=True)
@click.option("--fresh", is_flag=True, help="Measure again what was measured.")
def main(names: tuple[str, ...], fresh: bool) -> None:
    """Print what trainings cost as sizes grow."""
    done = {} if fresh else known()
    for name in names or AXES:
        rows = []
        for size in AXES[name].sizes:
            if (name, size) not in done:
                row = {"axis": name, "size": size, **AXES[name].measure(size)}
                with RESULTS.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                done[name, size] = row
            rows.append(done[name, size])
        click.echo(f"{block(name, rows)}\n")


if __name__ == "__main__":
    main()
