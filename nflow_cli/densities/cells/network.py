"""The masked network of cells: from the cells before to the parameters of each cell.

    h = W x + b;   h ← h + B silu(A silu(h) + a) + b, for each block;   θ = O silu(h) + S x + o

Masks let the parameters of a column depend only on the columns before it (Germain et al. 2015,
arXiv 1502.03509; residual blocks: Durkan & Nash 2019, arXiv 1911.00503). Written over an array
namespace ``xp``: NumPy, or ``keras.ops`` in the compiled loop. Features are second to last, rows
last.
"""

from collections.abc import Mapping
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
    """Parameters of cells: log-probabilities ``(…, c, size, n)`` of outcomes in each bank, and
    log-weights in nats, means and scales ``(…, N, M, n)`` of mixtures, in column units.
    """

    log_shares: Any
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
    are_single = np.array([layout.outcomes[i].learnt == 1 for i in layout.inputs])
    are_single[len(layout.input_codes) :] = False
    active = layout.n_columns - are_single.sum() + len(layout.with_numbers) + sum(layout.cycles)
    weights["inputs_kernel"] *= np.sqrt(len(layout.inputs) / max(active, 1))
    weights["inputs_kernel"][:, are_single] = 0.0
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


def inputs(layout: Layout, codes: Any, units: Any, xp: Any) -> Any:
    """Inputs ``(I, n)`` of the network: one-hot codes, all 0 if unknown or new, and numeric ones.

    ``codes`` are ``(C, n)`` in floating point; ``units`` as of
    :class:`~nflow_cli.densities.cells.density.Encoded`.
    """
    columns = layout.inputs[: len(layout.input_codes)]
    is_one = xp.take(codes, columns, axis=-2) == layout.input_codes[:, None]
    one_hot = is_one.astype(codes.dtype) if xp is np else xp.cast(is_one, codes.dtype)
    return xp.concatenate([one_hot, xp.clip(units, -INPUT_LIMIT, INPUT_LIMIT)], axis=-2)


def parameters(layout: Layout, weights: Weights, limits: np.ndarray, x: Any, xp: Any) -> Parameters:
    """Parameters of the cells of rows.

    ``weights`` are masked, ``(…, out, in)``; ``limits``: least scales of normals and ends of their
    means ``(3, N, 1, 1)``; ``x``: inputs ``(…, I, n)``.
    """
    h, mixtures = hidden(weights, x, xp), (None, None, None)
    logits: Any = None
    if len(layout.logits):
        logits = weights["logits_kernel"] @ h + weights["logits_bias"]
        if "logits_skip_kernel" in weights:
            logits = logits + weights["logits_skip_kernel"] @ x
    if layout.mixed:
        raw = weights["mixtures_kernel"] @ h + weights["mixtures_bias"]
        mixtures = normals(raw, weights["means_skip_kernel"] @ x, limits, layout.components, xp)
    log_shares, start = [], 0
    for size, columns, _ in layout.banks:
        shape, end = (*h.shape[:-2], len(columns), size, h.shape[-1]), start + size * len(columns)
        if size == 1:
            log_shares.append(xp.zeros(shape, dtype_of(h).name))
            continue
        counts = np.array([layout.outcomes[i].learnt for i in columns])[:, None, None]
        padding = np.where(np.arange(size)[:, None] < counts, 0.0, PADDING).astype(dtype_of(h))
        of_bank = xp.reshape(logits[..., start:end, :], shape)
        log_shares.append(log_softmax(of_bank + padding, -2, xp))
        start = end
    return Parameters(log_shares, *mixtures)


def blocks_of(weights: Weights) -> int:
    """Number of residual blocks."""
    return sum(name.endswith("_in_kernel") for name in weights)


