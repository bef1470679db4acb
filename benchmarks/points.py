"""Fit the built-in point sets over seeds, and print the held-out log-likelihood of each fit.

    python -m benchmarks.points [--seeds 3] [--pictures DIR] [SET ...]
    python -m benchmarks.points --speed [--k 8 --k 32]

Beside the flows stand the Gaussian most likely given the training points and a Gaussian kernel
density estimate of them with Scott's bandwidth, both judged by the same test points; in nats a
point. ``--speed`` times the updates of the inverse direction (points) beside those of the forward
one (a target), in turn in one process, at batch 512.
"""

import math
import statistics
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np

PRESETS = {"planar": "points-planar-k32", "planar, radial": "flows-planar"}
BLOCK = 200  # test points at a time


def kernel_log_prob(train: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the log-density of a kernel density estimate by Scott's rule, ``h = n^(-1/6)``."""
    factor = len(train) ** (-1 / 6)
    root = np.linalg.cholesky(np.cov(train.T) * factor**2)
    centres, points = (np.linalg.solve(root, part.T) for part in (train, x))
    log_q = np.empty(len(x))
    for start in range(0, len(x), BLOCK):
        part = points[:, start : start + BLOCK, None]
        exponent = -0.5 * ((part - centres[:, None]) ** 2).sum(axis=0)
        top = exponent.max(axis=1)
        log_q[start : start + BLOCK] = top + np.log(np.exp(exponent - top[:, None]).mean(axis=1))
    return log_q - np.log(np.diag(root)).sum() - math.log(2 * math.pi)


def settings_of(preset: str, changes: dict[str, Any]) -> Any:
    """Return a preset with changes, checked."""
    from nflow_cli.config import presets

    data = presets.read_preset(presets.find_preset(preset))
    return presets.validate(presets.override(data, changes), preset)


def loaded(preset: str, changes: dict[str, Any]) -> tuple[Any, Any]:
    """Return a preset with changes, settled, and its data."""
    from nflow_cli.experiments.run import part

    config = settings_of(preset, changes)
    of_table = part(config, "data")
    data = of_table.load(config)
    return of_table.settled(config, data), data


def fit(preset: str, name: str, seed: int, pictures: Path | None) -> tuple[dict[str, Any], Any]:
    """Fit one preset to one set; return its summary and data, and keep its pictures if asked."""
    from nflow_cli.config import presets
    from nflow_cli.experiments import running
    from nflow_cli.experiments.report import draw
    from nflow_cli.experiments.run import Run
    from nflow_cli.runs.directory import RunDirectory

    config, data = loaded(preset, {"data.name": name, "data.split_seed": seed, "seed": seed})
    info = {"command": "fit", "data": data.record()}
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory.create("benchmark", str(Path(folder) / "run"))
        with run.recorded(info, presets.dump(config)):
            opened = Run(run, config)
            running.fit(opened, data)
        for path in draw(opened) if pictures else ():
            target = (pictures or Path()) / f"{name}-{preset}-{seed}-{path.name}"
            target.write_bytes(path.read_bytes())
    return opened.facts, data


def row(label: str, values: list[float]) -> str:
    """Lay out median, least and largest of the seeds' scores."""
    return f"{label} | {statistics.median(values):.3f} | {min(values):.3f} | {max(values):.3f} |"


def compare(names: tuple[str, ...], seeds: int, pictures: Path | None) -> None:
    """Print the table of all fits."""
    from nflow_cli.registry import POINT_SETS

    click.echo("| points | density | median | worst | best |\n|---|---|---|---|---|")
    for name in names or POINT_SETS:
        found: dict[str, list[float]] = {}
        error = 0.0
        for seed in range(seeds):
            for label, preset in PRESETS.items():
                summary, data = fit(preset, name, seed, pictures)
                found.setdefault(f"K = 32, {label}", []).append(summary["log_likelihood"])
                error = max(error, summary["log_likelihood_standard_error"])
            kernel = kernel_log_prob(data.train, data.test).mean()
            found.setdefault("kernel density, Scott", []).append(float(kernel))
            found.setdefault("Gaussian", []).append(summary["baseline_log_likelihood"])
        for label, values in found.items():
            click.echo(row(f"| {name} (± {error:.3f}) | {label}", values))


def speed(ks: tuple[int, ...], rounds: int, updates: int) -> None:
    """Print updates a second in both directions, medians of rounds in turn."""
    from nflow_cli.experiments.reverse_kl import training as target_fit
    from nflow_cli.experiments.table import flows_training as table_fit

    click.echo(f"{'K':>4} {'forward':>9} {'inverse':>9} {'ratio':>6}   (updates/s)")
    for k in ks:
        changes = {"flow.k": k, "train.steps": updates, "train.batch_size": 512}
        target = settings_of("multimodal-planar", changes)
        config, data = loaded("points-planar-k32", changes)
        points = config
        rates = []
        for _ in range(rounds):
            facts = target_fit.train(target_fit.build(target, target.new_target()), target)
            inverse = table_fit.train(table_fit.build(points, data), data, points).speed
            speeds = facts["steps_per_second"], inverse.steps_per_second
            rates.append([speed or math.nan for speed in speeds])
        forward, inverse = (statistics.median(part) for part in zip(*rates))
        ratio = statistics.median(b / a for a, b in rates)
        click.echo(f"{k:>4} {forward:>9,.0f} {inverse:>9,.0f} {ratio:>6.2f}")


@click.command()
@click.argument("names", nargs=-1, metavar="[SET ...]")
@click.option("--seeds", default=3, show_default=True, help="Seeds 0 to this, less one.")
@click.option("--pictures", type=click.Path(file_okay=False, path_type=Path), help="Keep them.")
@click.option("--speed", "timed", is_flag=True, help="Time both directions instead.")
@click.option("--k", "ks", type=int, multiple=True, default=[8, 32], help="With --speed.")
@click.option("--rounds", default=3, show_default=True, help="With --speed.")
@click.option("--updates", default=10_000, show_default=True, help="With --speed.")
def main(
    names: tuple[str, ...],
    seeds: int,
    pictures: Path | None,
    timed: bool,
    ks: tuple[int, ...],
    rounds: int,
    updates: int,
) -> None:
    """Fit the built-in point sets, or time both directions."""
    from nflow_cli.backend.start import start_tensorflow

    start_tensorflow()
    if timed:
        speed(ks, rounds, updates)
        return
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
    compare(names, seeds, pictures)


if __name__ == "__main__":
    main()
