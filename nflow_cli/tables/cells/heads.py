"""Log-probabilities of cells by the distributions of a network, and mixed with the marginals'.

    log P(cell) = log P(outcome) + [a number] log (mass of its interval)

Of a value that repeats: the sum over the outcomes that it may be, an atom and a number. Written
over an array namespace ``xp``, as :mod:`~nflow_cli.tables.cells.network` is.

Each cell is a mixture of components, the networks and the marginal, of shares v. Whether it is
missing is mixed first, then the value of a cell that is present:

    q(missing) = Σ_r v_r p_r(missing)
    q(x) = (1 - q(missing)) Σ_r v_r p_r(x | present)

Mixed as one, the value of a cell that is seldom present would be the marginal's, whatever the cells
before: gaps would be filled without them where most cells are missing (at random, given those).
"""

from collections.abc import Sequence
from functools import reduce
from types import ModuleType
from typing import NamedTuple

import numpy as np

from nflow_cli.arrays import Tensor, logsumexp
from nflow_cli.mixtures import log_mass
from nflow_cli.tables.cells.layout import Bank, Layout
from nflow_cli.tables.cells.network import PADDING, Parameters


class LogCells(NamedTuple):
    """Log-probabilities of cells in nats, by a network or by the marginals.

    Attributes:
        masses: Of the cells; 0 if unknown or new.
        presence: Of being missing for a missing cell, of being present for any other; 0 of new or
            unknown cells and of columns without gaps.
    """

    masses: Tensor
    presence: Tensor


def log_cells(
    layout: Layout, parameters: Parameters, codes: Tensor, masses: Tensor, xp: ModuleType
) -> LogCells:
    """Log-probabilities ``(…, D, n)`` of the cells with ``codes`` ``(…, D, n)``, by a network.

    ``masses`` ``(…, N, n)`` are of :func:`log_masses`, of the columns with mixtures.
    """
    order = np.array([j for bank in layout.banks for j in bank.columns]) - layout.n_given
    codes_by_bank = xp.take(codes, order, axis=-2)
    number = layout.of_modelled("number_code")[order]
    gap = layout.of_modelled("missing_code")[order]
    if layout.mixed:
        mixed_columns = np.array(layout.mixed) - layout.n_given
        places = np.searchsorted(mixed_columns, order[number[:, 0] >= 0])
        masses = xp.take(masses, places, axis=-2)
    cells_by_bank = []
    present_by_bank = []
    first = 0
    first_mixed = 0
    for bank, log_shares in zip(layout.banks, parameters.log_shares):
        end = first + len(bank.columns)
        end_mixed = first_mixed + len(bank.columns) - bank.n_plain
        bank_codes = codes_by_bank[..., first:end, :]
        bank_masses = masses[..., first_mixed:end_mixed, :]
        cells = _bank_cells(bank, log_shares, bank_codes, number[first:end], bank_masses, xp)
        cells_by_bank.append(cells)
        is_value = np.arange(bank.size)[:, None] != gap[first:end, None]
        if is_value.all():  # no column has gaps
            present_by_bank.append(xp.zeros_like(cells))
        else:
            present_by_bank.append(logsumexp(xp.where(is_value, log_shares, PADDING), -2, xp))
        first = end
        first_mixed = end_mixed

    def in_row_order(parts: Sequence[Tensor]) -> Tensor:
        return xp.take(xp.concatenate(parts, axis=-2), np.argsort(order), axis=-2)

    log_present = in_row_order(present_by_bank) if layout.has_gaps else 0.0
    return with_presence(layout, codes, in_row_order(cells_by_bank), log_present, xp)


def _bank_cells(
    bank: Bank,
    log_shares: Tensor,
    codes: Tensor,
    number: np.ndarray,
    masses: Tensor,
    xp: ModuleType,
) -> Tensor:
    """Log-probabilities ``(…, c, n)`` of the cells of a bank; ``number`` ``(c, 1)`` is the outcome
    of a number in each column.
    """
    outcomes = np.arange(bank.size)[:, None]
    chosen = xp.sum(xp.where(codes[..., None, :] == outcomes, log_shares, 0.0), axis=-2)
    if bank.n_plain == len(bank.columns):
        return chosen
    codes = codes[..., bank.n_plain :, :]
    number = number[bank.n_plain :]
    is_number = outcomes == number[:, None]
    of_numbers = xp.where(is_number, log_shares[..., bank.n_plain :, :, :], 0.0)
    smooth = xp.sum(of_numbers, axis=-2) + masses
    atoms = chosen[..., bank.n_plain :, :]
    if number.any():
        is_atom = (codes >= 0) & (codes < number)
        atoms = xp.where(is_atom, xp.logaddexp(atoms, smooth), atoms)
    cells = xp.where(codes == number, smooth, atoms)
    return xp.concatenate([chosen[..., : bank.n_plain, :], cells], axis=-2)


def with_presence(
    layout: Layout, codes: Tensor, masses: Tensor, log_present: Tensor, xp: ModuleType
) -> LogCells:
    """Cells ``(…, D, n)`` of log-probabilities ``masses``, and ``log_present`` of being present."""
    gap = layout.of_modelled("missing_code")
    learnt = layout.of_modelled("n_learnt")
    is_learnt = (gap >= 0) & (codes >= 0) & (codes < learnt)
    presence = xp.where(is_learnt, xp.where(codes == gap, masses, log_present), 0.0)
    return LogCells(masses, presence)


def log_parts(
    log_shares: Sequence[Tensor], components: Sequence[LogCells], xp: ModuleType
) -> tuple[list[Tensor], Tensor]:
    """Log-parts of the components of cells, which sum to their probabilities, and the
    log-probability by all components that a cell is missing, of a missing one, else that it is
    present.

    ``log_shares``: ``log v`` of each component, that broadcast with its cells.
    """
    pairs = list(zip(log_shares, components))
    presence = reduce(xp.logaddexp, [log_v + cells.presence for log_v, cells in pairs])
    parts = [log_v + presence + (cells.masses - cells.presence) for log_v, cells in pairs]
    return parts, presence


def log_mixture(
    log_shares: Sequence[Tensor], components: Sequence[LogCells], xp: ModuleType
) -> Tensor:
    """Log-probabilities of cells by the mixture of components, as of :func:`log_parts`."""
    parts, _ = log_parts(log_shares, components, xp)
    return reduce(xp.logaddexp, parts)


def log_masses(
    layout: Layout, parameters: Parameters, centre: Tensor, half: Tensor, xp: ModuleType
) -> Tensor:
    """Log-masses ``(…, N, n)`` of intervals; -inf off the grid."""
    if not layout.mixed:
        return half  # of no column
    _, log_weights, means, scales = parameters
    return log_mass(centre, half, log_weights, means, scales, xp=xp, has_ends=layout.has_ends)
