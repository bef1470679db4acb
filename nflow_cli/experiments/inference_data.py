"""Draws of a fit to a log-density as ArviZ's InferenceData, with log q and log p."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nflow_cli.constants import __version__
from nflow_cli.densities.targets import Target
from nflow_cli.errors import NflowError
from nflow_cli.evaluation.rounding import own_values
from nflow_cli.evaluation.target import values_at
from nflow_cli.random_streams import stream
from nflow_cli.runs import files
from nflow_cli.runs.directory import CONFIG
from nflow_cli.runs.netcdf_file import POSTERIOR, STATISTICS, write_inference

if TYPE_CHECKING:
    from nflow_cli.experiments.trained import TrainedInference

LOG_Q, LOG_PROB = "log_q", "log_prob"
FIGURES = ("pareto_k", "estimated_log_z", "log_z_standard_error")  # of the summary


def write_draws(
    trained: "TrainedInference", target: Target | None, n: int, path: Path, seed: int
) -> list[Path]:
    """Write ``n`` draws, with ``log p`` if ``target`` is at hand; return the path."""
    columns, facts = trained.columns, attributes_of(trained)
    parts = batches(trained, target, n, seed)
    write_inference(path, n, columns, statistics_of(target), parts, facts)
    return [path]


def write_points(
    trained: "TrainedInference", target: Target, points: np.ndarray, path: Path
) -> list[Path]:
    """Write points ``(n, D)`` as draws; return the path."""
    log_p = _log_p(target, trained.units.inside(points))
    rows = np.column_stack([points, trained.log_prob(points), log_p])
    statistics, facts = statistics_of(target), attributes_of(trained)
    write_inference(path, len(rows), trained.columns, statistics, [rows], facts)
    return [path]


def inference_data(trained: "TrainedInference", target: Target | None, n: int, seed: int) -> Any:
    """ArviZ's object of the same draws."""
    try:
        arviz = importlib.import_module("arviz")
    except ImportError:
        raise NflowError("to_arviz: expected ArviZ: pip install arviz") from None
    rows = np.concatenate(list(batches(trained, target, n, seed)))
    parts = np.split(rows.T[:, None], [trained.dim])
    names = (trained.columns, statistics_of(target))
    groups = {g: dict(zip(*pair)) for g, pair in zip((POSTERIOR, STATISTICS), zip(names, parts))}
    is_one_argument = not hasattr(arviz, "InferenceData")  # from 1.0 on
    data = arviz.from_dict(groups) if is_one_argument else arviz.from_dict(**groups)
    for group in groups:
        data[group].attrs = attributes_of(trained)
    return data


def statistics_of(target: Target | None) -> list[str]:
    """Names of the log-densities beside a draw."""
    return [LOG_Q] if target is None else [LOG_Q, LOG_PROB]


def batches(
    trained: "TrainedInference", target: Target | None, n: int, seed: int
) -> Iterator[np.ndarray]:
    """Rows ``(m, D + S)`` in user units: draws, ``log q`` and, with a target, ``log p``, in nats.

    The draws are those of :meth:`~nflow_cli.densities.pushforward.FlowDensity.sample`.
    """
    for draw in trained.inside.draw(n, lambda chunk: stream(seed, "samples", chunk)):
        x, log_det = trained.units.outside_and_log_det(draw.x)
        columns = [x, draw.log_q - log_det]
        columns += [] if target is None else [_log_p(target, draw.x)]
        yield np.column_stack(columns).astype(np.float64)


def _log_p(target: Target, z: np.ndarray) -> np.ndarray:
    """Unnormalised ``log p`` ``(n,)`` by user units, at coordinates of the flows."""
    with np.errstate(all="ignore"):  # of a user's function, far away
        return values_at(own_values(target), z).astype(np.float64) + (target.log_z or 0.0)


def attributes_of(trained: "TrainedInference") -> dict[str, Any]:
    """Attributes: library and version, checksum of the config, k-hat and log Z of the run."""
    summary = trained.summary
    figures = {key: summary[key] for key in FIGURES if summary[key] is not None}
    return {
        "inference_library": "nflow",
        "inference_library_version": __version__,
        "config_sha256": files.sha256(trained.path / CONFIG),
        **figures,
    }
