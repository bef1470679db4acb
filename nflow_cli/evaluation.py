"""How good a fit is: KL divergence, effective sample size, exact densities on a grid."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.flows import FlowStack
from nflow_cli.flows.compose import run_flows
from nflow_cli.mass import mass
from nflow_cli.objectives import reverse_kl
from nflow_cli.streams import stream

CHUNK = 100_000  # samples pushed through at once: bounds the memory
# Where one sample makes up more of Σw^2, ESS and log Z spread far more than their errors say.
DOMINATED = 0.03
JUDGED_SAMPLES = 50_000  # behind the choice among restarts
SHOWN_SAMPLES = 2_000
STRIP_PANELS = 9
STRIP_GRID = 120
WIDE = 2.0  # reach of the samples, in windows, from which one grid would show too little


def evaluate_samples(
    flow: FlowStack, base: Any, target: Any, seed: int, n: int
) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Judge ``q`` by ``n`` fresh samples.

    Returns:
        The figures, in nats: ``kl`` (``None`` where the target's log Z is unknown), its
        ``kl_standard_error``, ``free_energy = kl - log Z``, and the normalised effective sample
        size ``ess = (Σw)^2 / (n Σw^2)``, ``w = p/q`` at samples of ``q``; then the base samples
        and their images ``(n, 2)``.
    """
    drawn = list(zip(*pushed_samples(flow, base, target, seed, n)))
    z0, z, ratios = (np.concatenate(parts) for parts in drawn)
    log_z = getattr(target, "log_z", None)
    found = score(ratios, log_z)
    figures = {name: found[name] for name in ("kl", "kl_standard_error", "ess", "free_energy")}
    source = getattr(target, "log_z_source", None)
    return {**figures, "log_z": log_z, "log_z_source": source}, z0, z