def hidden(weights: Weights, x: Any, xp: Any) -> Any:
    """Last hidden layer ``(…, H, n)``."""
    h = weights["inputs_kernel"] @ x + weights["inputs_bias"]
    for i in range(blocks_of(weights)):
        inner = weights[f"block_{i}_in_kernel"] @ silu(h, xp) + weights[f"block_{i}_in_bias"]
        outer = weights[f"block_{i}_out_kernel"] @ silu(inner, xp)
        h = h + outer + weights[f"block_{i}_out_bias"]
    return silu(h, xp)


def of_column(layout: Layout, parameters: Parameters, j: int) -> Parameters:
    """Parameters of a modelled column: of its L' outcomes that are learnt ``(L', n)``, and of its
    mixture ``(M, n)``, ``None`` of a column without numbers.
    """
    both = zip(layout.banks, parameters.log_shares)
    (log_shares,) = (part[b.columns.index(j)] for b, part in both if j in b.columns)
    log_shares = log_shares[: layout.outcomes[j].learnt]
    if j not in layout.mixed:
        return Parameters(log_shares, None, None, None)
    return Parameters(log_shares, *(part[layout.mixed.index(j)] for part in parameters[1:]))


class ColumnByColumn:
    """One pass of a network for n rows, whose cells become known column by column: NumPy.

    A hidden unit sees the columns up to its degree, so it is computed once, when these are known.
    """

    def __init__(self, layout: Layout, weights: Weights, limits: np.ndarray, n: int):
        self.layout, self.weights, self.limits = layout, weights, limits
        self.x, blocks = np.zeros((len(layout.inputs), n)), blocks_of(weights)
        # What each block takes, its inner layer, and the last layer.
        self._taken, self._inner = np.zeros((2, blocks, layout.width, n))
        self._last = np.zeros((layout.width, n))

    def see(self, j: int, codes: np.ndarray, units: np.ndarray) -> None:
        """Take the outcomes ``(n,)`` and numeric inputs ``(U, n)`` of column ``j``, and compute
        what sees no later one.
        """
        layout, w = self.layout, self.weights
        places = np.flatnonzero(layout.inputs == j)
        outcomes, numeric = np.split(places, [layout.outcomes[j].learnt])
        self.x[outcomes] = codes == np.arange(len(outcomes))[:, None]
        self.x[numeric] = np.clip(units, -INPUT_LIMIT, INPUT_LIMIT)
        first, end = np.searchsorted(layout.degrees, [j, j + 1])
        new, seen = slice(first, end), slice(0, end)
        h = w["inputs_kernel"][new] @ self.x + w["inputs_bias"][new]
        for i, (taken, inner) in enumerate(zip(self._taken, self._inner)):
            taken[new] = silu(h, np)
            a, b = (w[f"block_{i}_{half}_kernel"][new, seen] for half in ("in", "out"))
            inner[new] = silu(a @ taken[seen] + w[f"block_{i}_in_bias"][new], np)
            h = h + b @ inner[seen] + w[f"block_{i}_out_bias"][new]
        self._last[new] = silu(h, np)

    def parameters(self, j: int) -> Parameters:
        """Parameters of modelled column ``j``, as of :func:`of_column`."""
        layout, w, some = self.layout, self.weights, self.layout.logits_of(j)
        seen = slice(0, int(np.searchsorted(layout.degrees, j)))
        logits = np.zeros((1, self.x.shape[-1]))
        if len(some):
            logits = w["logits_kernel"][some, seen] @ self._last[seen] + w["logits_bias"][some]
        if len(some) and "logits_skip_kernel" in w:
            logits += w["logits_skip_kernel"][some] @ self.x
        mixture = None, None, None
        if j in layout.mixed:
            place, size = layout.mixed.index(j), 3 * layout.components
            part = slice(place * size, (place + 1) * size)
            raw = w["mixtures_kernel"][part, seen] @ self._last[seen] + w["mixtures_bias"][part]
            shift, limits = w["means_skip_kernel"][[place]] @ self.x, self.limits[:, [place]]
            mixture = (part[0] for part in normals(raw, shift, limits, layout.components, np))
        return Parameters(log_softmax(logits, 0, np), *mixture)


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
