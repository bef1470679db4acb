"""Page of a run on which its flow in the plane can be touched."""

import base64
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.data.units import IDENTITY, ColumnUnits
from nflow_cli.densities.bases import Base, StandardNormal, StudentT, UniformBox
from nflow_cli.errors import ConfigError
from nflow_cli.evaluation.motion import Grid, Motion, grid_over, window_of_stages
from nflow_cli.experiments.flow_pictures import geometry_of, motion_of
from nflow_cli.experiments.run import Run
from nflow_cli.experiments.run_report import write_report
from nflow_cli.flows.affine import Affine
from nflow_cli.flows.composition import Step
from nflow_cli.flows.planar import Planar
from nflow_cli.flows.radial import Radial
from nflow_cli.plotting.live import live_page
from nflow_cli.plotting.style import SEQUENTIAL, subject_of
from nflow_cli.random_streams import stream
from nflow_cli.runs.directory import LIVE

Data = dict[str, Any]  # as JSON
DRAWS = 5_000
DRAWS_RECORDED = 700
LATTICE = 121  # lines, each way, of base points whose images show the density
NORMAL_REACH = 4.5
LATTICE_RECORDED = 26
PIXELS_RECORDED = 64  # of a recorded density, each way
LEAST_RANGE = 1e-9
MOST_MOMENTS = 10  # recorded
MOST_TARGET = 128  # points of log p, each way
MOST_SHOWN = 50  # of them, where they are only shown
MOST_POINTS = 1_000
LEAST_SHARE = 0.98  # of the draws where log p is known, for a score
WORDS = 65_535  # 16 bits


def write_live(run: Run) -> list[Path]:
    """Write ``live.html``, self-contained, and the report that links it; return their paths."""
    page = run.directory.write_text(LIVE, live_page(page_data(run)))
    return [page, write_report(run)]


def page_data(run: Run) -> Data:
    """Title, subtitle and numbers of the page, these in the coordinates of the flows."""
    motion = motion_of(run)
    base = motion.density.base
    units = motion.density.units
    is_computed = all(isinstance(step.map, Planar | Radial | Affine) for step in motion.steps)
    n = DRAWS if is_computed else DRAWS_RECORDED
    draws = base.sample(stream(run.config.seed, "live"), (n, 2))
    stages = motion.images(range(len(motion.steps) + 1), draws)
    shown = grid_over(window_of_stages(stages), 2)
    corners = np.stack(shown, axis=-1)
    fitted = _points(run, units) or _target(run, units, MOST_TARGET if is_computed else MOST_SHOWN)
    colours = SEQUENTIAL(np.arange(256), bytes=True)[:, :3]
    verdict = run.kind.report.verdict_of(run.summary, run.warnings)
    reach = _reach(base, draws)
    window = _square(np.concatenate([corners, *fitted.pop("corners")]))
    flow = _maps(motion, reach) if is_computed else _recorded(motion, reach, draws, window)
    return {
        "title": run.path.resolve().name,
        "subtitle": _subtitle(run, motion),
        "names": [_name(step) for step in motion.steps],
        "note": "" if units is IDENTITY else "In the coordinates of the flows.",
        "window": window,
        "colours": _encoded(colours),
        "base": encoded_base(base),
        "draws": _floats(draws),
        "score": {"name": fitted.pop("score"), "text": ": ".join(verdict[0])},
        "least_share": LEAST_SHARE,
        **flow,
        **fitted,
    }


def _subtitle(run: Run, motion: Motion) -> str:
    """Command and subject of a run, and the kinds of its maps."""
    kinds = ", ".join(dict.fromkeys(_name(step) for step in motion.steps))
    subject = f"nflow {run.config.command}: {subject_of(run.facts)}"
    return f"{subject}, {len(motion.steps)} maps of the plane: {kinds}."


def _name(step: Step) -> str:
    """Name of a flow in its pattern, or of the last map."""
    return step.name.partition("(")[2].rstrip(")") or "affine"


def encoded_base(base: Base) -> Data:
    """Kind of a base with its numbers."""
    if isinstance(base, UniformBox):
        return {"kind": "box", "half": float(np.float32(base.half_width))}
    if isinstance(base, StudentT):
        return {"kind": "student", "df": base.df, "level": base.level}
    if isinstance(base, StandardNormal):
        return {"kind": "normal"}
    raise ConfigError(f"--live: expected a normal, uniform or Student base, not {type(base)}")


def _reach(base: Base, draws: np.ndarray) -> float:
    """Half the side of the lattice of base points."""
    if isinstance(base, UniformBox):
        return base.half_width
    return max(NORMAL_REACH, float(np.quantile(np.abs(draws), 0.999)))


def _maps(motion: Motion, reach: float) -> Data:
    """The maps by the numbers of their formulas, and the lines of the lattice."""
    axis = np.linspace(-reach, reach, LATTICE)
    return {"axis": _floats(axis), "maps": [encoded_map(step) for step in motion.steps]}


