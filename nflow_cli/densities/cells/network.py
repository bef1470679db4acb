"""The masked network of cells: from the cells before to the parameters of each cell.

    h = W x + b;   h ← h + B silu(A silu(h) + a) + b, for each block;   θ = O silu(h) + S x + o

Masks let the parameters of a column depend only on the columns before it (Germain et al. 2015,
arXiv 1502.03509; residual blocks: Durkan & Nash 2019, arXiv 1911.00503). Written over an array
namespace ``xp``: NumPy, or ``keras.ops`` in the compiled loop. Features are second to last, rows
last.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.arrays import dtype_of, log_softmax, silu
from nflow_cli.densities.cells.layout import Layout

PADDING = -1e9  # logit of an outcome that a column lacks
LEAK = 0.01  # factor of the gradient beyond a limit
SMALL = 0.1  # initial size of residual branches and outputs
MOST_SKIPPED = 10**7  # most weights of the direct connections from inputs to logits
INPUT_LIMIT = 8.0  # inputs are clipped to ± this
Weights = Mapping[str, Any]


class Parameters(NamedTuple):
    """Parameters of cells: log-probabilities ``(…, columns, size, n)`` of outcomes by bank
    (``None`` for single outcomes), and log-weights in nats, means and scales ``(…, N, M, n)`` of
    mixtures, in column units.
    """

    log_shares: list[Any]
    log_weights: Any
    means: Any
    scales: Any


def shapes(layout: Layout, blocks: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights of one network; weight decay is for kernels."""
    width, n_inputs, n_logits = layout.width, len(layout.inputs), len(layout.logits)
    n_mixed = len(layout.mixed)
    of_blocks = {}
    for i in range(blocks):
        for half in ("in", "out"):
            of_blocks[f"block_{i}_{half}_kernel"] = (width, width)
            of_blocks[f"block_{i}_{half}_bias"] = (width, 1)
    every = {
        "inputs_kernel": (width, n_inputs),
        "inputs_bias": (width, 1),
        **of_blocks,
        "logits_kernel": (n_logits, width),
        "logits_skip_kernel": (n_logits, n_inputs),
        "logits_bias": (n_logits, 1),
        "mixtures_kernel": (3 * layout.components * n_mixed, width),
        "means_skip_kernel": (n_mixed, n_inputs),
        "mixtures_bias": (3 * layout.components * n_mixed, 1),
    }
    if n_logits * n_inputs > MOST_SKIPPED:  # many columns of many levels
        del every["logits_skip_kernel"]
    return {name: shape for name, shape in every.items() if np.prod(shape)}


