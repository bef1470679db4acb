"""How good a fit is: KL divergence, effective sample size, exact densities on a grid."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.flows import FlowStack
from nflow_cli.flows.compose import run_flows
from nflow_cli.objectives import reverse_kl
from nflow_cli.streams import stream

CHUNK = 100_000  # samples pushed through at once: bounds the memory
JUDGED_SAMPLES = 50_000  # behind the choice among restarts
SHOWN_SAMPLES = 2_000
STRIP_PANELS = 9
STRIP_GRID = 120


def evaluate_samples(
    flow: FlowStack, base: Any, target: Any, seed: int, n: int
) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Judge ``q`` by ``n`` fresh samples.

    Returns:
        The figures, in nats: ``kl`` (``None`` where the target's log Z is unknown), its
        ``kl_standard_error``, ``free_energy = kl - log Z``, the normalised effective sample size
        ``ess = (Σw)^2 / (n Σw^2)``, ``w = p/q`` at samples of ``q``, with ``largest_weight`` and
        ``pareto_k`` as :func:`score` has them, and the ``base_free_energy`` of the base without a
        flow, with its standard error; then the base samples and their images ``(n, 2)``.
    """
    drawn = list(zip(*pushed_samples(flow, base, target, seed, n)))
    z0, z, ratios = (np.concatenate(parts) for parts in drawn)
    log_z = getattr(target, "log_z", None)
    scores = score(ratios, log_z)
    names = ("kl", "kl_standard_error", "ess", "largest_weight", "pareto_k", "free_energy")
    figures = {name: scores[name] for name in names}
    source = getattr(target, "log_z_source", None)
    baseline = _base_free_energy(base, target, z0)
    return {**figures, **baseline, "log_z": log_z, "log_z_source": source}, z0, z


def _base_free_energy(base: Any, target: Any, z0: np.ndarray) -> dict[str, float]:
    """Return the free energy in nats of the base itself, from its samples ``z0`` ``(n, 2)``."""
    ratios = np.empty(len(z0))
    for start in range(0, len(z0), CHUNK):
        part = ops.convert_to_tensor(z0[start : start + CHUNK])
        gap = base.log_prob(part) - target.log_prob(part)
        ratios[start : start + CHUNK] = ops.convert_to_numpy(gap)
    log_z = getattr(target, "log_z", None) or 0.0
    return {
        "base_free_energy": float(ratios.mean()) - log_z,
        "base_free_energy_standard_error": float(ratios.std(ddof=1) / math.sqrt(len(ratios))),
    }


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
    is large, or the tail of the weights is heavy, ``pareto_k`` (:func:`pareto_k`). Where ``log_z``
    is not known (``None``), ``kl`` is not either, and ``free_energy`` is what ``E[-log w]``
    estimates.
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
        "pareto_k": pareto_k(-ratios),
        "ess_standard_error": float(ess * np.std(2 * a - b) / math.sqrt(n)),
        "estimated_log_z": float((log_z or 0.0) + np.log(w.mean()) - shift),
        "log_z_standard_error": float(np.std(a) / math.sqrt(n)),
    }


def pareto_k(log_w: np.ndarray) -> float:
    """Return k-hat, the shape of a generalised Pareto tail fitted to the largest of weights.

    Of ``n`` log-weights ``(n,)`` the tail holds ``min(n/5, 3 √n)``. Moments of the weights of order
    ``1/k`` and above are infinite: above 0.7 what is estimated by importance sampling is not
    reliable (Vehtari, Simpson, Gelman, Yao & Gabry 2024, arXiv 1507.02646). The fit is that of
    Zhang & Stephens 2009, with their weak prior towards 0.5. 0 where the weights are equal.
    """
    count = min(len(log_w) // 5, math.ceil(3 * math.sqrt(len(log_w))))
    ordered = np.partition(log_w, len(log_w) - count - 1)[-count - 1 :]
    scaled = np.exp(ordered - ordered.max())
    x = np.sort(scaled[1:] - scaled[0])
    if not x[-1] > 1e-6:  # equal but for rounding; or not finite
        return 0.0 if np.isfinite(x[-1]) else math.nan
    x = np.maximum(x, 1e-30 * x[-1])
    i = np.arange(1, 30 + math.isqrt(count) + 1)
    quartile = x[int(count / 4 + 0.5) - 1]
    theta = 1 / x[-1] + (1 - np.sqrt(len(i) / (i - 0.5))) / (3 * quartile)
    k = np.log1p(-theta[:, None] * x).mean(axis=1)
    log_likelihood = count * (np.log(-theta / k) - k - 1)
    with np.errstate(over="ignore"):  # of one that is that unlikely the weight is 0
        weight = 1 / np.exp(log_likelihood - log_likelihood[:, None]).sum(axis=1)
    shape = float(np.log1p(-np.sum(theta * weight) * x).mean())
    return (count * shape + 10 * 0.5) / (count + 10)


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
) -> dict[str, np.ndarray]:
    """Return the arrays to plot, on an ``n x n`` grid over the target's window.

    The density is exact, ``log q(x) = log q0(f^-1(x)) + log|det df^-1/dx|``, at every point.
    """
    window = getattr(target, "window", float(np.quantile(np.abs(z), 0.999)))
    axis, coarse = np.linspace(-window, window, n), np.linspace(-window, window, STRIP_GRID)
    panels = strip_panels(flow.k)
    grids = {k: _square(coarse) for k in panels} | {flow.k: _square(axis)}
    log_density = partial_log_densities(flow, base, grids)
    log_q = log_density[flow.k].reshape(n, n)
    last = _nearest_rows(log_q, axis, coarse)
    strip = [log_density[k].reshape(STRIP_GRID, -1) if k != flow.k else last for k in panels]
    grid = ops.convert_to_tensor(_square(axis).reshape(n, n, 2))
    exact = getattr(target, "sample", None)
    drawn = exact(stream(seed, "target-samples"), SHOWN_SAMPLES) if exact else np.empty((0, 2))
    arrays = {
        "axis_1": axis,
        "axis_2": axis,
        "log_target": ops.convert_to_numpy(target.log_prob(grid)),
        "log_base": ops.convert_to_numpy(base.log_prob(grid)),
        "log_q": log_q,
        "samples": z[:SHOWN_SAMPLES],
        "base_samples": z0[:SHOWN_SAMPLES],
        "target_samples": drawn,
        "deformation_k": np.array(panels),
        "log_deformation": np.stack(strip),
        "deformation_axis_1": coarse,
        "deformation_axis_2": coarse,
        "deformation_samples": partial_samples(flow, z0[:SHOWN_SAMPLES], panels),
    }
    return {name: _compact(array) for name, array in arrays.items()}


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
    ends = np.cumsum([len(grids[k]) for k in joined], dtype=int)
    return {k: log_density[end - len(grids[k]) : end] for k, end in zip(joined, ends)}


def partial_samples(flow: FlowStack, z0: np.ndarray, panels: list[int]) -> np.ndarray:
    """Return where the first k flows take ``z0`` ``(n, 2)``, for each k of ``panels`` ``(P,)``.

    What part of a density lies in a frame is counted by these: a sum over the frame's grid misses
    what is narrower than its cells. ``(P, n, 2)``.
    """
    points, taken = ops.convert_to_tensor(z0), {0: z0}
    for k in range(1, flow.k + 1):
        kind, parameters = flow.flow_at(k - 1)
        points, _ = run_flows([kind], [parameters], 1, points)
        if k in panels:
            taken[k] = ops.convert_to_numpy(points)
    return np.stack([taken[k] for k in panels])


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