def pushed_samples(
    flow: FlowStack, base: Any, target: Any, seed: int, n: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Draw ``n`` samples of ``q``, some at a time: the same for the same seed.

    Yields:
        Base samples and their images ``(m, 2)``, and ``log q - log p`` at them ``(m,)``, float64,
        in nats.
    """
    rng = stream(seed, "evaluation")
    for start in range(0, n, CHUNK):
        z0 = base.sample(rng, (min(CHUNK, n - start), 2))
        noise = ops.convert_to_tensor(z0)
        z, log_det = flow.forward_and_log_det(noise)
        ratios = reverse_kl(base.log_prob(noise), log_det, target.log_prob(z))
        yield z0, ops.convert_to_numpy(z), ops.convert_to_numpy(ratios).astype(np.float64)


def score(ratios: np.ndarray, log_z: float | None) -> dict[str, Any]:
    """Judge ``q`` by ``ratios = log q - log p`` at its own samples; all figures in nats.

    With ``w = p/q``: ``kl = E[-log w]``; the effective sample size ``ess = (Σw)^2 / (n Σw^2)``;
    and ``estimated_log_z = log_z + log E[w]``, which estimates ``log ∫ exp(-U)`` where ``q`` covers
    ``p``, and is too small where it does not. Each has its ``*_standard_error``, for the last two
    by the delta method; those say little where one sample's part of ``Σw^2``, ``largest_weight``,
    reaches ``DOMINATED``. Where ``log_z`` is not known (``None``), ``kl`` is not either, and
    ``free_energy`` is what ``E[-log w]`` estimates.
    """
    n = len(ratios)
    mean, error = float(ratios.mean()), float(ratios.std(ddof=1) / math.sqrt(n))
    shift = ratios.min()
    w = np.exp(shift - ratios)
    a, b = w / w.mean(), w * w / np.mean(w * w)
    ess = float(w.mean() ** 2 / np.mean(w * w))
    return {
        "kl": None if log_z is None else mean,
        "kl_standard_error": error,
        "free_energy": mean - (log_z or 0.0),
        "ess": ess,
        "largest_weight": float(b.max() / n),
        "ess_standard_error": float(ess * np.std(2 * a - b) / math.sqrt(n)),
        "estimated_log_z": float((log_z or 0.0) + np.log(w.mean()) - shift),
        "log_z_standard_error": float(np.std(a) / math.sqrt(n)),
    }


def judge(flow: Any, base: Any, target: Any, count: int, seed: int) -> np.ndarray:
    """Return the KL in nats of each of ``count`` stacks side by side, from common samples.

    No training has seen the samples, and the final figures have others. Where the target's log Z
    is unknown this is the free energy.
    """
    noise = base.sample(stream(seed, "restarts"), (JUDGED_SAMPLES, 2))
    noise = ops.broadcast_to(noise, (count, JUDGED_SAMPLES, 2))
    z, log_det = flow.forward_and_log_det(noise)
    gap = reverse_kl(base.log_prob(noise), log_det, target.log_prob(z))
    return ops.convert_to_numpy(ops.mean(gap, axis=-1))


def density_arrays(
    flow: FlowStack, base: Any, target: Any, z0: np.ndarray, z: np.ndarray, seed: int, n: int
) -> tuple[float, dict[str, np.ndarray]]:
    """Return ``∫q`` over an ``n x n`` grid that covers the samples, and the arrays to plot.

    These are of the part of the grid that shows the target. Where the samples reach ``WIDE`` times
    as far, the grid has that part alone, and the mass is summed in cells that follow the samples.
    The density is exact, ``log q(x) = log q0(f^-1(x)) + log|det df^-1/dx|``, at every point.
    """
    window = getattr(target, "window", float(np.quantile(np.abs(z), 0.999)))
    reach = 1.02 * float(np.abs(z).max())
    is_wide = not reach <= WIDE * window  # nor is NaN
    reach = max(window, reach)
    axis = np.linspace(-window, window, n) if is_wide else np.linspace(-reach, reach, n)
    panels = strip_panels(flow.k)
    coarse = np.linspace(-window, window, STRIP_GRID)
    grids = {k: _square(coarse) for k in panels} | {flow.k: _square(axis)}
    log_density = partial_log_densities(flow, base, grids)
    full = log_density[flow.k].reshape(n, n)
    total = float(np.exp(full.astype(np.float64)).sum() * (axis[1] - axis[0]) ** 2)
    if is_wide:
        total = _mass(flow, base, z)

    shown = np.abs(axis) <= window
    axis_shown = axis[shown]
    last = _nearest_rows(full, axis, coarse)
    strip = [log_density[k].reshape(STRIP_GRID, -1) if k != flow.k else last for k in panels]
    grid = ops.convert_to_tensor(_square(axis_shown).reshape(len(axis_shown), -1, 2))
    exact = getattr(target, "sample", None)
    drawn = exact(stream(seed, "target-samples"), SHOWN_SAMPLES) if exact else np.empty((0, 2))
    arrays = {
        "axis_1": axis_shown,
        "axis_2": axis_shown,
        "log_target": ops.convert_to_numpy(target.log_prob(grid)),
        "log_base": ops.convert_to_numpy(base.log_prob(grid)),
        "log_q": full[np.ix_(shown, shown)],
        "samples": z[:SHOWN_SAMPLES],
        "base_samples": z0[:SHOWN_SAMPLES],
        "target_samples": drawn,
        "deformation_k": np.array(panels),
        "log_deformation": np.stack(strip),
        "deformation_axis_1": coarse,
        "deformation_axis_2": coarse,
    }
    return total, {name: _compact(array) for name, array in arrays.items()}


def _mass(flow: FlowStack, base: Any, z: np.ndarray) -> float:
    """Return ``∫q`` where its samples ``z`` are, NaN if one of them is nowhere."""

    def log_q(x: np.ndarray) -> np.ndarray:
        return partial_log_densities(flow, base, {flow.k: x.astype(np.float32)})[flow.k]

    return mass(log_q, z.astype(np.float64))[0] if np.isfinite(z).all() else math.nan


def strip_panels(k: int) -> list[int]:
    """Choose after how many flows the deformation is shown: 0, ..., k, at most nine of them."""
    return sorted({round(i) for i in np.linspace(0, k, min(k + 1, STRIP_PANELS))})


def partial_log_densities(
    flow: FlowStack, base: Any, grids: dict[int, np.ndarray]
) -> dict[int, np.ndarray]:
    """Return the log-density after the first k flows at the points ``grids[k]`` ``(m, 2)``.

    One pass down the stack serves all: at flow k the points of ``grids[k]`` join those of the
    longer stacks.
    """
    joined: list[int] = []
    points, total = ops.zeros((0, 2)), ops.zeros((0,))
    for k in range(flow.k, -1, -1):
        if k in grids:
            joined.append(k)
            points = ops.concatenate([points, ops.cast(grids[k], points.dtype)])
            total = ops.concatenate([total, ops.zeros((len(grids[k]),))])
        if k > 0:
            kind, parameters = flow.flow_at(k - 1)
            points, log_det = run_flows([kind], [parameters], 1, points, inverse=True)
            total = total + log_det
    log_density = ops.convert_to_numpy(base.log_prob(points) + total)
    ends = np.cumsum([len(grids[k]) for k in joined])[:-1]
    return dict(zip(joined, np.split(log_density, ends), strict=True))


def grid_points(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the points ``(n * m, 2)`` of a grid, the first coordinate along rows."""
    return np.stack(np.meshgrid(first, second), axis=-1).reshape(-1, 2)


def _square(axis: np.ndarray) -> np.ndarray:
    return grid_points(axis, axis).astype(np.float32)


def _nearest_rows(full: np.ndarray, axis: np.ndarray, coarse: np.ndarray) -> np.ndarray:
    """Sample the full grid at the points nearest to the coarse one."""
    index = np.clip(np.searchsorted(axis, coarse - (axis[1] - axis[0]) / 2), 0, len(axis) - 1)
    return full[np.ix_(index, index)]


def _compact(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype == np.float64 else array
