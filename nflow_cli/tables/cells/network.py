"""The masked network of cells: from the cells before to the parameters of each cell.

    h = W x + b;   h ← h + B silu(A silu(h) + a) + b, for each block;   θ = O silu(h) + S x + o

Masks let the parameters of a column depend only on the columns before it (Germain et al. 2015,
arXiv 1502.03509; residual blocks: Durkan & Nash 2019, arXiv 1911.00503). Written over an array
namespace ``xp``: NumPy, or ``keras.ops`` in the compiled loop. Features are second to last, rows
last.
"""

from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import NamedTuple

import numpy as np

from nflow_cli.arrays import Tensor, dtype_of, log_softmax, silu
from nflow_cli.tables.cells.layout import Layout

PADDING = -1e9  # logit of an outcome that a column lacks
LEAK = 0.01  # factor of the gradient beyond a limit
SMALL_SIZE = 0.1  # initial size of residual branches and outputs
MOST_SKIPPED = 10**7  # most weights of the direct connections from inputs to logits
INPUT_LIMIT = 8.0  # inputs are clipped to ± this
Weights = Mapping[str, Tensor]
Dropout = Callable[[Tensor, int], Tensor]  # a layer with some units 0, by the layer and its number


class Parameters(NamedTuple):
    """Parameters of cells: log-probabilities of outcomes, and mixtures of normals.

    Attributes:
        log_shares: Log-probabilities in nats of the outcomes in each bank, a list of
            ``(…, c, size, n)``.
        log_weights: In nats ``(…, N, M, n)``.
        means: ``(…, N, M, n)``, in column units.
        scales: ``(…, N, M, n)``, in column units.
    """

    log_shares: Tensor
    log_weights: Tensor
    means: Tensor
    scales: Tensor