def encoded_map(step: Step) -> Data:
    """Kind of a planar, radial or affine map with the numbers of its formula."""
    numbers = {symbol: value.tolist() for symbol, value in geometry_of(step).items()}
    if isinstance(step.map, Planar):
        return {"kind": "planar", "w": numbers["w"], "b": numbers["b"], "u": numbers["û"]}
    if isinstance(step.map, Radial):
        return {"kind": "radial", "c": numbers["c"], "alpha": numbers["α"], "beta": numbers["β̂"]}
    numbers = {name: np.squeeze(value, (0, -1)).tolist() for name, value in step.arrays().items()}
    lower = numbers.get("lower", [0.0])[0]
    shift = numbers["shift"]
    return {"kind": "affine", "shift": shift, "logScale": numbers["log_scale"], "lower": lower}


def _recorded(motion: Motion, reach: float, draws: np.ndarray, window: Sequence[float]) -> Data:
    """Densities, images of the draws and of the lattice's points at moments."""
    length = len(motion.steps)
    moments = sorted({round(k) for k in np.linspace(0, length, min(length + 1, MOST_MOMENTS))})
    axis = np.linspace(-reach, reach, LATTICE_RECORDED)
    lattice = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    steps = (np.arange(PIXELS_RECORDED) + 0.5) / PIXELS_RECORDED
    left, right, bottom, top = window
    pixels = Grid(left + steps * (right - left), top - steps * (top - bottom)).points
    densities = np.exp([motion.log_density(moment, pixels) for moment in moments])
    peaks = np.nanmax(densities, axis=1, initial=1e-300)
    parts = np.nan_to_num(np.round(255 * densities / peaks[:, None])).astype(np.uint8)
    return {
        "axis": _floats(axis),
        "recorded": {
            "moments": moments,
            "pixels": PIXELS_RECORDED,
            "parts": _encoded(parts),
            "peaks": peaks.tolist(),
            "draws": _way(motion, moments, draws),
            "lattice": _way(motion, moments, lattice),
        },
    }


def _way(motion: Motion, moments: Sequence[int], z0: np.ndarray) -> Data:
    """Images ``(n, 2)`` of base points at moments, and their log-determinants, each by 16 bits of
    its range.
    """
    points = motion.density.tensor(z0)
    log_dets = ops.zeros(len(z0), points.dtype)
    stages = []
    for k in range(len(motion.steps) + 1):
        if k:
            points, log_det = motion.run(motion.steps[k - 1], points)
            log_dets = log_dets + log_det
        if k in moments:
            numbers = [*ops.convert_to_numpy(points).T, ops.convert_to_numpy(log_dets)]
            stages.append(np.stack(numbers).astype(np.float64))
    values = np.stack(stages)
    low = values.min(axis=-1, keepdims=True)
    high = np.maximum(values.max(axis=-1, keepdims=True), low + LEAST_RANGE)
    words = np.round((values - low) / (high - low) * WORDS).astype("<u2")
    return {"ranges": np.concatenate([low, high], -1).tolist(), "stages": _encoded(words)}


def _points(run: Run, units: ColumnUnits) -> Data | None:
    """Test points that a flow was fitted to others of, if it was."""
    points = run.shown_arrays.get("test_points")
    if points is None:
        return None
    z, offset = units.inside_and_log_det(points[:MOST_POINTS])
    corners = np.quantile(z, [0.003, 0.997], axis=0) if len(z) else np.zeros((0, 2))
    values = {"points": _floats(z), "offset": _floats(offset)}
    return {"points": values, "score": "log-likelihood", "corners": [corners]}


def _target(run: Run, units: ColumnUnits, most: int) -> Data:
    """Log p on the grid of a run, if it has one."""
    arrays = run.shown_arrays
    if "log_target" not in arrays:
        raise ConfigError(f"--live: expected a density on a grid. Received: none in {run.path}")
    every = math.ceil(len(arrays["axis_1"]) / most), math.ceil(len(arrays["axis_2"]) / most)
    first = arrays["axis_1"][:: every[0]].astype(np.float64)
    second = arrays["axis_2"][:: every[1]].astype(np.float64)
    log_p = arrays["log_target"][:: every[1], :: every[0]].astype(np.float64)
    z, log_det = units.inside_and_log_det(np.stack(np.meshgrid(first, second), axis=-1))
    z1, z2 = z[0, :, 0], z[:, 0, 1]
    with np.errstate(invalid="ignore"):
        log_p = (log_p - log_det)[np.argsort(z2)][:, np.argsort(z1)]
    grid = {"x": _floats(np.sort(z1)), "y": _floats(np.sort(z2)), "log_p": _floats(log_p)}
    known = any(run.facts.get(name) is not None for name in ("log_z", "estimated_log_z"))
    corners = np.array([[z1.min(), z2.min()], [z1.max(), z2.max()]])
    return {"target": grid, "score": "KL(q‖p)" if known else "free energy", "corners": [corners]}


def _square(corners: np.ndarray) -> list[float]:
    """Left, right, bottom and top of the smallest square about points ``(n, 2)``."""
    middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
    half = np.ptp(corners, axis=0).max() / 2
    return [middle[0] - half, middle[0] + half, middle[1] - half, middle[1] + half]


def _floats(values: np.ndarray) -> str:
    return _encoded(values.astype("<f4"))


def _encoded(values: np.ndarray) -> str:
    """Bytes of an array as base64."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
