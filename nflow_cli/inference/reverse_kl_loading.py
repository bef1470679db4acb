"""Loaded fits to a density, and their draws."""

import importlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nflow_cli.constants import __version__
from nflow_cli.data.files.netcdf import inference_groups, write_inference
from nflow_cli.data.files.tables import LOG_Q
from nflow_cli.data.files.writing import batch_of, write_table
from nflow_cli.data.units import units_of
from nflow_cli.densities.pushforward import PushforwardDensity, values_at
from nflow_cli.densities.target import Target
from nflow_cli.errors import NflowError
from nflow_cli.evaluation.warnings import verdict
from nflow_cli.experiments.loaded_flows import TrainedFlows, with_weights, write_points
from nflow_cli.experiments.run import Run
from nflow_cli.inference.members import initial_flows
from nflow_cli.inference.reverse_kl import effective_share, resampled, user_log_prob
from nflow_cli.inference.reverse_kl_report import NETCDF
from nflow_cli.runs import files
from nflow_cli.runs.directory import CONFIG

LOG_PROB = "log_prob"
FIGURES = ("pareto_k", "estimated_log_z", "log_z_standard_error")  # of the summary


class TrainedDensity(TrainedFlows):
    """Density ``q`` of a finished run, in user units."""

    @property
    def columns(self) -> list[str]:
        """Names of the D coordinates."""
        return self.config.columns

    @property
    def inside(self) -> PushforwardDensity:
        """Density in the coordinates of the flows, without bounds."""
        return PushforwardDensity(self.base, self.flow)

    @cached_property
    def target(self) -> Target | None:
        """Named density ``p`` that was fitted; ``None`` of a user's function."""
        return self.config.new_target() if self.config.is_built_in else None

    def to_arviz(self, n: int = 10_000, seed: int = 0) -> Any:
        """ArviZ's InferenceData of ``n`` draws, in four chains if n is a multiple of four.

        Variables are the coordinates, and arrays of those such as ``theta[0]``, with dimensions.

        ``sample_stats`` has ``log_q``, of a built-in density also the unnormalised ``log_prob``, in
        nats; the attributes have k-hat and log Z of the run.
        """
        return inference_data(self, self.target, n, seed)


def load(run: Run) -> TrainedDensity:
    """Density of a run, a mixture if it has several members."""
    config = run.config
    members = 1 if config.train.modes == 1 else len(run.summary.member_weights)
    flow = with_weights(run, initial_flows(config.flow, config.dim, config.seed, members))
    units = units_of(config.columns, config.bounds)
    return TrainedDensity(run, config.new_base(), flow, units)


def write_samples(
    trained: TrainedDensity, n: int, path: Path, seed: int, given: str | None
) -> list[Path]:
    """Write ``n`` draws with their log-density in nats."""
    if path.suffix.lower() == NETCDF:
        return write_draws(trained, trained.target, n, path, seed)
    return write_points(trained, trained.columns, n, path, seed)


def write_beside_density(
    trained: TrainedDensity, target: Target, n: int, path: Path, seed: int, resample: bool
) -> tuple[list[Path], str]:
    """Write ``n`` draws with their log-density, or importance-resampled; return the paths and a
    note, or "".
    """
    if not resample:
        return write_draws(trained, target, n, path, seed), ""
    points, weights = resampled(trained.inside, target, trained.units, seed, n)
    if path.suffix.lower() == NETCDF:
        write_resampled(trained, target, points, path)
    else:
        write_table(path, trained.columns, [batch_of(list(points.T))])
    share = effective_share(weights.shares)
    note = f"resampled from {len(weights.shares):,} draws by weights of ESS {share:.3f}"
    return [path], f"{note}, k-hat {weights.k:.2f}: {verdict(weights.k)}"


def write_draws(
    trained: TrainedDensity, target: Target | None, n: int, path: Path, seed: int
) -> list[Path]:
    """Write ``n`` draws, with ``log p`` if ``target`` is at hand; return the path."""
    write_inference(path, _groups(trained, target, _rows(trained, target, n, seed)))
    return [path]


def write_resampled(
    trained: TrainedDensity, target: Target, points: np.ndarray, path: Path
) -> None:
    """Write points ``(n, D)`` as draws."""
    log_p = _log_p(target, trained.units.inside(points))
    rows = np.column_stack([points, trained.log_prob(points), log_p])
    write_inference(path, _groups(trained, target, rows))


def inference_data(trained: TrainedDensity, target: Target | None, n: int, seed: int) -> Any:
    """ArviZ's object of the same draws."""
    try:
        arviz = importlib.import_module("arviz")
    except ImportError:
        raise NflowError("to_arviz: expected ArviZ: pip install arviz") from None
    groups = _groups(trained, target, _rows(trained, target, n, seed))
    if hasattr(arviz, "InferenceData"):  # below 1.0
        return arviz.InferenceData(**groups)
    return importlib.import_module("xarray").DataTree.from_dict(groups)


def _groups(trained: TrainedDensity, target: Target | None, rows: np.ndarray) -> dict[str, Any]:
    statistics = [LOG_Q] if target is None else [LOG_Q, LOG_PROB]
    return inference_groups(trained.columns, statistics, rows, _attributes_of(trained))


def _rows(trained: TrainedDensity, target: Target | None, n: int, seed: int) -> np.ndarray:
    """Rows ``(n, D + S)`` in user units: draws, ``log q`` and, with a target, ``log p``, in nats.

    The draws are those of :meth:`~nflow_cli.densities.pushforward.PushforwardDensity.sample`.
    """
    rows = []
    for _, z, log_q in trained.inside.batches(n, seed):
        x, log_det = trained.units.outside_and_log_det(z)
        columns = [x, log_q - log_det]
        if target is not None:
            columns.append(_log_p(target, z))
        rows.append(np.column_stack(columns).astype(np.float64))
    return np.concatenate(rows)


def _log_p(target: Target, z: np.ndarray) -> np.ndarray:
    """Unnormalised ``log p`` ``(n,)`` by user units, at coordinates of the flows."""
    with np.errstate(all="ignore"):  # of a user's function, far away
        return values_at(user_log_prob(target), z).astype(np.float64) + (target.log_z or 0.0)


def _attributes_of(trained: TrainedDensity) -> dict[str, Any]:
    """Attributes: library and version, checksum of the config, k-hat and log Z of the run."""
    summary = trained.summary
    figures = {key: summary[key] for key in FIGURES if summary.get(key) is not None}
    return {
        "inference_library": "nflow",
        "inference_library_version": __version__,
        "config_sha256": files.sha256(trained.path / CONFIG),
        **figures,
    }
