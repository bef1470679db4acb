"""Loaded estimates of log Z: the densities of the folds."""

from pathlib import Path

from nflow_cli.errors import RunDirectoryError
from nflow_cli.experiments.loaded_flows import TrainedFlows, with_weights, write_points
from nflow_cli.experiments.recorded_data import column_units
from nflow_cli.experiments.run import Run
from nflow_cli.inference.evidence.evidence_training import built_stack
from nflow_cli.registry import BASES, resolve
from nflow_cli.runs.directory import CONFIG


def load(run: Run) -> TrainedFlows:
    """Densities of a run."""
    config = run.config
    if not config.is_settled:
        raise RunDirectoryError(f"{run.path / CONFIG}: damaged: expected columns and folds")
    base = resolve(BASES[config.base_name])()
    units = column_units(run, config.columns)
    return TrainedFlows(run, base, with_weights(run, built_stack(config)), units)


def write_samples(
    trained: TrainedFlows, n: int, path: Path, seed: int, given: str | None
) -> list[Path]:
    """Write ``n`` draws with their log-density in nats."""
    return write_points(trained, trained.config.columns, n, path, seed)
