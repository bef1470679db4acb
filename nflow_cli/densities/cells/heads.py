"""Log-probabilities of cells by the distributions of a network, and mixed with the marginals'.

    log P(cell) = log P(outcome) + [a number] log (mass of its interval)

Of a value that repeats: the sum over the outcomes that it may be, an atom and a number. Written
over an array namespace ``xp``, as :mod:`~nflow_cli.densities.cells.network` is.

A cell is that of the network with weight w, else that of the marginal. Whether it is missing is
mixed first, then the value of a cell that is present:

    q(missing) = w π + (1 - w) ρ
    q(x) = (1 - q(missing)) (w p(x | present) + (1 - w) m(x | present))

Mixed as one, the value of a cell that is seldom present would be the marginal's, whatever the cells
before: gaps would be filled without them where most cells are missing (at random, given those).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.arrays import logsumexp
from nflow_cli.densities.cells.layout import Bank, Layout
from nflow_cli.densities.cells.network import PADDING, Parameters
from nflow_cli.mixtures import log_mass


class LogCells(NamedTuple):
    """Log-probabilities of cells in nats, by a network or by the marginals.

    Attributes:
        masses: Of the cells; 0 if unknown or new.
        presence: Of being missing for a missing cell, of being present for any other; 0 of new or
            unknown cells and of columns without gaps.
    """

    masses: Any
    presence: Any


def log_cells(layout: Layout, parameters: Parameters, codes: Any, masses: Any, xp: Any) -> LogCells:
    """Log-probabilities ``(…, D, n)`` of the cells with ``codes`` ``(…, D, n)``, by a network.

    ``masses`` ``(…, N, n)`` are of :func:`log_masses`, of the columns with mixtures.
    """
    order = np.array([i for bank in layout.banks for i in bank.columns]) - layout.n_given
    code = xp.take(codes, order, axis=-2)
    number, gap = (layout.of_modelled(name)[order] for name in ("number", "missing"))
    if layout.mixed:
        columns = np.array(layout.mixed) - layout.n_given
        masses = xp.take(masses, np.searchsorted(columns, order[number[:, 0] >= 0]), axis=-2)
    cells, log_present, start, first = [], [], 0, 0
    for bank, shares in zip(layout.banks, parameters.log_shares):
        end, last = start + len(bank.columns), first + len(bank.columns) - bank.n_plain
        some = code[..., start:end, :], number[start:end], masses[..., first:last, :]
        cells.append(_of_bank(bank, shares, *some, xp))
        is_value = np.arange(bank.size)[:, None] != gap[start:end, None]
        if is_value.all():  # no column has gaps
            log_present.append(xp.zeros_like(cells[-1]))
        else:
            log_present.append(logsumexp(xp.where(is_value, shares, PADDING), -2, xp))
        start, first = end, last

    def in_row(parts: Sequence[Any]) -> Any:
        return xp.take(xp.concatenate(parts, axis=-2), np.argsort(order), axis=-2)

    present = in_row(log_present) if layout.has_gaps else 0.0
    return with_presence(layout, codes, in_row(cells), present, xp)


def _of_bank(bank: Bank, shares: Any, codes: Any, number: np.ndarray, masses: Any, xp: Any) -> Any:
    at = np.arange(bank.size)[:, None]
    chosen = xp.sum(xp.where(codes[..., None, :] == at, shares, 0.0), axis=-2)
    if bank.n_plain == len(bank.columns):
        return chosen
    behind = slice(bank.n_plain, None)
    code, number = codes[..., behind, :], number[behind]
    is_number = at == number[:, None]
    smooth = xp.sum(xp.where(is_number, shares[..., behind, :, :], 0.0), axis=-2) + masses
    atoms = chosen[..., behind, :]
    if number.any():
        is_atom = (code >= 0) & (code < number)
        atoms = xp.where(is_atom, xp.logaddexp(atoms, smooth), atoms)
    cells = xp.where(code == number, smooth, atoms)
    return xp.concatenate([chosen[..., : bank.n_plain, :], cells], axis=-2)


def with_presence(layout: Layout, codes: Any, masses: Any, log_present: Any, xp: Any) -> LogCells:
    """Cells ``(…, D, n)`` of log-probabilities ``masses``, and ``log_present`` of being present."""
    gap, learnt = layout.of_modelled("missing"), layout.of_modelled("learnt")
    is_learnt = (gap >= 0) & (codes >= 0) & (codes < learnt)
    presence = xp.where(is_learnt, xp.where(codes == gap, masses, log_present), 0.0)
    return LogCells(masses, presence)


def log_pair(weights: Any) -> tuple[Any, Any]:
    """``log w`` and ``log(1 - w)`` of weights of a network beside the marginal."""
    with np.errstate(divide="ignore"):
        return np.log(weights), np.log1p(-weights)


def mixed(
    log_weights: tuple[Any, Any], network: LogCells, marginal: LogCells, xp: Any
) -> tuple[Any, Any, Any]:
    """Log-parts of a network and of the marginals in cells, which sum to these, and presence.

    ``log_weights`` are log w and log(1 - w). The third is the log-probability that the cell is
    missing, of a missing one, else that it is present.
    """
    both = list(zip(log_weights, (network, marginal)))
    presence = xp.logaddexp(*(weight + one.presence for weight, one in both))
    first, second = (weight + presence + (one.masses - one.presence) for weight, one in both)
    return first, second, presence


def log_masses(layout: Layout, parameters: Parameters, centre: Any, half: Any, xp: Any) -> Any:
    """Log-masses ``(…, N, n)`` of intervals; -inf off the grid."""
    if not layout.mixed:
        return half  # of no column
    return log_mass(centre, half, *parameters[1:], xp=xp, has_ends=layout.has_ends)
