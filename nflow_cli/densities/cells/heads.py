"""Log-probability of cells by the distributions of a network.

    log P(cell) = log P(outcome) + [a number] log (mass of its interval)

Of a value that repeats: the sum over the outcomes that it may be, an atom and a number. Written
over an array namespace ``xp``, as :mod:`~nflow_cli.densities.cells.network` is.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nflow_cli.arrays import dtype_of, logsumexp
from nflow_cli.densities.cells.layout import Bank, Layout
from nflow_cli.densities.cells.network import PADDING, Parameters, one_hot
from nflow_cli.mixtures import log_normal_mass


def log_cells(
    layout: Layout, parameters: Parameters, codes: Any, centre: Any, half: Any, xp: Any
) -> Any:
    """Log-probabilities ``(…, D, n)`` in nats of the modelled cells, bank by bank; 0 if unknown.

    ``codes`` are ``(…, C, n)``, bank by bank; ``centre`` and ``half`` ``(…, N, n)``, of columns
    with mixtures; ``half`` is 0 off the grid.
    """
    masses = log_masses(layout, parameters, centre, half, xp)
    return log_cells_by_masses(layout, parameters.log_shares, codes, masses, xp)


def log_cells_by_masses(
    layout: Layout, log_shares: Sequence[Any], codes: Any, masses: Any, xp: Any
) -> Any:
    """:func:`log_cells`, from the masses of :func:`log_masses`."""
    cells, start, first = [], 0, 0
    for bank, shares in zip(layout.banks, log_shares):
        of_bank = codes[..., start + bank.n_given : start + len(bank.columns), :]
        last = first + len(bank.numbers)
        if bank.modelled:
            cells.append(_of_bank(layout, bank, shares, of_bank, masses[..., first:last, :], xp))
        start, first = start + len(bank.columns), last
    return xp.concatenate(cells, axis=-2)


def log_masses(layout: Layout, parameters: Parameters, centre: Any, half: Any, xp: Any) -> Any:
    """Log-masses ``(…, N, n)`` of intervals; -inf off the grid."""
    if not layout.mixed:
        return half  # of no column
    mixtures: Sequence[Any] = parameters[1:]
    of_intervals = _masses_by_value if xp is np and mixtures[0].shape[-1] == 1 else log_mass
    return of_intervals(centre, half, *mixtures, xp=xp, has_ends=layout.has_ends)


def _masses_by_value(
    centre: np.ndarray, half: np.ndarray, *mixtures: np.ndarray, xp: Any, has_ends: bool
) -> np.ndarray:
    found = np.empty(centre.shape)
    for k, (log_weights, means, scales) in enumerate(zip(*mixtures)):
        some = log_weights[:, 0] > PADDING / 2
        (c, h), inverse = distinct(centre[k], half[k])
        mixture = log_weights[some], means[some], scales[some]
        found[k] = log_mass(c, h, *mixture, xp=xp, has_ends=has_ends)[inverse]
    return found


def distinct(*arrays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct columns of arrays ``(n,)``, and each place's index."""
    order = np.lexsort(arrays[::-1])  # faster than np.unique of an axis
    columns = np.stack(arrays)[:, order]
    is_new = np.append(True, (columns[:, 1:] != columns[:, :-1]).any(axis=0))[: len(order)]
    inverse = np.empty(len(order), int)
    inverse[order] = np.cumsum(is_new) - 1
    return columns[:, is_new], inverse


def log_mass(
    centre: Any,
    half: Any,
    log_weights: Any,
    means: Any,
    scales: Any,
    *,
    xp: Any,
    has_ends: bool,
) -> Any:
    """Log-mass ``(…, n)`` in nats of intervals by mixtures ``(…, M, n)``.

    With ``has_ends``, ``half`` may be ``inf``: all above ``centre``, or ``-inf``: all below.
    """
    side = None
    if has_ends:
        is_tail = xp.isinf(half)
        side = xp.where(is_tail, xp.sign(half), 0.0)[..., None, :]
        half = xp.where(is_tail, 1.0, half)
    c, h = (centre[..., None, :] - means) / scales, half[..., None, :] / scales
    return logsumexp(log_weights + log_normal_mass(c, h, xp, side), -2, xp)


def _of_bank(layout: Layout, bank: Bank, shares: Any, codes: Any, masses: Any, xp: Any) -> Any:
    outcomes = [layout.outcomes[i] for i in bank.numbers]
    numbers = np.array([o.number for o in outcomes], int).reshape(-1, 1)
    if shares is None:  # the only outcome is a number
        return xp.where(codes == 0, masses, 0.0)
    chosen = xp.sum(one_hot(codes, bank.size, xp) * shares, axis=-2)
    if not outcomes:
        return chosen
    is_number = (np.arange(bank.size) == numbers)[:, :, None].astype(dtype_of(masses))
    smooth = xp.sum(shares[..., bank.n_plain :, :, :] * is_number, axis=-2) + masses
    plain, atoms = chosen[..., : bank.n_plain, :], chosen[..., bank.n_plain :, :]
    code = codes[..., bank.n_plain :, :]
    if numbers.any():
        both = (code >= 0) & (code < numbers)
        atoms = xp.where(both, xp.logaddexp(atoms, smooth), atoms)
    cells = xp.where(code == numbers, smooth, atoms)
    return xp.concatenate([plain, cells], axis=-2)