def shapes(layout: Layout, blocks: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights of one network; weight decay is for kernels."""
    width = layout.width
    n_inputs = len(layout.inputs)
    n_direct = len(layout.direct_inputs)
    n_logits = len(layout.logits)
    n_mixed = len(layout.mixed)
    block_shapes = {}
    for i in range(blocks):
        for half in ("in", "out"):
            block_shapes[f"block_{i}_{half}_kernel"] = (width, width)
            block_shapes[f"block_{i}_{half}_bias"] = (width, 1)
    weight_shapes = {
        "inputs_kernel": (width, n_inputs),
        "inputs_bias": (width, 1),
        **block_shapes,
        "logits_kernel": (n_logits, width),
        "logits_skip_kernel": (n_logits, n_direct),
        "logits_bias": (n_logits, 1),
        "mixtures_kernel": (3 * layout.components * n_mixed, width),
        "means_skip_kernel": (n_mixed, n_direct),
        "mixtures_bias": (3 * layout.components * n_mixed, 1),
    }
    if n_logits * n_direct > MOST_SKIPPED:  # many columns of many levels
        del weight_shapes["logits_skip_kernel"]
    return {name: shape for name, shape in weight_shapes.items() if np.prod(shape)}


def initial_weights(
    layout: Layout, blocks: int, rng: np.random.Generator, seen: np.ndarray
) -> dict[str, np.ndarray]:
    """Random initial weights by name, of a network that sees the inputs ``seen`` ``(I,)``; small
    outputs and zero biases keep each column near its start.

    Layer sums have variance 1, residual ones are small; the input of a constant column gets weight
    0.
    """
    weights = {}
    for name, shape in shapes(layout, blocks).items():
        weights[name] = np.zeros(shape)
        if name.endswith("kernel") and "skip" not in name:
            is_full_size = name.endswith("_in_kernel") or name == "inputs_kernel"
            size = 1.0 if is_full_size else SMALL_SIZE
            weights[name] = size * rng.standard_normal(shape) / np.sqrt(max(shape[1], 1))
    are_constant = np.array([layout.outcomes[i].n_learnt == 1 for i in layout.inputs])
    are_constant[len(layout.input_codes) :] = False
    n_active = layout.n_columns - are_constant.sum() + len(layout.with_numbers) + sum(layout.cycles)
    # One of a column's outcomes is active, and its number and harmonics; sin² + cos² = 1, and of
    # a piecewise linear encoding one half of the inputs are 1.
    n_active += seen[len(layout.direct_inputs) :].sum() / 2
    weights["inputs_kernel"] *= np.sqrt(len(layout.inputs) / max(n_active, 1))
    weights["inputs_kernel"][:, are_constant | (seen == 0)] = 0.0
    return weights


def masked_weights(layout: Layout, weights: Weights) -> dict[str, Tensor]:
    """Weights with the masks applied to the kernels."""
    masks = layout.masks
    weights_by_name = dict(weights)
    for name, array in weights.items():
        if name.endswith("_kernel"):
            mask = masks.get(name.removesuffix("_kernel"), masks["hidden"])
            weights_by_name[name] = array * mask
    return weights_by_name


def inputs(layout: Layout, codes: Tensor, units: Tensor, xp: ModuleType) -> Tensor:
    """Inputs ``(I, n)`` of the network: one-hot codes, all 0 if unknown or new, numeric ones, and
    the sines and cosines of numbers, 0 if unknown.

    ``codes`` are ``(C, n)`` in floating point; ``units`` as of
    :class:`~nflow_cli.tables.cells.cells_density.Encoded`.
    """
    columns = layout.inputs[: len(layout.input_codes)]
    is_code = xp.take(codes, columns, axis=-2) == layout.input_codes[:, None]
    one_hot = is_code.astype(codes.dtype) if xp is np else xp.cast(is_code, codes.dtype)
    numeric = xp.clip(units, -INPUT_LIMIT, INPUT_LIMIT)
    if not (layout.frequencies or layout.knots):
        return xp.concatenate([one_hot, numeric], axis=-2)
    with_numbers = np.array(layout.with_numbers, np.int32)
    last = np.array([layout.outcomes[i].number_code for i in layout.with_numbers])[:, None]
    number_codes = xp.take(codes, with_numbers, axis=-2)
    are_known = (number_codes >= 0) & (number_codes <= last)
    numbers = numeric[..., : len(with_numbers), :]
    return xp.concatenate([one_hot, numeric, *encodings(layout, numbers, are_known, xp)], axis=-2)


def encodings(
    layout: Layout, numbers: Tensor, are_known: Tensor, xp: ModuleType
) -> Iterator[Tensor]:
    """Sines and cosines ``(…, 2 F K, n)`` of numbers ``(…, K, n)`` in units, at F frequencies, and
    their piecewise linear encodings ``(…, B K, n)``, ``clip((u - knot)/width, 0, 1)`` in B bins
    (Gorishniy et al. 2022, arXiv 2203.05556); 0 where they are unknown.
    """
    numbers = numbers[..., None, :]
    groups = []
    if layout.frequencies:
        angles = numbers * (2 * np.pi * np.array(layout.frequencies, dtype_of(numbers))[:, None])
        groups.append(xp.concatenate([xp.sin(angles), xp.cos(angles)], axis=-2))
    if layout.knots:
        knots = np.array(layout.knots, dtype_of(numbers))[:, None]
        groups.append(xp.clip((numbers - knots[:-1]) / np.diff(knots, axis=0), 0.0, 1.0))
    for group in groups:
        known = xp.where(are_known[..., None, :], group, 0.0)
        *leading, n_numbers, n_encodings, n = known.shape
        yield xp.reshape(known, (*leading, n_numbers * n_encodings, n))


def parameters(
    layout: Layout,
    weights: Weights,
    limits: np.ndarray,
    x: Tensor,
    xp: ModuleType,
    dropout: Dropout | None = None,
) -> Parameters:
    """Parameters of the cells of rows.

    ``weights`` are masked, ``(…, out, in)``; ``limits``: least scales of normals and ends of their
    means ``(3, N, 1, 1)``; ``x``: inputs ``(…, I, n)``; ``dropout`` as of
    :func:`last_hidden_layer`.
    """
    h = last_hidden_layer(weights, x, xp, dropout)
    log_shares = _log_shares(layout, weights, h, x, xp)
    if not layout.mixed:
        return Parameters(log_shares, None, None, None)
    raw = weights["mixtures_kernel"] @ h + weights["mixtures_bias"]
    shift = weights["means_skip_kernel"] @ _direct(layout, x)
    return Parameters(log_shares, *normals(raw, shift, limits, layout.components, xp))


def _log_shares(
    layout: Layout, weights: Weights, h: Tensor, x: Tensor, xp: ModuleType
) -> list[Tensor]:
    """Log-probabilities of the outcomes of the C columns of each bank ``(…, C, size, n)``, by the
    network alone: its last hidden layer ``h`` and its inputs ``x``.
    """
    logits: Tensor = None  # without any, all banks are of size 1
    if len(layout.logits):
        logits = weights["logits_kernel"] @ h + weights["logits_bias"]
        if "logits_skip_kernel" in weights:
            logits = logits + weights["logits_skip_kernel"] @ _direct(layout, x)
    log_shares = []
    start = 0
    for size, columns, _ in layout.banks:
        shape = (*h.shape[:-2], len(columns), size, h.shape[-1])
        if size == 1:  # a certain outcome has no logit
            log_shares.append(xp.zeros(shape, dtype_of(h).name))
            continue
        end = start + size * len(columns)
        n_outcomes = np.array([layout.outcomes[i].n_learnt for i in columns])[:, None, None]
        padding = np.where(np.arange(size)[:, None] < n_outcomes, 0.0, PADDING).astype(dtype_of(h))
        bank_logits = xp.reshape(logits[..., start:end, :], shape)
        log_shares.append(log_softmax(bank_logits + padding, -2, xp))
        start = end
    return log_shares


def count_blocks(weights: Weights) -> int:
    """Number of residual blocks."""
    return sum(name.endswith("_in_kernel") for name in weights)


def last_hidden_layer(
    weights: Weights, x: Tensor, xp: ModuleType, dropout: Dropout | None = None
) -> Tensor:
    """Last hidden layer ``(…, H, n)`` of a network with masked weights, by inputs ``x``
    ``(…, I, n)``; in training with ``dropout`` of the inner layers, by the number of the block.
    """
    h = weights["inputs_kernel"] @ x + weights["inputs_bias"]
    for i in range(count_blocks(weights)):
        inner = weights[f"block_{i}_in_kernel"] @ silu(h, xp) + weights[f"block_{i}_in_bias"]
        inner = silu(inner, xp)
        if dropout:
            inner = dropout(inner, i)
        outer = weights[f"block_{i}_out_kernel"] @ inner
        h = h + outer + weights[f"block_{i}_out_bias"]
    return silu(h, xp)


def of_column(layout: Layout, parameters: Parameters, j: int) -> Parameters:
    """Parameters of a modelled column: of its L' outcomes that are learnt ``(L', n)``, and of its
    mixture ``(M, n)``, ``None`` of a column without numbers.
    """
    banks = zip(layout.banks, parameters.log_shares)
    bank, bank_shares = next(pair for pair in banks if j in pair[0].columns)
    log_shares = bank_shares[bank.columns.index(j)][: layout.outcomes[j].n_learnt]
    if j not in layout.mixed:
        return Parameters(log_shares, None, None, None)
    _, log_weights, means, scales = parameters
    place = layout.mixed.index(j)
    return Parameters(log_shares, log_weights[place], means[place], scales[place])


def _direct(layout: Layout, x: Tensor) -> Tensor:
    """Inputs that outputs see directly."""
    return x[..., : len(layout.direct_inputs), :]


class ColumnByColumn:
    """One pass of a network for n rows, whose cells become known column by column: NumPy.

    A hidden unit sees the columns up to its degree, so it is computed once, when these are known.
    """

    def __init__(self, layout: Layout, weights: Weights, limits: np.ndarray, n: int):
        self.layout = layout
        self.weights = weights
        self.limits = limits
        self.x = np.zeros((len(layout.inputs), n))
        shape = (count_blocks(weights), layout.width, n)
        self._block_inputs = np.zeros(shape)
        self._inner_layers = np.zeros(shape)
        self._last_layer = np.zeros((layout.width, n))

    def add_column(self, j: int, codes: np.ndarray, units: np.ndarray) -> None:
        """Take the outcomes ``(n,)`` and numeric inputs ``(U, n)`` of column ``j``, and compute
        the hidden units that see no later column.
        """
        weights = self.weights
        places = np.flatnonzero(self.layout.inputs == j)
        n_outcomes = self.layout.outcomes[j].n_learnt
        self.x[places[:n_outcomes]] = codes == np.arange(n_outcomes)[:, None]
        n_direct = n_outcomes + len(units)
        numeric = np.clip(units, -INPUT_LIMIT, INPUT_LIMIT)
        self.x[places[n_outcomes:n_direct]] = numeric
        if len(places) > n_direct:
            are_known = self.layout.outcomes[j].have_numbers(codes)[None]
            encoded = encodings(self.layout, numeric[:1], are_known, np)
            self.x[places[n_direct:]] = np.concatenate([*encoded])
        first, end = np.searchsorted(self.layout.degrees, [j, j + 1])
        new_units = slice(first, end)  # of degree j
        h = weights["inputs_kernel"][new_units] @ self.x + weights["inputs_bias"][new_units]
        for i, (block_inputs, inner) in enumerate(zip(self._block_inputs, self._inner_layers)):
            inner_kernel = weights[f"block_{i}_in_kernel"][new_units, :end]
            outer_kernel = weights[f"block_{i}_out_kernel"][new_units, :end]
            block_inputs[new_units] = silu(h, np)
            inner[new_units] = silu(
                inner_kernel @ block_inputs[:end] + weights[f"block_{i}_in_bias"][new_units], np
            )
            h = h + outer_kernel @ inner[:end] + weights[f"block_{i}_out_bias"][new_units]
        self._last_layer[new_units] = silu(h, np)

    def parameters(self, j: int) -> Parameters:
        """Parameters of modelled column ``j``, as of :func:`of_column`."""
        layout = self.layout
        weights = self.weights
        end = int(np.searchsorted(layout.degrees, j))
        h = self._last_layer[:end]
        logit_rows = layout.logits_of(j)
        logits = np.zeros((1, self.x.shape[-1]))
        if len(logit_rows):
            logits = (
                weights["logits_kernel"][logit_rows, :end] @ h + weights["logits_bias"][logit_rows]
            )
            if "logits_skip_kernel" in weights:
                logits += weights["logits_skip_kernel"][logit_rows] @ _direct(layout, self.x)
        log_shares = log_softmax(logits, 0, np)
        if j not in layout.mixed:
            return Parameters(log_shares, None, None, None)
        place = layout.mixed.index(j)
        size = 3 * layout.components
        mixture_rows = slice(place * size, (place + 1) * size)
        raw = (
            weights["mixtures_kernel"][mixture_rows, :end] @ h
            + weights["mixtures_bias"][mixture_rows]
        )
        shift = weights["means_skip_kernel"][[place]] @ _direct(layout, self.x)
        limits = self.limits[:, [place]]
        log_weights, means, scales = normals(raw, shift, limits, layout.components, np)
        return Parameters(log_shares, log_weights[0], means[0], scales[0])


def normals(
    raw: Tensor, shift: Tensor, limits: np.ndarray, components: int, xp: ModuleType
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-weights, means and scales ``(…, N, M, n)`` of the mixtures of N columns, of M =
    ``components`` normals each, in n rows.

    ``raw`` ``(…, 3 N M, n)``: a network's outputs; ``shift`` ``(…, N, n)``: added to all means of a
    column, linear in the inputs; ``limits`` ``(3, N, 1, 1)``: least scales, and lower and upper
    ends of the training numbers. A scale is at most a quarter of their range, a mean at least two
    scales from each end.
    """
    *leading, n_mixed, n = shift.shape
    raw = xp.reshape(raw, (*leading, n_mixed, 3, components, n))
    least_scales, low, high = limits
    log_scales = raw[..., 2, :, :]
    limited_log_scales = xp.minimum(log_scales, np.log((high - low) / 4))
    scales = least_scales + xp.exp(_with_leaking_gradient(log_scales, limited_log_scales, xp))
    free_means = raw[..., 1, :, :] + shift[..., None, :]
    means = xp.minimum(xp.maximum(free_means, low + 2 * scales), high - 2 * scales)
    means = _with_leaking_gradient(free_means, means, xp)
    return log_softmax(raw[..., 0, :, :], -2, xp), means, scales


def _with_leaking_gradient(values: Tensor, limited: Tensor, xp: ModuleType) -> Tensor:
    """Limited values, as of ``values`` without limits, with a gradient of 0.01 beyond the limits
    that leads back.
    """
    return limited if xp is np else limited + LEAK * (values - xp.stop_gradient(values))
