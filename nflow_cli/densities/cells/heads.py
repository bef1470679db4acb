"""Log-probability of cells by the distributions of a network.

    log P(cell) = log P(outcome) + [a number] log (mass of its interval)

On a grid: the sum over all outcomes that the value may be, an atom and a number of each lattice
that it is on. Written over an array namespace ``xp``, as :mod:`~nflow_cli.densities.cells.network`
is.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nflow_cli.arrays import dtype_of, logsumexp
from nflow_cli.densities.cells.layout import Bank, Layout, Outcomes
from nflow_cli.densities.cells.network import PADDING, Parameters, one_hot
from nflow_cli.mixtures import log_normal_mass


def log_cells(
    layout: Layout, parameters: Parameters, codes: Any, centre: Any, half: Any, xp: Any
) -> Any:
    """Log-probabilities ``(…, D, n)`` in nats of the modelled cells, bank by bank; 0 if unknown.

    ``codes`` are ``(…, C, n)``, bank by bank; ``centre`` and ``half`` ``(…, N + X, n)``: columns
    with mixtures, then coarse lattices; ``half`` is 0 off the lattice.
    """
    masses = log_masses(layout, parameters, centre, half, xp)
    return log_cells_by_masses(layout, parameters.log_shares, codes, masses, xp)


def log_cells_by_masses(
    layout: Layout, log_shares: Sequence[Any], codes: Any, masses: Any, xp: Any
) -> Any:
    """:func:`log_cells`, from the masses of :func:`log_masses`."""
    cells, start, first, coarse = [], 0, 0, len(layout.mixed)
    for bank, shares in zip(layout.banks, log_shares):
        of_bank = codes[..., start + bank.n_given : start + len(bank.columns), :]
        last = first + len(bank.numbers)
        end = coarse + sum(layout.outcomes[i].lattices - 1 for i in bank.numbers)
        if bank.modelled:
            parts = masses[..., first:last, :], masses[..., coarse:end, :]
            cells.append(_of_bank(layout, bank, shares, of_bank, parts, xp))
        start, first, coarse = start + len(bank.columns), last, end
    return xp.concatenate(cells, axis=-2)


def log_masses(layout: Layout, parameters: Parameters, centre: Any, half: Any, xp: Any) -> Any:
    """Log-masses ``(…, N + X, n)`` of intervals; -inf off the lattice."""
    if not layout.mixed:
        return half  # of no column
    mixtures: Sequence[Any] = parameters[1:]
    of_intervals = _masses_by_value if xp is np and mixtures[0].shape[-1] == 1 else log_mass
    if not layout.coarse:
        return of_intervals(centre, half, *mixtures, xp=xp, has_ends=layout.has_ends)
    places = np.array(layout.mixtures, np.int32)
    mixtures = [xp.take(array, places, axis=-3) for array in mixtures]
    is_on = half != 0
    centre, half = xp.where(is_on, centre, 0.0), xp.where(is_on, half, 1.0)
    masses = of_intervals(centre, half, *mixtures, xp=xp, has_ends=layout.has_ends)
    return xp.where(is_on, masses, -math.inf)


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


def _of_bank(
    layout: Layout, bank: Bank, shares: Any, codes: Any, masses: tuple[Any, Any], xp: Any
) -> Any:
    outcomes = [layout.outcomes[i] for i in bank.numbers]
    numbers = np.array([o.number for o in outcomes], int).reshape(-1, 1)
    if shares is None:  # the only outcome is a number
        return xp.where(codes == 0, masses[0], 0.0)
    chosen = xp.sum(one_hot(codes, bank.size, xp) * shares, axis=-2)
    if not outcomes:
        return chosen
    smooth = _of_lattices(outcomes, shares[..., bank.n_plain :, :, :], *masses, xp)
    plain, atoms = chosen[..., : bank.n_plain, :], chosen[..., bank.n_plain :, :]
    code = codes[..., bank.n_plain :, :]
    summed = np.array([o.summed for o in outcomes]).reshape(-1, 1)
    if summed.any():
        both = (code >= 0) & (code < summed)
        atoms = xp.where(both, xp.logaddexp(atoms, smooth), atoms)
    last = numbers + np.array([o.lattices - 1 for o in outcomes]).reshape(-1, 1)
    cells = xp.where((code >= numbers) & (code <= last), smooth, atoms)
    return xp.concatenate([plain, cells], axis=-2)


def _of_lattices(outcomes: Sequence[Outcomes], shares: Any, fine: Any, coarse: Any, xp: Any) -> Any:
    """Log-probabilities ``(…, c, n)`` of numbers, summed over their lattices.

    Shares are log-probabilities ``(…, c, size, n)``; ``fine`` are log-masses ``(…, c, n)`` by the
    finest lattice, ``coarse`` ``(…, x, n)`` by the others, column by column.
    """
    numbers = np.array([o.number for o in outcomes], int).reshape(-1, 1)
    counts = np.array([o.lattices for o in outcomes])
    first = np.cumsum(counts - 1) - counts
    size = shares.shape[-2]

    def share(lattice: int) -> Any:
        is_it = (np.arange(size) == numbers + lattice)[:, :, None].astype(dtype_of(fine))
        return xp.sum(shares * is_it, axis=-2)

    smooth = share(0) + fine
    for lattice in range(1, counts.max()):
        has = counts > lattice
        places = np.where(has, first + lattice, 0).astype(np.int32)
        masses = share(lattice) + xp.take(coarse, places, axis=-2)
        smooth = xp.logaddexp(smooth, xp.where(has[:, None], masses, -math.inf))
    return smooth
