"""Importance-resampled draws of a fit to a log-density, written to a file."""

from pathlib import Path
from typing import Any

from nflow_cli.densities.targets import Target
from nflow_cli.evaluation.inference import effective_share, resampled
from nflow_cli.evaluation.weights_verdict import verdict
from nflow_cli.runs.samples_file import write_csv, write_file, write_npy


def write_resampled(
    trained: Any, target: Target, n: int, path: Path, seed: int
) -> tuple[list[Path], str]:
    """Write ``n`` importance-resampled points; return paths, and a note on the weights."""
    points, weights = resampled(trained.inside, target, trained.units, seed, n)
    if path.suffix.lower() == ".csv":
        write_file(path, lambda file: write_csv(file, trained.columns, iter([points])))
    else:
        write_file(path, lambda file: write_npy(file, points.shape, iter([points]), points.dtype))
    share, count = effective_share(weights.log_weights), len(weights.log_weights)
    note = f"resampled from {count:,} draws by weights of ESS {share:.3f}, k-hat {weights.k:.2f}"
    return [path], f"{note}: {verdict(weights.k)}"