def initial(layout: Layout, blocks: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random initial weights; small outputs and zero biases keep each column near its start.

    Layer sums have variance 1, residual ones are small; the input of a constant column gets weight
    0.
    """
    weights = {}
    for name, shape in shapes(layout, blocks).items():
        weights[name] = np.zeros(shape)
        if name.endswith("kernel") and "skip" not in name:
            size = 1.0 if name.endswith("_in_kernel") or name == "inputs_kernel" else SMALL
            weights[name] = size * rng.standard_normal(shape) / np.sqrt(max(shape[1], 1))
    of_one = [layout.outcomes[i].count == 1 for i in layout.columns]
    active = len(of_one) - sum(of_one) + len(layout.with_numbers)
    weights["inputs_kernel"] *= np.sqrt(len(layout.inputs) / max(active, 1))
    alone = np.array([layout.outcomes[i].count == 1 for i in layout.inputs])
    alone[len(alone) - len(layout.with_numbers) :] = False
    weights["inputs_kernel"][:, alone] = 0.0
    return weights


def masked(layout: Layout, weights: Weights) -> dict[str, Any]:
    """Apply the masks to the kernels."""
    of_kernel = {
        "inputs_kernel": "inputs",
        "logits_kernel": "logits",
        "mixtures_kernel": "mixtures",
        "logits_skip_kernel": "logits_skip",
        "means_skip_kernel": "means_skip",
    }
    masks = layout.masks
    return {
        name: array * masks[of_kernel.get(name, "hidden")] if name.endswith("kernel") else array
        for name, array in weights.items()
    }


def inputs(layout: Layout, codes: Any, centre: Any, xp: Any) -> Any:
    """Inputs ``(I, n)`` of the network.

    ``codes`` are ``(C, n)``, bank by bank, in floating point; ``centre`` ``(K, n)`` of the columns
    with numbers, bank by bank (more rows are ignored).
    """
    centre = centre[..., : len(layout.with_numbers), :]
    parts, start = [], 0
    for bank in layout.banks:
        end = start + len(bank.columns)
        flat = (*codes.shape[:-2], bank.size * len(bank.columns), codes.shape[-1])
        parts.append(xp.reshape(one_hot(codes[..., start:end, :], bank.size, xp), flat))
        start = end
    return xp.concatenate([*parts, xp.clip(centre, -INPUT_LIMIT, INPUT_LIMIT)], axis=-2)


def one_hot(codes: Any, size: int, xp: Any) -> Any:
    """One-hot codes: ``(…, c, n)`` to ``(…, c, size, n)``, all 0 if unknown."""
    levels = np.arange(size, dtype=dtype_of(codes))[:, None]
    is_one = codes[..., None, :] == levels
    return is_one.astype(codes.dtype) if xp is np else xp.cast(is_one, codes.dtype)


def parameters(layout: Layout, weights: Weights, limits: np.ndarray, x: Any, xp: Any) -> Parameters:
    """Parameters of the cells of rows.

    ``weights`` are masked, ``(…, out, in)``; ``limits``: least scales of normals and ends of their
    means ``(3, N, 1, 1)``; ``x``: inputs ``(…, I, n)``.
    """
    h = hidden(weights, x, xp)
    shares, mixtures = [None] * len(layout.banks), (None, None, None)
    if len(layout.logits):
        logits = weights["logits_kernel"] @ h + weights["logits_bias"]
        if "logits_skip_kernel" in weights:
            logits = logits + weights["logits_skip_kernel"] @ x
        shares = log_shares(layout, logits, xp)
    if layout.mixed:
        raw = weights["mixtures_kernel"] @ h + weights["mixtures_bias"]
        mixtures = normals(raw, weights["means_skip_kernel"] @ x, limits, layout.components, xp)
    return Parameters(shares, *mixtures)


def hidden(weights: Weights, x: Any, xp: Any) -> Any:
    """Last hidden layer ``(…, H, n)``."""
    h = weights["inputs_kernel"] @ x + weights["inputs_bias"]
    for i in range(sum(name.endswith("_in_kernel") for name in weights)):
        inner = weights[f"block_{i}_in_kernel"] @ silu(h, xp) + weights[f"block_{i}_in_bias"]
        outer = weights[f"block_{i}_out_kernel"] @ silu(inner, xp)
        h = h + outer + weights[f"block_{i}_out_bias"]
    return silu(h, xp)


def log_shares(layout: Layout, logits: Any, xp: Any) -> list[Any]:
    """Log-probabilities of outcomes, bank by bank, from all logits ``(…, P, n)``."""
    banks, start, n = [], 0, logits.shape[-1]
    for bank in layout.banks:
        count = len(bank.modelled)
        if bank.size == 1 or not count:
            banks.append(None)
            continue
        end = start + count * bank.size
        part = xp.reshape(logits[..., start:end, :], (*logits.shape[:-2], count, bank.size, n))
        banks.append(log_softmax(part + _padding(layout, bank.modelled, bank.size, part), -2, xp))
        start = end
    return banks


def _padding(layout: Layout, columns: Sequence[int], size: int, like: Any) -> np.ndarray:
    counts = np.array([layout.outcomes[i].learnt for i in columns]).reshape(-1, 1, 1)
    return np.where(np.arange(size)[:, None] < counts, 0.0, PADDING).astype(dtype_of(like))


def normals(
    mixtures: Any, shift: Any, limits: np.ndarray, count: int, xp: Any
) -> tuple[Any, Any, Any]:
    """Log-weights, means and scales ``(…, N, M, n)`` of mixtures ``(…, 3 N M, n)``.

    A scale is at most a quarter of the range of training numbers (or its floor), a mean at least
    two scales from each end.
    """
    *before, n_mixed, n = shift.shape
    raw = xp.reshape(mixtures, (*before, n_mixed, 3, count, n))
    floors, low, high = limits
    log_scales = raw[..., 2, :, :]
    scales = floors + xp.exp(
        _leaky(log_scales, xp.minimum(log_scales, np.log((high - low) / 4)), xp)
    )
    free = raw[..., 1, :, :] + shift[..., None, :]
    means = xp.minimum(xp.maximum(free, low + 2 * scales), high - 2 * scales)
    return log_softmax(raw[..., 0, :, :], -2, xp), _leaky(free, means, xp), scales


def _leaky(free: Any, limited: Any, xp: Any) -> Any:
    """Limits with a gradient of 0.01 beyond that leads back."""
    return limited if xp is np else limited + LEAK * (free - xp.stop_gradient(free))
