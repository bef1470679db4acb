"""Loaded fits to a density, and their draws."""

import importlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nflow_cli.constants import __version__
from nflow_cli.densities.log_density import units_of
from nflow_cli.densities.pushforward import FlowDensity, values_at
from nflow_cli.densities.targets import Target
from nflow_cli.errors import NflowError
from nflow_cli.evaluation.reverse_kl import effective_share, resampled
from nflow_cli.evaluation.rounding import own_values
from nflow_cli.evaluation.warnings import verdict
from nflow_cli.experiments.loaded_flows import TrainedFlows, with_weights, write_points
from nflow_cli.experiments.reverse_kl.members import initial_flows
from nflow_cli.experiments.reverse_kl.report import NETCDF
from nflow_cli.experiments.run import Run
from nflow_cli.runs import files
from nflow_cli.runs.directory import CONFIG
from nflow_cli.runs.netcdf_file import POSTERIOR, STATISTICS, write_inference
from nflow_cli.runs.samples_file import write_rows

LOG_Q, LOG_PROB = "log_q", "log_prob"
FIGURES = ("pareto_k", "estimated_log_z", "log_z_standard_error")  # of the summary


class TrainedDensity(TrainedFlows):
    """Density ``q`` of a finished run, in user units."""

    @property
    def columns(self) -> list[str]:
        """Names of the D coordinates."""
        return self.config.columns

    @property
    def inside(self) -> FlowDensity:
        """Density in the coordinates of the flows, without bounds."""
        return FlowDensity(self.base, self.flow)

    @cached_property
    def target(self) -> Target | None:
        """Named density ``p`` that was fitted; ``None`` of a user's function."""
        return self.config.new_target() if self.config.is_built_in else None

    def to_arviz(self, n: int = 10_000, seed: int = 0) -> Any:
        """ArviZ's InferenceData of ``n`` draws: one chain, a variable for each coordinate.

        ``sample_stats`` has ``log_q``, of a built-in density also the unnormalised ``log_prob``, in
        nats; the attributes have k-hat and log Z of the run.
        """
        try:
            arviz = importlib.import_module("arviz")
        except ImportError:
            raise NflowError("to_arviz: expected ArviZ: pip install arviz") from None
        rows = np.concatenate(list(_batches(self, self.target, n, seed)))
        parts = np.split(rows.T[:, None], [self.dim])
        names = (self.columns, _statistics_of(self.target))
        both = zip((POSTERIOR, STATISTICS), zip(names, parts))
        groups = {group: dict(zip(*pair)) for group, pair in both}
        is_one_argument = not hasattr(arviz, "InferenceData")  # from 1.0 on
        data = arviz.from_dict(groups) if is_one_argument else arviz.from_dict(**groups)
        for group in groups:
            data[group].attrs = _attributes_of(self)
        return data


def load(run: Run) -> TrainedDensity:
    """Density of a run, a mixture if it has several members."""
    config = run.config
    members = 1 if config.train.modes == 1 else len(run.summary.member_weights)
    flow, units = initial_flows(config, members), units_of(config.columns, config.bounds)
    return TrainedDensity(run, config.new_base(), with_weights(run, flow), units)


def write_samples(
    trained: TrainedDensity, n: int, path: Path, seed: int, given: None = None
) -> list[Path]:
    """Write ``n`` draws with their log-density in nats."""
    if path.suffix.lower() == NETCDF:
        rows = _batches(trained, trained.target, n, seed)
        return _write_inference(trained, trained.target, n, rows, path)
    return write_points(trained, trained.columns, n, path, seed)


def write_beside_density(
    trained: TrainedDensity, target: Target, n: int, path: Path, seed: int, resample: bool
) -> tuple[list[Path], str]:
    """Write ``n`` draws with their log-density, or importance-resampled; return the paths and a
    note, or "".
    """
    if not resample:
        rows = _batches(trained, target, n, seed)
        return _write_inference(trained, target, n, rows, path), ""
    points, weights = resampled(trained.inside, target, trained.units, seed, n)
    if path.suffix.lower() == NETCDF:
        log_p = _log_p(target, trained.units.inside(points))
        rows = np.column_stack([points, trained.log_prob(points), log_p])
        paths = _write_inference(trained, target, n, [rows], path)
    else:
        paths = write_rows(path, trained.columns, n, [points], points.dtype)
    share, k = effective_share(weights.shares), weights.k
    note = f"resampled from {len(weights.shares):,} draws by weights of ESS {share:.3f}"
    return paths, f"{note}, k-hat {k:.2f}: {verdict(k)}"


def _write_inference(
    trained: TrainedDensity, target: Target | None, n: int, rows: Iterable[np.ndarray], path: Path
) -> list[Path]:
    """Write ``n`` rows as of :func:`_batches`; return the path."""
    statistics, facts = _statistics_of(target), _attributes_of(trained)
    write_inference(path, n, trained.columns, statistics, rows, facts)
    return [path]


def _statistics_of(target: Target | None) -> list[str]:
    """Names of the log-densities beside a draw."""
    return [LOG_Q] if target is None else [LOG_Q, LOG_PROB]


def _batches(
    trained: TrainedDensity, target: Target | None, n: int, seed: int
) -> Iterator[np.ndarray]:
    """Rows ``(m, D + S)`` in user units: draws, ``log q`` and, with a target, ``log p``, in nats.

    The draws are those of :meth:`~nflow_cli.densities.pushforward.FlowDensity.sample`.
    """
    for _, z, log_q in trained.inside.batches(n, seed):
        x, log_det = trained.units.outside_and_log_det(z)
        columns = [x, log_q - log_det]
        columns += [] if target is None else [_log_p(target, z)]
        yield np.column_stack(columns).astype(np.float64)


def _log_p(target: Target, z: np.ndarray) -> np.ndarray:
    """Unnormalised ``log p`` ``(n,)`` by user units, at coordinates of the flows."""
    with np.errstate(all="ignore"):  # of a user's function, far away
        return values_at(own_values(target), z).astype(np.float64) + (target.log_z or 0.0)


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
