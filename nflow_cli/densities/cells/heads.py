"""The log-probability of cells, by the distributions that a network gives them.

    log P(cell) = log P(outcome) + [a number] log (mass of its interval)

and on a grid, where an atom is a value of the grid too, the sum of both masses. Written over an
array namespace ``xp`` as :mod:`~nflow_cli.densities.cells.network` is.
"""

from typing import Any

import numpy as np

from nflow_cli.arrays import dtype_of, logsumexp
from nflow_cli.densities.cells.layout import Bank, Layout
from nflow_cli.densities.cells.network import Parameters, one_hot
from nflow_cli.mixtures import log_normal_mass


def log_cells(
    layout: Layout, parameters: Parameters, codes: Any, centre: Any, half: Any, xp: Any
) -> Any:
    """Return the log-probabilities ``(…, D, n)`` in nats of the modelled cells, bank by bank.

    Args:
        layout: Of the network.
        parameters: The distributions of the cells.
        codes: ``(…, C, n)``, bank by bank; of an unknown cell nothing is added.
        centre: ``(…, N, n)`` of the columns that have mixtures.
        half: The same.
        xp: The array namespace.
    """
    masses = half  # of no column
    if layout.mixed:
        masses = log_mass(centre, half, *parameters[1:], xp=xp, has_ends=layout.has_ends)
    cells, start, first = [], 0, 0
    for bank, shares in zip(layout.banks, parameters.log_shares):
        of_bank = codes[..., start + bank.n_given : start + len(bank.columns), :]
        last = first + len(bank.numbers)
        if bank.modelled:
            cells.append(_of_bank(layout, bank, shares, of_bank, masses[..., first:last, :], xp))
        start, first = start + len(bank.columns), last
    return xp.concatenate(cells, axis=-2)


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
    """Return the log-mass ``(…, n)`` in nats of intervals by mixtures ``(…, M, n)``.

    Where ``half`` is infinite, as it may be if it ``has_ends``, the interval is all above
    ``centre``, or with ``-inf`` all below.
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
    is_number = (np.arange(bank.size) == numbers)[:, :, None].astype(dtype_of(chosen))
    smooth = xp.sum(shares[..., bank.n_plain :, :, :] * is_number, axis=-2) + masses
    plain, atoms = chosen[..., : bank.n_plain, :], chosen[..., bank.n_plain :, :]
    code = codes[..., bank.n_plain :, :]
    summed = np.array([o.summed for o in outcomes]).reshape(-1, 1)
    if summed.any():
        both = (code >= 0) & (code < summed)
        atoms = xp.where(both, xp.logaddexp(atoms, smooth), atoms)
    cells = xp.where(code == numbers, smooth, atoms)
    return xp.concatenate([plain, cells], axis=-2)
