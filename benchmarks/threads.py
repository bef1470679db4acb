"""Time trainings on one thread and on several, shape by shape.

    python -m benchmarks.threads [--updates 1.0] [--repeats 3] [--shape 'planar 8'] [--json]

Each training runs in a process of its own, on every number of threads in turn, ``--repeats`` times
over: ratios come from one run on one machine, which has nothing else to do. ``busy`` is how many
cores it kept busy; ``auto`` is what the command line would take, and ``same bits`` whether the
weights are the same on each number of threads.
"""

import json
from collections.abc import Callable
from typing import Any

import click

from benchmarks import trained
from nflow_cli.backend.start import cores

# A training of so many updates, a few seconds of a core each.
SHAPES: dict[str, tuple[int, int, Callable[..., dict[str, Any]]]] = {
    "planar 8": (20_000, 500, lambda **train: trained.plane(8, **train)),
    "planar 32": (8_000, 500, lambda **train: trained.plane(32, **train)),
    "planar 128": (2_000, 200, lambda **train: trained.plane(128, **train)),
    "planar 8, 8 restarts": (
        *(4_000, 200),
        lambda **train: trained.plane(8, restarts=8, halving=False, **train),
    ),
    "radial 8": (20_000, 500, lambda **train: trained.plane(8, "radial", **train)),
    "spline D 2 K 4 H 64": (1_500, 50, lambda **train: _spline(2, 4, 64, **train)),
    "spline D 8 K 8 H 64": (300, 20, lambda **train: _spline(8, 8, 64, **train)),
    "spline D 30 K 10 H 128": (100, 10, lambda **train: _spline(30, 10, 128, **train)),
    "VAE K 0": (400, 20, lambda **train: _vae(0, **train)),
    "VAE K 16": (400, 20, lambda **train: _vae(16, **train)),
}


def _spline(dim: int, k: int, hidden: int, **train: Any) -> dict[str, Any]:
    return trained.table(dim, k, hidden, batch_size=512, **train)


def _vae(k: int, steps: int, chunk: int) -> dict[str, Any]:
    return trained.vae(k, epochs=max(2, steps // 80), chunk=chunk)  # 8,000 images in batches of 100


def auto(preset: dict[str, Any]) -> int:
    """Return how many threads the command line takes."""
    from nflow_cli.config import presets

    if preset["command"] == "fit":  # settled by its rows alone, whose number of columns it names
        dim = int(preset["data"]["name"].removesuffix(".npy").split("x")[1])
        columns = [str(i) for i in range(dim)]
        preset = {**preset, "data": {**preset["data"], "columns": columns}}
    return presets.validate(preset, "benchmark").threads or cores()


def measured(shape: str, counts: list[int], scale: float, repeats: int) -> dict[str, Any]:
    """Train on each number of threads in turn."""
    updates, chunk, make = SHAPES[shape]
    preset = make(steps=max(3 * chunk, int(scale * updates)), chunk=chunk)
    rounds = [{n: trained.in_process(preset, n) for n in counts} for _ in range(repeats)]
    by_count = {n: trained.medians([found[n] for found in rounds]) for n in counts}
    bits = {result["sha256"] for found in rounds for result in found.values()}
    return {"threads": by_count, "same_bits": len(bits) == 1, "auto": auto(preset)}


def line(shape: str, result: dict[str, Any]) -> str:
    """Lay out a shape."""
    parts = [f"{shape:<24}"]
    for scores in result["threads"].values():
        busy = scores["processor_seconds"] / scores["seconds"]
        parts.append(f"{1 / scores['seconds']:>9,.1f} {busy:>5.2f}")
    first, *others = [scores["seconds"] for scores in result["threads"].values()]
    parts += [f"{first / other:>8.2f}x" for other in others]
    parts += [f"{result['auto']:>5}", f"{'yes' if result['same_bits'] else 'NO':>10}"]
    return " ".join(parts)


def head(counts: list[int]) -> str:
    """Lay out the head."""
    parts = [f"{'updates/s on':<24}", *(f"{n:>9} {'busy':>5}" for n in counts)]
    parts += [f"{n:>3} vs {counts[0]}" + " " * 2 for n in counts[1:]]
    return " ".join([*parts, f"{'auto':>4}", f"{'same bits':>10}"])


@click.command()
@click.option("--shape", "shapes", type=click.Choice(list(SHAPES)), multiple=True)
@click.option("--threads", "counts", type=int, multiple=True, help="Default: 1, and one a core.")
@click.option("--updates", "scale", default=1.0, show_default=True, help="So many times as many.")
@click.option("--repeats", default=3, show_default=True, help="Medians are over these.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines instead of a table.")
def main(
    shapes: tuple[str, ...], counts: tuple[int, ...], scale: float, repeats: int, as_json: bool
) -> None:
    """Compare the speed of trainings by how many threads share them."""
    numbers = list(counts) or [1, cores()]
    if not as_json:
        click.echo(head(numbers))
    for shape in shapes or SHAPES:
        result = measured(shape, numbers, scale, repeats)
        click.echo(json.dumps({"shape": shape, **result}) if as_json else line(shape, result))


if __name__ == "__main__":
    main()
